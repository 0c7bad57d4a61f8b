//! Mode tunnel: the packet goes to its server inside another one, which the server takes off; the server answers the
//! client directly. The inner packet stays as it is, its TTL included (SPEC.md says why).

use crate::burst::Fate;
use crate::drops::Reason;
use crate::ids::Identifications;
use crate::neighbours::Neighbours;
use crate::rewrite::{UNTAGGED, clamp, tagged, towards};
use crate::run::Run;
use crate::tables::{Delivery, Server, ServiceId, Tables};
use crate::worker::{PORTS_MAX, Worker};
use ringlead_flow::ServerId;
use ringlead_io::port::BURST;
use ringlead_io::{Frame, FrameList, Frames, Port};
use ringlead_wire::answer::Made;
use ringlead_wire::parse::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use ringlead_wire::tunnel::{Encapsulation, Outer, encapsulate_v4, encapsulate_v6};
use ringlead_wire::{Ip, Kind, Meta, TcpFlags, checksum, rewrite as wire};

/// How many packets ahead the line in front of one is fetched into the first cache, as parsing does with headers.
const AHEAD: usize = 16;

/// How a service's packets are packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tunnel {
    /// What stands in front of the inner packet.
    pub encapsulation: Encapsulation,
    /// Where outer packets to IPv4 servers come from.
    pub source_v4: Prefix,
    /// Where outer packets to IPv6 servers come from.
    pub source_v6: Prefix,
}

/// Addresses that begin alike: each flow's outer packets have one of them as their source, so that a server's card spreads
/// flows over its queues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// The first address, in halves.
    base: [u64; 2],
    /// The bits that vary, of the second half.
    hosts: u64,
}

impl Prefix {
    /// All addresses that share the first `bits` bits of `ip`, counted in its own family; `None` when it has fewer.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a number is cut into halves")]
    pub fn new(ip: Ip, bits: u8) -> Option<Self> {
        let width: u8 = if ip.is_v4() { 32 } else { 128 };
        let hosts = match width.checked_sub(bits)? {
            128 => u128::MAX,
            rest => (1 << rest) - 1,
        };
        let base = u128::from_be_bytes(ip.octets()) & !hosts;
        Some(Self { base: [(base >> 64) as u64, base as u64], hosts: hosts as u64 })
    }

    /// One of an IPv4 prefix, as a header has it.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "an IPv4 address is the last 32 bits")]
    pub const fn host_v4(&self, mix: u64) -> [u8; 4] {
        ((self.base[1] | mix & self.hosts) as u32).to_be_bytes()
    }

    /// One of an IPv6 prefix, of which only the last 64 bits vary.
    #[inline]
    #[must_use]
    pub const fn host_v6(&self, mix: u64) -> [u8; 16] {
        ((self.base[0] as u128) << 64 | (self.base[1] | mix & self.hosts) as u128).to_be_bytes()
    }
}

/// Packs the packets of the burst whose way is a tunnel, decides where they leave and counts them for their services: a bit
/// each, by place in `live`.
#[inline(never)]
#[allow(clippy::indexing_slicing, reason = "arrays of BURST, and places below BURST")]
pub(crate) fn enter_all<P: Port>(worker: &mut Worker<P>, partial: bool, mut packets: u64) {
    let burst = &mut *worker.burst;
    let clamps = worker.tables.services.clamps();
    let mut run = Run::new(&worker.flows, worker.now_us);
    let mut entrance = Entrance {
        tables: &worker.tables,
        neighbours: &worker.shared.neighbours,
        frames: &mut worker.frames,
        frame_max: &worker.frame_max,
        macs: &worker.macs,
        ids: &mut worker.ids,
    };
    let mut ahead = packets;
    let mut ask = |frames: &Frames, received: &FrameList| {
        let place = usize::from(burst.live[ahead.trailing_zeros() as usize % BURST]) % BURST;
        if let (Some(frame), true) = (received.get(place), ahead != 0) {
            frames.prefetch_head(frame);
        }
        ahead &= ahead.wrapping_sub(1);
    };
    (0..AHEAD).for_each(|_| ask(entrance.frames, &burst.frames));
    while packets != 0 {
        ask(entrance.frames, &burst.frames);
        let k = packets.trailing_zeros() as usize;
        packets &= packets - 1;
        let place = usize::from(burst.live[k]) % BURST;
        let Some(frame) = burst.frames.get_mut(place) else { continue };
        let (hit, meta) = (&burst.hits[k], &mut burst.metas[place]);
        if partial
            && meta.kind != Kind::IcmpError
            && checksum::fix_partial(entrance.frames.bytes_mut(frame), meta)
        {
            worker.tally.completed_checksums += 1;
        }
        if clamps && meta.flags.0 & TcpFlags::SYN != 0 {
            clamp(entrance.tables, entrance.frames.bytes_mut(frame), meta, hit);
        }
        let len = frame.len();
        let fate = entrance.pack(frame, meta, ServiceId::from_u32(hit.service()).slot, hit.server_id());
        if !matches!(fate, Fate::Drop(_) | Fate::Answer(..)) {
            run.add(hit, len, &worker.counters);
        }
        burst.fates[place] = fate;
    }
    run.settle(&worker.counters);
}

