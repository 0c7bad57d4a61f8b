//! `ringlead bench tcp`: connections a second, and bytes on them.

use super::load::{CloseArgs, LoadArgs, bytes};
use clap::Args;
use ringlead_load::tcp::{Exchange, Spec, run_seen};
use std::net::SocketAddr;
use std::process::ExitCode;

/// `ringlead bench tcp`.
#[derive(Debug, Args)]
pub struct TcpArgs {
    /// Address and port of the service
    #[arg(value_name = "ADDRESS:PORT")]
    target: SocketAddr,
    /// Connections at a time in a closed loop
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "rate",
        value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: u32,
    /// Connections in all [default: as many as the duration has room for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    connections: Option<u64>,
    /// Bytes sent on each connection
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = bytes, conflicts_with_all = ["echo_bytes", "stream"])]
    send_bytes: u64,
    /// Bytes that must come back on each connection
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = bytes, conflicts_with_all = ["echo_bytes", "stream"])]
    receive_bytes: u64,
    /// Bytes sent on each connection that must come back, the same
    #[arg(long, value_name = "BYTES", value_parser = bytes, conflicts_with = "stream")]
    echo_bytes: Option<u64>,
    /// Keeps the connections and streams on them until the end
    #[arg(long, value_name = "WAY", conflicts_with = "rate")]
    stream: Option<Way>,
    #[command(flatten)]
    close: CloseArgs,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Way {
    Send,
    Receive,
    Both,
}

/// Runs it.
#[must_use]
pub fn run(args: &TcpArgs) -> ExitCode {
    let exchange = match (args.stream, args.echo_bytes) {
        (Some(Way::Send), _) => Exchange::Stream { send: true, receive: false },
        (Some(Way::Receive), _) => Exchange::Stream { send: false, receive: true },
        (Some(Way::Both), _) => Exchange::Stream { send: true, receive: true },
        (None, Some(bytes)) => Exchange::Echo { bytes },
        (None, None) => Exchange::Bytes { send: args.send_bytes, receive: args.receive_bytes },
    };
    let mut settings = args.load.settings(args.target, args.concurrency);
    (settings.total, settings.close) = (args.connections, args.close.into());
    let spec = Spec { settings, exchange };
    args.load.run(|seen| run_seen(&spec, seen))
}
