//! The working set of one turn: what each stage learns of each frame of the burst, by the frame's place in it.

use crate::drops::{Drop, Reason};
use crate::neighbours::{Hop, NeighbourId};
use crate::wide::Wide;
use arrayvec::ArrayVec;
use ringlead_flow::snat::{Draw, Mapping};
use ringlead_flow::{Hit, Packed, ServerId};
use ringlead_io::FrameList;
use ringlead_io::port::BURST;
use ringlead_wire::Meta;
use ringlead_wire::answer::Made;

/// Where a frame leaves, and as what: two words, because a value of many parts is slow to pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Egress {
    /// Destination Ethernet address, a number of 48 bits.
    pub mac: u64,
    /// `{port 8, number of tags 8, outer tag 16, inner tag 16}`, highest bits first.
    rest: u64,
}

impl Egress {
    /// To `mac` by a port (index of the configured port), with that many of the tags, outermost first.
    #[inline]
    pub(crate) const fn new(mac: u64, port: u8, vlans: u8, vlan: [u16; 2]) -> Self {
        let tags = (vlan[0] as u64) << 16 | vlan[1] as u64;
        Self { mac, rest: (port as u64) << 40 | (vlans as u64) << 32 | tags }
    }

    /// To a server's next hop that is reached untagged.
    #[inline]
    pub(crate) const fn untagged(hop: Hop) -> Self {
        Self { mac: hop.mac(), rest: (hop.port() as u64) << 40 }
    }

    /// To a server's next hop, which may be in a VLAN; `None` while it is not resolved.
    pub(crate) fn to(hop: Hop) -> Option<Self> {
        let tag = hop.tag();
        hop.is_resolved().then(|| Self::new(hop.mac(), hop.port(), u8::from(tag != 0), [tag, 0]))
    }

    /// Index of the configured port.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "below 256")]
    pub(crate) const fn port(self) -> u8 {
        (self.rest >> 40) as u8
    }

    /// How many VLAN tags.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "below 256")]
    pub(crate) const fn vlans(self) -> usize {
        (self.rest >> 32 & 0xff) as usize
    }

    /// The tags, outermost first; the first [`vlans`](Self::vlans) count.
    #[allow(clippy::cast_possible_truncation, reason = "fields are cut out of the word")]
    pub(crate) const fn vlan(self) -> [u16; 2] {
        [(self.rest >> 16) as u16, self.rest as u16]
    }
}

/// What has been decided about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing yet.
    Pending,
    /// It is not sent on.
    Drop(Drop),
    /// It is not sent on, and its sender is told, as far as answers are made.
    Answer(Reason, Made),
    /// It leaves; its Ethernet header is still that of its way here.
    Send(Egress),
    /// It leaves as it is by this configured port.
    Ready(u8),
    /// It is ready but for its next hop's Ethernet address.
    Hold(NeighbourId),
}

/// One burst. Everything is allocated once, with the worker.
#[derive(Debug)]
pub(crate) struct Burst {
    /// The frames as received; the burst owns them until `emit`.
    pub frames: FrameList,
    /// What was decided, by frame.
    pub fates: [Fate; BURST],
    /// The parsed headers, by frame; only of frames in `live`.
    pub metas: [Meta; BURST],
    /// The frames that have a flow key, in order: the first `lives` places are in use.
    pub live: [u8; BURST],
    /// How many of those there are.
    pub lives: usize,
    /// Their keys, by place in `live`.
    pub keys: [Packed; BURST],
    /// Their flows, by place in `live`, where `found` says that there is one.
    pub hits: [Hit; BURST],
    /// Which of them have a flow: a bit each, by place in `live`.
    pub found: u64,
    /// For the second look-up of those that have none at first.
    pub wide: Wide,
    /// Which of them have no flow, by place in `live`: all that `classify` and `schedule` look at.
    pub misses: ArrayVec<u8, BURST>,
    /// The service that a miss asks for (slot), by place in `misses`.
    pub wanted: [Option<u16>; BURST],
    /// The server that the service's algorithm picked for it, by place in `misses`.
    pub picked: [Option<ServerId>; BURST],
    /// The source port that was chosen for it, by place in `misses`, where `sources` says that there are any.
    pub drawn: [Option<Draw>; BURST],
    /// The same port, or another one, once it is taken: the flow's, or given back once the flow is made without it.
    pub taken: [Option<Mapping>; BURST],
    /// Whether source ports were chosen for misses.
    pub sources: bool,
    /// Whether this burst made the flow: a bit each, by place in `live`.
    pub new: u64,
}

impl Burst {
    pub(crate) fn new() -> Self {
        Self {
            frames: FrameList::new(),
            fates: [Fate::Pending; BURST],
            metas: [Meta::default(); BURST],
            live: [0; BURST],
            lives: 0,
            keys: [Packed::default(); BURST],
            hits: [Hit::NONE; BURST],
            found: 0,
            wide: Wide::new(),
            misses: ArrayVec::new(),
            wanted: [None; BURST],
            picked: [None; BURST],
            drawn: [None; BURST],
            taken: [None; BURST],
            sources: false,
            new: 0,
        }
    }

    /// Makes ready for the next burst; every frame has left already.
    #[inline]
    pub(crate) fn clear(&mut self) {
        debug_assert!(self.frames.is_empty(), "a frame of the last burst has no new owner");
        self.lives = 0;
        self.misses.clear();
        self.found = 0;
        self.new = 0;
    }

    /// The flow of the frame at that place in `live`, if it has one.
    #[inline]
    pub(crate) fn hit(&self, live: usize) -> Option<&Hit> {
        self.hits.get(live).filter(|_| self.found >> live & 1 != 0)
    }
}
