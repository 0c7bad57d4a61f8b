//! Why steering cannot be had, in words that say what to do.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use crate::causes::causes;

/// What [`Steering`](super::Steering) refuses or fails at.
#[derive(Debug)]
#[non_exhaustive]
pub enum SteerError {
    /// The pin directory is not on a BPF file system.
    NotBpffs {
        /// The directory.
        dir: PathBuf,
    },
    /// A living process holds the pin directory.
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// There is no such device in this network namespace.
    NoDevice {
        /// The device as configured.
        device: String,
        /// Its index as given.
        ifindex: u32,
    },
    /// The device carries an XDP program that is not ours.
    Foreign {
        /// The device.
        device: String,
        /// The program's id, when the kernel says it.
        program: Option<u32>,
        /// Whether it is attached in generic mode.
        generic: bool,
    },
    /// The pinned link belongs to a device of the same index in another network namespace.
    Elsewhere {
        /// The device here.
        device: String,
        /// The pin.
        pin: PathBuf,
    },
    /// A port has more receive queues than the program serves.
    TooManyQueues {
        /// The device.
        device: String,
        /// Its queues.
        queues: u32,
        /// The most a port may have.
        max: u32,
    },
    /// More ports than the program serves.
    TooManyPorts {
        /// Ports given.
        ports: usize,
        /// The most there may be.
        max: usize,
    },
    /// A socket was offered for a port or queue that was never opened.
    UnknownQueue {
        /// The device's index.
        ifindex: u32,
        /// The queue.
        queue: u32,
    },
    /// The rules do not fit; nothing was changed.
    Full {
        /// The map.
        map: &'static str,
        /// Entries it would have to hold.
        wanted: usize,
        /// Entries it can hold.
        max: usize,
    },
    /// The kernel refused.
    Kernel {
        /// What was tried.
        what: String,
        /// Why not, with all causes.
        why: String,
    },
}

impl SteerError {
    /// Wraps an error with all its causes.
    pub(super) fn kernel(what: impl Into<String>, error: &dyn Error) -> Self {
        Self::Kernel { what: what.into(), why: causes(error) }
    }
}

impl Error for SteerError {}

impl fmt::Display for SteerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBpffs { dir } => {
                let dir = dir.display();
                write!(f, "{dir} is not on a BPF file system: mkdir -p {dir} && mount -t bpf bpf {dir}")
            }
            Self::InUse { dir } => {
                write!(f, "{} is held by another running daemon: give each its own directory", dir.display())
            }
            Self::NoDevice { device, ifindex } => write!(f, "{device}: no device has index {ifindex} here"),
            Self::Foreign { device, program, generic } => foreign(f, device, *program, *generic),
            Self::Elsewhere { device, pin } => write!(
                f,
                "{device}: {} belongs to a device of another network namespace; give each daemon its own directory, or \
                 run `ringlead cleanup` if that daemon is dead",
                pin.display()
            ),
            Self::TooManyQueues { device, queues, max } => write!(
                f,
                "{device} has {queues} receive queues, {max} are supported: ethtool -L {device} combined {max}"
            ),
            Self::TooManyPorts { ports, max } => write!(f, "{ports} ports, {max} are supported"),
            Self::UnknownQueue { ifindex, queue } => {
                write!(f, "no port with index {ifindex} and queue {queue} was opened")
            }
            Self::Full { map, wanted, max } => {
                write!(
                    f,
                    "the steering map {map} holds {max} entries, {wanted} are needed; nothing was changed"
                )
            }
            Self::Kernel { what, why } => write!(f, "{what}: {why}"),
        }
    }
}

fn foreign(f: &mut fmt::Formatter<'_>, device: &str, program: Option<u32>, generic: bool) -> fmt::Result {
    write!(f, "{device}: another XDP program")?;
    if let Some(id) = program {
        write!(f, " (id {id})")?;
    }
    let mode = if generic { "xdpgeneric" } else { "xdp" };
    write!(
        f,
        " is attached; remove it with `ip link set {device} {mode} off`, or, where that answers \"Can't replace active BPF \
         XDP link\", with `bpftool link list` and `bpftool link detach id LINK`"
    )
}
