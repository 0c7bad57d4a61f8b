//! Packets that have come for one connection and are not read yet.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Bytes of data that a connection's server may send ahead of what is read; the window that it is told.
pub(super) const WINDOW: usize = 8 * 1024;
/// The longest packet that is taken: receivers join segments of one stream, up to a whole window with its longest headers.
pub(super) const PACKET_MAX: usize = WINDOW + 60 + 60;
/// Bytes that wait at once. What is beyond is lost, and TCP repeats it.
const BYTES_MAX: usize = 2 * PACKET_MAX;
/// What a packet costs besides its bytes, or a row of empty ones would be endless.
const COST: usize = 64;

/// Filled by who hears all packets, emptied by the connection.
#[derive(Debug, Default)]
pub(super) struct Inbox(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    packets: VecDeque<Vec<u8>>,
    bytes: usize,
    waker: Option<Waker>,
}

impl Inbox {
    /// Takes a packet from its IP header on, and wakes who waits.
    pub(super) fn push(&self, packet: &[u8]) {
        let mut held = self.lock();
        if held.bytes + packet.len() + COST > BYTES_MAX {
            return;
        }
        held.bytes += packet.len() + COST;
        held.packets.push_back(packet.to_vec());
        let waker = held.waker.take();
        drop(held);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The oldest one.
    pub(super) fn pop(&self) -> Option<Vec<u8>> {
        let mut held = self.lock();
        let packet = held.packets.pop_front()?;
        held.bytes -= packet.len() + COST;
        Some(packet)
    }

    /// Who is woken by the next packet: one task, the last that asked.
    pub(super) fn wake(&self, waker: &Waker) {
        self.lock().waker = Some(waker.clone());
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing can panic between two changes of it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_wait_in_order_and_not_without_end() {
        let inbox = Inbox::default();
        (0..1000_u16).for_each(|n| inbox.push(&n.to_be_bytes()));
        let kept: Vec<_> = std::iter::from_fn(|| inbox.pop()).collect();
        assert_eq!(kept.len(), BYTES_MAX / (2 + COST));
        assert!(kept.iter().map(|p| [p[0], p[1]]).eq((0..).map(u16::to_be_bytes).take(kept.len())));
        (0..10).for_each(|_| inbox.push(&[0; PACKET_MAX]));
        assert_eq!(std::iter::from_fn(|| inbox.pop()).count(), 1, "two with their costs are too many");
    }
}
