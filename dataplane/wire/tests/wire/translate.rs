//! RFC 7915: packets that cross between the families are those that a host of the other family would have sent.

use ringlead_wire::build::{Packet, ToEndpoint};
use ringlead_wire::checksum::transport_checksum_ok;
use ringlead_wire::rewrite::ethernet_header;
use ringlead_wire::translate::{Ends, GROWTH, to_v4, to_v6, translated_len};
use ringlead_wire::{Kind, Malformed, Meta, parse};

use crate::full::Dice;
use crate::judge;

mod errors;

const CLIENT6: &str = "[2001:db8:c::7]:40000";
const SERVICE6: &str = "[2001:db8::10]:80";
const SNAT4: &str = "10.1.0.254:20001";
const SERVER4: &str = "10.1.0.5:8080";

fn ends(src: &str, dst: &str) -> Ends {
    let (src, dst) = (src.to_endpoint(), dst.to_endpoint());
    Ends { src: src.ip().into(), dst: dst.ip().into(), sport: src.port(), dport: dst.port() }
}

fn random_ends(dice: &mut Dice, v4: bool) -> Ends {
    let ((src, sport), (dst, dport)) = (dice.ends(v4), dice.ends(v4));
    Ends { src, dst, sport, dport }
}

/// What a caller does around the translation: the head grows by `grown`, is cut to where the Ethernet header goes, and
/// that is written, with `tags`.
fn cross_as(frame: &[u8], ends: &Ends, id: u16, grown: usize, tags: &[u16]) -> Option<Vec<u8>> {
    let meta = parse(frame).unwrap();
    let mut room = [&[0xee; GROWTH][..grown], frame].concat();
    let before = room.clone();
    let start =
        if meta.v4 { to_v6(&mut room, &meta, grown, ends) } else { to_v4(&mut room, &meta, ends, id) };
    let Some(start) = start else {
        assert_eq!(room, before, "refused and changed all the same");
        return None;
    };
    let ethertype = if meta.v4 { 0x86dd } else { 0x0800 };
    let packet = Packet::tcp(SNAT4, SERVER4).build();
    let (dst, src) = (*packet.first_chunk().unwrap(), *packet[6..].first_chunk().unwrap());
    let (header, len) = ethernet_header(tags, dst, src, ethertype);
    let mut frame = room.split_off(start - len);
    frame[..len].copy_from_slice(&header[..len]);
    Some(frame)
}

/// The same with the tags that the frame came with.
fn cross(frame: &[u8], ends: &Ends, id: u16) -> Option<Vec<u8>> {
    let meta = parse(frame).unwrap();
    let grown = if meta.v4 { GROWTH } else { 0 };
    cross_as(frame, ends, id, grown, &meta.vlan[..meta.vlans.into()])
}

/// A packet between those ends that IPv4 carries as RFC 7915 §5.1 says.
fn as_v4(packet: Packet, len: usize, id: u32) -> Packet {
    if len > 1260 { packet } else { packet.dont_fragment(false).id(id) }
}

/// Every field of every header, both ways, against packets that were built independently.
#[test]
fn rfc7915_s4_1_s5_1_every_field_of_both_headers() {
    for size in [0, 1, 2, 100, 1219, 1220, 1221, 1232, 1233, 1400, 8000] {
        let payload = vec![0xa5; size];
        for ttl in [2, 64, 255] {
            for tos in [0, 1, 0x2e << 2, 0xff] {
                let dress = |packet: Packet, ttl| packet.payload(&payload).tos(tos).ttl(ttl);
                for (n, build) in [Packet::tcp, Packet::udp].into_iter().enumerate() {
                    let six = |ttl| dress(build(CLIENT6, SERVICE6), ttl);
                    let len = 20 + [20, 8][n] + size;
                    let four = |ttl| as_v4(dress(build(SNAT4, SERVER4), ttl), len, 0x1234);
                    let crossed = cross(&six(ttl).build(), &ends(SNAT4, SERVER4), 0x1234).unwrap();
                    assert_eq!(crossed, four(ttl - 1).build(), "{n} {size} {ttl} {tos}");
                    judge::checksums(&crossed).unwrap();
                    assert_eq!(translated_len(&parse(&six(ttl).build()).unwrap()), len);

                    let crossed = cross(&four(ttl).build(), &ends(CLIENT6, SERVICE6), 0).unwrap();
                    assert_eq!(crossed, six(ttl - 1).build(), "{n} {size} {ttl} {tos}");
                    judge::checksums(&crossed).unwrap();
                    assert_eq!(translated_len(&parse(&four(ttl).build()).unwrap()), len + 20);
                }
            }
        }
    }
}

