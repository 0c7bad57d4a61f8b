//! One daemon a node: an flock in the state directory, which the kernel releases however its holder ends.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The lock's name in the state directory.
const FILE_NAME: &str = "lock";

/// Held for as long as this value lives. The file itself stays: removing it would let two holders hold two files.
#[derive(Debug)]
pub struct InstanceLock {
    file: File,
    path: PathBuf,
}

/// Why the lock could not be had.
#[derive(Debug)]
pub enum LockError {
    /// Another daemon holds it.
    Held {
        /// The lock file.
        path: PathBuf,
        /// The holder's process id; `None` when it could not be read.
        pid: Option<u32>,
    },
    /// The directory or the file could not be made.
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { path, pid: Some(pid) } => {
                write!(f, "another ringlead runs here: process {pid} holds {}", path.display())
            }
            Self::Held { path, pid: None } => {
                write!(f, "another ringlead runs here: it holds {}", path.display())
            }
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Held { .. } => None,
        }
    }
}

impl InstanceLock {
    /// Take the lock in `state_dir`, which is made (mode 0750) when it does not exist. Does not wait.
    ///
    /// # Errors
    /// [`LockError::Held`] with the holder's process id; [`LockError::Io`] when the system said no.
    pub fn take(state_dir: &Path) -> Result<Self, LockError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| LockError::Io { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o750).create(state_dir).map_err(failed(state_dir))?;
        let path = state_dir.join(FILE_NAME);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o640);
        let mut file = file.open(&path).map_err(failed(&path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                write_pid(&mut file).map_err(failed(&path))?;
                Ok(Self { file, path })
            }
            Err(Errno::WOULDBLOCK) => Err(LockError::Held { path, pid: read_pid(&file) }),
            Err(errno) => Err(failed(&path)(errno.into())),
        }
    }

    /// The lock that its holder passes on, so that nobody can take it in between.
    ///
    /// # Errors
    /// When it is not that of `state_dir`, or the system says no.
    pub fn passed_on(file: OwnedFd, state_dir: &Path) -> Result<Self, LockError> {
        let path = state_dir.join(FILE_NAME);
        let failed = |source| LockError::Io { path: path.clone(), source };
        let mut file = File::from(file);
        let (passed, wanted) = (file.metadata().map_err(failed)?, std::fs::metadata(&path).map_err(failed)?);
        if (passed.dev(), passed.ino()) != (wanted.dev(), wanted.ino()) {
            return Err(failed(io::Error::other("the lock that was passed on is another file's")));
        }
        if let Err(error) = write_pid(&mut file) {
            // The number is for people; the predecessor has let go, so somebody must go on.
            tracing::warn!(event = "take-over", %error, "the process id could not be written into the lock");
        }
        Ok(Self { file, path })
    }

    /// The lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Give the lock back now; dropping does the same without telling.
    ///
    /// # Errors
    /// What the system said; the lock is gone with the process in any case.
    pub fn release(self) -> io::Result<()> {
        Ok(flock(&self.file, FlockOperation::Unlock)?)
    }
}

/// To be passed on. Whoever has it holds the lock, until the last one closes it.
impl AsFd for InstanceLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// For people and for the loser's message only: the lock is the flock, not the number.
fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(mut file: &File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
