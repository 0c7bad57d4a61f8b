//! The `ringlead bench …` commands: what each takes, and who does it.

use clap::{Args, Subcommand};
use std::process::ExitCode;

/// `ringlead bench`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct BenchArgs {
    /// What to measure.
    #[command(subcommand)]
    command: BenchCommand,
}

/// The measurements.
#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// What changed from one report to another, beyond what their repeats differ anyway.
    Compare(crate::commands::compare::CompareArgs),
    /// The packet path in memory: what a packet costs by mode, family, flows, workers, services and servers.
    Core(crate::commands::core::CoreArgs),
    /// HTTP requests through the kernel's stack: at a rate or in loops.
    Http(crate::commands::http::HttpArgs),
    /// Request and response through the kernel's stack, one in flight a connection, TCP or UDP.
    Rr(crate::commands::rr::RrArgs),
    /// The rate without loss (NDR) and the rate with little loss (PDR), and latency below them.
    Search(crate::commands::search::SearchArgs),
    /// Packets at a rate from one side of the balancer to the other, counted honestly.
    Send(crate::commands::send::SendArgs),
    /// Judged packets while things happen to the balancer, and what each of them cost.
    Soak(crate::commands::soak::SoakArgs),
    /// TCP connections through the kernel's stack: how many a second, and bytes on them.
    Tcp(crate::commands::tcp::TcpArgs),
    /// Packets through the balancer, every returned one judged by an independent witness.
    Verify(crate::commands::verify::VerifyArgs),
}

/// Measures what the command line says. Exit status: 0 done and fine, 1 done and not fine (loss, a wrong frame, an
/// invalid trial), 2 refused.
#[must_use]
pub fn run(args: BenchArgs) -> ExitCode {
    match args.command {
        BenchCommand::Compare(args) => crate::commands::compare::run(&args),
        BenchCommand::Core(args) => crate::commands::core::run(args, &["bench", "core"]),
        BenchCommand::Http(args) => crate::commands::http::run(&args),
        BenchCommand::Rr(args) => crate::commands::rr::run(&args),
        BenchCommand::Search(args) => crate::commands::search::run(&args),
        BenchCommand::Send(args) => crate::commands::send::run(&args),
        BenchCommand::Soak(args) => crate::commands::soak::run(&args),
        BenchCommand::Tcp(args) => crate::commands::tcp::run(&args),
        BenchCommand::Verify(args) => crate::commands::verify::run(&args),
    }
}
