//! ICMP errors that cross between the families: types, codes, pointers and MTUs as RFC 7915 §4.2 and §5.2 list them.

use ringlead_wire::build::{Packet, ToEndpoint};
use ringlead_wire::translate::{ICMP_ERROR_LEN_MAX, IcmpEnds, icmp_error};
use ringlead_wire::{Ip, Kind, Meta, parse};

use super::{CLIENT6, SERVER4, SERVICE6, SNAT4, as_v4, ends};
use crate::full::Dice;
use crate::judge;

const ROUTER4: &str = "203.0.113.1";
const ROUTER6: &str = "2001:db8:e::1";

fn ip(text: &str) -> Ip {
    text.to_endpoint().ip().into()
}

/// An error that a router of one family sent about our packet, on its way to the host of the other.
fn from_router(v4: bool, kind: u8, code: u8, rest: u32, quote: &[u8]) -> Vec<u8> {
    let (router, us) = if v4 { (ROUTER4, SNAT4) } else { (ROUTER6, SERVICE6) };
    Packet::icmp_error(router, us, kind, code, rest, quote).ttl(33).tos(0xc3).build()
}

/// Where it goes. Of `v4` is what was received.
fn to_host(v4: bool, mtu: u16) -> IcmpEnds {
    if v4 {
        let quoted = ends(CLIENT6, SERVICE6);
        IcmpEnds { src: ip("64:ff9b::1"), dst: quoted.src, quoted, mtu, id: 0x4321 }
    } else {
        let quoted = ends(SERVER4, SNAT4);
        IcmpEnds { src: ip("192.0.2.99"), dst: quoted.src, quoted, mtu, id: 0x4321 }
    }
}

/// The error that a host of the other family is to see.
fn expected(v4: bool, kind: u8, code: u8, rest: u32, quote: &[u8]) -> Vec<u8> {
    let to = to_host(v4, 0);
    let (src, dst): (std::net::IpAddr, std::net::IpAddr) = (to.src.into(), to.dst.into());
    let packet = Packet::icmp_error(src, dst, kind, code, rest, quote).ttl(32).tos(0xc3);
    if v4 { packet.build() } else { packet.dont_fragment(false).id(0x4321).build() }
}

fn dress(packet: Packet, size: usize) -> Packet {
    packet.payload(vec![0x5a; size]).ttl(3).tos(0x2e).seq(99)
}

/// What the router saw, and what its sender had sent. A quoted TTL stays what the router saw.
fn quotes(v4: bool, build: fn(&str, &str) -> Packet, size: usize) -> (Packet, Packet) {
    let len = dress(build(SNAT4, SERVER4), size).ip().len();
    let four = |src, dst| as_v4(dress(build(src, dst), size), len, 0);
    if v4 {
        (four(SNAT4, SERVER4), dress(build(CLIENT6, SERVICE6), size))
    } else {
        (dress(build(SERVICE6, CLIENT6), size), four(SERVER4, SNAT4))
    }
}

fn tcp(src: &str, dst: &str) -> Packet {
    Packet::tcp(src, dst)
}

fn udp(src: &str, dst: &str) -> Packet {
    Packet::udp(src, dst)
}

/// The translated error as a frame, judged by the parser and by etherparse.
fn cross(frame: &[u8], ends: &IcmpEnds) -> Option<Vec<u8>> {
    let meta = parse(frame).unwrap();
    let mut out = vec![0xee; 14 + ICMP_ERROR_LEN_MAX];
    let len = icmp_error(frame, &meta, ends, &mut out[14..])?;
    assert!(out[14 + len..].iter().all(|byte| *byte == 0xee), "written behind the end");
    out.truncate(14 + len);
    let header = Packet::tcp(SNAT4, SERVER4).build();
    out[..12].copy_from_slice(&header[..12]);
    out[12..14].copy_from_slice(&if meta.v4 { [0x86, 0xdd] } else { [0x08, 0x00] });
    assert_eq!(judge::checksums(&out), Ok(()));
    let after = parse(&out).unwrap();
    assert_eq!((after.kind, after.proto, usize::from(after.end)), (Kind::IcmpError, meta.proto, out.len()));
    Some(out)
}

