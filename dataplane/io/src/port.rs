//! The seam between the packet path and a driver.

use crate::frames::{Frame, Frames};
use arrayvec::ArrayVec;

/// The most frames one call moves. 32 is where transmission stops getting faster, 64 is the cap.
pub const BURST: usize = 64;

/// A burst of frames, in order, each owned by the list.
pub type FrameList = ArrayVec<Frame, BURST>;

/// What a driver says of itself once, at start.
#[derive(Clone, Debug)]
pub struct Caps {
    /// Name of the device or file.
    pub device: String,
    /// The queue of that device.
    pub queue: u32,
    /// The device's own Ethernet address, the source of what it sends.
    pub mac: [u8; 6],
    /// The largest frame it sends or receives, Ethernet header included, in bytes.
    pub frame_max: usize,
    /// Whether received frames may carry a partial L4 checksum that must be completed (veth, tap, virtio).
    pub partial_checksums: bool,
    /// The driver mode in words, as status prints it: `af-xdp native copy`, `mem`, `pcap`.
    pub mode: String,
}

/// Counters of one port and queue since start, all in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Received.
    pub rx: u64,
    /// Handed to the device and completed or on its way.
    pub tx: u64,
    /// Lost by the kernel or the device because no ring had room (rx_dropped, rx_ring_full, fill_ring_empty …).
    pub rx_lost: u64,
    /// Refused by the device as invalid.
    pub tx_invalid: u64,
}

/// One queue of one device: frames come out of `rx` and go in through `tx`; both own them in between.
///
/// A worker calls, once a turn and in this order: `reap`, `refill`, `rx`, … its stages …, `tx` (any number of times), `kick`.
pub trait Port {
    /// Whether [`note`](Port::note) does anything; the path compiles the call away when it does not.
    const NOTES: bool = false;

    /// Whether a worker may receive a burst while it still has another one to work on, to fetch its headers meanwhile. Not
    /// where each frame has a time of its own.
    const AHEAD: bool = true;

    /// Moves up to `BURST - list.len()` received frames to the end of `list`; returns how many.
    fn rx(&mut self, frames: &mut Frames, list: &mut FrameList) -> usize;

    /// Takes frames from the front of `list` for sending, in order, as many as there is room for; returns how many.
    /// What it does not take stays in `list`, in order.
    fn tx(&mut self, frames: &mut Frames, list: &mut FrameList) -> usize;

    /// Frees the frames whose sending has completed.
    fn reap(&mut self, frames: &mut Frames);

    /// Gives the device free frames to receive into.
    fn refill(&mut self, frames: &mut Frames);

    /// Tells the kernel that there is work, if it needs telling: no system call when nothing is pending, one as a rule, at
    /// most three (more frames wait than one call moves; the receive side has to be woken as well).
    fn kick(&mut self);

    /// Counters since start. Not for the packet path: may make a system call.
    fn stats(&self) -> PortStats;

    /// What the driver is and can do.
    fn caps(&self) -> &Caps;

    /// Says what was decided about a frame that came from `rx`, just before it is sent or freed. Only for drivers that write it down.
    fn note(&mut self, _frames: &Frames, _frame: &Frame, _text: &dyn std::fmt::Display) {}

    /// A file descriptor that poll(2) reports readable when frames wait, for idle workers; `None`: nothing to wait for.
    fn poll_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}