/// 100 000 random packets: checksums by difference equal full sums, and going back gives the bytes that were there.
#[test]
fn rfc7915_there_and_back_gives_the_same_transport() {
    let mut dice = Dice(64);
    for n in 0..100_000_u32 {
        let frame = dice.packet(n % 2 == 0).build();
        let meta = parse(&frame).unwrap();
        let other = random_ends(&mut dice, !meta.v4);
        let there = cross(&frame, &other, n as u16).unwrap();
        assert_eq!(judge::checksums(&there), Ok(()), "{n}: {meta:?}");
        let between = parse(&there).unwrap();
        assert_eq!(
            (between.src, between.dst, between.sport, between.dport, between.ttl, between.vlans),
            (other.src, other.dst, other.sport, other.dport, meta.ttl - 1, meta.vlans)
        );
        let own = Ends { src: meta.src, dst: meta.dst, sport: meta.sport, dport: meta.dport };
        let back = cross(&there, &own, 0).unwrap();
        let after = parse(&back).unwrap();
        assert_eq!(back[after.l4.into()..], frame[meta.l4.into()..], "{n}: {meta:?}");
        assert_eq!((after.src, after.dst, after.ttl), (meta.src, meta.dst, meta.ttl.max(2) - 2));
    }
}

/// A damaged packet stays damaged: the receiver notices.
#[test]
fn damage_is_not_hidden() {
    for (src, dst, other) in
        [(CLIENT6, SERVICE6, ends(SNAT4, SERVER4)), (SNAT4, SERVER4, ends(CLIENT6, SERVICE6))]
    {
        for packet in [Packet::tcp(src, dst), Packet::udp(src, dst)] {
            let mut frame = packet.payload(b"data").build();
            *frame.last_mut().unwrap() ^= 1;
            let crossed = cross(&frame, &other, 0).unwrap();
            assert!(!transport_checksum_ok(&crossed, &parse(&crossed).unwrap()));
        }
    }
}

/// RFC 7915 §4.5: IPv6 wants a checksum, so one is computed, over what the UDP length covers and no more.
#[test]
fn rfc7915_s4_5_udp_without_a_checksum_gets_one() {
    for size in [0, 1, 7, 600] {
        let packet = |src, dst| Packet::udp(src, dst).payload(vec![0x5a; size]);
        let frame = packet(SNAT4, SERVER4).no_checksum().ttl(65).build();
        assert_eq!(
            cross(&frame, &ends(CLIENT6, SERVICE6), 0).unwrap(),
            packet(CLIENT6, SERVICE6).ttl(64).build()
        );
    }
    // Surplus bytes behind the datagram (RFC 9868) are carried along and not summed.
    let datagram = |src, dst| Packet::udp(src, dst).payload(b"covered").ip();
    let surplus = |v4: bool, ip: &[u8]| {
        let transport = [&ip[if v4 { 20 } else { 40 }..], b"not"].concat();
        let (src, dst) = if v4 { (SNAT4, SERVER4) } else { (CLIENT6, SERVICE6) };
        Packet::raw(src, dst, 17).payload(transport).ttl(if v4 { 65 } else { 64 }).build()
    };
    let mut frame = surplus(true, &datagram(SNAT4, SERVER4));
    frame[40..42].fill(0);
    assert_eq!(
        cross(&frame, &ends(CLIENT6, SERVICE6), 0).unwrap(),
        surplus(false, &datagram(CLIENT6, SERVICE6))
    );
}

/// RFC 768, RFC 8200 §8.1: whatever the ports, a computed 0 is sent as 0xffff: by difference and in full.
#[test]
fn rfc768_a_computed_zero_is_sent_as_all_ones() {
    let four = Packet::udp(SNAT4, SERVER4).payload(b"odd");
    for frame in [
        Packet::udp(CLIENT6, SERVICE6).payload(b"odd").build(),
        four.build(),
        four.clone().no_checksum().build(),
    ] {
        let meta = parse(&frame).unwrap();
        let mut to = if meta.v4 { ends(CLIENT6, SERVICE6) } else { ends(SNAT4, SERVER4) };
        let mut ones = 0;
        for port in 0..=u16::MAX {
            to.dport = port;
            let crossed = cross(&frame, &to, 0).unwrap();
            let at = usize::from(parse(&crossed).unwrap().l4) + 6;
            assert_ne!(crossed[at..at + 2], [0, 0], "{port}");
            if crossed[at..at + 2] == [0xff; 2] {
                ones += 1;
                judge::checksums(&crossed).unwrap();
            }
        }
        assert!(ones > 0);
    }
}

