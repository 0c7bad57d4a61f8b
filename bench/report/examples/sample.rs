//! Writes a report with something of everything in all formats, to be looked at:
//! `sample DIRECTORY [REPORT.json]`; with a record, that one instead.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an example's data"
)]

#[path = "../tests/sample/mod.rs"]
mod sample;

use ringlead_report::OutputArgs;
use std::path::PathBuf;

fn main() {
    let dir = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| ".".into()));
    let file = |name: &str| Some(dir.join(name));
    let output = OutputArgs {
        json: file("sample.json"),
        csv: file("sample.csv"),
        hgrm: file("sample.hgrm"),
        html: file("sample.html"),
    };
    let report = std::env::args_os().nth(2).map_or_else(sample::report, |path| {
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    });
    output.write(&report).unwrap();
}
