//! The one request that is answered with a file: another process wants to take this one's place.
//!
//! Who asks gets every client's address, and the node. So the socket's mode is not enough: the asker must be root.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recv, recvmsg, sendmsg,
};
use serde_json::{Map, Value, json};

use super::{READ_MAX_S, REQUEST_MAX};

/// The request's `command`.
pub const HAND_OVER: &str = "hand-over";
/// What all but the first successor are told.
pub const TAKEN: &str = "another process is taking this one's place already, or it is stopping";
/// In the request: the successor says when it has the answer and its files. In the answer: that it is waited for.
pub const ACKNOWLEDGES: &str = "acknowledges";
/// In the request: the latest version of a stream of flows that the successor reads; where it is missing, the first.
pub const STREAM: &str = "stream";
/// Files that may come with an answer.
const FILES_MAX: usize = 2;

/// A process that asked to take this one's place, and waits for the answer.
#[derive(Debug)]
pub struct Successor {
    /// What it said besides the command.
    pub arguments: Map<String, Value>,
    /// Its process id.
    pub pid: Option<i32>,
    stream: UnixStream,
}

impl Successor {
    /// One that waits at this stream, which may be non-blocking.
    pub(super) fn new(
        arguments: Map<String, Value>,
        pid: Option<i32>,
        stream: UnixStream,
    ) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(Duration::from_secs(READ_MAX_S)))?;
        Ok(Self { arguments, pid, stream })
    }

    /// The latest version of a stream of flows that it reads.
    #[must_use]
    pub fn reads(&self) -> u32 {
        let said = self.arguments.get(STREAM).and_then(Value::as_u64);
        said.and_then(|version| u32::try_from(version).ok()).unwrap_or(1)
    }

    /// Whether it has hung up: it was killed, or lost its patience.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let mut byte = [0];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match recv(&self.stream, &mut byte, flags) {
            Ok((_, length)) => length == 0,
            Err(error) => error != Errno::AGAIN,
        }
    }

    /// Sends it away; it learns why.
    pub fn refuse(mut self, why: &str) {
        // One that is gone does not need to know.
        let _ = writeln!(self.stream, "{}", json!({ "error": why }));
    }

    /// Answers it, with up to two open files.
    ///
    /// # Errors
    /// What sending says; it may have gone.
    pub fn answer(&self, answer: &Value, files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let line = format!("{answer}\n");
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
            return Err(io::Error::other("no room for the files beside the answer"));
        }
        let sent =
            sendmsg(&self.stream, &[IoSlice::new(line.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
        (&self.stream).write_all(line.as_bytes().get(sent..).unwrap_or_default())
    }

    /// Waits until it says that it has the answer, for no longer than `patience`. After that it cannot say so: what it would
    /// write is refused by the kernel. So both know the same, however close it was.
    #[must_use]
    pub fn await_taken(self, patience: Duration) -> Taken {
        if self.arguments.get(ACKNOWLEDGES) != Some(&Value::Bool(true)) {
            return Taken::NeverSays;
        }
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stream.set_read_timeout(Some(left)).is_err() {
                break;
            }
            match self.heard() {
                Err(error) if [ErrorKind::Interrupted, ErrorKind::WouldBlock].contains(&error.kind()) => {}
                said => return if matches!(said, Ok(true)) { Taken::Said } else { Taken::Gone },
            }
        }
        // What was written before this is still read; what comes after it never gets here.
        let closed = self.stream.shutdown(Shutdown::Read);
        match (closed, self.heard()) {
            (_, Ok(true)) => Taken::Said,
            (Ok(()), _) => Taken::Withdrawn,
            (Err(_), _) => Taken::Gone,
        }
    }

    /// Whether it says something rather than hang up.
    fn heard(&self) -> io::Result<bool> {
        (&self.stream).read(&mut [0; 64]).map(|length| length > 0)
    }
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The successor has it and its files: the node is its own.
    Said,
    /// It is of a version that does not say so.
    NeverSays,
    /// It hung up before it said so: it was killed, or could not go on.
    Gone,
    /// It has not said so in time, and cannot any more: whatever it does now, it finds the answer withdrawn.
    Withdrawn,
}

/// Reads an answer's line, and the files that came with it.
pub(super) fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let (mut line, mut files) = (Vec::new(), Vec::new());
    while line.last() != Some(&b'\n') && line.len() <= REQUEST_MAX {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let got = recvmsg(stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                // What is not kept is closed.
                let room = FILES_MAX - files.len();
                files.extend(more.take(room));
            }
        }
        if got == 0 {
            break;
        }
        line.extend_from_slice(bytes.get(..got).unwrap_or_default());
    }
    Ok((line, files))
}
