//! Files in the state directory, replaced whole: a reader finds the old text or the new one, whoever writes at the same time.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What the name of an unfinished file ends in, behind the name that it is to have, its process and a number.
const UNFINISHED: &str = ".new";
/// Files that are looked at in search of unfinished ones: a state directory has a handful.
const LOOKED_MAX: usize = 1_000;

/// Whether a file has to survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lasting {
    /// Once it is replaced.
    AtOnce,
    /// When the system likes.
    Sometime,
}

/// Puts a text where a file is, or none.
///
/// # Errors
/// What the system said; then the old file stays, and nothing else is left.
pub(super) fn replace(path: &Path, text: &[u8], lasting: Lasting) -> io::Result<()> {
    let new = unfinished(path);
    let done = write(&new, text, lasting).and_then(|()| fs::rename(&new, path));
    if done.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&new);
    }
    done?;
    match path.parent() {
        Some(folder) if lasting == Lasting::AtOnce => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// Removes what processes that are gone left unfinished.
pub(super) fn sweep(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(LOOKED_MAX);
    for entry in entries {
        let name = entry.file_name();
        let writer = name.to_str().and_then(writer);
        if writer.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            // Somebody else may have been faster, and nothing depends on it.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A name of one's own: another process has another id, another write another number.
fn unfinished(path: &Path) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{number}{UNFINISHED}", std::process::id()));
    path.with_file_name(name)
}

/// The process whose unfinished file has this name.
fn writer(name: &str) -> Option<u32> {
    let (_, own) = name.strip_suffix(UNFINISHED)?.rsplit_once('.')?;
    let (pid, number) = own.split_once('-')?;
    number.parse::<u64>().ok()?;
    pid.parse().ok()
}

fn write(new: &Path, text: &[u8], lasting: Lasting) -> io::Result<()> {
    // Never through a link that somebody put there, and never what somebody else writes.
    let mut file = File::create_new(new)?;
    file.write_all(text)?;
    match lasting {
        Lasting::AtOnce => file.sync_all(),
        Lasting::Sometime => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn names(folder: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn many_writers_at_once_leave_one_whole_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.json");
        std::thread::scope(|scope| {
            for writer in 0..8_usize {
                let path = &path;
                scope.spawn(move || {
                    let letter = b'a' + u8::try_from(writer).unwrap();
                    for _ in 0..50 {
                        replace(path, &vec![letter; 10_000 * (writer + 1)], Lasting::Sometime).unwrap();
                        let found = fs::read(path).unwrap();
                        let whole = found.iter().all(|byte| *byte == found[0]);
                        assert!(whole && found.len() == 10_000 * usize::from(found[0] - b'a' + 1));
                    }
                });
            }
        });
        assert_eq!(names(folder.path()), BTreeSet::from(["status.json".to_owned()]));
    }

    #[test]
    fn what_fails_leaves_what_there_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.json");
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"{}", Lasting::AtOnce).is_err(), "a folder is in the way");
        assert!(path.is_dir());
        assert_eq!(names(folder.path()).len(), 1);
        assert!(replace(&folder.path().join("nowhere/status.json"), b"{}", Lasting::AtOnce).is_err());
    }

    #[test]
    fn what_dead_processes_left_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let own = format!("status.json.{}-0.new", std::process::id());
        // No process has the highest number there is.
        let dead = "status.json.4294967295-17.new";
        let others = ["status.json", "status.json.new", "notes-3.new", "a.x-3.new", "a.3-x.new"];
        for name in others.iter().chain(&[dead, own.as_str()]) {
            fs::write(folder.path().join(name), "{").unwrap();
        }
        sweep(folder.path());
        let left: BTreeSet<String> = others.iter().map(|name| (*name).to_owned()).chain([own]).collect();
        assert_eq!(names(folder.path()), left);
    }
}