/// RFC 7915 §4.2, every type and code there is: (ICMPv6 type, code, second word), or None for "silently drop".
fn table_to_v6(kind: u8, code: u8) -> Option<(u8, u8, u32)> {
    match (kind, code) {
        (3, 0) => Some((1, 0, 0)),      // Net unreachable: no route to destination.
        (3, 1) => Some((1, 0, 0)),      // Host unreachable: no route to destination.
        (3, 2) => Some((4, 1, 6)),      // Protocol unreachable: unrecognized next header, at 6.
        (3, 3) => Some((1, 4, 0)),      // Port unreachable: port unreachable.
        (3, 4) => Some((2, 0, 1420)),   // Fragmentation needed: packet too big, 20 more.
        (3, 5) => Some((1, 0, 0)),      // Source route failed.
        (3, 6) => Some((1, 0, 0)),      // Destination network unknown.
        (3, 7) => Some((1, 0, 0)),      // Destination host unknown.
        (3, 8) => Some((1, 0, 0)),      // Source host isolated.
        (3, 9) => Some((1, 1, 0)),      // Network administratively prohibited.
        (3, 10) => Some((1, 1, 0)),     // Host administratively prohibited.
        (3, 11) => Some((1, 0, 0)),     // Network unreachable for TOS.
        (3, 12) => Some((1, 0, 0)),     // Host unreachable for TOS.
        (3, 13) => Some((1, 1, 0)),     // Communication administratively prohibited.
        (3, 14) => None,                // Host precedence violation.
        (3, 15) => Some((1, 1, 0)),     // Precedence cutoff in effect.
        (11, c) => Some((3, c, 0)),     // Time exceeded: code unchanged.
        (12, 0 | 2) => Some((4, 0, 0)), // Pointer, bad length: erroneous header field.
        _ => None,
    }
}

/// RFC 7915 §5.2.
fn table_to_v4(kind: u8, code: u8) -> Option<(u8, u8, u32)> {
    match (kind, code) {
        (1, 0) => Some((3, 1, 0)),    // No route: host unreachable.
        (1, 1) => Some((3, 10, 0)),   // Administratively prohibited: the same, for the host.
        (1, 2) => Some((3, 1, 0)),    // Beyond scope of source address.
        (1, 3) => Some((3, 1, 0)),    // Address unreachable.
        (1, 4) => Some((3, 3, 0)),    // Port unreachable.
        (2, _) => Some((3, 4, 1380)), // Packet too big: 20 less; the code is ignored (RFC 4443 §3.2).
        (3, c) => Some((11, c, 0)),   // Time exceeded: code unchanged.
        (4, 0) => Some((12, 0, 0)),   // Erroneous header field: pointer.
        (4, 1) => Some((3, 2, 0)),    // Unrecognized next header: protocol unreachable.
        _ => None,                    // Unrecognized option, and all else.
    }
}

#[test]
fn rfc7915_s4_2_s5_2_every_type_and_code() {
    for v4 in [true, false] {
        let (quote, other) = quotes(v4, udp, 5);
        let (quote, other) = (quote.ip(), other.ip());
        let mut some = 0;
        for (kind, code) in (0..=u8::MAX).flat_map(|kind| (0..=u8::MAX).map(move |code| (kind, code))) {
            let is_too_big = (kind, code) == (3, 4) && v4 || kind == 2 && !v4;
            let frame = from_router(v4, kind, code, if is_too_big { 1400 } else { 0 }, &quote);
            let table = if v4 { table_to_v6(kind, code) } else { table_to_v4(kind, code) };
            let to = table.map(|(kind, code, rest)| expected(v4, kind, code, rest, &other));
            assert_eq!(cross(&frame, &to_host(v4, u16::MAX)), to, "{kind} {code}");
            some += u32::from(to.is_some());
        }
        assert_eq!(some, if v4 { 15 + 256 + 2 } else { 5 + 256 + 256 + 2 });
    }
}

