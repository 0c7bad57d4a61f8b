//! The packet path on the in-memory port. See ../README.md.
#![allow(clippy::print_stdout, reason = "a program")]

use ringlead_bench::args::{Args, USAGE};
use ringlead_bench::{clock, measure, report};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match Args::read(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(cell) = &args.counted {
        println!("packets: {}", measure::counted(cell));
        return ExitCode::SUCCESS;
    }
    if clock::pin().is_none() {
        eprintln!("not pinned to a core: expect more noise");
    }
    let results = measure::all(&args);
    print!("{}", if args.json { report::json(&results) } else { report::tables(&results) });
    ExitCode::SUCCESS
}
