//! Where lines go.

use super::entry::Entry;
use super::journal::Journal;
use super::line::line;
use super::orders::Patience;
use super::stderr::StandardError;
use super::stream::LogFile;
use crate::config::LogFormat;
use std::io;
use std::path::Path;

/// An open log.
#[derive(Debug)]
pub(super) enum Sink {
    Stderr { colour: bool, stream: StandardError },
    File(LogFile),
    Journal(Journal),
}

impl Sink {
    /// Standard error, painted or not.
    pub(super) fn stderr(colour: bool) -> Self {
        Self::Stderr { colour, stream: StandardError::default() }
    }

    /// A file to append to, made if it is not there.
    pub(super) fn file(path: &Path) -> Result<Self, String> {
        LogFile::open(path).map(Self::File)
    }

    /// The journal of this machine.
    pub(super) fn journal() -> Result<Self, String> {
        Journal::of_machine().map(Self::Journal)
    }

    /// Writes one entry; a pipe that has no room takes none, others are waited for.
    ///
    /// # Errors
    /// The entry is lost.
    pub(super) fn write(
        &mut self,
        entry: &Entry,
        format: LogFormat,
        patience: &mut Patience,
    ) -> io::Result<()> {
        match self {
            Self::Stderr { colour, stream } => stream.write(&line(entry, format, *colour), patience),
            Self::File(file) => file.write(&line(entry, format, false)),
            Self::Journal(journal) => journal.write(entry, patience),
        }
    }

    /// Opens a file anew by its name; anything else stays. Gives how many lines were cut off by that.
    pub(super) fn reopen(&mut self) -> io::Result<u64> {
        match self {
            Self::File(file) => file.reopen(),
            Self::Stderr { .. } | Self::Journal(_) => Ok(0),
        }
    }

    /// Ends what was begun, before something else is written to or nothing any more. Gives how many lines were cut off.
    pub(super) fn end(&mut self) -> u64 {
        match self {
            Self::File(file) => file.end(),
            Self::Stderr { stream, .. } => stream.end(),
            Self::Journal(_) => 0,
        }
    }
}