#[test]
fn rfc7915_figures_3_and_6_every_pointer() {
    let (quote, other) = quotes(true, tcp, 5);
    for pointer in 0..=u8::MAX {
        let to: Option<u32> = match pointer {
            0 => Some(0),        // Version and IHL.
            1 => Some(1),        // TOS: traffic class.
            2 | 3 => Some(4),    // Total length: payload length.
            8 => Some(7),        // TTL: hop limit.
            9 => Some(6),        // Protocol: next header.
            12..=15 => Some(8),  // Source.
            16..=19 => Some(24), // Destination.
            _ => None,           // Identification, fragmentation, checksum, and all behind the header.
        };
        for code in [0, 2] {
            let frame = from_router(true, 12, code, u32::from(pointer) << 24, &quote.ip());
            let to = to.map(|to| expected(true, 4, 0, to, &other.ip()));
            assert_eq!(cross(&frame, &to_host(true, u16::MAX)), to, "{pointer}");
        }
    }
    let (quote, other) = quotes(false, tcp, 5);
    for pointer in (0..=300).chain([0x0100_0000, u32::MAX]) {
        let to: Option<u32> = match pointer {
            0 => Some(0),        // Version and traffic class: version and IHL.
            1 => Some(1),        // Traffic class: TOS.
            4 | 5 => Some(2),    // Payload length: total length.
            6 => Some(9),        // Next header: protocol.
            7 => Some(8),        // Hop limit: TTL.
            8..=23 => Some(12),  // Source.
            24..=39 => Some(16), // Destination.
            _ => None,           // Flow label, and all behind the header.
        };
        let frame = from_router(false, 4, 0, pointer, &quote.ip());
        let to = to.map(|to| expected(false, 12, 0, to << 24, &other.ip()));
        assert_eq!(cross(&frame, &to_host(false, u16::MAX)), to, "{pointer}");
    }
}

/// max(1280, min(MTU + 20, bound)); a router that names none: the plateau of RFC 1191 below the quoted length.
#[test]
fn rfc7915_s4_2_the_mtu_of_a_packet_too_big() {
    for (named, quoted_len, bound, to) in [
        (1500, 1600, u16::MAX, 1520),
        (1400, 1500, u16::MAX, 1420),
        (1480, 1500, 1500, 1500),
        (1481, 1500, 1500, 1500),
        (1479, 1500, 1500, 1499),
        (1261, 1500, u16::MAX, 1281),
        (1260, 1500, u16::MAX, 1280),
        (1259, 1500, u16::MAX, 1280),
        (68, 1500, u16::MAX, 1280),
        (1500, 1600, 1000, 1280),
        (u16::MAX, u16::MAX, u16::MAX, u32::from(u16::MAX)),
        (0, u16::MAX, u16::MAX, 32_000),
        (0, 32_001, u16::MAX, 32_000),
        (0, 32_000, u16::MAX, 17_914),
        (0, 17_914, u16::MAX, 8166),
        (0, 8166, u16::MAX, 4352),
        (0, 4352, u16::MAX, 2002),
        (0, 2002, u16::MAX, 1492),
        (0, 1500, u16::MAX, 1492),
        (0, 1492, u16::MAX, 1280),
        (0, 600, u16::MAX, 1280),
        (0, 9000, 1500, 1500),
    ] {
        let mut quote = quotes(true, udp, 5).0.ip();
        quote[2..4].copy_from_slice(&u16::to_be_bytes(quoted_len));
        let crossed = cross(&from_router(true, 3, 4, named.into(), &quote), &to_host(true, bound)).unwrap();
        assert_eq!(crossed[54..56], [2, 0]);
        assert_eq!(crossed[58..62], u32::to_be_bytes(to), "{named} {quoted_len} {bound}");
    }
}

