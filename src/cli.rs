//! The command line.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// A userspace load balancer on AF_XDP.
#[derive(Debug, Parser)]
#[command(name = "ringlead", version, about, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Balance: take the configured ports' service traffic and send it to healthy servers.
    Run(RunArgs),
    /// Look at configurations.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check a configuration file (the same as `config check`).
    Check(ConfigFile),
    /// Show what a running ringlead does.
    Status(StatusArgs),
    /// Make a lab of network namespaces, run ringlead in it, send real traffic by every mode and print what happened. Needs
    /// root.
    Demo(DemoArgs),
    /// Send a capture through the packet path and write what came out, each packet with its verdict as comment.
    Replay(ReplayArgs),
    /// Measure: the packet path in memory, and traffic through the network.
    Bench(Box<ringlead_bench::cli::BenchArgs>),
    /// Remove what a dead ringlead left: steering programs, pinned maps, service addresses. Needs root.
    Cleanup(ConfigFile),
    /// One end of the demo's traffic, inside a namespace.
    #[command(hide = true)]
    DemoEnd(DemoEndArgs),
}

/// Commands about configurations.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a file; says everything that is wrong with it.
    Check(ConfigFile),
}

/// A configuration file.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "/etc/ringlead/ringlead.toml")]
    pub(crate) config: PathBuf,
}

/// `ringlead run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The configuration.
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    /// Follow the ringlead that runs here: get ready beside it, then take its place with all its flows. Starts normally when
    /// none runs.
    #[arg(long)]
    pub(crate) take_over: bool,
}

/// `ringlead status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The configuration file, for where the control socket is.
    #[arg(short, long, value_name = "FILE", conflicts_with = "socket")]
    pub(crate) config: Option<PathBuf>,
    /// The control socket.
    #[arg(short, long, value_name = "PATH", default_value = "/run/ringlead/control.sock")]
    pub(crate) socket: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `ringlead demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `ringlead replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The packets: pcap or pcapng. In a pcapng file an interface named like a configured port feeds that port;
    /// everything else feeds the first port that faces clients.
    pub(crate) input: PathBuf,
    /// Where to write what came out (pcapng).
    pub(crate) output: PathBuf,
    /// Next hops: lines of `ADDRESS MAC [VID]`. Without it a next hop's MAC is 02:00 and the last four bytes of its address.
    #[arg(long, value_name = "FILE")]
    pub(crate) neighbours: Option<PathBuf>,
    /// Print the counters as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The demo's own helper processes.
#[derive(Debug, Args)]
pub(crate) struct DemoEndArgs {
    /// What to be, as JSON.
    pub(crate) job: String,
}
