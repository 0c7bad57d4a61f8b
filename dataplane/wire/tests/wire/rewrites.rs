//! Rewrites in place: what changes, what does not, and that every checksum is right afterwards.

use etherparse::checksum::Sum16BitWords;
use proptest::prelude::*;
use ringlead_wire::build::Packet;
use ringlead_wire::checksum::transport_checksum_ok;
use ringlead_wire::rewrite::{
    decrement_ttl, ethernet_header, ethertype, route_to_client_v4, route_to_client_v6, route_to_server_v4,
    route_to_server_v6, set_ethernet, set_macs, source_mac, to_client, to_server,
};
use ringlead_wire::{Ip, Kind, parse};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::judge;

const V4: (&str, &str) = ("10.0.0.1:1000", "192.0.2.1:80");
const V6: (&str, &str) = ("[2001:db8::7]:1000", "[2001:db8::1]:80");

fn server(v4: bool) -> Ip {
    let ip: IpAddr = if v4 { "10.9.8.7".parse().unwrap() } else { "fd00::9:8:7".parse().unwrap() };
    ip.into()
}

/// A unicast address and a port of either family.
fn endpoints() -> impl Strategy<Value = (SocketAddr, SocketAddr, SocketAddr)> {
    let v4 = (0x8000_0000_u32..0xe000_0000, any::<u16>())
        .prop_map(|(ip, port)| SocketAddr::new(Ipv4Addr::from(ip).into(), port));
    let v6 = (any::<[u8; 16]>(), any::<u16>()).prop_map(|(mut ip, port)| {
        ip[0] = 0x20;
        SocketAddr::new(Ipv6Addr::from(ip).into(), port)
    });
    prop_oneof![(v4.clone(), v4.clone(), v4), (v6.clone(), v6.clone(), v6)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// RFC 1624 eq. 3 over whole packets; RFC 2474 and 3168: DSCP, ECN and all else untouched.
    #[test]
    fn rfc1624_rfc2474_rfc3168_only_the_endpoint_changes(
        (src, dst, new) in endpoints(),
        payload in prop::collection::vec(any::<u8>(), 0..200),
        (udp, source, tags, tos) in (any::<bool>(), any::<bool>(), 0_u16..3, any::<u8>()),
    ) {
        prop_assume!(src != dst);
        let packet = |src: SocketAddr, dst: SocketAddr| {
            let packet = if udp { Packet::udp(src, dst) } else { Packet::tcp(src, dst) };
            (0..tags).fold(packet.tos(tos).ttl(7).payload(&payload), Packet::vlan).build()
        };
        let mut frame = packet(src, dst);
        let meta = parse(&frame).unwrap();
        if source {
            to_client(&mut frame, &meta, new.ip().into(), new.port());
            prop_assert_eq!(&frame, &packet(new, dst));
        } else {
            to_server(&mut frame, &meta, new.ip().into(), new.port());
            prop_assert_eq!(&frame, &packet(src, new));
        }
        prop_assert!(transport_checksum_ok(&frame, &meta));
        prop_assert_eq!(judge::checksums(&frame), Ok(()));
    }

    /// Both ends, one after the other with one meta, as SNAT does it, and back again.
    #[test]
    fn rfc1624_a_rewrite_can_be_undone((src, dst, new) in endpoints(), udp in any::<bool>()) {
        prop_assume!(src != dst);
        let frame = if udp { Packet::udp(src, dst) } else { Packet::tcp(src, dst) }.build();
        let meta = parse(&frame).unwrap();
        let mut there = frame.clone();
        to_server(&mut there, &meta, new.ip().into(), new.port());
        to_client(&mut there, &meta, dst.ip().into(), dst.port());
        prop_assert_eq!(judge::checksums(&there), Ok(()));
        to_client(&mut there, &meta, src.ip().into(), src.port());
        to_server(&mut there, &meta, dst.ip().into(), dst.port());
        prop_assert_eq!(there, frame);
    }
}

/// RFC 768 over IPv4: "no checksum" stays that.
#[test]
fn rfc768_a_datagram_without_checksum_keeps_none() {
    let mut frame = Packet::udp(V4.0, V4.1).no_checksum().payload(b"data").build();
    let meta = parse(&frame).unwrap();
    to_server(&mut frame, &meta, server(true), 8080);
    assert_eq!(frame[40..42], [0, 0]);
    let after = parse(&frame).unwrap();
    assert_eq!((after.dst, after.dport), (server(true), 8080));
}

/// A wrong checksum stays wrong: damage on the way in is not hidden on the way out.
#[test]
fn damage_is_not_hidden() {
    for (src, dst) in [V4, V6] {
        let mut frame = Packet::tcp(src, dst).payload(b"data").build();
        let last = frame.len() - 1;
        frame[last] ^= 1;
        let meta = parse(&frame).unwrap();
        to_server(&mut frame, &meta, server(meta.v4), 8080);
        assert!(!transport_checksum_ok(&frame, &meta));
        frame[last] ^= 1;
        assert!(transport_checksum_ok(&frame, &meta));
    }
}

/// RFC 4787 REQ-14: pieces rewritten one by one make up the rewritten datagram.
#[test]
fn rfc4787_r14_rewritten_fragments_reassemble_to_a_right_datagram() {
    for (src, dst) in [V4, V6] {
        for packet in [Packet::udp(src, dst), Packet::tcp(src, dst), Packet::icmp_echo(src, dst)] {
            let packet = packet.payload([0xa5; 100]);
            let mut body = Vec::new();
            let mut last = Vec::new();
            for mut frame in packet.fragments(48) {
                let meta = parse(&frame).unwrap();
                assert_eq!(meta.kind, Kind::Fragment);
                to_server(&mut frame, &meta, server(meta.v4), 8080);
                let after = parse(&frame).unwrap();
                assert_eq!((after.src, after.dst), (meta.src, server(meta.v4)));
                body.extend(&frame[meta.l4.into()..meta.end.into()]);
                last = frame;
            }
            let meta = parse(&last).unwrap();
            if meta.proto == 1 {
                assert_eq!(Sum16BitWords::new().add_slice(&body).ones_complement(), 0);
                continue;
            }
            let l3 = usize::from(meta.l3);
            let addresses = if meta.v4 { &last[l3 + 12..l3 + 20] } else { &last[l3 + 8..l3 + 40] };
            let sum = Sum16BitWords::new()
                .add_slice(addresses)
                .add_2bytes([0, meta.proto])
                .add_2bytes((body.len() as u16).to_be_bytes())
                .add_slice(&body);
            assert_eq!(sum.ones_complement(), 0, "{packet:?}");
            if meta.proto != 58 {
                assert_eq!(body[2..4], 8080_u16.to_be_bytes());
            }
        }
    }
}

/// Echo and unknown transports get the address; ICMPv6 has it in its checksum too (RFC 4443 §2.3).
#[test]
fn rfc4443_packets_without_ports_get_the_address_alone() {
    for (src, dst) in [V4, V6] {
        for packet in [Packet::icmp_echo(src, dst), Packet::raw(src, dst, 132).payload([7; 24])] {
            let mut frame = packet.build();
            let meta = parse(&frame).unwrap();
            let l4 = usize::from(meta.l4);
            let before = frame[l4..].to_vec();
            to_server(&mut frame, &meta, server(meta.v4), 8080);
            assert_eq!(parse(&frame).unwrap().dst, server(meta.v4));
            judge::checksums(&frame).unwrap();
            assert_eq!(frame[l4 + 4..], before[4..]);
        }
    }
}

/// RFC 1812 §5.3.1, every TTL.
#[test]
fn rfc1812_the_ttl_goes_down_by_one_and_stops_at_zero() {
    for (src, dst) in [V4, V6] {
        for ttl in 0..=u8::MAX {
            let mut frame = Packet::udp(src, dst).ttl(ttl).tos(0xff).build();
            let meta = parse(&frame).unwrap();
            decrement_ttl(&mut frame, &meta);
            assert_eq!(frame, Packet::udp(src, dst).ttl(ttl.saturating_sub(1)).tos(0xff).build());
        }
    }
}

/// The pass that does all at once against the steps one by one, which the other tests judge.
#[test]
fn routing_in_one_pass_is_rewriting_and_one_less_ttl() {
    let v4 = [[203, 0, 113, 9], [0, 0, 0, 1], [255, 255, 255, 254]];
    for (n, (src, dst)) in (0_u16..2000).flat_map(|n| [V4, V6].map(|ends| (n, ends))) {
        let packet = if n % 2 == 0 { Packet::tcp(src, dst) } else { Packet::udp(src, dst) };
        let packet = packet.ttl(2 + (n % 254) as u8).payload(n.wrapping_mul(40_503).to_be_bytes());
        let mut frame = if n % 3 == 0 { packet.vlan(9).build() } else { packet.build() };
        let meta = parse(&frame).unwrap();
        if n % 10 == 1 && meta.v4 {
            // No checksum at all.
            frame[usize::from(meta.l4) + 6..][..2].fill(0);
        }
        let (mut steps, mut pass) = (frame.clone(), frame);
        let port = n.wrapping_mul(31);
        let (ip4, ip6) = (v4[usize::from(n) % 3], [n as u8; 16]);
        let ip = if meta.v4 { Ip::from_v4(ip4) } else { Ip::from_v6(ip6) };
        let place = port.to_be_bytes();
        match (n % 4 < 2, meta.v4) {
            (true, true) => route_to_server_v4(&mut pass, &meta, ip4, place),
            (true, false) => route_to_server_v6(&mut pass, &meta, ip6, place),
            (false, true) => route_to_client_v4(&mut pass, &meta, ip4, place),
            (false, false) => route_to_client_v6(&mut pass, &meta, ip6, place),
        }
        if n % 4 < 2 {
            to_server(&mut steps, &meta, ip, port)
        } else {
            to_client(&mut steps, &meta, ip, port)
        }
        decrement_ttl(&mut steps, &meta);
        assert_eq!(pass, steps, "{n}: {meta:?}");
        judge::checksums(&pass).unwrap();
    }
}

#[test]
fn rfc768_one_pass_sends_a_computed_zero_as_all_ones() {
    for (src, dst) in [V4, V6] {
        let frame = Packet::udp(src, dst).payload(b"odd").build();
        let meta = parse(&frame).unwrap();
        let field = usize::from(meta.l4) + 6;
        let mut ones = 0;
        for port in 0..=u16::MAX {
            let mut pass = frame.clone();
            if meta.v4 {
                route_to_server_v4(&mut pass, &meta, [203, 0, 113, 9], port.to_be_bytes());
            } else {
                route_to_server_v6(&mut pass, &meta, [7; 16], port.to_be_bytes());
            }
            assert_ne!(pass[field..field + 2], [0, 0], "{port}");
            if pass[field..field + 2] == [0xff, 0xff] {
                ones += 1;
                judge::checksums(&pass).unwrap();
            }
        }
        assert!(ones > 0);
    }
}

#[test]
fn macs_are_numbers_or_bytes() {
    let mut frame = Packet::tcp(V4.0, V4.1).mac([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]).build();
    assert_eq!(source_mac(&frame), 0x0102_0304_0506);
    assert_eq!(source_mac(&frame[..13]), 0);
    let mut same = frame.clone();
    set_macs(&mut frame, 0xfedc_ba98_7654, 0x0102_0304_0506);
    set_ethernet(&mut same, [0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54], [1, 2, 3, 4, 5, 6]);
    assert_eq!(frame, same);
}

#[test]
fn ethernet_addresses_are_set_and_nothing_else() {
    let mut frame = Packet::tcp(V4.0, V4.1).vlan(5).build();
    set_ethernet(&mut frame, [4; 6], [6; 6]);
    assert_eq!(frame, Packet::tcp(V4.0, V4.1).vlan(5).mac([6; 6], [4; 6]).build());
}

#[test]
fn ethernet_headers_for_every_vlan_depth() {
    for (src, dst) in [V4, V6] {
        let packet = Packet::udp(src, dst).mac([6; 6], [4; 6]);
        let plain = packet.build();
        let meta = parse(&plain).unwrap();
        for (tags, expected) in [
            (&[][..], packet.clone()),
            (&[0x6005], packet.clone().vlan(0x6005)),
            (&[7, 0x2008], packet.clone().vlan_of_type(0x88a8, 7).vlan(0x2008)),
        ] {
            let (header, len) = ethernet_header(tags, [4; 6], [6; 6], ethertype(&meta));
            let frame = [&header[..len], &plain[14..]].concat();
            assert_eq!(frame, expected.build());
            assert_eq!(usize::from(parse(&frame).unwrap().l3), len);
        }
    }
}