/// min(MTU − 20, bound), and nothing below what IPv6 must carry: 1280 − 20.
#[test]
fn rfc7915_s5_2_the_mtu_of_a_fragmentation_needed() {
    for (named, bound, to) in [
        (1500, u16::MAX, 1480),
        (1500, 1480, 1480),
        (1500, 1479, 1479),
        (1280, u16::MAX, 1260),
        (1279, u16::MAX, 1260),
        (0, u16::MAX, 1260),
        (u32::from(u16::MAX), u16::MAX, u16::MAX - 20),
        (0x0001_0000, u16::MAX, u16::MAX - 20),
        (u32::MAX, 9000, 9000),
    ] {
        let quote = quotes(false, udp, 5).0.ip();
        let crossed = cross(&from_router(false, 2, 0, named, &quote), &to_host(false, bound)).unwrap();
        assert_eq!(crossed[34..36], [3, 4]);
        let [t0, t1] = u16::to_be_bytes(to);
        assert_eq!(crossed[38..42], [0, 0, t0, t1], "{named} {bound}");
    }
}

/// The whole frame against one built independently, for quotes of every length from eight bytes to all: headers say what
/// the whole packet had, the transport checksum is right where it is there, and longer ones are cut (RFC 4443 §2.4,
/// RFC 1812 §4.3.2.3).
#[test]
fn rfc7915_s4_3_s5_3_the_quote_is_translated_however_long_it_is() {
    for v4 in [true, false] {
        let (from, to, max) = if v4 { (20, 40, 1280 - 48) } else { (40, 20, 576 - 28) };
        for (n, build) in [tcp, udp].into_iter().enumerate() {
            for size in [0, 1, 20, 400, 600, 1180, 1300, 1450] {
                let (quote, other) = quotes(v4, build, size);
                let (quote, other) = (quote.ip(), other.ip());
                let whole = quote.len() - from;
                // Half a TCP checksum, at 17, is nothing that could be right.
                let lengths =
                    (8..17).chain(18..50).chain([127, 128, 500, 548, 549, 1000, 1212, 1213, 1214, whole]);
                for len in lengths.filter(|len| *len <= whole) {
                    let kind = if v4 { 11 } else { 3 };
                    let frame = from_router(v4, kind, 0, 0, &quote[..from + len]);
                    let crossed = cross(&frame, &to_host(v4, u16::MAX)).unwrap();
                    let other = &other[..(to + len).min(max)];
                    let kind = if v4 { 3 } else { 11 };
                    assert_eq!(crossed, expected(v4, kind, 0, 0, other), "{n} {size} {len}");
                }
            }
        }
    }
}

/// Both ways, the error is about the same packet to either side; a quoted UDP checksum of 0 stays "none".
#[test]
fn an_error_there_and_back_is_the_same() {
    for v4 in [true, false] {
        for build in [tcp, udp] {
            let (quote, _) = quotes(v4, build, 77);
            let kind = if v4 { (3, 3) } else { (1, 4) };
            let frame = from_router(v4, kind.0, kind.1, 0, &quote.ip());
            let there = cross(&frame, &to_host(v4, u16::MAX)).unwrap();
            let back = IcmpEnds {
                src: ip(if v4 { ROUTER4 } else { ROUTER6 }),
                dst: ip(if v4 { SNAT4 } else { SERVICE6 }),
                quoted: if v4 { ends(SNAT4, SERVER4) } else { ends(SERVICE6, CLIENT6) },
                mtu: u16::MAX,
                id: 0,
            };
            let back = cross(&there, &back).unwrap();
            let l4 = usize::from(parse(&frame).unwrap().l4);
            assert_eq!(back[l4..], frame[l4..]);
        }
    }
    let quote = udp(SNAT4, SERVER4).no_checksum().payload(b"x").ip();
    let crossed = cross(&from_router(true, 3, 3, 0, &quote), &to_host(true, u16::MAX)).unwrap();
    let l4 = usize::from(parse(&crossed).unwrap().inner_l4);
    assert_eq!(crossed[l4 + 6..l4 + 8], [0, 0]);
}

