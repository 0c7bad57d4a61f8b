//! The pin directory: `DIR/v<layout>/` with one file a map and `link-<ifindex>` a port.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::error::SteerError;
use super::keys::LAYOUT;
use super::sys;

/// Where the system's own BPF file system is.
const SYSTEM: &str = "/sys/fs/bpf";

const LINK: &str = "link-";

/// Removes what a dead daemon left: its programs from their devices, all pins of all layouts, the directory.
///
/// Returns a line for each thing removed; none when there was nothing. Flows of services that the kernel then sees are reset
/// by it: this is for when no daemon will follow.
///
/// # Errors
/// [`SteerError::InUse`] while a daemon lives; [`SteerError::Kernel`] when something cannot be removed.
pub fn cleanup(dir: &Path) -> Result<Vec<String>, SteerError> {
    let mut removed = Vec::new();
    if !dir.exists() {
        return Ok(removed);
    }
    if !is_bpffs(dir) {
        return Err(SteerError::NotBpffs { dir: dir.into() });
    }
    let _lock = lock(dir)?;
    for layout in layouts(dir)? {
        remove_layout(&layout, &mut removed)?;
    }
    remove_empty(dir)?;
    Ok(removed)
}

/// The directory of this layout, which need not be there.
pub(super) fn layout(dir: &Path) -> PathBuf {
    dir.join(format!("v{LAYOUT}"))
}

/// Makes the directory of this layout, mounting the system's BPF file system if need be.
pub(super) fn prepare(dir: &Path) -> Result<PathBuf, SteerError> {
    if !is_bpffs(dir) && dir.starts_with(SYSTEM) {
        mount(Some("bpf"), SYSTEM, Some("bpf"), MsFlags::empty(), None::<&str>)
            .map_err(|e| SteerError::kernel(format!("mount a BPF file system on {SYSTEM}"), &e))?;
        tracing::warn!(
            "mounted a BPF file system on {SYSTEM}; mounted inside `ip netns exec` it ends with that command"
        );
    }
    if !is_bpffs(dir) {
        return Err(SteerError::NotBpffs { dir: dir.into() });
    }
    let layout = layout(dir);
    fs::create_dir_all(&layout)
        .map_err(|e| SteerError::kernel(format!("create {}", layout.display()), &e))?;
    Ok(layout)
}

/// Takes the directory for this process; a killed process gives it back by dying.
pub(super) fn lock(dir: &Path) -> Result<Flock<File>, SteerError> {
    let file = File::open(dir).map_err(|e| SteerError::kernel(format!("open {}", dir.display()), &e))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        if errno == Errno::EWOULDBLOCK {
            SteerError::InUse { dir: dir.into() }
        } else {
            SteerError::kernel(format!("lock {}", dir.display()), &errno)
        }
    })
}

/// The directories of all layouts.
pub(super) fn layouts(dir: &Path) -> Result<Vec<PathBuf>, SteerError> {
    let is_layout = |name: &str| name.strip_prefix('v').is_some_and(|n| n.parse::<u32>().is_ok());
    Ok(files(dir)?.into_iter().filter(|p| is_layout(&name(p)) && p.is_dir()).collect())
}

/// The pinned links of one layout.
pub(super) fn links(layout: &Path) -> Result<Vec<PathBuf>, SteerError> {
    Ok(files(layout)?.into_iter().filter(|p| name(p).starts_with(LINK)).collect())
}

/// Where the link of a port is pinned.
pub(super) fn link_path(layout: &Path, ifindex: u32) -> PathBuf {
    layout.join(format!("{LINK}{ifindex}"))
}

/// Detaches and removes everything in one layout's directory, links first, then the directory.
pub(super) fn remove_layout(layout: &Path, removed: &mut Vec<String>) -> Result<(), SteerError> {
    for link in links(layout)? {
        removed.push(remove_link(&link)?);
    }
    for file in files(layout)? {
        unpin(&file)?;
        removed.push(format!("map {}", file.display()));
    }
    fs::remove_dir(layout).map_err(|e| SteerError::kernel(format!("remove {}", layout.display()), &e))?;
    removed.push(format!("directory {}", layout.display()));
    Ok(())
}

/// Takes a program off its device and removes the pin.
pub(super) fn remove_link(pin: &Path) -> Result<String, SteerError> {
    let failed = |e: io::Error| SteerError::kernel(format!("detach {}", pin.display()), &e);
    let fd = sys::open_pin(pin).map_err(failed)?;
    let device = sys::link_info(fd.as_fd()).map_err(failed)?.map_or(0, |info| info.ifindex);
    if device != 0 {
        sys::link_detach(fd.as_fd()).map_err(failed)?;
    }
    unpin(pin)?;
    Ok(match device {
        0 => format!("link {} (its device is gone)", pin.display()),
        _ => format!("link {} (program detached from device index {device})", pin.display()),
    })
}

/// Removes a pin.
pub(super) fn unpin(pin: &Path) -> Result<(), SteerError> {
    fs::remove_file(pin).map_err(|e| SteerError::kernel(format!("remove {}", pin.display()), &e))
}

/// Removes the directory when nothing is in it. A mount point stays.
pub(super) fn remove_empty(dir: &Path) -> Result<(), SteerError> {
    match fs::remove_dir(dir) {
        Err(e) if !matches!(e.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy) => {
            Err(SteerError::kernel(format!("remove {}", dir.display()), &e))
        }
        _ => Ok(()),
    }
}

/// Whether `dir`, or the nearest directory above it that exists, is on a BPF file system.
fn is_bpffs(dir: &Path) -> bool {
    let existing = dir.ancestors().find(|d| d.exists());
    existing.is_some_and(|d| statfs(d).is_ok_and(|s| s.filesystem_type() == BPF_FS_MAGIC))
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, SteerError> {
    let read = || fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    let mut files = read().map_err(|e| SteerError::kernel(format!("read {}", dir.display()), &e))?;
    files.sort();
    Ok(files)
}

fn name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