#[test]
fn rfc7915_s5_1_extension_headers_are_left_out_or_the_packet_refused() {
    let six = || Packet::tcp(CLIENT6, SERVICE6).payload(b"data").ttl(9);
    let four = as_v4(Packet::tcp(SNAT4, SERVER4).payload(b"data").ttl(8), 44, 77).build();
    let ends = ends(SNAT4, SERVER4);
    for packet in [
        six().hop_by_hop(),
        six().destination_options(),
        six().routing(0),
        six().extension(60, &[0, 3, 1, 4, 0, 0, 0, 0].repeat(4)),
        six().hop_by_hop().destination_options().routing(0).destination_options(),
    ] {
        let frame = packet.build();
        assert_eq!(cross(&frame, &ends, 77).unwrap(), four, "{packet:?}");
        assert_eq!(translated_len(&parse(&frame).unwrap()), 44);
    }
    for packet in [
        six().authentication(),
        six().hop_by_hop().authentication(),
        six().authentication().destination_options(),
        // An atomic fragment (RFC 6946): a fragment header all the same.
        six().fragment(0, false),
        six().destination_options().fragment(0, false),
    ] {
        let frame = packet.build();
        assert_eq!(parse(&frame).unwrap().kind, Kind::Tcp);
        assert_eq!(cross(&frame, &ends, 77), None, "{packet:?}");
    }
    assert_eq!(parse(&six().routing(1).build()).unwrap_err(), Malformed::SourceRouted);
    // A routing header that asks for more in a frame that was changed since it was parsed.
    let mut frame = six().routing(0).build();
    let meta = parse(&frame).unwrap();
    frame[14 + 40 + 3] = 1;
    assert_eq!(to_v4(&mut frame, &meta, &ends, 0), None);
}

#[test]
fn rfc7915_s4_1_ipv4_options_are_left_out_and_a_source_route_refused() {
    let six = Packet::udp(CLIENT6, SERVICE6).payload(b"data").ttl(8).build();
    let four = || Packet::udp(SNAT4, SERVER4).payload(b"data").ttl(9);
    for options in [&[1; 4][..], &[1; 40], &[7, 7, 4, 0, 0, 0, 0, 0]] {
        let frame = four().ip_options(options).build();
        let meta = parse(&frame).unwrap();
        assert_eq!(translated_len(&meta), 40 + 8 + 4);
        assert_eq!(cross(&frame, &ends(CLIENT6, SERVICE6), 0).unwrap(), six);
        // With long options even less room at the head will do.
        let grown = 20 - options.len().next_multiple_of(4).min(20);
        assert_eq!(cross_as(&frame, &ends(CLIENT6, SERVICE6), 0, grown, &[]).unwrap(), six);
    }
    for route in [131, 137] {
        let frame = four().ip_options(&[route, 7, 4, 10, 0, 0, 1, 0]).build();
        assert_eq!(parse(&frame).unwrap_err(), Malformed::SourceRouted);
    }
}

/// Ethernet padding behind the packet stays behind it, and out of every length and sum.
#[test]
fn padding_is_carried_along_and_not_counted() {
    let padded = |mut frame: Vec<u8>| {
        frame.extend([0x77; 11]);
        frame
    };
    let six = |ttl| padded(Packet::udp(CLIENT6, SERVICE6).payload(b"data").ttl(ttl).build());
    let four = |ttl| Packet::udp(SNAT4, SERVER4).payload(b"data").ttl(ttl);
    let short = as_v4(four(8), 32, 5).build();
    assert_eq!(cross(&six(9), &ends(SNAT4, SERVER4), 5).unwrap(), padded(short));
    for packet in [four(9), four(9).no_checksum()] {
        assert_eq!(cross(&padded(packet.build()), &ends(CLIENT6, SERVICE6), 0).unwrap(), six(8));
    }
}

/// Every VLAN stack to every other.
#[test]
fn the_growth_makes_room_for_every_vlan_stack() {
    let tags = [7, 0x2008];
    let dress = |packet: Packet, n: usize| match n {
        0 => packet,
        1 => packet.vlan(7),
        _ => packet.vlan_of_type(0x88a8, 7).vlan(0x2008),
    };
    let six = |ttl| Packet::tcp(CLIENT6, SERVICE6).ttl(ttl);
    let four = |ttl| as_v4(Packet::tcp(SNAT4, SERVER4).ttl(ttl), 40, 0);
    for from in 0..=2 {
        for to in 0..=2 {
            let frame = dress(six(9), from).build();
            let crossed = cross_as(&frame, &ends(SNAT4, SERVER4), 0, 0, &tags[..to]).unwrap();
            assert_eq!(crossed, dress(four(8), to).build());
            let frame = dress(four(9), from).build();
            let ends = ends(CLIENT6, SERVICE6);
            let crossed = cross_as(&frame, &ends, 0, GROWTH, &tags[..to]).unwrap();
            assert_eq!(crossed, dress(six(8), to).build());
            if to <= from {
                assert_eq!(cross_as(&frame, &ends, 0, 20, &tags[..to]).unwrap(), crossed);
            }
        }
    }
}

