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
    /// The packet path in memory: what a packet costs by mode, family, flows, workers, services and servers.
    Core(crate::commands::core::CoreArgs),
}

/// Measures what the command line says. Exit status: 0 done and fine, 1 done and not fine (loss, a wrong frame, an
/// invalid trial), 2 refused.
#[must_use]
pub fn run(args: BenchArgs) -> ExitCode {
    match args.command {
        BenchCommand::Core(args) => crate::commands::core::run(args, &["bench", "core"]),
    }
}
