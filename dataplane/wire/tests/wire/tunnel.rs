//! Encapsulation: every inner and outer family and every form, as etherparse reads it.

use std::collections::HashSet;

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice, UdpHeaderSlice};
use proptest::prelude::*;
use ringlead_wire::Ip;
use ringlead_wire::build::{Packet, ToEndpoint};
use ringlead_wire::tunnel::{self, Encapsulation, GUE_PORT, OVERHEAD_MAX, Variant};

use crate::judge;

const PAIRS: [(&str, &str); 2] =
    [("10.0.0.1:1000", "192.0.2.1:80"), ("[2001:db8::7]:1000", "[2001:db8::1]:80")];
const FORMS: [Encapsulation; 3] = [
    Encapsulation::Ipip,
    Encapsulation::Gue { variant: Variant::Zero, port: GUE_PORT },
    Encapsulation::Gue { variant: Variant::One, port: 0x1234 },
];
/// Bytes in front of the inner packet: all headers and some that nobody may touch.
const HEAD: usize = 14 + OVERHEAD_MAX + 7;
const PADDING: [u8; 9] = [0x77; 9];

fn ip(text: &str) -> Ip {
    text.to_endpoint().ip().into()
}

/// The outer header's own fields, for both families.
#[derive(Clone, Copy)]
struct Outer {
    src: Ip,
    dst: Ip,
    entropy: u16,
    id: u16,
}

fn outer(v4: bool) -> Outer {
    let (src, dst) = if v4 { ("198.51.100.9", "203.0.113.5") } else { ("2001:db8:9::1", "2001:db8:a::ff") };
    Outer { src: ip(src), dst: ip(dst), entropy: 0x5a17, id: 0xbeef }
}

/// Encapsulates in the family of the outer addresses.
fn encapsulate(
    frame: &mut [u8],
    inner: usize,
    end: usize,
    inner_v4: bool,
    form: Encapsulation,
    &Outer { src, dst, entropy, id }: &Outer,
) -> bool {
    if src.is_v4() {
        let outer = tunnel::Outer { src: src.last4(), dst: dst.last4(), entropy };
        tunnel::encapsulate_v4(frame, inner, end, inner_v4, form, &outer, || id)
    } else {
        let outer = tunnel::Outer { src: src.octets(), dst: dst.octets(), entropy };
        tunnel::encapsulate_v6(frame, inner, end, inner_v4, form, &outer)
    }
}

/// What the outer headers say, as etherparse reads them.
#[derive(PartialEq, Eq, Debug)]
struct Seen {
    tos: u8,
    dont_fragment: bool,
    id: u16,
    flow_label: u32,
    source_port: u16,
}

/// Wraps the inner packet, checks everything that is the same for all packets, and returns the rest.
fn wrapped(inner: &[u8], form: Encapsulation, outer: &Outer) -> Option<Seen> {
    let (inner_v4, outer_v4) = (inner[0] >> 4 == 4, outer.src.is_v4());
    let mut frame = [&[0xee; HEAD], inner, &PADDING].concat();
    let before = frame.clone();
    let end = HEAD + inner.len();
    if !encapsulate(&mut frame, HEAD, end, inner_v4, form, outer) {
        assert_eq!(frame, before, "written for nothing");
        return None;
    }
    let at = HEAD - form.overhead(outer_v4);
    assert_eq!((&frame[..at], &frame[HEAD..]), (&before[..at], &before[HEAD..]), "more than headers written");
    let (proto, mut rest, seen) =
        if outer_v4 { v4(&frame[at..end], outer) } else { v6(&frame[at..end], outer) };
    let inner_proto = if inner_v4 { 4 } else { 41 };
    let mut source_port = 0;
    if let Encapsulation::Gue { variant, port } = form {
        assert_eq!(proto, 17);
        let udp = UdpHeaderSlice::from_slice(rest).unwrap();
        assert_eq!((udp.destination_port(), udp.checksum()), (port, 0));
        assert_eq!(usize::from(udp.length()), rest.len());
        source_port = udp.source_port();
        rest = &rest[8..];
        // The first two bits are the variant; 1 is how both IP versions start.
        assert_eq!(rest[0] >> 6, if variant == Variant::Zero { 0 } else { 1 });
        if variant == Variant::Zero {
            assert_eq!(rest[..4], [0, inner_proto, 0, 0]);
            rest = &rest[4..];
        }
    } else {
        assert_eq!(proto, inner_proto);
    }
    assert_eq!(rest, inner);
    Some(Seen { source_port, ..seen })
}

