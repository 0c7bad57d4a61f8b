//! What operators say of servers and of the node, at run time.

use super::DaemonArgs;
use crate::commands::complete;
use clap::{Args, Subcommand, ValueEnum};
use clap_complete::ArgValueCandidates;
use std::time::Duration;

/// `ringlead server`.
#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// Take new flows.
    Ready(SayArgs),
    /// Take no new flows but those of sticky clients; established flows go on, also over `run --take-over`. A stop and a start
    /// meanwhile break them: without its flow a connection's server is computed over those that take new ones.
    Drain(LeaveArgs),
    /// Take no new flow at all; established flows go on.
    Offline(LeaveArgs),
    /// Give it another weight, 1 to 256. Flows that it has stay. With maglev say it on every node, or they choose differently.
    Weight(WeightArgs),
    /// Forget what was said: the configuration's `state` and `weight` count again.
    Clear(ServerArgs),
    /// Say for a monitoring system whether it is up; counts before ringlead's own checks, and ends by itself.
    Report(ReportArgs),
    /// Write another server into the configuration file, and have the daemon take it over. A file that would be refused stays as
    /// it is.
    Add(AddArgs),
    /// Take a server out of the configuration file, and have the daemon take that over. Its flows go on until they end.
    Remove(RemoveArgs),
}

/// A weight.
#[derive(Debug, Args)]
pub(crate) struct WeightArgs {
    /// Which server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Its share of new flows beside the others' weights.
    #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) weight: u16,
}

/// A server that is to be.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// A pool of the file, and the new server's name.
    #[arg(value_name = "POOL/SERVER", add = ArgValueCandidates::new(complete::pools_of_servers))]
    pub(crate) server: String,
    /// Where it serves: `10.0.0.13:8080`, `[2001:db8::13]:8080`.
    #[arg(value_name = "ADDRESS:PORT")]
    pub(crate) address: String,
    /// Its share of new flows beside the others' weights. Default: 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) weight: Option<u16>,
    /// What it begins as. Default: ready.
    #[arg(long)]
    pub(crate) state: Option<FirstState>,
    /// At so many flows it gets no new one; not with maglev. Default: any number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_flows: Option<u32>,
    /// It gets flows only while fewer than the pool's `min-servers` others can serve.
    #[arg(long)]
    pub(crate) backup: bool,
    #[command(flatten)]
    pub(crate) edit: EditArgs,
}

/// What the file may say of a server's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum FirstState {
    /// It takes flows.
    Ready,
    /// It takes no new flows but those of sticky clients.
    Drain,
    /// It takes no new flow at all.
    Offline,
}

/// A server that is to go.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The server.
    #[arg(value_name = "POOL/SERVER", add = ArgValueCandidates::new(complete::servers))]
    pub(crate) server: String,
    #[command(flatten)]
    pub(crate) edit: EditArgs,
}

/// A change of the configuration file.
#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// Whose file it is. Without `-c` the daemon says which one it has.
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    /// Show what would be written and what would change then, and write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Although the file has other changes that are not in force yet: those come into force, too.
    #[arg(long)]
    pub(crate) also_pending: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `ringlead node`.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Take more traffic.
    Ready(NodeArgs),
    /// Be not ready for more traffic: whoever leads traffic here shall lead it elsewhere. What comes is served.
    Drain(NodeDrainArgs),
}

/// Whom to tell, and how to answer.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Whom to tell.
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `ringlead node drain`.
#[derive(Debug, Args)]
pub(crate) struct NodeDrainArgs {
    /// Whom to tell.
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// Why; status shows it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Wait until the node has no flow left, so long at most (`10m`). Exit status 1: some are left.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) wait: Option<Duration>,
}

/// Which server, and how to answer.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// The server.
    #[arg(value_name = "POOL/SERVER", add = ArgValueCandidates::new(complete::servers))]
    pub(crate) server: String,
    /// Whom to tell.
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A state, why and for how long.
#[derive(Debug, Args)]
pub(crate) struct SayArgs {
    /// Which server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Why; status shows it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// For how long, in whole seconds (`1h`, `90s`): then the configuration's `state` counts again.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) lasting: Option<Duration>,
}

/// A report of a server's health.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Which server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// What is reported.
    #[arg(value_name = "HEALTH")]
    pub(crate) health: Reported,
    /// For how long it counts, in whole seconds up to 24 h. Default: 30s.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) lasting: Option<Duration>,
    /// Why; status shows it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// What may be reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Reported {
    /// It serves.
    Up,
    /// It does not.
    Down,
    /// Nothing any more: ringlead's own checks count again.
    Clear,
}

/// A state that lets a server's flows end.
#[derive(Debug, Args)]
pub(crate) struct LeaveArgs {
    /// The state.
    #[command(flatten)]
    pub(crate) say: SayArgs,
    /// Wait until the server has no flow left, so long at most (`10m`), over restarts and take-overs too. Exit status 1: some are left.
    /// Ctrl-C ends the wait: the state stays, and what `--then` says is not done.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) wait: Option<Duration>,
    /// What to do when the wait is over, whether flows are left or not.
    #[arg(long, value_name = "WHAT", requires = "wait")]
    pub(crate) then: Option<Then>,
}

/// What follows a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Then {
    /// Take no flow of sticky clients either.
    Offline,
    /// The same, and reset the connections that are left, both ends of them when either speaks.
    Close,
}
