//! The outer headers of packets taken: how a test sees that the balancer mixes them.

use crate::layout::{RawOuter, ip};
use std::net::IpAddr;

/// How the inner packet was wrapped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// IP in IP: outer protocol 4 or 41.
    Ipip,
    /// Generic UDP Encapsulation, variant 0.
    Gue0,
    /// Generic UDP Encapsulation, variant 1.
    Gue1,
}

/// The outer header of a packet taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Outer {
    /// The source address.
    pub src: IpAddr,
    /// The UDP source port; 0 for IPIP.
    pub sport: u16,
    /// The destination address: one of the server's tunnel addresses.
    pub dst: IpAddr,
    /// How the inner packet was wrapped.
    pub kind: Kind,
    /// DSCP and ECN: the whole TOS byte or traffic class.
    pub service: u8,
}

impl Outer {
    /// What a slot of the ring holds, with its number; `None` when nothing was ever there.
    pub(crate) fn from_map(raw: RawOuter) -> Option<(u64, Self)> {
        let kind = match raw.kind {
            0 => Kind::Ipip,
            1 => Kind::Gue0,
            _ => Kind::Gue1,
        };
        let outer = Self {
            src: ip(raw.family, raw.source),
            sport: u16::from_be_bytes(raw.port),
            dst: ip(raw.family, raw.destination),
            kind,
            service: raw.service,
        };
        (raw.number != 0).then_some((raw.number, outer))
    }
}