/// A quoted length is whatever a router wrote: one that does not fit the other header is the most that does, one that
/// is shorter than its own header is none.
#[test]
fn a_quoted_length_of_nonsense_is_bounded() {
    let mut quote = quotes(false, udp, 5).0.ip();
    for (length, to) in [(u16::MAX, u16::MAX), (65_515, 65_535), (65_514, 65_534), (0, 20)] {
        quote[4..6].copy_from_slice(&length.to_be_bytes());
        let crossed = cross(&from_router(false, 1, 4, 0, &quote), &to_host(false, 0)).unwrap();
        assert_eq!(crossed[44..46], to.to_be_bytes(), "{length}");
    }
    let mut quote = quotes(true, udp, 5).0.ip();
    for (length, to) in [(u16::MAX, 65_515), (20, 0), (19, 0), (0, 0)] {
        quote[2..4].copy_from_slice(&u16::to_be_bytes(length));
        let crossed = cross(&from_router(true, 3, 3, 0, &quote), &to_host(true, 0)).unwrap();
        assert_eq!(crossed[66..68], u16::to_be_bytes(to), "{length}");
    }
}

/// Options and extension headers of the quote, and a quoted first fragment, leave nothing behind.
#[test]
fn rfc7915_s4_3_headers_of_the_quote_that_have_no_counterpart_are_left_out() {
    let (quote, other) = quotes(true, tcp, 30);
    for quote in [quote.clone().ip_options(&[1; 8]), quote.fragment(0, true)] {
        let frame = from_router(true, 11, 0, 0, &quote.ip());
        assert_eq!(cross(&frame, &to_host(true, 0)).unwrap(), expected(true, 3, 0, 0, &other.ip()));
    }
    let (quote, other) = quotes(false, tcp, 30);
    for quote in [quote.clone().hop_by_hop().destination_options(), quote.fragment(0, true)] {
        let frame = from_router(false, 3, 1, 0, &quote.ip());
        assert_eq!(cross(&frame, &to_host(false, 0)).unwrap(), expected(false, 11, 1, 0, &other.ip()));
    }
}

/// The outer packet's own options and extension headers.
#[test]
fn rfc7915_s5_1_outer_extension_headers_are_left_out_or_the_error_refused() {
    let (quote, other) = quotes(false, udp, 30);
    let error = || Packet::icmp_error(ROUTER6, SERVICE6, 1, 4, 0, &quote.ip()).ttl(33).tos(0xc3);
    let to = to_host(false, 0);
    for packet in [error().hop_by_hop(), error().destination_options().routing(0)] {
        assert_eq!(cross(&packet.build(), &to).unwrap(), expected(false, 3, 3, 0, &other.ip()));
    }
    for packet in [error().authentication(), error().fragment(0, false)] {
        assert_eq!(parse(&packet.build()).unwrap().kind, Kind::IcmpError);
        assert_eq!(cross(&packet.build(), &to), None);
    }
    let (quote, other) = quotes(true, udp, 30);
    let error =
        Packet::icmp_error(ROUTER4, SNAT4, 3, 3, 0, &quote.ip()).ttl(33).tos(0xc3).ip_options(&[1; 4]);
    assert_eq!(cross(&error.build(), &to_host(true, 0)).unwrap(), expected(true, 1, 4, 0, &other.ip()));
}

