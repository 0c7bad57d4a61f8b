//! Doing something inside a network namespace.

use std::fs::File;
use std::panic::resume_unwind;
use std::thread;

use nix::sched::{CloneFlags, setns};

/// Runs `work` in a thread of its own that has entered the network namespace `name`, and returns what it returns.
///
/// Sockets made there stay there, and threads and processes started there start there. Only the network changes: files,
/// /sys/fs/bpf among them, are those outside.
///
/// # Panics
/// When there is no such namespace or it cannot be entered, and when `work` panics.
pub fn in_namespace<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let entered = scope.spawn(|| {
            let path = format!("/run/netns/{name}");
            let namespace = File::open(&path).unwrap_or_else(|e| panic!("open {path}: {e}"));
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap_or_else(|e| panic!("enter {path}: {e}"));
            work()
        });
        entered.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}
