//! The arguments of the listings, and of what names flows.

use super::DaemonArgs;
use crate::commands::complete;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;
use ringlead_control::engine::requests::{FlowFilter, STATES};
use std::path::PathBuf;
use std::time::Duration;

/// How a listing is printed, and whether again.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    /// Print JSON, the stable form.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print comma-separated values (RFC 4180), with a header.
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    /// Again and again, every so many seconds: in place on a terminal, one after the other elsewhere.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = interval)]
    pub(crate) watch: Option<Duration>,
}

/// `ringlead servers`.
#[derive(Debug, Args)]
pub(crate) struct ServersArgs {
    /// The servers of this pool.
    #[arg(add = ArgValueCandidates::new(complete::pools))]
    pub(crate) pool: Option<String>,
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

/// `ringlead drops`.
#[derive(Debug, Args)]
pub(crate) struct DropsArgs {
    /// Reasons that did not occur, too.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

/// `ringlead persist`.
#[derive(Debug, Args)]
pub(crate) struct PersistArgs {
    /// The clients that this table knows.
    pub(crate) table: Option<String>,
    /// The clients of this address or prefix.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) client: Option<String>,
    /// The clients of this server.
    #[arg(long, value_name = "POOL/SERVER", add = ArgValueCandidates::new(complete::servers))]
    pub(crate) server: Option<String>,
    /// All clients that are known.
    #[arg(long)]
    pub(crate) entries: bool,
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

/// Which flows.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Of this service.
    #[arg(long, add = ArgValueCandidates::new(complete::services))]
    service: Option<String>,
    /// To servers of this pool.
    #[arg(long, add = ArgValueCandidates::new(complete::pools))]
    pool: Option<String>,
    /// To this server, also to one that has left the file.
    #[arg(long, value_name = "POOL/SERVER", add = ArgValueCandidates::new(complete::servers))]
    server: Option<String>,
    /// Of clients of this address or prefix.
    #[arg(long, value_name = "PREFIX")]
    client: Option<String>,
    /// From this port of the client.
    #[arg(long, value_name = "PORT")]
    client_port: Option<u16>,
    /// Of this protocol.
    #[arg(long, value_parser = ["tcp", "udp"])]
    protocol: Option<String>,
    /// In this state.
    #[arg(long, value_parser = PossibleValuesParser::new(STATES))]
    state: Option<String>,
    /// Silent for at least this time (`90s`).
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    idle_min: Option<Duration>,
    /// Silent for at most this time.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    idle_max: Option<Duration>,
}

impl FilterArgs {
    /// As the daemon takes it.
    pub(crate) fn filter(&self) -> FlowFilter {
        FlowFilter {
            service: self.service.clone(),
            pool: self.pool.clone(),
            server: self.server.clone(),
            client: self.client.clone(),
            client_port: self.client_port,
            protocol: self.protocol.clone(),
            state: self.state.clone(),
            idle_min_s: self.idle_min.map(|time| time.as_secs_f64()),
            idle_max_s: self.idle_max.map(|time| time.as_secs_f64()),
        }
    }
}

/// `ringlead flows`.
#[derive(Debug, Args)]
pub(crate) struct FlowsArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Sort by this column; a `-` before it: the largest first.
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true, value_parser = crate::commands::sorting)]
    pub(crate) sort: Option<(String, bool)>,
    /// So many at most. Of a table on a terminal 1000, else all.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Only say how many there are.
    #[arg(long, conflicts_with_all = ["sort", "limit"])]
    pub(crate) count: bool,
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

/// `ringlead flow`.
#[derive(Debug, Subcommand)]
pub(crate) enum FlowCommand {
    /// End flows: the table forgets them, and their server's load and source ports are free again. Packets that go on coming
    /// of an open connection are dropped (unknown-flow); where the server is computed from the packet (maglev without
    /// persistence or snat) they make the flow again.
    Kill(KillArgs),
}

/// `ringlead flow kill`.
#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Every flow; needed where nothing else says which.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `ringlead explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A code (C120, D006) or a drop's name (no-server). Or a flow: `tcp` or `udp`, the client's ADDRESS:PORT, and the service's
    /// name or ADDRESS:PORT.
    #[arg(value_name = "CODE | PROTOCOL CLIENT SERVICE", num_args = 1..=3, required = true)]
    pub(crate) what: Vec<String>,
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the servers of a flow's pool as comma-separated values (RFC 4180), with a header.
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}

/// `ringlead completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_parser = ["bash", "zsh", "fish"])]
    pub(crate) shell: String,
}

/// `ringlead man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for each command into this directory; without it the first page is printed.
    pub(crate) directory: Option<PathBuf>,
}

/// Seconds, with a fraction or without: 0.1 to 3600.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.trim_end_matches('s').parse().map_err(|_| "a number of seconds".to_owned())?;
    if !(0.1..=3_600.0).contains(&seconds) {
        return Err("0.1 to 3600 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}
