//! The one binary: it reads the command line and puts the crates together.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod demo;
mod memory;
mod out;
mod replay;
mod run;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Ends here when a shell asks what could come next.
    commands::complete::complete();
    commands::dispatch(cli::Cli::parse())
}
