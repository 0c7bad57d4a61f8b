//! `ringlead bench rr`: request and response, one in flight a connection.

use super::load::{LoadArgs, bytes};
use clap::Args;
use ringlead_load::rr::{Protocol, Reply, Spec, run_seen};
use std::net::SocketAddr;
use std::process::ExitCode;

/// `ringlead bench rr`.
#[derive(Debug, Args)]
pub struct RrArgs {
    /// Address and port of a service that sends back what it gets
    #[arg(value_name = "ADDRESS:PORT")]
    target: SocketAddr,
    /// UDP instead of TCP: a request that is not answered in time is lost
    #[arg(long)]
    udp: bool,
    /// Connections, each with one request in flight; in an open loop requests wait for one, and are charged for it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Requests in all [default: as many as the duration has room for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Requests before a connection is replaced by a new one [default: never]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests_per_connection: Option<u64>,
    /// Bytes of a request, 16 or more
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = bytes)]
    size: u64,
    /// Bytes that the service puts before its echo
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = bytes, conflicts_with = "reply_bytes")]
    reply_skip: u64,
    /// The service answers so many bytes of its own: they are counted, not compared
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    reply_bytes: Option<u64>,
    #[command(flatten)]
    load: LoadArgs,
}

/// Runs it.
#[must_use]
pub fn run(args: &RrArgs) -> ExitCode {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut settings = args.load.settings(args.target, args.connections);
    settings.total = args.requests;
    settings.connections_max = args.load.is_open().then_some(args.connections);
    let spec = Spec {
        settings,
        protocol: if args.udp { Protocol::Udp } else { Protocol::Tcp },
        size: size(args.size),
        answer: match args.reply_bytes {
            Some(bytes) => Reply::Bytes { bytes: size(bytes) },
            None => Reply::Echo { skip: size(args.reply_skip) },
        },
        requests_per_connection: args.requests_per_connection,
    };
    args.load.run(|seen| run_seen(&spec, seen))
}
