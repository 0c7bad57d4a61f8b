//! Lines to standard error, which others may have too, so that its flags are not ours to change: it is asked first whether there is room.
//!
//! Several of our threads write to it. Each waits without the process's lock, so that none waits for one that waits, and looks again with
//! it: between that look and the write none of us takes the room.

use super::orders::Patience;
use super::stream::Begun;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// What a pipe that can be written to takes at once (`PIPE_BUF`).
const PIPE_BYTES: usize = 4_096;

/// Whole lines to standard error.
#[derive(Debug, Default)]
pub(super) struct StandardError {
    begun: Begun,
}

impl StandardError {
    /// Waits for room as long as the patience lasts.
    pub(super) fn write(&mut self, line: &[u8], patience: &mut Patience) -> io::Result<()> {
        self.begun.write(line, |bytes| {
            loop {
                patience.wait(io::stderr().as_fd())?;
                match put(bytes) {
                    // Somebody else was faster.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    put => return put,
                }
            }
        })
    }

    /// Ends the line that was begun, if there is room now; else it is cut off. Gives how many lines were.
    pub(super) fn end(&mut self) -> u64 {
        self.begun.end_or_cut(put)
    }
}

/// Says a line if there is room for it now. Whoever calls neither waits nor fails with standard error.
pub(super) fn say_at_once(text: &str) {
    // There is nowhere left to say that this failed.
    let _ = put(format!("{text}\n").as_bytes());
}

/// Whether standard error takes something now, so that writing a little to it makes nobody wait; what is broken takes nothing.
#[must_use]
pub fn takes_more() -> bool {
    let stderr = io::stderr();
    let mut ends = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let room = poll(&mut ends, PollTimeout::ZERO);
    room == Ok(1) && ends.iter().all(|end| end.revents() == Some(PollFlags::POLLOUT))
}

/// Writes as much as there is room for now.
///
/// # Errors
/// `WouldBlock` when there is none, or what writing says.
fn put(bytes: &[u8]) -> io::Result<usize> {
    let mut stderr = io::stderr().lock();
    if !is_ready(stderr.as_fd()) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    stderr.write(bytes.get(..PIPE_BYTES).unwrap_or(bytes))
}

/// Also when it is broken: writing tells how.
fn is_ready(end: BorrowedFd<'_>) -> bool {
    poll(&mut [PollFd::new(end, PollFlags::POLLOUT)], PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
#[path = "stderr_tests.rs"]
mod tests;
