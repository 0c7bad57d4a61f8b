//! The command line.

mod listings;
mod operate;

pub(crate) use listings::{
    CompletionsArgs, DropsArgs, ExplainArgs, FlowCommand, FlowsArgs, KillArgs, ListArgs, ManArgs,
    PersistArgs, ServersArgs,
};
pub(crate) use operate::{
    AddArgs, EditArgs, FirstState, LeaveArgs, NodeArgs, NodeCommand, NodeDrainArgs, RemoveArgs, ReportArgs,
    Reported, SayArgs, ServerArgs, ServerCommand, Then, WeightArgs,
};

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

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
    Check(CheckArgs),
    /// Show what a running ringlead does.
    Status(StatusArgs),
    /// List the services: who serves them, what went through.
    Services(ListArgs),
    /// List the pools: algorithm, how many of their servers may get flows.
    Pools(ListArgs),
    /// List the servers: operator's state, health with its reason, flows, next hop.
    Servers(ServersArgs),
    /// List the workers: load, heartbeat, frames.
    Workers(ListArgs),
    /// List the ports' queues: frames received, sent, lost.
    Ports(ListArgs),
    /// List why frames were dropped, and how many; with `--watch` also how many a second.
    Drops(DropsArgs),
    /// List the source addresses of mode snat: how many of their ports are used.
    Snat(ListArgs),
    /// List the persistence tables; with a table or a filter, the clients that they know and their servers.
    Persist(PersistArgs),
    /// List flows.
    Flows(FlowsArgs),
    /// Do something to flows.
    #[command(subcommand)]
    Flow(FlowCommand),
    /// Say which server a new flow would get, why, and why not the others: `explain tcp 198.51.100.7:40000 192.0.2.10:80`. Or
    /// what a code means and what to do: a configuration's (C120), or a drop's by number or name (D006, no-server).
    Explain(ExplainArgs),
    /// Have the daemon read its configuration again; a bad one changes nothing.
    Reload(ReloadArgs),
    /// Keep a configuration that came by `reload --confirm`.
    Confirm(ChangeArgs),
    /// Return to the configuration before the last reload; the file stays as it is.
    Undo(ChangeArgs),
    /// Show what happened, and with -f what happens.
    Events(EventsArgs),
    /// Change what a server gets, at run time, kept across reloads and restarts; or which servers there are, in the file.
    #[command(subcommand)]
    Server(ServerCommand),
    /// Say whether this node wants more traffic; kept across reloads and restarts.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Make a lab of network namespaces, run ringlead in it, send real traffic by every mode and print what happened. Needs
    /// root.
    Demo(DemoArgs),
    /// Send a capture through the packet path and write what came out, each packet with its verdict as comment.
    Replay(ReplayArgs),
    /// Measure: the packet path in memory, and traffic through the network.
    Bench(Box<ringlead_bench::cli::BenchArgs>),
    /// Remove what a dead ringlead left: steering programs, pinned maps, service addresses. Needs root.
    Cleanup(ConfigFile),
    /// Print what makes a shell complete ringlead's commands, and the names of what runs: `source <(ringlead completions bash)`.
    Completions(CompletionsArgs),
    /// Print the manual.
    Man(ManArgs),
    /// One end of the demo's traffic, inside a namespace.
    #[command(hide = true)]
    DemoEnd(DemoEndArgs),
}

/// Commands about configurations.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a file; says everything that is wrong with it.
    Check(CheckArgs),
    /// Say what a file changes of what the daemon has, or of another file.
    Diff(DiffArgs),
    /// Print a file in one order, without comments.
    Show(ShowArgs),
    /// Print the JSON schema (draft-07) of the configuration, for editors.
    Schema,
    /// Print a configuration that shows everything of this version, with comments.
    Example,
}

/// `ringlead config check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    /// Look at this machine too, and change nothing on it: devices, queues, MTUs, cores, memory, files, routes, addresses. Run it
    /// as the user and in the network namespace that ringlead runs in.
    #[arg(long)]
    pub(crate) here: bool,
    /// Print what was found as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where the daemon is, for a command whose `-c` is another file.
#[derive(Debug, Args)]
pub(crate) struct SocketArgs {
    /// The control socket.
    #[arg(short, long, value_name = "PATH", default_value = "/run/ringlead/control.sock")]
    pub(crate) socket: PathBuf,
    /// A configuration file, for where the control socket is.
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    pub(crate) socket_of: Option<PathBuf>,
}

/// A command that changes something, or tells everything.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `ringlead reload`.
#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {
    /// Undo it after this time (1s to 1h) unless `ringlead confirm` comes before.
    #[arg(long, value_name = "TIME", value_parser = crate::commands::seconds)]
    pub(crate) confirm: Option<u64>,
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
}

/// `ringlead config diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    /// Compare with this file instead of with the daemon.
    #[arg(long, value_name = "FILE")]
    pub(crate) old: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) daemon: SocketArgs,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `ringlead config show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    /// With every value that the file does not name and that does not depend on the machine.
    #[arg(long)]
    pub(crate) effective: bool,
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
    /// Whom to ask.
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Refused: it is several tables.
    #[arg(long, hide = true)]
    pub(crate) csv: bool,
    /// Again and again, every so many seconds: in place on a terminal, one after the other elsewhere.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = listings::interval)]
    pub(crate) watch: Option<Duration>,
}

/// `ringlead events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    /// Go on with what happens, also after the daemon is started anew.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only events after this number.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) since: u64,
    /// Only events of this kind, as often as wanted: health, reload, operator, …
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Vec<String>,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print comma-separated values (RFC 4180), with a header; the event's fields are one column, as JSON.
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}

/// The daemon that a command is for.
#[derive(Debug, Args)]
pub(crate) struct DaemonArgs {
    /// The configuration file, for where the control socket is; nothing else in it need be right.
    #[arg(short, long, alias = "socket-of", value_name = "FILE", conflicts_with = "socket")]
    pub(crate) config: Option<PathBuf>,
    /// The control socket.
    #[arg(short, long, value_name = "PATH", default_value = "/run/ringlead/control.sock")]
    pub(crate) socket: PathBuf,
}

/// `ringlead demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The report as one JSON object: in place of all other output, or in a file beside it.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub(crate) json: Option<PathBuf>,
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
