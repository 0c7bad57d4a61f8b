//! ICMP errors: the outer addresses and the quoted packet, with up to four checksums kept right (RFC 5508 REQ-4,
//! REQ-5).

use crate::bytes::{put, word};
use crate::checksum::Delta;
use crate::ip::Ip;
use crate::meta::{Kind, Meta};
use crate::parse::transport::{TCP, UDP};
use crate::rewrite::{Side, address, address_of};

/// What to change in an ICMP error; None leaves a part alone. Ports are in host order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct IcmpEdit {
    /// The error's own source.
    pub outer_src: Option<Ip>,
    /// The error's own destination.
    pub outer_dst: Option<Ip>,
    /// The quoted packet's source address and port.
    pub quoted_src: Option<(Ip, u16)>,
    /// The quoted packet's destination address and port.
    pub quoted_dst: Option<(Ip, u16)>,
}

/// An error about a packet that the service sent to a client, on its way to the server that really sent it: the outer
/// destination becomes `ip`, the quoted source `ip`:`port`.
pub fn icmp_error_to_server(frame: &mut [u8], meta: &Meta, ip: Ip, port: u16) {
    let edit = IcmpEdit { outer_dst: Some(ip), quoted_src: Some((ip, port)), ..IcmpEdit::default() };
    icmp_error(frame, meta, &edit);
}

/// An error about a packet that a client sent to the service, on its way to the client: the quoted destination
/// becomes the service's `ip`:`port`, and the outer source too when the server `from_server` itself sent the error.
/// A router between is named as it is, for traceroute.
pub fn icmp_error_to_client(frame: &mut [u8], meta: &Meta, from_server: Ip, ip: Ip, port: u16) {
    let outer = address_of(frame, meta.l3.into(), meta.v4, Side::Source);
    let outer_src = (outer == Some(from_server)).then_some(ip);
    let edit = IcmpEdit { outer_src, quoted_dst: Some((ip, port)), ..IcmpEdit::default() };
    icmp_error(frame, meta, &edit);
}

/// Who sent an ICMP error, by its outer header; the [`Meta`] speaks of the quoted packet. None when the frame is too short.
#[must_use]
pub fn icmp_error_source(frame: &[u8], meta: &Meta) -> Option<Ip> {
    address_of(frame, meta.l3.into(), meta.v4, Side::Source)
}

/// Changes any part of an ICMP error; a frame of another kind, or addresses of the other family, stay as they are.
///
/// The quoted transport checksum is kept right where the quote is long enough to hold it: always for UDP, for TCP
/// only when more than the eight bytes of RFC 792 are quoted.
pub fn icmp_error(frame: &mut [u8], meta: &Meta, edit: &IcmpEdit) {
    let quoted = [(Side::Source, edit.quoted_src), (Side::Destination, edit.quoted_dst)];
    let outer = [(Side::Source, edit.outer_src), (Side::Destination, edit.outer_dst)];
    let addresses = quoted.iter().filter_map(|(_, e)| e.map(|(ip, _)| ip));
    let same_family = addresses.chain(outer.iter().filter_map(|(_, ip)| *ip)).all(|ip| ip.is_v4() == meta.v4);
    debug_assert!(same_family && meta.kind == Kind::IcmpError, "{meta:?} cannot get {edit:?}");
    if !same_family || meta.kind != Kind::IcmpError {
        return;
    }
    let mut delta = Delta::default();
    for (side, ip) in outer {
        let Some(ip) = ip else { continue };
        let changed = address(frame, meta.l3.into(), meta.v4, side, ip);
        // Only ICMPv6 has a pseudo header (RFC 4443 §2.3).
        if !meta.v4 {
            delta = delta.and(changed.pseudo);
        }
    }
    for (side, endpoint) in quoted {
        let Some((ip, port)) = endpoint else { continue };
        delta = delta.and(quoted_endpoint(frame, meta, side, ip, port));
    }
    let at = usize::from(meta.l4) + 2;
    if let Some(checksum) = word(frame, at) {
        put(frame, at, delta.apply(checksum).to_be_bytes());
    }
}

/// Rewrites one side of the quoted packet and returns what changed for the ICMP checksum, which covers every byte
/// of it.
fn quoted_endpoint(frame: &mut [u8], meta: &Meta, side: Side, ip: Ip, port: u16) -> Delta {
    let changed = address(frame, meta.inner_l3.into(), meta.v4, side, ip);
    let l4 = usize::from(meta.inner_l4);
    let Some(old_port) = word(frame, l4 + side.port_at()) else { return changed.header };
    put(frame, l4 + side.port_at(), port.to_be_bytes());
    let covered = changed.header.word(old_port, port);

    let (at, udp) = match meta.proto {
        UDP => (l4 + 6, true),
        TCP => (l4 + 16, false),
        _ => return covered,
    };
    // Bytes behind the quote are padding, not a checksum.
    let Some(old) = word(frame, at).filter(|_| at + 2 <= usize::from(meta.end)) else { return covered };
    let under = changed.pseudo.word(old_port, port);
    let new = if udp { under.apply_udp(old) } else { under.apply(old) };
    put(frame, at, new.to_be_bytes());
    covered.word(old, new)
}
