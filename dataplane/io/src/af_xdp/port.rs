//! One AF_XDP socket as a [`Port`]: when to call the kernel, and what is counted.

use super::ring::Rings;
use crate::frames::Frames;
use crate::port::{BURST, Caps, FrameList, Port, PortStats};
use std::os::fd::{BorrowedFd, RawFd};

/// The most bursts that one `reap` or `refill` moves, so that a turn stays bounded.
const BURSTS_MAX: usize = 8;

/// One queue of one device.
#[derive(Debug)]
pub struct XdpPort {
    rings: Rings,
    caps: Caps,
    zero_copy: bool,
    busy_poll: bool,
    /// How many frames one sendto(2) moves at most.
    budget: u32,
    rx: u64,
    rx_invalid: u64,
    tx: u64,
    tx_invalid: u64,
    completed: u64,
    kicks: u64,
    kick_errors: u64,
}

impl XdpPort {
    pub(super) fn new(rings: Rings, caps: Caps, zero_copy: bool, busy_poll: bool, budget: u32) -> Self {
        Self {
            rings,
            caps,
            zero_copy,
            busy_poll,
            budget,
            rx: 0,
            rx_invalid: 0,
            tx: 0,
            tx_invalid: 0,
            completed: 0,
            kicks: 0,
            kick_errors: 0,
        }
    }

    /// The socket, for the XSKMAP. Open as long as the port lives.
    #[must_use]
    pub fn socket_fd(&self) -> RawFd {
        self.rings.fd()
    }

    /// Whether the device reads and writes the Umem itself.
    #[must_use]
    pub fn zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Says how the steering program is attached to the device (`native`, `generic`), which is not known here, for
    /// [`Caps::mode`]: `af-xdp native copy`.
    pub fn set_attach_mode(&mut self, attach: &str) {
        self.caps.mode = mode(Some(attach), self.zero_copy);
    }

    /// Frames handed to the kernel whose completion has not come back.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.tx.saturating_sub(self.completed)
    }

    /// System calls made by [`kick`](Port::kick), and how many of them failed for good (the device is gone).
    #[must_use]
    pub fn kicks(&self) -> (u64, u64) {
        (self.kicks, self.kick_errors)
    }

    /// Whether a sendto(2) would move anything. In copy mode the kernel works in that call alone and completions come by
    /// themselves; a zero-copy driver may need the call to clean up, as long as anything is in flight.
    fn tx_needs_kernel(&mut self) -> bool {
        if self.in_flight() == 0 {
            return false;
        }
        (self.zero_copy || self.rings.unsent() > 0) && self.rings.wants_tx_wakeup()
    }

    fn wake_tx(&mut self) {
        self.kicks += 1;
        self.kick_errors += u64::from(self.rings.wake_tx().is_err());
    }
}

/// The driver mode in words.
pub(super) fn mode(attach: Option<&str>, zero_copy: bool) -> String {
    let copying = if zero_copy { "zero-copy" } else { "copy" };
    match attach {
        Some(attach) => format!("af-xdp {attach} {copying}"),
        None => format!("af-xdp {copying}"),
    }
}

impl Port for XdpPort {
    #[inline]
    fn rx(&mut self, frames: &mut Frames, list: &mut FrameList) -> usize {
        let (count, invalid) = self.rings.receive(frames, list);
        self.rx += count as u64;
        self.rx_invalid += invalid as u64;
        count
    }

    /// Frames that no descriptor can carry (empty, or longer than a chunk less its headroom) are taken and freed.
    #[inline]
    fn tx(&mut self, frames: &mut Frames, list: &mut FrameList) -> usize {
        let sent = self.rings.send(frames, list);
        self.tx += (sent.taken - sent.invalid) as u64;
        self.tx_invalid += sent.invalid as u64;
        sent.taken
    }

    #[inline]
    fn reap(&mut self, frames: &mut Frames) {
        if self.in_flight() == 0 {
            return;
        }
        for _ in 0..BURSTS_MAX {
            let count = self.rings.complete(frames);
            self.completed += count as u64;
            if count < BURST {
                break;
            }
        }
    }

    #[inline]
    fn refill(&mut self, frames: &mut Frames) {
        for _ in 0..BURSTS_MAX {
            if self.rings.fill(frames) < BURST {
                break;
            }
        }
    }

    /// One sendto(2) while anything waits to be sent, a second one when more waited than one call moves: what stays in
    /// the ring keeps its chunks from the fill ring, and reception dies. Under busy polling, or when a zero-copy driver
    /// ran out of chunks and sleeps, one recvfrom(2).
    #[inline]
    fn kick(&mut self) {
        if self.tx_needs_kernel() {
            let over = self.rings.unsent() > self.budget;
            self.wake_tx();
            if over && self.rings.unsent() > 0 {
                self.wake_tx();
            }
        }
        if self.busy_poll || self.rings.wants_rx_wakeup() {
            self.kicks += 1;
            self.rings.wake_rx();
        }
    }

    /// `rx_lost` is the socket's rx_dropped (no chunk in the fill ring, or a frame longer than a chunk) plus
    /// rx_ring_full. The kernel's fill_ring_empty counts attempts, not frames, and is left out.
    fn stats(&self) -> PortStats {
        let mut stats =
            PortStats { rx: self.rx, tx: self.tx, rx_lost: self.rx_invalid, tx_invalid: self.tx_invalid };
        if let Ok(kernel) = self.rings.statistics() {
            stats.rx_lost += kernel.rx_dropped() + kernel.rx_ring_full();
            stats.tx_invalid += kernel.tx_invalid_descs();
        }
        stats
    }

    #[inline]
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.rings.borrowed_fd())
    }
}
