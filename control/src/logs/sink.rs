//! Where lines go.

use super::entry::Entry;
use super::line::{journal, line};
use crate::config::LogFormat;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Where journald listens (systemd-journald.service(8)).
const JOURNAL: &str = "/run/systemd/journal/socket";

/// An open log.
#[derive(Debug)]
pub(super) enum Sink {
    Stderr { colour: bool },
    File { path: PathBuf, file: File },
    Journal { path: PathBuf, socket: UnixDatagram },
}

impl Sink {
    /// A file to append to, made if it is not there.
    pub(super) fn file(path: &Path) -> Result<Self, String> {
        let file = append_to(path).map_err(|error| {
            format!("cannot write the log {}: {error}; its directory must be there", path.display())
        })?;
        Ok(Self::File { path: path.to_owned(), file })
    }

    /// The journal of this machine.
    pub(super) fn journal() -> Result<Self, String> {
        Self::journal_at(Path::new(JOURNAL))
    }

    pub(super) fn journal_at(path: &Path) -> Result<Self, String> {
        let socket = UnixDatagram::unbound().and_then(|socket| socket.connect(path).map(|()| socket));
        let socket = socket.map_err(|error| {
            format!("no journal listens on {}: {error}; write to = \"stderr\"", path.display())
        })?;
        Ok(Self::Journal { path: path.to_owned(), socket })
    }

    /// Writes one entry; waits as long as the other end does.
    pub(super) fn write(&mut self, entry: &Entry, format: LogFormat) -> io::Result<()> {
        match self {
            Self::Stderr { colour } => io::stderr().lock().write_all(&line(entry, format, *colour)),
            Self::File { file, .. } => file.write_all(&line(entry, format, false)),
            Self::Journal { path, socket } => match socket.send(&journal(entry)) {
                // A journal that was restarted listens on a new socket.
                Err(error) if is_gone(&error) => {
                    socket.connect(path)?;
                    socket.send(&journal(entry)).map(|_| ())
                }
                sent => sent.map(|_| ()),
            },
        }
    }

    /// Opens a file anew by its name; anything else stays.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Self::File { path, file } = self {
            *file = append_to(path)?;
        }
        Ok(())
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECONNREFUSED | libc::ENOTCONN | libc::ECONNRESET))
}

/// A pipe without a reader is refused, and a full one costs lines: without `O_NONBLOCK` both would wait for ever.
fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options.open(path)
}