/// What giving packets other headers needs of a worker, apart from its burst.
pub(crate) struct Entrance<'w> {
    pub tables: &'w Tables,
    pub neighbours: &'w Neighbours,
    pub frames: &'w mut Frames,
    pub frame_max: &'w [u16; PORTS_MAX],
    pub macs: &'w [u64; PORTS_MAX],
    /// Of packets made here that may be fragmented.
    pub ids: &'w mut Identifications,
}

impl Entrance<'_> {
    /// Packs a packet of the service in `slot` for its server, and decides where it leaves. A service that has left mode
    /// tunnel goes on as dsr: its server has the service's address in both. Towards another node the packet is routed
    /// (RFC 1812 §5.3.1), whether it is packed or not.
    #[inline(never)]
    pub(crate) fn enter(&mut self, frame: &mut Frame, meta: &mut Meta, slot: u16, server: ServerId) -> Fate {
        self.pack(frame, meta, slot, server)
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "the loop's middle, and the path of nearly every packet")]
    fn pack(&mut self, frame: &mut Frame, meta: &mut Meta, slot: u16, server: ServerId) -> Fate {
        let Some(server) = self.tables.server(server) else { return Fate::Drop(Reason::NoServer.into()) };
        let Some(service) = self.tables.services.get(slot) else { return towards(self.neighbours, server) };
        let routed = service.own.is_some();
        if routed && meta.ttl <= 1 {
            return Fate::Answer(Reason::TtlExpired, Made::TtlExceeded);
        }
        let Delivery::Tunnel(tunnel) = &service.delivery else {
            return self.direct(frame, meta, server, routed);
        };
        let (outer_v4, hop) = (server.ip.is_v4(), self.neighbours.hop(server.neighbour));
        let overhead = tunnel.encapsulation.overhead(outer_v4);
        if hop.is_resolved() {
            let room = self.frame_max.get(usize::from(hop.port())).copied().unwrap_or(0);
            let room = usize::from(room.saturating_sub(UNTAGGED));
            if usize::from(meta.end - meta.l3) + overhead > room {
                let mtu = u16::try_from(room.saturating_sub(overhead)).unwrap_or(u16::MAX);
                return Fate::Answer(Reason::TooBig, Made::TooBig { mtu });
            }
        }
        if routed {
            wire::decrement_ttl(self.frames.bytes_mut(frame), meta);
        }
        if self.wrap(frame, meta, tunnel, server, overhead).is_none() {
            return Fate::Drop(Reason::NoRoom.into());
        }
        let ethertype = if outer_v4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        let bytes = self.frames.bytes_mut(frame);
        if hop.is_plain() {
            let src = self.macs.get(usize::from(hop.port())).copied().unwrap_or_default();
            wire::set_header(bytes, hop.mac(), src, ethertype);
            return Fate::Ready(hop.port());
        }
        // Both addresses and the tag are written once they are known, on the way out.
        wire::set_header(bytes, 0, 0, ethertype);
        tagged(hop, server.neighbour)
    }

    /// A packet that is not packed: as dsr, or routed to the node that has it.
    #[inline(never)]
    fn direct(&mut self, frame: &mut Frame, meta: &Meta, server: &Server, routed: bool) -> Fate {
        let way = towards(self.neighbours, server);
        if !routed {
            return way;
        }
        if let Fate::Send(egress) = way {
            let room = self.frame_max.get(usize::from(egress.port())).copied().unwrap_or(0);
            let mtu = room.saturating_sub(UNTAGGED);
            if meta.end - meta.l3 > mtu {
                return Fate::Answer(Reason::TooBig, Made::TooBig { mtu });
            }
        }
        wire::decrement_ttl(self.frames.bytes_mut(frame), meta);
        way
    }

    /// Puts the outer headers in front of a packet, where its tags were and where its Ethernet header was; that will stand in
    /// front of them.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "as `pack`")]
    #[allow(clippy::cast_possible_truncation, reason = "the upper bits of a number are cut out")]
    fn wrap(
        &mut self,
        frame: &mut Frame,
        meta: &mut Meta,
        tunnel: &Tunnel,
        server: &Server,
        overhead: usize,
    ) -> Option<()> {
        let (l3, end, inner) =
            (usize::from(meta.l3), usize::from(meta.end), overhead + usize::from(UNTAGGED));
        if frame.len() != end && !self.frames.set_len(frame, end)
            || !self.frames.grow_head(frame, inner.checked_sub(l3)?)
        {
            return None;
        }
        let mix = mix(meta);
        // Ephemeral ports, as RFC 7510 §3.1 wants of its like.
        let entropy = (mix >> 48) as u16 | 0xc000;
        let (end, form) = (inner + end - l3, tunnel.encapsulation);
        let bytes = self.frames.bytes_mut(frame);
        let packed = if server.ip.is_v4() {
            let outer = Outer { src: tunnel.source_v4.host_v4(mix), dst: server.ip.last4(), entropy };
            let id = || self.ids.next(outer.src, outer.dst);
            encapsulate_v4(bytes, inner, end, meta.v4, form, &outer, id)
        } else {
            let outer = Outer { src: tunnel.source_v6.host_v6(mix), dst: server.ip.octets(), entropy };
            encapsulate_v6(bytes, inner, end, meta.v4, form, &outer)
        };
        meta.l3 = UNTAGGED;
        packed.then_some(())
    }
}

