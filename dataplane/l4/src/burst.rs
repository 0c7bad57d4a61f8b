//! The working set of one turn: what each stage learns of each frame of the burst, by the frame's place in it.

use crate::drops::Drop;
use crate::neighbours::NeighbourId;
use arrayvec::ArrayVec;
use ringlead_flow::{Flow, Tuple};
use ringlead_io::FrameList;
use ringlead_io::port::BURST;
use ringlead_wire::Meta;

/// Where a frame leaves, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Egress {
    /// Index of the configured port.
    pub port: u8,
    /// How many of `vlan` are in use.
    pub vlans: u8,
    /// VLAN tags, outermost first.
    pub vlan: [u16; 2],
    /// Destination Ethernet address.
    pub mac: [u8; 6],
}

/// What has been decided about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing yet.
    Pending,
    /// It is not sent on.
    Drop(Drop),
    /// It leaves.
    Send(Egress),
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
    /// The frames that have a flow key, in order.
    pub live: ArrayVec<u8, BURST>,
    /// Their keys, by place in `live`.
    pub tuples: ArrayVec<Tuple, BURST>,
    /// Their flows, by place in `live`.
    pub flows: [Option<Flow>; BURST],
    /// Which of them have no flow, by place in `live`: all that `classify` and `schedule` look at.
    pub misses: ArrayVec<u8, BURST>,
    /// The service that a miss asks for (slot), by place in `misses`.
    pub wanted: [Option<u16>; BURST],
    /// Whether this burst made the flow, by place in `live`.
    pub new: [bool; BURST],
}

impl Burst {
    pub(crate) fn new() -> Self {
        Self {
            frames: FrameList::new(),
            fates: [Fate::Pending; BURST],
            metas: [Meta::default(); BURST],
            live: ArrayVec::new(),
            tuples: ArrayVec::new(),
            flows: [None; BURST],
            misses: ArrayVec::new(),
            wanted: [None; BURST],
            new: [false; BURST],
        }
    }

    /// Makes ready for the next burst; every frame has left already.
    #[inline]
    pub(crate) fn clear(&mut self) {
        debug_assert!(self.frames.is_empty(), "a frame of the last burst has no new owner");
        self.live.clear();
        self.tuples.clear();
        self.misses.clear();
        self.new = [false; BURST];
    }
}