/// RFC 4884: the quote is padded to 128 bytes at least, its length noted in the family's own unit, and the objects follow.
#[test]
fn rfc4884_extensions_move_along_with_their_length_attribute() {
    // An MPLS label stack object (RFC 4950) of one label, with its header.
    let objects = [0x20, 0, 0x5f, 0x6b, 0, 8, 1, 1, 0x12, 0x34, 0x51, 0xff];
    for v4 in [true, false] {
        let (unit, other_unit, from, to) = if v4 { (4, 8, 20, 40) } else { (8, 4, 40, 20) };
        for (size, padded) in [(0_usize, 128_usize), (80, 128), (200, 256), (301, 352)] {
            let (quote, other) = quotes(v4, udp, size);
            let (mut quote, other) = (quote.ip(), other.ip());
            quote.resize(padded, 0);
            let attribute = (padded / unit) as u32;
            let rest = if v4 { attribute << 16 } else { attribute << 24 };
            let body = [&quote[..], &objects].concat();
            for (kind, new_kind) in if v4 { [(3, 1), (11, 3)] } else { [(1, 3), (3, 11)] } {
                let frame = from_router(v4, kind, 0, rest, &body);
                let crossed = cross(&frame, &to_host(v4, 0)).unwrap();
                let mut other = other.clone();
                other.resize((padded - from + to).next_multiple_of(other_unit).max(128), 0);
                let attribute = (other.len() / other_unit) as u32;
                let rest = if v4 { attribute << 24 } else { attribute << 16 };
                other.extend(objects);
                let code = if new_kind == 3 && !v4 { 1 } else { 0 };
                assert_eq!(crossed, expected(v4, new_kind, code, rest, &other), "{v4} {size} {kind}");
            }
        }
    }
}

#[test]
fn rfc4884_extensions_without_a_place_are_cut_off() {
    let objects = [0x20, 0, 0x5f, 0x6b, 0, 8, 1, 1, 0x12, 0x34, 0x51, 0xff];
    // Packet too big and parameter problem of ICMPv6 have no length attribute.
    let (quote, other) = quotes(true, tcp, 88);
    let (quote, other) = (quote.ip(), other.ip());
    assert_eq!(quote.len(), 128);
    let body = [&quote[..], &objects].concat();
    for (kind, code, mtu, to) in [(3, 4, 1400, (2, 0, 1420)), (3, 2, 0, (4, 1, 6)), (12, 0, 0, (4, 0, 0))] {
        let frame = from_router(true, kind, code, 32 << 16 | mtu, &body);
        let to = expected(true, to.0, to.1, to.2, &other);
        assert_eq!(cross(&frame, &to_host(true, u16::MAX)).unwrap(), to);
    }
    // A quote that is cut makes room for the objects; when they alone leave less than 128 bytes, they go.
    let (quote, other) = quotes(false, udp, 1000);
    let (quote, other) = (quote.ip(), other.ip());
    let body = [&quote[..1000], &objects].concat();
    let crossed = cross(&from_router(false, 1, 4, 125 << 24, &body), &to_host(false, 0)).unwrap();
    let kept = (576 - 28 - objects.len()) / 4 * 4;
    let to = [&other[..kept], &objects].concat();
    assert_eq!(crossed, expected(false, 3, 3, (kept as u32 / 4) << 16, &to));
    let (four, six) = quotes(true, udp, 1000);
    let many = vec![0x20; 204];
    let body = [&four.ip()[..1020], &many].concat();
    let crossed = cross(&from_router(true, 3, 3, 255 << 16, &body), &to_host(true, 0)).unwrap();
    let kept = (1280 - 48 - many.len()) / 8 * 8;
    let to = [&six.ip()[..kept], &many].concat();
    assert_eq!(crossed, expected(true, 1, 4, (kept as u32 / 8) << 24, &to));
    let many = vec![0x20; 576 - 28 - 127];
    let body = [&quote[..128], &many].concat();
    let crossed = cross(&from_router(false, 1, 4, 16 << 24, &body), &to_host(false, 0)).unwrap();
    assert_eq!(crossed, expected(false, 3, 3, 0, &other[..108]));
    // An attribute that points behind the packet, or is too small to be one, is none.
    for attribute in [15, 60, 255] {
        let frame = from_router(false, 1, 4, attribute << 24, &quote[..300]);
        let crossed = cross(&frame, &to_host(false, 0)).unwrap();
        assert_eq!(crossed, expected(false, 3, 3, 0, &other[..280]));
    }
}

