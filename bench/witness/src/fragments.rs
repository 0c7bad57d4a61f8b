//! Makes packets whole again, so that they can be judged: a bounded table of what is still incomplete.

use crate::parsed::Parsed;
use crate::sum;
use crate::tunnel::Outer;
use etherparse::defrag::IpDefragBuf;
use etherparse::{IpFragOffset, IpNumber};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// Most packets that wait for fragments; beyond, the one that waits longest is given up.
const WAITING_MAX: usize = 1024;

/// What makes fragments belong together (RFC 791 §3.2, RFC 8200 §4.5).
type Key = (IpAddr, IpAddr, u32, u8);

/// Fragments by packet.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    waiting: HashMap<Key, Waiting>,
    oldest_first: VecDeque<Key>,
    given_up: u64,
}

#[derive(Debug)]
struct Waiting {
    payload: IpDefragBuf,
    ethernet: Vec<u8>,
    /// Of the first fragment to come; a fragment header is left out.
    ip_header: Vec<u8>,
    count: u64,
    uneven: bool,
    outer: Option<Outer>,
}

/// A packet of which every byte has come.
#[derive(Debug)]
pub(crate) struct Whole {
    /// As if it had never been cut.
    pub(crate) frame: Vec<u8>,
    /// Whether its fragments differed in what they should share.
    pub(crate) uneven: bool,
    /// What a tunnel put around its first fragment to come.
    pub(crate) outer: Option<Outer>,
}

impl Fragments {
    /// Adds a fragment, and returns the packet when this was the last one missing.
    pub(crate) fn add(&mut self, fragment: &Parsed<'_>, outer: Option<&Outer>) -> Option<Whole> {
        let cut = Cut::of(fragment)?;
        let key = (fragment.source().ip(), fragment.destination().ip(), cut.id, fragment.protocol());
        if !self.waiting.contains_key(&key) {
            self.make_room();
            self.oldest_first.push_back(key);
        }
        let waiting = self.waiting.entry(key).or_insert_with(|| Waiting::new(fragment, outer));
        waiting.add(fragment, &cut, outer);
        if !waiting.payload.is_complete() {
            return None;
        }
        self.oldest_first.retain(|other| *other != key);
        self.waiting.remove(&key).map(|waiting| waiting.whole(fragment.protocol()))
    }

    /// Fragments whose packet never became whole.
    pub(crate) fn left(&self) -> u64 {
        self.given_up + self.waiting.values().map(|waiting| waiting.count).sum::<u64>()
    }

    fn make_room(&mut self) {
        if self.oldest_first.len() >= WAITING_MAX
            && let Some(key) = self.oldest_first.pop_front()
            && let Some(waiting) = self.waiting.remove(&key)
        {
            self.given_up += waiting.count;
        }
    }
}

impl Waiting {
    fn new(first: &Parsed<'_>, outer: Option<&Outer>) -> Self {
        Self {
            payload: IpDefragBuf::new(IpNumber(first.protocol()), Vec::new(), Vec::new()),
            ethernet: first.ethernet_header().to_vec(),
            ip_header: shared(first).to_vec(),
            count: 0,
            uneven: false,
            outer: outer.copied(),
        }
    }

    fn add(&mut self, fragment: &Parsed<'_>, cut: &Cut, outer: Option<&Outer>) {
        self.count += 1;
        let header = shared(fragment);
        let (tos, ttl) = if fragment.is_v4() { (1, 8) } else { (0, 7) };
        let same = |at: usize| header.get(at) == self.ip_header.get(at);
        let even = same(tos) && same(ttl) && fragment.ethernet_header() == self.ethernet;
        let fits = self.payload.add(cut.offset, cut.more, fragment.payload()).is_ok();
        let paths = [self.outer.as_ref(), outer]
            .map(|outer| outer.map(|outer| (outer.source, outer.destination, outer.tos)));
        self.uneven |= !even || !fits || paths[0] != paths[1];
        // Of the outer headers' own faults none may be lost: all are the packet's.
        if let (Some(whole), Some(outer)) = (&mut self.outer, outer) {
            whole.add_faults(outer);
        }
    }

    /// Puts the packet together (RFC 791 §3.2, RFC 8200 §4.5).
    fn whole(self, protocol: u8) -> Whole {
        let (payload, _) = self.payload.take_bufs();
        let (mut header, mut ethernet) = (self.ip_header, self.ethernet);
        // An outer header's type goes with it.
        if let Some(ether_type) = ethernet.last_chunk_mut::<2>() {
            *ether_type = if header.len() == 40 { [0x86, 0xdd] } else { [0x08, 0x00] };
        }
        if header.len() == 40 {
            header[6] = protocol;
            header[4..6].copy_from_slice(&length(payload.len()));
        } else {
            let total = length(header.len() + payload.len());
            header[2..4].copy_from_slice(&total);
            header[6] &= 0xc0;
            header[7] = 0;
            // Each fragment's own checksum was judged when it came.
            header[10..12].fill(0);
            let checksum = !sum::sum(&header);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        Whole { frame: [ethernet, header, payload].concat(), uneven: self.uneven, outer: self.outer }
    }
}

/// The IP header without a fragment header behind it.
fn shared<'a>(fragment: &Parsed<'a>) -> &'a [u8] {
    let header = fragment.ip_header();
    if fragment.is_v4() { header } else { &header[..40] }
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

/// Which part of which packet a fragment is.
struct Cut {
    id: u32,
    offset: IpFragOffset,
    more: bool,
}

impl Cut {
    fn of(fragment: &Parsed<'_>) -> Option<Self> {
        let header = fragment.ip_header();
        let (id, eighths, more) = if fragment.is_v4() {
            let id = u32::from(u16::from_be_bytes([header[4], header[5]]));
            (id, u16::from_be_bytes([header[6] & 0x1f, header[7]]), header[6] & 0x20 != 0)
        } else {
            let (_, [.., h2, h3, a, b, c, d]) = header.split_last_chunk::<8>()?;
            let field = u16::from_be_bytes([*h2, *h3]);
            (u32::from_be_bytes([*a, *b, *c, *d]), field >> 3, field & 1 != 0)
        };
        Some(Self { id, offset: IpFragOffset::try_new(eighths).ok()?, more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    #[test]
    fn few_packets_wait_and_the_oldest_is_given_up() {
        let mut frame = Vec::new();
        let udp = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64).udp(1, 2);
        udp.write(&mut frame, &[7; 16]).unwrap();
        let mut fragments = Fragments::default();
        let mut add = |id: u16, flags: [u8; 2]| {
            frame[18..20].copy_from_slice(&id.to_be_bytes());
            frame[20..22].copy_from_slice(&flags);
            fragments.add(&Parsed::new(&frame).unwrap(), None).is_some()
        };
        let (first, last) = ([0x20, 0], [0, 3]);
        assert!((0..=WAITING_MAX).all(|id| !add(u16::try_from(id).unwrap(), first)));
        assert!(!add(0, last), "the first one was given up");
        assert!(add(700, last));
        assert_eq!(
            (fragments.waiting.len(), fragments.oldest_first.len()),
            (WAITING_MAX - 1, WAITING_MAX - 1)
        );
        // The one given up first, the one that its late half pushed out, and all that wait, that half among them.
        assert_eq!(fragments.left(), 2 + WAITING_MAX as u64 - 1);
    }
}
