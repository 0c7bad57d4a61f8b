//! How long a packet looks for a server that can have its flow: one loop, for workers and for what is foreseen of them.

use arrayvec::ArrayVec;
use ringlead_flow::ServerId;
use std::ops::ControlFlow;

/// How many servers are tried for one packet and pool, where those before cannot have its flow.
const CHOICES: usize = 4;

/// Servers that have been tried for one packet.
type Tried = ArrayVec<ServerId, CHOICES>;

/// Asks `next` for a server, given those that were tried before, and `gives` it the packet, with how many were tried before, until that breaks. `None`: there was
/// no next one, or as many were tried as one packet is worth.
#[inline]
pub(crate) fn tries<T>(
    mut next: impl FnMut(&[ServerId]) -> Option<ServerId>,
    mut gives: impl FnMut(ServerId, usize) -> ControlFlow<T>,
) -> Option<T> {
    let mut tried = Tried::new();
    while !tried.is_full() {
        let id = next(&tried)?;
        if let ControlFlow::Break(end) = gives(id, tried.len()) {
            return Some(end);
        }
        tried.push(id);
    }
    None
}
