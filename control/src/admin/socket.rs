//! The socket file: replaced when its daemon is dead, refused when it lives, never open to more than its mode.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, setsockopt, socket, sockopt,
};
use nix::sys::stat::{Mode, fchmod};
use nix::sys::time::TimeVal;

/// How long a daemon with a full backlog may take before it counts as living.
const PROBE_MAX: Duration = Duration::from_millis(200);

/// Why the socket could not be made.
#[derive(Debug)]
pub enum ServeError {
    /// A living daemon answers there.
    InUse {
        /// The socket's path.
        path: PathBuf,
    },
    /// Something that is not a socket has that name, and stays.
    NotASocket {
        /// Its path.
        path: PathBuf,
    },
    /// The system said no.
    Io {
        /// The socket's path.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path } => write!(f, "a running daemon listens on {}", path.display()),
            Self::NotASocket { path } => write!(f, "{} exists and is not a socket", path.display()),
            Self::Io { path, source } => write!(f, "listening on {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::InUse { .. } | Self::NotASocket { .. } => None,
        }
    }
}

/// Listen at `path` with this file mode.
pub(super) fn open(path: &Path, mode: u32) -> Result<UnixListener, ServeError> {
    clear(path)?;
    listen_at(path, mode).map_err(|source| ServeError::Io { path: path.to_owned(), source })
}

/// Connect, waiting at most `patience` for room in the daemon's backlog.
///
/// # Errors
/// `WouldBlock` when there was no room; else what the system said.
pub(super) fn reach(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let micros = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX);
    let limit = TimeVal::new(micros / 1_000_000, micros % 1_000_000);
    // On a unix socket the send timeout also bounds connect (unix(7)).
    setsockopt(&fd, sockopt::SendTimeout, &limit)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(fd))
}

/// The file that a path leads to now, so that a successor's is not taken for ours.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Remove what a dead daemon left.
fn clear(path: &Path) -> Result<(), ServeError> {
    let failed = |source| ServeError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(ServeError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match reach(path, PROBE_MAX) {
        // The file outlived every listener.
        Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(failed(error)),
        Ok(_) | Err(_) => Err(ServeError::InUse { path: path.to_owned() }),
    }
}

fn listen_at(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // The file gets the socket's own mode less the umask: never, not even for a moment, more than asked for.
    fchmod(&fd, Mode::from_bits_truncate(mode))?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    listen(&fd, Backlog::new(i32::try_from(super::CONNECTIONS_MAX).unwrap_or(i32::MAX))?)?;
    Ok(UnixListener::from(fd))
}