/// A number of a flow, the same for each of its packets and for ICMP errors about its answers: made of the client's address
/// and both ports, well mixed in its high bits and its low ones.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "a product is cut into halves")]
fn mix(meta: &Meta) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = meta.src.octets();
    let ports = u64::from(meta.sport) << 16 | u64::from(meta.dport);
    let word = u64::from_be_bytes([a, b, c, d, e, f, g, h]) ^ ports;
    let product = u128::from(word) * 0x9e37_79b9_7f4a_7c15;
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn prefix(ip: &str, bits: u8) -> Option<Prefix> {
        Prefix::new(ip.parse::<IpAddr>().unwrap().into(), bits)
    }

    #[test]
    fn hosts_stay_in_their_prefix() {
        let v4 = |p: Prefix| [0, 1, u64::MAX].map(|mix| Ip::from_v4(p.host_v4(mix)).to_string());
        let v6 = |p: Prefix| [0, 1, u64::MAX].map(|mix| Ip::from_v6(p.host_v6(mix)).to_string());
        assert_eq!(v4(prefix("172.16.9.9", 16).unwrap()), ["172.16.0.0", "172.16.0.1", "172.16.255.255"]);
        assert_eq!(v4(prefix("10.0.13.37", 32).unwrap()), ["10.0.13.37"; 3]);
        let wide = v6(prefix("100::", 64).unwrap());
        assert_eq!(wide, ["100::", "100::1", "100::ffff:ffff:ffff:ffff"]);
        assert_eq!(v6(prefix("fc00:2307::1337", 128).unwrap()), ["fc00:2307::1337"; 3]);
        assert!(prefix("10.0.0.0", 33).is_none() && prefix("fd00::", 129).is_none());
        assert!(prefix("::", 0).is_some());
    }

    #[test]
    fn flows_of_one_client_spread_in_high_and_low_bits() {
        let of = |sport| {
            let src = Ip::from_v4([198, 51, 100, 7]);
            mix(&Meta { src, sport, dport: 80, ..Meta::default() })
        };
        let mixes: Vec<u64> = (40_000..40_256).map(of).collect();
        for shift in [0, 8, 48, 56] {
            let seen: std::collections::BTreeSet<u64> = mixes.iter().map(|m| m >> shift & 0xff).collect();
            assert!(seen.len() > 140, "{} of 256 values of the byte at bit {shift}", seen.len());
        }
        assert_eq!(of(40_000), of(40_000));
    }
}
