//! Where a report goes: the options that every command shares.

use crate::Report;
use clap::Args;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

/// Where a report goes. Without `--json -` or `--csv -` a table is printed as well.
#[derive(Clone, Default, Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// The whole record as JSON, to a file or to stdout (`-`, also when no file is named)
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
}

impl OutputArgs {
    /// Writes the report to all places that were asked for.
    ///
    /// # Errors
    /// When a file cannot be written; the others are written nevertheless.
    pub fn write(&self, report: &Report) -> Result<(), OutputError> {
        let json = serde_json::to_string_pretty(report)
            .map_err(|error| OutputError { what: "the report".into(), error: error.into() })?;
        match &self.json {
            Some(path) if path.as_os_str() == "-" => writeln!(io::stdout(), "{json}"),
            Some(path) => fs::write(path, json + "\n"),
            None => Ok(()),
        }
        .map_err(|error| OutputError { what: "the JSON report".into(), error })
    }
}

/// A place that could not be written.
#[derive(Debug)]
pub struct OutputError {
    what: String,
    error: io::Error,
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write {}: {}", self.what, self.error)
    }
}

impl std::error::Error for OutputError {}
