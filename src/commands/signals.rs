//! Signals that end a command wait while it does what must not stay half done.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// Does it with SIGINT, SIGTERM and SIGHUP held; one that came meanwhile acts when it is done. For commands of one thread: other
/// threads would get them.
///
/// # Errors
/// What `work` says, or that the signals cannot be held: then nothing is done.
pub(super) fn held_while<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let mut held = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        held.add(signal);
    }
    let before = held
        .thread_swap_mask(SigmaskHow::SIG_BLOCK)
        .map_err(|errno| format!("signals cannot be held: {errno}; nothing is written"))?;
    let done = work();
    // It has worked just now, with a mask that the system gave: no other error is left.
    let _ = before.thread_set_mask();
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::raise;

    #[test]
    fn a_signal_waits_until_the_work_is_done() {
        // A signal that is blocked already does not end the test when the work is done.
        let mut outer = SigSet::empty();
        outer.add(Signal::SIGHUP);
        outer.thread_block().unwrap();
        let done = held_while(|| {
            let mask = SigSet::thread_get_mask().unwrap();
            for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
                assert!(mask.contains(signal), "{signal} ends the work");
            }
            raise(Signal::SIGHUP).unwrap();
            Ok("done")
        });
        assert_eq!(done, Ok("done"));
        let mask = SigSet::thread_get_mask().unwrap();
        assert!(!mask.contains(Signal::SIGINT) && !mask.contains(Signal::SIGTERM));
        assert!(mask.contains(Signal::SIGHUP), "a mask of before stays");
    }
}
