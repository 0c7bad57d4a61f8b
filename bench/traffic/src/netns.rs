//! Doing something inside a network namespace, on a thread of its own: sockets made there stay there.

use crate::error::TrafficError;
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;

/// Runs `work` in the namespace `netns` (a name in /run/netns or a path; `None`: where we are), on a new thread.
pub(crate) fn inside<T: Send>(
    netns: Option<&str>,
    work: impl FnOnce() -> Result<T, TrafficError> + Send,
) -> Result<T, TrafficError> {
    let enter = || {
        if let Some(netns) = netns {
            let path = path_of(netns);
            let file = File::open(&path)
                .map_err(|e| TrafficError::io(format!("open the network namespace {}", path.display()), e))?;
            setns(file, CloneFlags::CLONE_NEWNET)
                .map_err(|e| TrafficError::io(format!("enter the network namespace {netns}"), e.into()))?;
        }
        work()
    };
    thread::scope(|scope| scope.spawn(enter).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn path_of(netns: &str) -> PathBuf {
    if netns.contains('/') { PathBuf::from(netns) } else { Path::new("/run/netns").join(netns) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_here_and_a_wrong_one_is_named() {
        assert_eq!(inside(None, || Ok(7)).unwrap(), 7);
        let error = inside(Some("no-such-netns"), || Ok(())).unwrap_err().to_string();
        assert!(error.contains("/run/netns/no-such-netns"), "{error}");
    }
}
