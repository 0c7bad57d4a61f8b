//! The command line's side: one blocking request.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::successor::ACKNOWLEDGES;
use super::{ANSWER_MAX_S, BUSY, LATE, READ_MAX_S, STOPPING, socket, successor};

/// Longest answer in bytes: a full flow dump is asked for in pages.
pub const ANSWER_MAX: u64 = 64 * 1024 * 1024;
/// A little more than the daemon allows itself, so that its own words arrive rather than ours.
const PATIENCE: Duration = Duration::from_secs(ANSWER_MAX_S + READ_MAX_S);
const CONNECT_MAX: Duration = Duration::from_secs(READ_MAX_S);

/// Why there is no answer.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody listens at this path.
    NoDaemon {
        /// The path.
        path: PathBuf,
    },
    /// The socket's file mode keeps us out.
    Forbidden {
        /// The path.
        path: PathBuf,
    },
    /// The daemon refused, in its words: the answer's member `error`.
    Refused(String),
    /// The daemon listens but has no place now, in its words: the request was not read, and may be made again.
    Busy(String),
    /// The daemon was ending when the request came, or ended over it, in its words: it has not said what became of it.
    Stopping(String),
    /// The daemon listens but does not answer in time: it may still do what was asked.
    NoAnswer,
    /// The answer is not a JSON object, or too long.
    BadAnswer(String),
    /// The system said no.
    Io(io::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDaemon { path } => write!(f, "no daemon listens on {}", path.display()),
            Self::Forbidden { path } => write!(f, "not allowed to talk to {}", path.display()),
            Self::Refused(reason) | Self::Busy(reason) | Self::Stopping(reason) => write!(f, "{reason}"),
            Self::NoAnswer => write!(f, "the daemon does not answer"),
            Self::BadAnswer(reason) => write!(f, "the daemon's answer cannot be read: {reason}"),
            Self::Io(error) => write!(f, "talking to the daemon: {error}"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::NoDaemon { .. }
            | Self::Forbidden { .. }
            | Self::Refused(_)
            | Self::Busy(_)
            | Self::Stopping(_)
            | Self::NoAnswer
            | Self::BadAnswer(_) => None,
        }
    }
}

/// Send one request to the daemon at `path` and wait for its answer.
///
/// # Errors
/// [`ClientError::Refused`] when the daemon answered with an error; else why there is no answer.
pub fn request(path: &Path, request: &Value) -> Result<Value, ClientError> {
    request_within(path, request, PATIENCE)
}

/// As [`request`], waiting at most `patience` for each part of the answer.
///
/// # Errors
/// As [`request`].
pub fn request_within(path: &Path, request: &Value, patience: Duration) -> Result<Value, ClientError> {
    let connecting = CONNECT_MAX.min(patience);
    let stream = socket::reach(path, connecting).map_err(|error| unreachable_because(error, path))?;
    stream.set_read_timeout(Some(patience)).map_err(ClientError::Io)?;
    // A daemon that turns us away may close before it has read; its reason then waits to be read all the same.
    let sent = (&stream).write_all(format!("{request}\n").as_bytes());
    match (read_answer(&stream), sent) {
        (Err(ClientError::BadAnswer(_) | ClientError::Io(_)), Err(error)) => Err(late(error)),
        (answer, _) => answer,
    }
}

/// Sends one request to the daemon at `path` and waits at most `patience` for its answer, and for the files that may come with
/// it.
///
/// # Errors
/// As [`request`].
pub fn request_files(path: &Path, request: &Value, patience: Duration) -> Result<Handed, ClientError> {
    let stream = socket::reach(path, CONNECT_MAX).map_err(|error| unreachable_because(error, path))?;
    stream.set_read_timeout(Some(patience)).map_err(ClientError::Io)?;
    (&stream).write_all(format!("{request}\n").as_bytes()).map_err(late)?;
    let (line, files) = successor::receive(&stream).map_err(late)?;
    Ok(Handed { answer: parse_answer(&line)?, files, stream })
}

/// An answer with files.
#[derive(Debug)]
pub struct Handed {
    /// The answer.
    pub answer: Value,
    /// What came with it.
    pub files: Vec<OwnedFd>,
    stream: UnixStream,
}

impl Handed {
    /// Says that both are here, where the daemon waits for that: then it has let go for good.
    ///
    /// # Errors
    /// It does not wait any more: it has died, or withdrawn what it gave.
    pub fn acknowledge(&self) -> io::Result<()> {
        let is_awaited = self.answer.get(ACKNOWLEDGES) == Some(&Value::Bool(true));
        if is_awaited { (&self.stream).write_all(b"{\"taken\":true}\n") } else { Ok(()) }
    }
}

/// Whether a daemon listens at `path`.
///
/// # Errors
/// Every [`ClientError`] but `NoDaemon`.
pub fn is_there(path: &Path) -> Result<bool, ClientError> {
    match socket::reach(path, CONNECT_MAX).map_err(|error| unreachable_because(error, path)) {
        Ok(_) => Ok(true),
        Err(ClientError::NoDaemon { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_answer(stream: &UnixStream) -> Result<Value, ClientError> {
    let mut answer = Vec::new();
    let read = BufReader::new(stream.take(ANSWER_MAX)).read_until(b'\n', &mut answer);
    read.map_err(late)?;
    parse_answer(&answer)
}

pub(super) fn parse_answer(answer: &[u8]) -> Result<Value, ClientError> {
    if answer.last() != Some(&b'\n') {
        return Err(ClientError::BadAnswer("it is cut off".to_owned()));
    }
    match serde_json::from_slice(answer) {
        Ok(Value::Object(answer)) => match answer.get("error").and_then(Value::as_str) {
            Some(reason) => Err(unserved(&answer, reason)),
            None => Ok(Value::Object(answer)),
        },
        Ok(_) => Err(ClientError::BadAnswer("not a JSON object".to_owned())),
        Err(error) => Err(ClientError::BadAnswer(error.to_string())),
    }
}

/// What an answer with an error means: its marks tell a refusal from what the daemon's state is to blame for.
fn unserved(answer: &Map<String, Value>, reason: &str) -> ClientError {
    let marked = |mark: &str| answer.get(mark) == Some(&Value::Bool(true));
    match reason.to_owned() {
        _ if marked(LATE) => ClientError::NoAnswer,
        reason if marked(BUSY) => ClientError::Busy(reason),
        reason if marked(STOPPING) => ClientError::Stopping(reason),
        reason => ClientError::Refused(reason),
    }
}

fn unreachable_because(error: io::Error, path: &Path) -> ClientError {
    let path = path.to_owned();
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ECONNREFUSED) => ClientError::NoDaemon { path },
        Some(libc::EACCES | libc::EPERM) => ClientError::Forbidden { path },
        _ => late(error),
    }
}

/// A timeout of a socket option shows as `WouldBlock`.
fn late(error: io::Error) -> ClientError {
    if error.kind() == io::ErrorKind::WouldBlock { ClientError::NoAnswer } else { ClientError::Io(error) }
}