/// Protocol, payload and fields of an outer IPv4 packet.
fn v4<'a>(packet: &'a [u8], outer: &Outer) -> (u8, &'a [u8], Seen) {
    let header = Ipv4HeaderSlice::from_slice(packet).unwrap();
    assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
    assert_eq!((header.ihl(), header.ttl(), usize::from(header.total_len())), (5, 64, packet.len()));
    assert_eq!((header.source(), header.destination()), (outer.src.last4(), outer.dst.last4()));
    assert!(!header.is_fragmenting_payload() && packet[6] & 0x80 == 0);
    let seen = Seen {
        tos: packet[1],
        dont_fragment: header.dont_fragment(),
        id: header.identification(),
        flow_label: 0,
        source_port: 0,
    };
    (header.protocol().0, &packet[20..], seen)
}

/// Next header, payload and fields of an outer IPv6 packet.
fn v6<'a>(packet: &'a [u8], outer: &Outer) -> (u8, &'a [u8], Seen) {
    let header = Ipv6HeaderSlice::from_slice(packet).unwrap();
    assert_eq!((header.hop_limit(), usize::from(header.payload_length())), (64, packet.len() - 40));
    assert_eq!((header.source(), header.destination()), (outer.src.octets(), outer.dst.octets()));
    let seen = Seen {
        tos: header.traffic_class(),
        dont_fragment: true,
        id: 0,
        flow_label: header.flow_label().value(),
        source_port: 0,
    };
    (header.next_header().0, &packet[40..], seen)
}

/// Every form in every pair of families, with the label and port that `entropy` makes.
fn combinations() -> impl Iterator<Item = (&'static str, &'static str, Encapsulation, bool)> {
    PAIRS.into_iter().flat_map(|(src, dst)| {
        FORMS.into_iter().flat_map(move |form| [true, false].map(|outer_v4| (src, dst, form, outer_v4)))
    })
}

#[test]
fn every_combination_at_every_size() {
    let sizes = (0..80).chain([500, 1231, 1232, 1233, 1400, 1452, 8972, 60_000]);
    for size in sizes {
        for (src, dst, form, outer_v4) in combinations() {
            for packet in [Packet::udp(src, dst), Packet::tcp(src, dst).ip_options(&[1; 4]).hop_by_hop()] {
                let inner = packet.payload(vec![0xa5; size]).build()[14..].to_vec();
                judge::packet_checksums(&inner).unwrap();
                let seen = wrapped(&inner, form, &outer(outer_v4)).unwrap();
                assert_eq!(seen.flow_label == 0, outer_v4);
                assert_eq!(seen.source_port == 0, form == Encapsulation::Ipip);
            }
        }
    }
}

/// RFC 6040 §4.1, normal mode; RFC 2983 §3.1 for DSCP: all 256 values.
#[test]
fn rfc6040_dscp_and_ecn_are_the_inner_ones() {
    for (src, dst, form, outer_v4) in combinations() {
        for tos in 0..=u8::MAX {
            let inner = Packet::tcp(src, dst).tos(tos).payload(b"data").ip();
            assert_eq!(wrapped(&inner, form, &outer(outer_v4)).unwrap().tos, tos, "{form:?} {outer_v4}");
        }
    }
}

