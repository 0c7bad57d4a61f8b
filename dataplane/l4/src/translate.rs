//! NAT64 and NAT46: mode snat where a server is of the other family than its client. The packet becomes one of that family
//! (RFC 7915), from an address and port of ours.

use crate::burst::Fate;
use crate::drops::Reason;
use crate::rewrite::{UNTAGGED, back, towards};
use crate::tunnel::Entrance;
use ringlead_flow::{Hit, Side};
use ringlead_io::Frame;
use ringlead_wire::answer::Made;
use ringlead_wire::parse::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use ringlead_wire::translate::{
    Ends, ICMP_ERROR_LEN_MAX, IcmpEnds, icmp_error, to_v4, to_v6, translated_len,
};
use ringlead_wire::{Ip, Kind, Meta};

/// How much longer an IPv6 header is than one of IPv4.
const LONGER: u16 = 20;
/// The headers that are written: Ethernet without tags, and IP without options.
const ETHERNET_LEN: usize = UNTAGGED as usize;
const V4_LEN: usize = 20;
const V6_LEN: usize = 40;

impl Entrance<'_> {
    /// Makes a packet of a flow with a tuple of each family one of the other family, and decides where it leaves. `port` is
    /// the configured port that it came by.
    ///
    /// Where that is answered, frame and meta stay as they came, to be quoted.
    #[inline(never)]
    pub(crate) fn cross(&mut self, frame: &mut Frame, meta: &mut Meta, hit: &Hit, port: u8) -> Fate {
        if meta.ttl <= 1 {
            return Fate::Answer(Reason::TtlExpired, Made::TtlExceeded);
        }
        let way = match hit.side() {
            Side::Client => match self.tables.server(hit.server_id()) {
                Some(server) => towards(self.neighbours, server),
                None => return Fate::Drop(Reason::NoServer.into()),
            },
            Side::Server => back(hit),
        };
        let out = if let Fate::Send(egress) = way { self.mtu(egress.port()) } else { u16::MAX };
        let ends = ends(hit);
        let crossed = if meta.kind == Kind::IcmpError {
            let within =
                if meta.v4 { self.mtu(port).saturating_add(LONGER) } else { self.mtu(port) - LONGER };
            self.cross_error(frame, meta, &ends, out.min(within))
        } else if translated_len(meta) > usize::from(out) {
            // What fits once it is translated, in the sender's family.
            let mtu = if meta.v4 { out - LONGER } else { out.saturating_add(LONGER) };
            return Fate::Answer(Reason::TooBig, Made::TooBig { mtu });
        } else {
            self.cross_packet(frame, meta, &ends)
        };
        match crossed {
            Ok(()) => {
                meta.l3 = UNTAGGED;
                way
            }
            Err(reason) => Fate::Drop(reason.into()),
        }
    }

    /// The longest IP packet that a configured port lets through; unknown where this worker has no queue of it.
    fn mtu(&self, port: u8) -> u16 {
        let max = self.frame_max.get(usize::from(port)).copied().filter(|max| *max > UNTAGGED + LONGER);
        max.map_or(u16::MAX, |max| max - UNTAGGED)
    }

    /// A whole TCP segment or UDP datagram. The new IP header ends where the old one did, Ethernet's stands before it, and
    /// padding behind the packet is left behind.
    fn cross_packet(&mut self, frame: &mut Frame, meta: &Meta, ends: &Ends) -> Result<(), Reason> {
        let headers = ETHERNET_LEN + if meta.v4 { V6_LEN } else { V4_LEN };
        let grown = headers.saturating_sub(meta.l4.into());
        if !self.frames.set_len(frame, meta.end.into()) || !self.frames.grow_head(frame, grown) {
            return Err(Reason::NoRoom);
        }
        let id = self.ids.next(ends.src.last4(), ends.dst.last4());
        let bytes = self.frames.bytes_mut(frame);
        let start = if meta.v4 { to_v6(bytes, meta, grown, ends) } else { to_v4(bytes, meta, ends, id) };
        let cut = start.and_then(|start| start.checked_sub(ETHERNET_LEN));
        if !cut.is_some_and(|cut| self.frames.shrink_head(frame, cut)) {
            return Err(Reason::Untranslatable);
        }
        set_ethertype(self.frames.bytes_mut(frame), !meta.v4);
        Ok(())
    }

    /// An error about one end's packet, on its way to that end: it must read as if about what that end had sent. It comes
    /// from our own address whoever sent it, because a router's has no counterpart in the other family (RFC 6791 §3).
    #[cold]
    fn cross_error(&mut self, frame: &mut Frame, meta: &Meta, ends: &Ends, mtu: u16) -> Result<(), Reason> {
        let quoted = Ends { src: ends.dst, dst: ends.src, sport: ends.dport, dport: ends.sport };
        let id = self.ids.next(ends.src.last4(), ends.dst.last4());
        let told = IcmpEnds { src: ends.src, dst: ends.dst, quoted, mtu, id };
        let mut built = [0; ETHERNET_LEN + ICMP_ERROR_LEN_MAX];
        set_ethertype(&mut built, !meta.v4);
        let len = built
            .get_mut(ETHERNET_LEN..)
            .and_then(|packet| icmp_error(self.frames.bytes(frame), meta, &told, packet))
            .ok_or(Reason::Untranslatable)?;
        let built = built.get(..ETHERNET_LEN + len).ok_or(Reason::Untranslatable)?;
        if self.frames.copy_in(frame, built) { Ok(()) } else { Err(Reason::NoRoom) }
    }
}

/// Both ends of the packet once it is translated: ours, and the flow's other end.
fn ends(hit: &Hit) -> Ends {
    let (src, dst) = match hit.side() {
        Side::Client => (hit.mapping_v6(), hit.server_v6()),
        Side::Server => (hit.service_v6(), hit.client_v6()),
    };
    Ends {
        src: Ip::from_v6(src.0),
        dst: Ip::from_v6(dst.0),
        sport: u16::from_be_bytes(src.1),
        dport: u16::from_be_bytes(dst.1),
    }
}

/// Says which family follows an Ethernet header without tags.
fn set_ethertype(frame: &mut [u8], v4: bool) {
    let ethertype = if v4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
    if let Some(field) = frame.get_mut(12..14) {
        field.copy_from_slice(&ethertype.to_be_bytes());
    }
}
