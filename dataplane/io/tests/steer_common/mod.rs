//! A network namespace and a BPF file system of the test's own, gone with the thread that made them.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Runs `test` in a thread with a network namespace and a BPF file system of its own; false, with a line, without root.
pub(crate) fn in_namespace(name: &str, test: impl FnOnce(&Path) + Send + 'static) -> bool {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED {name}: it needs root");
        return false;
    }
    let root = std::env::temp_dir().join(format!("ringlead-{name}-{}", std::process::id()));
    let here = root.clone();
    let result = std::thread::spawn(move || {
        // A thread's unshare moves only the thread, and what it starts.
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        test(&bpffs(&here));
    })
    .join();
    std::fs::remove_dir(&root).unwrap();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
    true
}

fn bpffs(root: &Path) -> PathBuf {
    std::fs::create_dir_all(root).unwrap();
    mount(Some("bpf"), root, Some("bpf"), MsFlags::empty(), None::<&str>).unwrap();
    root.join("ringlead")
}

/// Runs a command in the caller's namespaces; its output, or a panic with what it said.
pub(crate) fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{line}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The index of a device of this namespace.
pub(crate) fn ifindex(device: &str) -> u32 {
    nix::net::if_::if_nametoindex(device).unwrap()
}