/// RFC 2003 §3.1 and RFC 6864 §4.1.
#[test]
fn rfc2003_dont_fragment_is_the_inner_one_and_set_around_ipv6() {
    for (src, dst, form, _) in combinations() {
        for asked in [false, true] {
            let inner = Packet::udp(src, dst).dont_fragment(asked).id(7).ip();
            let seen = wrapped(&inner, form, &outer(true)).unwrap();
            let expected = asked || inner[0] >> 4 == 6;
            assert_eq!((seen.dont_fragment, seen.id), (expected, if expected { 0 } else { 0xbeef }));
        }
    }
}

/// The outer packet is no fragment, whatever the inner one is; `v4` looks.
#[test]
fn inner_fragments_are_wrapped_like_other_packets() {
    for (src, dst, form, outer_v4) in combinations() {
        for fragment in Packet::udp(src, dst).payload([1; 100]).fragments(48) {
            let seen = wrapped(&fragment[14..], form, &outer(outer_v4)).unwrap();
            assert!(!outer_v4 || seen.dont_fragment == (fragment[12] == 0x86));
        }
    }
}

/// RFC 6438 §3: all 65536 entropies have a label of their own, none is 0, and every part of the label differs.
#[test]
fn rfc6438_flow_labels_are_distinct_and_spread() {
    let inner = Packet::udp(PAIRS[0].0, PAIRS[0].1).ip();
    let mut labels = HashSet::new();
    let mut nibbles = [[0_u32; 16]; 5];
    for entropy in 0..=u16::MAX {
        let label = wrapped(&inner, FORMS[0], &Outer { entropy, ..outer(false) }).unwrap().flow_label;
        assert!(label != 0 && label < 1 << 20 && labels.insert(label), "{entropy} → {label:#x}");
        for (place, counts) in nibbles.iter_mut().enumerate() {
            counts[(label >> (4 * place)) as usize & 15] += 1;
        }
    }
    for counts in nibbles {
        assert!(counts.iter().all(|n| (3900..4300).contains(n)), "{counts:?}");
    }
}

/// The draft's §5.11.1: the source port lies in 49152 to 65535, and all of them are used.
#[test]
fn gue_source_ports_are_ephemeral_and_all_used() {
    for (src, dst, form, outer_v4) in combinations().filter(|(_, _, form, _)| *form != FORMS[0]) {
        let inner = Packet::udp(src, dst).ip();
        let ports: HashSet<u16> = (0..1 << 14)
            .map(|entropy| wrapped(&inner, form, &Outer { entropy, ..outer(outer_v4) }).unwrap().source_port)
            .collect();
        assert_eq!((ports.len(), ports.iter().min()), (1 << 14, Some(&49152)));
    }
}

#[test]
fn overheads_are_the_headers_in_front() {
    let overheads = FORMS.map(|form| (form.overhead(true), form.overhead(false)));
    assert_eq!(overheads, [(20, 40), (32, 52), (28, 48)]);
    assert_eq!(OVERHEAD_MAX, 52);
    assert_eq!(FORMS.map(|form| form.inner_mtu(true, 1500)), [1480, 1468, 1472]);
    assert_eq!(FORMS.map(|form| form.inner_mtu(false, 1500)), [1460, 1448, 1452]);
    assert_eq!(FORMS[0].inner_mtu(true, 19), 0);
}

/// The longest packet that each length field can say, and one byte more.
#[test]
fn a_length_beyond_65535_is_refused() {
    for (_, _, form, outer_v4) in combinations() {
        let longest = 65_535 - form.overhead(outer_v4) + if outer_v4 { 0 } else { 40 };
        let mut inner = vec![0; longest + 1];
        inner[0] = 0x45;
        assert!(wrapped(&inner[..longest], form, &outer(outer_v4)).is_some(), "{form:?}");
        assert!(wrapped(&inner, form, &outer(outer_v4)).is_none(), "{form:?}");
    }
}

