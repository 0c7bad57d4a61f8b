//! One daemon a node.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use ringlead_control::lock::{InstanceLock, LockError};

#[test]
fn the_second_is_refused_with_the_first_ones_pid() {
    let dir = tempfile::tempdir().unwrap();
    let held = InstanceLock::take(dir.path()).unwrap();
    let refused = InstanceLock::take(dir.path()).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains(&format!("process {} holds", std::process::id())), "{text}");
    assert!(text.contains(&held.path().display().to_string()), "{text}");

    held.release().unwrap();
    let again = InstanceLock::take(dir.path()).expect("released");
    drop(again);
    InstanceLock::take(dir.path()).expect("dropped");
}

/// From one process to the next without a moment in which a third one could take it.
#[test]
fn a_lock_that_is_passed_on_is_never_free() {
    let dir = tempfile::tempdir().unwrap();
    let held = InstanceLock::take(dir.path()).unwrap();
    let passed = InstanceLock::passed_on(held.as_fd().try_clone_to_owned().unwrap(), dir.path()).unwrap();
    drop(held);
    let refused = InstanceLock::take(dir.path()).unwrap_err();
    assert!(matches!(refused, LockError::Held { .. }), "{refused}");
    drop(passed);
    InstanceLock::take(dir.path()).expect("dropped");
    let other = tempfile::tempfile().unwrap();
    let refused = InstanceLock::passed_on(other.into(), dir.path()).unwrap_err();
    assert!(refused.to_string().contains("another file"), "{refused}");
}

/// One that was passed on and withdrawn is nobody's, though somebody may still have the file.
#[test]
fn a_lock_that_is_withdrawn_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let held = InstanceLock::take(dir.path()).unwrap();
    let in_a_socket = held.as_fd().try_clone_to_owned().unwrap();
    held.release().unwrap();
    let next = InstanceLock::take(dir.path()).expect("withdrawn");
    drop(in_a_socket);
    let refused = InstanceLock::take(dir.path()).unwrap_err();
    assert!(matches!(refused, LockError::Held { .. }), "{refused}");
    drop(next);
}

#[test]
fn the_state_directory_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("lib/ringlead");
    let held = InstanceLock::take(&state).unwrap();
    assert_eq!(held.path(), state.join("lock"));
    let others = fs::metadata(&state).unwrap().permissions().mode() & 0o007;
    assert_eq!(others, 0, "nobody else reads the state");
}

/// A holder killed without a chance to clean up leaves its file and its number, but not the lock.
#[test]
fn a_killed_holder_holds_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let script = format!(
        "exec 9>>{0}; flock -n 9 || exit 1; echo 4242 >{0}; echo held; exec sleep 60",
        path.display()
    );
    let mut other = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(other.stdout.take().unwrap()), &mut said)
        .unwrap();
    assert_eq!(said, "held\n");

    let refused = InstanceLock::take(dir.path()).unwrap_err();
    assert!(matches!(refused, LockError::Held { pid: Some(4242), .. }), "{refused}");
    other.kill().unwrap();
    other.wait().unwrap();
    let _held = InstanceLock::take(dir.path()).expect("the holder is dead");
    let written = fs::read_to_string(&path).unwrap();
    assert_eq!(written.trim(), std::process::id().to_string());
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let refused = InstanceLock::take(&dir.path().join("file/state")).unwrap_err();
    assert!(matches!(refused, LockError::Io { .. }));
    assert!(refused.to_string().contains("file/state"), "{refused}");
}
