//! Where a report goes: the options that every command shares.

use crate::{Report, csv, hgrm, html, terminal};
use clap::Args;
use std::fmt;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Where a report goes. Tables are printed unless a file is written to stdout.
#[derive(Clone, Default, Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// The whole record as JSON, to a file or to stdout (`-`, also when no file is named)
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub json: Option<PathBuf>,
    /// All numbers as one long CSV table, to a file or to stdout (`-`)
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub csv: Option<PathBuf>,
    /// Latency percentiles as HdrHistogram's text, in microseconds; of several distributions one file each
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// One page with charts and all numbers, which needs nothing else to be read
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl OutputArgs {
    /// Refuses what would be known only after the run: two outputs to stdout.
    ///
    /// # Errors
    /// When `--json` and `--csv` both go to stdout.
    pub fn check(&self) -> Result<(), OutputError> {
        if is_stdout(self.json.as_deref()) && is_stdout(self.csv.as_deref()) {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "--json and --csv cannot both go there");
            return Err(OutputError { what: "to stdout".to_string(), error });
        }
        Ok(())
    }

    /// Whether stdout belongs to a program: nothing but the report may be written there.
    #[must_use]
    pub fn takes_stdout(&self) -> bool {
        is_stdout(self.json.as_deref()) || is_stdout(self.csv.as_deref())
    }

    /// Writes the report to all places that were asked for, and prints its tables unless stdout is one of them.
    ///
    /// # Errors
    /// The first place that cannot be written, after all were tried: a run may have taken hours.
    pub fn write(&self, report: &Report) -> Result<(), OutputError> {
        let mut done = Ok(());
        if !self.takes_stdout() {
            let tables = terminal::render(report, !io::stdout().is_terminal());
            keep_first(&mut done, put(Path::new("-"), &tables));
        }
        if let Some(path) = &self.json {
            let json = serde_json::to_string_pretty(report).map(|json| json + "\n").map_err(io::Error::from);
            keep_first(
                &mut done,
                json.map_err(|error| failed(path, error)).and_then(|json| put(path, &json)),
            );
        }
        if let Some(path) = &self.csv {
            let csv = csv::render(report).map_err(|error| failed(path, error));
            keep_first(&mut done, csv.and_then(|csv| put(path, &csv)));
        }
        for (path, text) in self.hgrm.iter().flat_map(|path| hgrm::files(path, &report.histograms)) {
            keep_first(&mut done, put(&path, &text));
        }
        if let Some(path) = &self.html {
            keep_first(&mut done, put(path, &html::render(report)));
        }
        done
    }
}

fn is_stdout(path: Option<&Path>) -> bool {
    path.is_some_and(|path| path.as_os_str() == "-")
}

fn put(path: &Path, text: &str) -> Result<(), OutputError> {
    let put = if is_stdout(Some(path)) {
        let mut stdout = io::stdout().lock();
        // A reader that has seen enough (`| head`) is no failure.
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    } else {
        fs::write(path, text)
    };
    put.map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: io::Error) -> OutputError {
    OutputError { what: path.display().to_string(), error }
}

fn keep_first(done: &mut Result<(), OutputError>, next: Result<(), OutputError>) {
    if done.is_ok() {
        *done = next;
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
