//! The one binary: it reads the command line and puts the crates together.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod demo;
mod memory;
mod replay;
mod run;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    commands::dispatch(cli::Cli::parse())
}
