//! Prints what is untidy in the workspace and fails when anything is. See `ringlead_tests::tidy`.

#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::process::ExitCode;

fn main() -> ExitCode {
    let (findings, files) = ringlead_tests::tidy::workspace(ringlead_tests::workspace_root());
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {files} files, {} findings", findings.len());
    if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
