//! `ringlead bench core` without building the whole binary: `cargo bench -p ringlead-bench --bench path -- --quick`.
//! See ../README.md.

use clap::Parser;
use ringlead_bench::commands::core::{self, CoreArgs};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "path")]
struct Cli {
    #[command(flatten)]
    core: CoreArgs,
    /// What cargo adds by itself.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    core::run(Cli::parse().core, &[])
}
