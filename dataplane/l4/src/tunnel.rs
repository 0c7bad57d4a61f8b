//! Mode tunnel: the packet goes to its server inside another one, which the server takes off; the server answers the
//! client directly. The inner packet stays as it is, its TTL included (SPEC.md says why).

use crate::burst::Fate;
use crate::drops::Reason;
use crate::rewrite::{UNTAGGED, label, towards};
use crate::tables::{Server, Tables};
use crate::worker::PORTS_MAX;
use crate::{neighbours::Neighbours, tables::Delivery};
use ringlead_flow::ServerId;
use ringlead_io::{Frame, Frames};
use ringlead_wire::answer::Made;
use ringlead_wire::parse::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use ringlead_wire::rewrite::decrement_ttl;
use ringlead_wire::tunnel::{Encapsulation, Outer, encapsulate};
use ringlead_wire::{Ip, Meta};

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

    /// One of them. Of an IPv6 prefix only the last 64 bits vary.
    #[inline]
    fn host(&self, mix: u64) -> Ip {
        let [high, low] = self.base;
        Ip::from_v6((u128::from(high) << 64 | u128::from(low | mix & self.hosts)).to_be_bytes())
    }
}

/// What giving packets other headers needs of a worker, apart from its burst.
pub(crate) struct Entrance<'w> {
    pub tables: &'w Tables,
    pub neighbours: &'w Neighbours,
    pub frames: &'w mut Frames,
    pub frame_max: &'w [u16; PORTS_MAX],
    pub macs: &'w [u64; PORTS_MAX],
    /// Counts packets made here that may be fragmented: their identification (RFC 6864 §4.2).
    pub next_id: &'w mut u16,
}

impl Entrance<'_> {
    /// Packs a packet of the service in `slot` for its server, and decides where it leaves. A service that has left mode
    /// tunnel goes on as dsr: its server has the service's address in both. Towards another node the packet is routed
    /// (RFC 1812 §5.3.1), whether it is packed or not.
    #[inline(never)]
    pub(crate) fn enter(&mut self, frame: &mut Frame, meta: &mut Meta, slot: u16, server: ServerId) -> Fate {
        let Some(server) = self.tables.server(server) else { return Fate::Drop(Reason::NoServer.into()) };
        let mut way = towards(self.neighbours, server);
        let Some(service) = self.tables.services.get(slot) else { return way };
        let tunnel = match &service.delivery {
            Delivery::Tunnel(tunnel) => Some(tunnel),
            Delivery::Nat | Delivery::Dsr | Delivery::Snat(_) => None,
        };
        if service.own.is_some() && meta.ttl <= 1 {
            return Fate::Answer(Reason::TtlExpired, Made::TtlExceeded);
        }
        let overhead = tunnel.map_or(0, |tunnel| tunnel.encapsulation.overhead(server.ip.is_v4()));
        if let Fate::Send(egress) = way {
            let room = self.frame_max.get(usize::from(egress.port())).copied().unwrap_or(0);
            let room = usize::from(room.saturating_sub(UNTAGGED));
            if usize::from(meta.end - meta.l3) + overhead > room {
                let mtu = u16::try_from(room.saturating_sub(overhead)).unwrap_or(u16::MAX);
                return Fate::Answer(Reason::TooBig, Made::TooBig { mtu });
            }
        }
        if service.own.is_some() {
            decrement_ttl(self.frames.bytes_mut(frame), meta);
        }
        let Some(tunnel) = tunnel else { return way };
        match self.pack(frame, meta, tunnel, server, overhead, &mut way) {
            Some(()) => way,
            None => Fate::Drop(Reason::NoRoom.into()),
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "the upper bits of a number are cut out")]
    fn pack(
        &mut self,
        frame: &mut Frame,
        meta: &mut Meta,
        tunnel: &Tunnel,
        server: &Server,
        overhead: usize,
        way: &mut Fate,
    ) -> Option<()> {
        // The outer headers stand where the tags were, and where the Ethernet header was; that moves in front of them.
        let (l3, end, wanted) =
            (usize::from(meta.l3), usize::from(meta.end), overhead + usize::from(UNTAGGED));
        if frame.len() != end && !self.frames.set_len(frame, end) {
            return None;
        }
        let moved = if wanted >= l3 {
            self.frames.grow_head(frame, wanted - l3)
        } else {
            self.frames.shrink_head(frame, l3 - wanted)
        };
        if !moved {
            return None;
        }
        let outer_v4 = server.ip.is_v4();
        let mix = mix(meta);
        *self.next_id = self.next_id.wrapping_add(1);
        let outer = Outer {
            src: if outer_v4 { tunnel.source_v4.host(mix) } else { tunnel.source_v6.host(mix) },
            dst: server.ip,
            // Ephemeral ports, as RFC 7510 §3.1 wants of its like.
            entropy: (mix >> 48) as u16 | 0xc000,
            id: *self.next_id,
        };
        let bytes = self.frames.bytes_mut(frame);
        let packed = encapsulate(bytes, wanted, wanted + end - l3, meta.v4, tunnel.encapsulation, &outer);
        let ethertype = if outer_v4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        bytes.get_mut(12..14)?.copy_from_slice(&ethertype.to_be_bytes());
        meta.l3 = UNTAGGED;
        label(bytes, meta, way, self.macs);
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
        let all = |p: Prefix| [0, 1, u64::MAX].map(|mix| p.host(mix).to_string());
        assert_eq!(all(prefix("172.16.9.9", 16).unwrap()), ["172.16.0.0", "172.16.0.1", "172.16.255.255"]);
        assert_eq!(all(prefix("10.0.13.37", 32).unwrap()), ["10.0.13.37"; 3]);
        let wide = all(prefix("100::", 64).unwrap());
        assert_eq!(wide, ["100::", "100::1", "100::ffff:ffff:ffff:ffff"]);
        assert_eq!(all(prefix("fc00:2307::1337", 128).unwrap()), ["fc00:2307::1337"; 3]);
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
