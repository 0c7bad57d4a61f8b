//! The checks of an outer header: what a tunnel must and must not make of a packet.

use crate::checks::{Case, Tos};
use crate::kind::Kind;
use crate::net::Nets;
use crate::record::Record;
use crate::tunnel::Outer;

/// "Don't fragment" among an IPv4 header's flags.
const DONT_FRAGMENT: u8 = 0x40;

impl Case<'_> {
    /// Judges the outer header, and returns the server that it leads to.
    #[inline]
    pub(crate) fn tunnelled(&self, record: &mut Record) -> Option<u16> {
        let wanted = self.expect.tunnel.encapsulation;
        let Some(outer) = self.outer else {
            record.find(Kind::NotTunnelled, self.who, format_args!("{wanted}"), format_args!("no tunnel"));
            return None;
        };
        if outer.encapsulation != wanted {
            let got = format_args!("{}", outer.encapsulation);
            record.find(Kind::NotTunnelled, self.who, format_args!("{wanted}"), got);
        }
        self.outer_checksums(outer, record);
        self.outer_header(outer, record);
        self.outer_addresses(outer, record)
    }

    #[inline]
    fn outer_checksums(&self, outer: &Outer, record: &mut Record) {
        if !outer.ip_checksum_ok {
            let got = format_args!("a wrong one in the outer IPv4 header");
            record.find(Kind::OuterChecksum, self.who, format_args!("a right one"), got);
        }
        if !outer.udp_checksum_ok {
            let got = format_args!("a wrong one in the outer UDP header");
            record.find(Kind::OuterChecksum, self.who, format_args!("a right one, or none"), got);
        }
    }

    /// The outer header's fields that follow the packet's (RFC 2003 §3.1, RFC 6040 §4.1).
    #[inline]
    fn outer_header(&self, outer: &Outer, record: &mut Record) {
        let packet = self.packet;
        if !outer.length_ok {
            let got = format_args!("an outer length that leaves bytes behind the packet");
            record.find(Kind::OuterHeader, self.who, format_args!("the packet's length"), got);
        }
        if outer.ttl == 0 {
            record.find(Kind::OuterHeader, self.who, format_args!("a TTL"), format_args!("outer TTL 0"));
        }
        // What an IPv4 tunnel sets around IPv6 is its own affair (RFC 4213 §3.2).
        let (df, outer_df) = (packet.label().1 & DONT_FRAGMENT, outer.label.1 & DONT_FRAGMENT);
        if packet.is_v4() && outer.source.is_ipv4() && df != outer_df {
            let got = format_args!("outer flags {outer_df:#04x}");
            record.find(Kind::OuterHeader, self.who, format_args!("flags {df:#04x}, as inside"), got);
        }
        if outer.tos != packet.tos() {
            let (expected, got) = (Tos(packet.tos()), Tos(outer.tos));
            let expected = format_args!("{expected}, as inside");
            record.find(Kind::OuterDscp, self.who, expected, format_args!("{got}"));
        }
    }

    #[inline]
    fn outer_addresses(&self, outer: &Outer, record: &mut Record) -> Option<u16> {
        let sources = Nets(&self.expect.tunnel.sources);
        if !sources.0.is_empty() && !sources.contain(outer.source.ip()) {
            let got = format_args!("outer source {}", outer.source.ip());
            record.find(Kind::OuterAddress, self.who, format_args!("outer source in {sources}"), got);
        }
        let to = outer.destination.ip();
        let found = self.server(|server| server.address.ip() == to);
        if found.is_none() {
            let expected = format_args!("outer destination: a server of {}", self.service.address);
            record.find(Kind::OuterAddress, self.who, expected, format_args!("outer destination {to}"));
        }
        found
    }
}