/// Every length of `out`: None, or a shorter error that is right.
#[test]
fn a_short_buffer_cuts_the_quote_or_refuses() {
    for v4 in [true, false] {
        let least = if v4 { 40 + 8 + 40 + 8 } else { 20 + 8 + 20 + 8 };
        let (quote, _) = quotes(v4, tcp, 200);
        let frame = from_router(v4, if v4 { 11 } else { 3 }, 0, 0, &quote.ip());
        let meta = parse(&frame).unwrap();
        let whole = usize::from(meta.end - meta.l3) + if v4 { 40 } else { 0 } - if v4 { 0 } else { 40 };
        for room in 0..whole + 10 {
            let mut out = vec![0; room];
            let len = icmp_error(&frame, &meta, &to_host(v4, 0), &mut out);
            assert_eq!(len, (room >= least).then_some(room.min(whole)), "{room}");
            if let Some(len) = len {
                judge::packet_checksums(&out[..len]).unwrap();
            }
        }
    }
}

#[test]
fn ends_of_the_wrong_family_and_other_kinds_are_refused() {
    for v4 in [true, false] {
        let (quote, _) = quotes(v4, tcp, 20);
        let frame = from_router(v4, if v4 { 11 } else { 3 }, 0, 0, &quote.ip());
        let (right, wrong) = (to_host(v4, 0), to_host(!v4, 0));
        assert!(cross(&frame, &right).is_some());
        for ends in [
            IcmpEnds { src: wrong.src, ..right },
            IcmpEnds { dst: wrong.dst, ..right },
            IcmpEnds { quoted: super::Ends { src: wrong.quoted.src, ..right.quoted }, ..right },
            IcmpEnds { quoted: super::Ends { dst: wrong.quoted.dst, ..right.quoted }, ..right },
        ] {
            assert_eq!(cross(&frame, &ends), None);
        }
        let (src, dst) = if v4 { (SNAT4, SERVER4) } else { (CLIENT6, SERVICE6) };
        for packet in [Packet::tcp(src, dst), Packet::udp(src, dst), Packet::icmp_echo(src, dst)] {
            assert_eq!(cross(&packet.build(), &right), None);
        }
    }
}

/// Frames that are shorter than their meta says, and metas that say anything.
#[test]
fn truncated_errors_and_nonsense_never_panic() {
    let mut out = [0; ICMP_ERROR_LEN_MAX];
    for v4 in [true, false] {
        let (quote, _) = quotes(v4, udp, 100);
        let frame =
            from_router(v4, if v4 { 3 } else { 1 }, 3, if v4 { 32 << 16 } else { 16 << 24 }, &quote.ip());
        let meta = parse(&frame).unwrap();
        for len in 0..frame.len() {
            assert_eq!(icmp_error(&frame[..len], &meta, &to_host(v4, 0), &mut out), None);
        }
    }
    let mut dice = Dice(11);
    let mut some = 0;
    for n in 0..200_000 {
        let v4 = n % 2 == 0;
        let mut frame: Vec<u8> = (0..dice.roll() % 400).map(|_| dice.roll() as u8).collect();
        let len = frame.len() as u64;
        let mut at = || (dice.roll() % (len + 30)) as u16;
        let (l3, l4, inner_l3, inner_l4, end) = (at(), at(), at(), at(), at());
        if let Some(kind) = frame.get_mut(usize::from(l4)) {
            *kind = if v4 { 3 } else { 1 };
        }
        let proto = if n % 4 < 2 { 6 } else { 17 };
        let kind = Kind::IcmpError;
        let meta =
            Meta { l3, l4, inner_l3, inner_l4, end, v4, kind, proto, options: n % 8 < 1, ..Meta::default() };
        let made = icmp_error(&frame, &meta, &to_host(v4, 1500), &mut out);
        assert!(made.is_none_or(|len| len <= out.len()));
        some += u32::from(made.is_some());
    }
    assert!(some > 100, "{some}");
}