#[test]
fn a_ttl_of_zero_stays_zero() {
    for (src, dst, other) in
        [(CLIENT6, SERVICE6, ends(SNAT4, SERVER4)), (SNAT4, SERVER4, ends(CLIENT6, SERVICE6))]
    {
        let frame = Packet::tcp(src, dst).ttl(0).build();
        assert_eq!(parse(&cross(&frame, &other, 0).unwrap()).unwrap().ttl, 0);
    }
}

/// Frames of another kind or family, ends of the wrong one, and a head that did not grow: None, and nothing changed.
#[test]
fn what_cannot_be_translated_is_refused_unchanged() {
    let (four, six) = (ends(SNAT4, SERVER4), ends(CLIENT6, SERVICE6));
    let mixed = [
        Ends { src: six.src, ..four },
        Ends { dst: six.dst, ..four },
        Ends { src: four.src, ..six },
        Ends { dst: four.dst, ..six },
    ];
    for (src, dst, right, wrong) in [(CLIENT6, SERVICE6, four, six), (SNAT4, SERVER4, six, four)] {
        let frame = Packet::udp(src, dst).payload([1; 64]).build();
        assert!(cross(&frame, &right, 0).is_some());
        for ends in mixed.iter().chain([&wrong]) {
            assert_eq!(cross(&frame, ends, 0), None);
        }
        let quote = Packet::tcp(dst, src).ip();
        let kind = if wrong == four { 3 } else { 1 };
        for packet in [
            Packet::icmp_echo(src, dst),
            Packet::raw(src, dst, 132),
            Packet::udp(src, dst).payload([1; 64]).fragment(0, true),
            Packet::udp(src, dst).payload([1; 64]).fragment(64, false),
            Packet::icmp_error(src, dst, kind, 0, 0, &quote),
        ] {
            assert_eq!(cross(&packet.build(), &right, 0), None, "{packet:?}");
        }
        // The other direction's function.
        let (mut frame, meta) = (frame.clone(), parse(&frame).unwrap());
        let refused =
            if meta.v4 { to_v4(&mut frame, &meta, &right, 0) } else { to_v6(&mut frame, &meta, 0, &right) };
        assert_eq!(refused, None);
    }
    let mut frame = Packet::udp(SNAT4, SERVER4).build();
    let meta = parse(&frame).unwrap();
    assert_eq!(to_v6(&mut frame, &meta, 0, &six), None);
    assert_eq!(to_v6(&mut frame, &meta, usize::MAX, &six), None);
}

/// Frames that are shorter than their meta says, and metas that say anything: None or some place inside, no panic.
#[test]
fn truncated_frames_and_nonsense_never_panic() {
    let mut dice = Dice(3);
    for v4 in [false, true] {
        for _ in 0..200 {
            let frame = dice.packet(v4).build();
            let meta = parse(&frame).unwrap();
            let other = random_ends(&mut dice, !v4);
            for len in 0..frame.len() {
                let mut cut = frame[..len].to_vec();
                let place =
                    if v4 { to_v6(&mut cut, &meta, 6, &other) } else { to_v4(&mut cut, &meta, &other, 0) };
                assert_eq!(place, None, "{len} of {} bytes", frame.len());
                assert_eq!(cut, frame[..len]);
            }
        }
    }
    for n in 0..100_000 {
        let v4 = n % 2 == 0;
        let mut frame: Vec<u8> = (0..dice.roll() % 120).map(|_| dice.roll() as u8).collect();
        let mut at = || (dice.roll() % 140) as u16;
        let kind = if n % 4 < 2 { Kind::Tcp } else { Kind::Udp };
        let (l3, l4, end) = (at(), at(), at());
        let proto = if kind == Kind::Tcp { 6 } else { 17 };
        let meta = Meta { l3, l4, end, v4, kind, proto, options: n % 8 < 4, ..Meta::default() };
        let other = random_ends(&mut dice, !v4);
        let grown = (dice.roll() % 60) as usize;
        let len = frame.len();
        let place =
            if v4 { to_v6(&mut frame, &meta, grown, &other) } else { to_v4(&mut frame, &meta, &other, 0) };
        assert!(place.is_none_or(|start| start < len));
    }
}