/// Ethernet's fourteen bytes and the headers fit exactly, or nothing is written.
#[test]
fn no_room_in_front_is_refused() {
    for (src, dst, form, outer_v4) in combinations() {
        let packet = Packet::udp(src, dst).payload(b"data").ip();
        let needed = form.overhead(outer_v4) + 14;
        for room in [0, 1, 13, 14, needed - 14, needed - 1, needed] {
            let mut frame = [vec![0; room], packet.clone()].concat();
            let (before, end) = (frame.clone(), frame.len());
            let done = encapsulate(&mut frame, room, end, packet[0] >> 4 == 4, form, &outer(outer_v4));
            assert_eq!((done, frame != before), (room == needed, room == needed), "{form:?} {room}");
        }
    }
}

/// Every truncation, every end, and the wrong family: no panic, and nothing written.
#[test]
fn an_inner_packet_that_is_none_is_refused() {
    for (src, dst, form, outer_v4) in combinations() {
        let packet = Packet::udp(src, dst).ip();
        let inner_v4 = packet[0] >> 4 == 4;
        let header_len = if inner_v4 { 20 } else { 40 };
        let whole = [&[0; HEAD], &packet[..]].concat();
        let try_it = |len: usize, end: usize, v4: bool| {
            let mut frame = whole[..len].to_vec();
            let done = encapsulate(&mut frame, HEAD, end, v4, form, &outer(outer_v4));
            assert_eq!(done, frame != whole[..len]);
            done
        };
        assert!(!try_it(whole.len(), whole.len(), !inner_v4), "the wrong family");
        assert!(!try_it(whole.len(), whole.len() + 1, inner_v4), "beyond the frame");
        for len in 0..=whole.len() {
            assert_eq!(try_it(len, len, inner_v4), len >= HEAD + header_len, "frame of {len}");
            assert_eq!(try_it(whole.len(), len, inner_v4), len >= HEAD + header_len, "end at {len}");
            assert!(!try_it(len, usize::MAX, inner_v4));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100_000))]

    /// Any addresses, lengths and fields: etherparse reads back what went in, the IPv4 checksum included.
    #[test]
    fn random_packets_are_wrapped_right(
        (src, dst) in any::<([u8; 16], [u8; 16])>(),
        (inner_v4, outer_v4) in any::<(bool, bool)>(),
        form in prop::sample::select(&FORMS[..]),
        (entropy, id, first) in any::<(u16, u16, [u8; 8])>(),
        size in 40..120_usize,
    ) {
        let mut inner = vec![0xc3; size];
        inner[..8].copy_from_slice(&first);
        inner[0] = (first[0] & 15) | if inner_v4 { 0x40 } else { 0x60 };
        let of = |bytes: [u8; 16]| if outer_v4 { Ip::from_v4(*bytes.last_chunk().unwrap()) } else { Ip::from_v6(bytes) };
        let outer = Outer { src: of(src), dst: of(dst), entropy, id };
        let seen = wrapped(&inner, form, &outer).unwrap();
        let tos = if inner_v4 { inner[1] } else { (inner[0] << 4) | (inner[1] >> 4) };
        prop_assert_eq!(seen.tos, tos);
        if outer_v4 {
            let clear = inner_v4 && inner[6] & 0x40 == 0;
            prop_assert_eq!((seen.dont_fragment, seen.id), (!clear, if clear { id } else { 0 }));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Any offsets in any bytes: no panic, and a refusal writes nothing.
    #[test]
    fn noise_never_panics(
        mut frame in prop::collection::vec(any::<u8>(), 0..200),
        (inner, end) in (0..220_usize, 0..220_usize),
        (inner_v4, outer_v4) in any::<(bool, bool)>(),
        form in prop::sample::select(&FORMS[..]),
    ) {
        let before = frame.clone();
        if !encapsulate(&mut frame, inner, end, inner_v4, form, &outer(outer_v4)) {
            prop_assert_eq!(frame, before);
        }
    }
}
