//! Standard output: everything that commands print goes through here, so that a write that failed is never a success.

use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

/// Why something was not written.
static FAILED: OnceLock<String> = OnceLock::new();

/// Prints; `false` when there is no use in more: nobody reads any more, which is the reader's choice, or it cannot be written,
/// which [`failure`] then tells.
pub(crate) fn print(text: &str) -> bool {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if let Some(why) = written.as_ref().err().and_then(fault) {
        // The first one says most.
        let _ = FAILED.set(why);
    }
    written.is_ok()
}

/// Prints a line, as [`print`].
pub(crate) fn line(text: &str) -> bool {
    print(&format!("{text}\n"))
}

/// Why not all of it was written, if so.
pub(crate) fn failure() -> Option<&'static str> {
    FAILED.get().map(String::as_str)
}

/// What is wrong, unless the reader has just seen enough.
fn fault(error: &io::Error) -> Option<String> {
    (error.kind() != ErrorKind::BrokenPipe).then(|| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_a_fault_and_a_reader_that_left_is_none() {
        assert_eq!(fault(&io::Error::from(ErrorKind::BrokenPipe)), None);
        assert!(fault(&io::Error::from(ErrorKind::StorageFull)).is_some());
    }
}
