//! The device of a connection's TCP: packets of its inbox come in, and what it sends goes the service's way.

use std::io;
use std::sync::Arc;

use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use super::inbox::Inbox;
use super::numbers::Numbers;

/// The longest packet that is sent or asked for, before a tunnel's headers: with them it fits into every link of IPv6 (RFC 8200
/// section 5), and every one of IPv4 that servers have.
const MTU: usize = 1200;

/// What sends a packet from its IP header on.
pub(super) type Send = Box<dyn Fn(&[u8]) -> io::Result<()> + std::marker::Send>;

pub(super) struct Line {
    send: Send,
    inbox: Arc<Inbox>,
    numbers: Numbers,
    /// The number after all that was sent.
    next: Option<u32>,
    /// The first packet: the SYN.
    first: Vec<u8>,
    broken: Option<io::Error>,
}

impl Line {
    /// `first`: the sequence number of the SYN.
    pub(super) fn new(send: Send, inbox: Arc<Inbox>, first: u32) -> Self {
        Self { send, inbox, numbers: Numbers::new(first), next: None, first: Vec::new(), broken: None }
    }

    pub(super) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Sends a packet that is none of the stack's, whatever becomes of it.
    pub(super) fn send_once(&self, packet: &[u8]) {
        let _ = (self.send)(packet);
    }

    /// The sequence number that the server expects next, if it has got everything; `None` before the SYN.
    pub(super) fn next(&self) -> Option<u32> {
        self.next
    }

    /// Why a packet could not be sent; told once.
    pub(super) fn broken(&mut self) -> Option<io::Error> {
        self.broken.take()
    }

    /// Sends the SYN once more.
    pub(super) fn repeat_first(&mut self) {
        if let Err(error) = (self.send)(&self.first) {
            self.broken.get_or_insert(error);
        }
    }

    fn send(&mut self, mut packet: Vec<u8>) {
        let Some(after) = self.numbers.leave(&mut packet) else { return };
        // What is repeated moves nothing back.
        let is_news = |next: u32| after.wrapping_sub(next) < 1 << 31;
        self.next = Some(self.next.filter(|next| !is_news(*next)).unwrap_or(after));
        if let Err(error) = (self.send)(&packet) {
            self.broken.get_or_insert(error);
        }
        if self.first.is_empty() {
            self.first = packet;
        }
    }
}

impl Device for Line {
    type RxToken<'a> = Came;
    type TxToken<'a> = Leaves<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Came, Leaves<'_>)> {
        loop {
            let mut packet = self.inbox.pop()?;
            if self.numbers.arrive(&mut packet).is_some() {
                return Some((Came(packet), Leaves(self)));
            }
        }
    }

    fn transmit(&mut self, _: Instant) -> Option<Leaves<'_>> {
        Some(Leaves(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut can = DeviceCapabilities::default();
        can.medium = Medium::Ip;
        can.max_transmission_unit = MTU;
        // They are made and looked at together with the numbers.
        can.checksum.ipv4 = Checksum::None;
        can.checksum.tcp = Checksum::None;
        can
    }
}

/// A packet that has come.
#[derive(Debug)]
pub(super) struct Came(Vec<u8>);

impl RxToken for Came {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

/// Leave to send a packet.
pub(super) struct Leaves<'a>(&'a mut Line);

impl TxToken for Leaves<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let written = write(&mut packet);
        self.0.send(packet);
        written
    }
}
