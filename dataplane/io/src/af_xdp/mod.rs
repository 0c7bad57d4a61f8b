//! AF_XDP: one Umem a worker, shared by that worker's sockets, one a port and queue.
//!
//! A frame received on one port is sent on another without a copy. The steering program is not loaded here: the caller
//! puts [`XdpPort::socket_fd`] into its XSKMAP.

mod error;
mod open;
mod port;
mod ring;

pub use error::XdpError;
pub use open::{Prepared, open_worker};
pub use port::XdpPort;

use crate::device::device_facts;
use std::io;

/// One socket to open.
#[derive(Clone, Debug)]
pub struct XdpSpec {
    /// Name of the device in the caller's network namespace.
    pub device: String,
    /// Its receive queue.
    pub queue: u32,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Largest frame in bytes, Ethernet header included; at most chunk size less [`HEADROOM`](crate::frames::HEADROOM).
    pub frame_max: usize,
    /// Whether received frames may carry partial L4 checksums.
    pub partial_checksums: bool,
}

impl XdpSpec {
    /// Fills the spec from what the kernel says of the device: its MTU plus an Ethernet header is the largest frame.
    ///
    /// # Errors
    /// Those of [`device_facts`].
    pub fn of_device(device: &str, queue: u32) -> io::Result<Self> {
        let facts = device_facts(device)?;
        Ok(Self {
            device: device.to_owned(),
            queue,
            mac: facts.mac,
            frame_max: usize::try_from(facts.mtu).map_err(io::Error::other)? + 14,
            partial_checksums: facts.partial_checksums(),
        })
    }
}

/// Whether the device may write into the Umem itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZeroCopy {
    /// Zero-copy if every socket of the worker gets it, copy otherwise: sockets that share a Umem share the mode.
    #[default]
    Prefer,
    /// Zero-copy or an error.
    Require,
    /// Copy.
    Off,
}

/// Preferred busy polling: the worker's system calls run the device's NAPI instead of interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    /// `SO_BUSY_POLL`, in microseconds.
    pub usecs: u32,
    /// `SO_BUSY_POLL_BUDGET`, in frames.
    pub budget: u32,
}

/// How to open a worker's sockets. Ring sizes are in frames, powers of two from 64 to 32768.
#[derive(Clone, Debug)]
pub struct XdpOptions {
    /// Frames of the worker's Umem; 0: as many as all fill, receive and transmit rings hold.
    pub frames: u32,
    /// 2048 or 4096 bytes.
    pub chunk_size: usize,
    /// Receive ring of each socket.
    pub rx_ring: u32,
    /// Transmit ring of each socket.
    pub tx_ring: u32,
    /// Fill ring of each socket.
    pub fill_ring: u32,
    /// Completion ring of each socket.
    pub completion_ring: u32,
    /// See [`ZeroCopy`].
    pub zero_copy: ZeroCopy,
    /// `None`: interrupts.
    pub busy_poll: Option<BusyPoll>,
}

impl Default for XdpOptions {
    fn default() -> Self {
        Self {
            frames: 0,
            chunk_size: 2048,
            rx_ring: 2048,
            tx_ring: 2048,
            fill_ring: 2048,
            completion_ring: 2048,
            zero_copy: ZeroCopy::Prefer,
            busy_poll: None,
        }
    }
}

/// What a worker got, where that is less than it asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XdpReport {
    /// Whether the worker's sockets are zero-copy.
    pub zero_copy: bool,
    /// Frames of the Umem.
    pub frames: usize,
    /// Each thing that was refused, by which port, and what is done instead.
    pub fallbacks: Vec<Fallback>,
}

/// Something that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The device whose socket was refused it.
    pub device: String,
    /// The queue of that socket.
    pub queue: u32,
    /// What was refused, why, and what is done instead: `zero-copy refused (…), the worker copies`.
    pub what: String,
}
