//! Why a worker's sockets could not be opened, with what to do about it.

use std::fmt;
use std::io;

/// See the module.
#[derive(Debug)]
pub enum XdpError {
    /// The options or specs contradict themselves or a limit; the text says which value and what it may be.
    Options(String),
    /// A port's largest frame exceeds a chunk.
    FrameTooLong {
        /// The device.
        device: String,
        /// Its largest frame in bytes.
        frame_max: usize,
        /// What a chunk holds in bytes.
        room: usize,
    },
    /// The Umem could not be made.
    Umem(io::Error),
    /// A socket could not be opened.
    Socket {
        /// The device.
        device: String,
        /// The queue.
        queue: u32,
        /// What the kernel said.
        source: io::Error,
    },
}

impl fmt::Display for XdpError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(what) => out.write_str(what),
            Self::FrameTooLong { device, frame_max, room } => write!(
                out,
                "{device}: frames of up to {frame_max} bytes do not fit: a chunk holds {room}; \
                 lower the MTU to {} or use 4096-byte chunks",
                room.saturating_sub(14)
            ),
            Self::Umem(error) => write!(out, "packet memory: {error}{}", hint(error)),
            Self::Socket { device, queue, source } => {
                write!(out, "AF_XDP socket on {device} queue {queue}: {source}{}", hint(source))
            }
        }
    }
}

impl std::error::Error for XdpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Umem(error) | Self::Socket { source: error, .. } => Some(error),
            Self::Options(_) | Self::FrameTooLong { .. } => None,
        }
    }
}

/// What the usual errors mean here.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => " (needs CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF)",
        Some(libc::ENOBUFS | libc::ENOMEM) => {
            " (RLIMIT_MEMLOCK is too low without CAP_IPC_LOCK, or memory is short)"
        }
        Some(libc::EBUSY) => " (another AF_XDP socket holds this queue)",
        Some(libc::ENODEV) => " (no such device in this network namespace)",
        Some(libc::EINVAL) => " (no such queue, or the MTU is too large for XDP)",
        Some(libc::EOPNOTSUPP) => " (the driver cannot do zero-copy)",
        Some(libc::EAFNOSUPPORT) => " (the kernel was built without AF_XDP)",
        _ => "",
    }
}
