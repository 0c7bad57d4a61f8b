//! A configuration file with another text: one writer at a time, replaced whole, with the owner, mode and attributes that it had.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{
    FlockOperation, Mode, OFlags, XattrFlags, fgetxattr, flistxattr, flock, fremovexattr, fsetxattr, open,
};
use rustix::io::Errno;

/// For how long [`EditLock::take`] waits at most: longer than a reload takes.
pub const EDIT_WAIT: Duration = Duration::from_secs(40);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What all names of a file's extended attributes may have, and each value: the kernel's own bounds.
const ATTRIBUTES_MAX: usize = 64 << 10;
const ACCESS_LIST: &CStr = c"system.posix_acl_access";

/// The lock's name in the state directory.
const LOCK_NAME: &str = "edit.lock";

/// Held while a configuration is changed by command, for as long as this value lives: a flock on a file in the state directory, which
/// only who runs the daemon may open. Who may not locks the configuration file's folder: the file itself is replaced.
#[derive(Debug)]
pub struct EditLock {
    _locked: File,
}

impl EditLock {
    /// Takes the lock of `state_dir`, or where that cannot be opened of `file`'s folder; waits `patience` at most while another command
    /// has it.
    ///
    /// # Errors
    /// Another one has it all the time, or neither can be opened.
    pub fn take(file: &Path, state_dir: &Path, patience: Duration) -> io::Result<Self> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let begin = Instant::now();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let own = open(state_dir.join(LOCK_NAME), flags, Mode::RUSR | Mode::WUSR);
        let handle = own.map(File::from).or_else(|_| File::open(folder))?;
        loop {
            match flock(&handle, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _locked: handle }),
                Err(Errno::WOULDBLOCK) if begin.elapsed() < patience => std::thread::sleep(LOOK_EVERY),
                Err(Errno::WOULDBLOCK) => {
                    return Err(io::Error::other(format!(
                        "another edit in {} is under way",
                        folder.display()
                    )));
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Puts the text `new` in the place of `old`, at once and lasting; a symbolic link stays one. Whoever reads the file meanwhile
/// finds the one or the other. `Some` tells why the new text, though it is there, may be lost with the power.
///
/// # Errors
/// The file has another text than `old`, has several names (hard links), or its owner, mode and attributes cannot be kept; or what the
/// system said. Then it is as it was.
pub fn replace(path: &Path, old: &str, new: &str) -> io::Result<Option<io::Error>> {
    replace_lasting(path, old, new, File::sync_all)
}

fn replace_lasting(
    path: &Path,
    old: &str,
    new: &str,
    sync_folder: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<Option<io::Error>> {
    let path = fs::canonicalize(path)?;
    let there = File::open(&path)?;
    let about = there.metadata()?;
    if about.nlink() > 1 {
        return Err(io::Error::other("the file has other names (hard links), which would keep the old text"));
    }
    // Who may write the folder need not be meant to write this file.
    drop(File::options().append(true).open(&path)?);
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    // Patterns of `include` leave names with a dot out.
    name.push(format!(".{}.new", std::process::id()));
    let unfinished = path.with_file_name(name);
    // Before anything is changed, because after the rename nothing may fail any more.
    let folder = File::open(path.parent().unwrap_or(Path::new("/")))?;
    let done = write(&unfinished, &there, new).and_then(|()| {
        if fs::read(&path)? != old.as_bytes() {
            return Err(io::Error::other("somebody else has just changed the file"));
        }
        fs::rename(&unfinished, &path)
    });
    if done.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&unfinished);
    }
    done?;
    Ok(sync_folder(&folder).err())
}

fn write(unfinished: &Path, like: &File, text: &str) -> io::Result<()> {
    // Never through a link that somebody put there, and readable by nobody until its mode is the old one's.
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(unfinished)?;
    drop_inherited_access(&file)?;
    let (about, own) = (like.metadata()?, file.metadata()?);
    let uid = (about.uid() != own.uid()).then_some(about.uid());
    let gid = (about.gid() != own.gid()).then_some(about.gid());
    if uid.is_some() || gid.is_some() {
        let why = |e| io::Error::other(format!("the file's owner and group cannot be kept: {e}"));
        fchown(&file, uid, gid).map_err(why)?;
    }
    file.write_all(text.as_bytes())?;
    // An access list first: it may give the group less than the mode says.
    copy_attributes(like, &file)?;
    file.set_permissions(about.permissions())?;
    file.sync_all()
}

/// The folder's default access list names users for every new file. Mode 0600 only masks them: the old file's mode would let them in.
fn drop_inherited_access(file: &File) -> io::Result<()> {
    match fremovexattr(file, ACCESS_LIST) {
        Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Access lists widen or narrow the mode, so without them the file would be another's.
fn copy_attributes(from: &File, to: &File) -> io::Result<()> {
    let mut names = vec![0; ATTRIBUTES_MAX];
    let length = match flistxattr(from, &mut names) {
        // No file system of the sort.
        Err(Errno::NOTSUP) => return Ok(()),
        length => length?,
    };
    let names = names.get(..length).unwrap_or_default().split_inclusive(|byte| *byte == 0);
    for name in names.filter_map(|name| CStr::from_bytes_with_nul(name).ok()) {
        let mut value = vec![0; ATTRIBUTES_MAX];
        let length = fgetxattr(from, name, &mut value)?;
        let value = value.get(..length).unwrap_or_default();
        match fsetxattr(to, name, value, XattrFlags::empty()) {
            Ok(()) => {}
            // A label of the system's, which the new file has of its own.
            Err(_) if name.to_bytes().starts_with(b"security.") => {}
            Err(errno) => {
                let name = name.to_string_lossy();
                return Err(io::Error::other(format!("the file's attribute {name} cannot be kept: {errno}")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_file_keeps_its_mode_and_attributes_and_a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.toml"), folder.path().join("link.toml"));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real.toml", &link).unwrap();
        let attribute = c"user.ringlead";
        let has_attributes =
            fsetxattr(File::open(&real).unwrap(), attribute, b"kept", XattrFlags::empty()).is_ok();
        replace(&link, "old", "new").unwrap();
        assert_eq!((fs::read_to_string(&real).unwrap(), link.is_symlink()), ("new".to_owned(), true));
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o7777, 0o640);
        if has_attributes {
            let mut value = [0; 16];
            let length = fgetxattr(File::open(&real).unwrap(), attribute, &mut value).unwrap();
            assert_eq!(&value[..length], b"kept");
        }
        assert_eq!(names(folder.path()), ["link.toml", "real.toml"]);
    }

    /// An access list in the kernel's form: version 2, then tag, permissions and id of each entry; user 12345 may read.
    fn access_list() -> Vec<u8> {
        let entries: [(u16, u16, u32); 5] = [
            (0x01, 6, u32::MAX),
            (0x02, 4, 12_345),
            (0x04, 0, u32::MAX),
            (0x10, 4, u32::MAX),
            (0x20, 0, u32::MAX),
        ];
        let mut list = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            list.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
            list.extend(id.to_le_bytes());
        }
        list
    }

    fn access_of(file: &Path) -> Result<Vec<u8>, Errno> {
        let mut value = vec![0; ATTRIBUTES_MAX];
        let length = fgetxattr(File::open(file).unwrap(), ACCESS_LIST, &mut value)?;
        value.truncate(length);
        Ok(value)
    }

    #[test]
    fn the_folders_default_access_list_lets_nobody_into_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let handle = File::open(folder.path()).unwrap();
        match fsetxattr(&handle, c"system.posix_acl_default", &access_list(), XattrFlags::empty()) {
            Err(Errno::NOTSUP) => return eprintln!("skipped: the file system has no access lists"),
            done => done.unwrap(),
        }
        let inherits = folder.path().join("inherits");
        fs::write(&inherits, "").unwrap();
        assert!(access_of(&inherits).is_ok(), "a new file must inherit, or this tells nothing");
        replace(&file, "old", "new").unwrap();
        assert_eq!(access_of(&file), Err(Errno::NODATA));
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        // The file's own list stays.
        fsetxattr(File::open(&file).unwrap(), ACCESS_LIST, &access_list(), XattrFlags::empty()).unwrap();
        replace(&file, "new", "newer").unwrap();
        assert_eq!(access_of(&file), Ok(access_list()));
    }

    #[test]
    fn what_fails_after_the_rename_is_told_as_done() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        fs::write(&file, "old").unwrap();
        let told = replace_lasting(&file, "old", "new", |_| Err(io::Error::other("the disk is tired")));
        assert_eq!(told.unwrap().unwrap().to_string(), "the disk is tired");
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    }

    /// Only root may give files away, so only root can tell that they are given back.
    #[test]
    fn the_file_keeps_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        fs::write(&file, "old").unwrap();
        let own = fs::metadata(&file).unwrap();
        let other = if own.uid() == 0 { (12_345, 54_321) } else { (own.uid(), own.gid()) };
        std::os::unix::fs::chown(&file, Some(other.0), Some(other.1)).unwrap();
        replace(&file, "old", "new").unwrap();
        let about = fs::metadata(&file).unwrap();
        assert_eq!(
            ((about.uid(), about.gid()), fs::read_to_string(&file).unwrap()),
            (other, "new".to_owned())
        );
    }

    #[test]
    fn what_is_refused_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        fs::write(&file, "somebody else's").unwrap();
        let why = replace(&file, "old", "new").unwrap_err().to_string();
        assert!(why.contains("somebody else"), "{why}");
        fs::hard_link(&file, folder.path().join("b.toml")).unwrap();
        let why = replace(&file, "somebody else's", "new").unwrap_err().to_string();
        assert!(why.contains("hard links"), "{why}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "somebody else's");
        assert_eq!(names(folder.path()), ["a.toml", "b.toml"]);
    }

    #[test]
    fn one_edit_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        let absent = folder.path().join("absent");
        for state_dir in [folder.path(), &absent] {
            let held = EditLock::take(&file, state_dir, Duration::ZERO).unwrap();
            let why = EditLock::take(&file, state_dir, Duration::from_millis(50)).unwrap_err().to_string();
            assert!(why.contains("another edit"), "{why}");
            drop(held);
            EditLock::take(&file, state_dir, EDIT_WAIT).unwrap();
        }
    }

    #[test]
    fn who_may_only_read_the_files_folder_holds_nobody_up() {
        let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let strangers = File::open(folder.path()).unwrap();
        flock(&strangers, FlockOperation::NonBlockingLockExclusive).unwrap();
        let file = folder.path().join("a.toml");
        let _held = EditLock::take(&file, state.path(), Duration::ZERO).unwrap();
        let mode = fs::metadata(state.path().join(LOCK_NAME)).unwrap().mode();
        assert_eq!(mode & 0o077, 0, "others may open it: {mode:o}");
    }
}
