//! Ethernet, VLAN, IP lengths and transport headers.

use ringlead_wire::build::{Packet, arp_request};
use ringlead_wire::{Kind, Malformed, TcpFlags, parse};

use crate::judge::mend_ipv4;

const V4: (&str, &str) = ("10.0.0.1:1000", "192.0.2.1:80");
const V6: (&str, &str) = ("[2001:db8::7]:1000", "[2001:db8::1]:80");

/// Offsets behind 0, 1 and 2 tags of each kind.
#[test]
fn offsets_are_right_at_every_vlan_depth() {
    for (src, dst) in [V4, V6] {
        let v4 = src == V4.0;
        for depth in 0_u16..=2 {
            let mut packet = Packet::tcp(src, dst).payload(b"data").flags(TcpFlags::SYN).ttl(9);
            for tag in 0..depth {
                packet = packet.vlan_of_type([0x88a8, 0x8100][usize::from(tag)], 0x2064 + tag);
            }
            let mut frame = packet.build();
            let end = frame.len() as u16;
            frame.extend([0xaa; 7]);
            let meta = parse(&frame).unwrap();
            let l3 = 14 + 4 * depth;
            assert_eq!((meta.l3, meta.l4, meta.end), (l3, l3 + if v4 { 20 } else { 40 }, end));
            assert_eq!((meta.vlans, meta.vlan[0]), (depth as u8, if depth > 0 { 0x2064 } else { 0 }));
            assert_eq!(meta.vlan[1], if depth > 1 { 0x2065 } else { 0 });
            assert_eq!(
                (meta.kind, meta.proto, meta.ttl, meta.v4, meta.options),
                (Kind::Tcp, 6, 9, v4, false)
            );
            assert_eq!((meta.sport, meta.dport), (1000, 80));
            assert_eq!(format!("[{}]:{}", meta.src, meta.sport).replace("[10.0.0.1]", "10.0.0.1"), src);
            assert_eq!(format!("[{}]:{}", meta.dst, meta.dport).replace("[192.0.2.1]", "192.0.2.1"), dst);
            assert!(meta.flags.is_syn());
            assert_eq!((meta.inner_l3, meta.inner_l4), (0, 0));
        }
    }
}

#[test]
fn every_tag_type_counts_and_a_third_tag_is_refused() {
    for kind in [0x8100, 0x88a8, 0x9100] {
        assert_eq!(parse(&Packet::udp(V4.0, V4.1).vlan_of_type(kind, 5).build()).unwrap().vlan, [5, 0]);
    }
    let three = Packet::udp(V4.0, V4.1).vlan(1).vlan(2).vlan(3).build();
    assert_eq!(parse(&three).unwrap_err(), Malformed::VlanDepth);
}

#[test]
fn a_frame_cut_anywhere_is_refused_by_the_layer_it_is_cut_in() {
    let cut = |frame: &[u8], at: usize| parse(&frame[..at]).unwrap_err();
    let v4 = Packet::tcp(V4.0, V4.1).vlan(5).payload(b"data").build();
    for at in 0..v4.len() {
        let expected = match at {
            0..18 => Malformed::FrameShort,
            18..38 => Malformed::IpShort,
            _ => Malformed::IpTotalLength,
        };
        assert_eq!(cut(&v4, at), expected, "at {at}");
    }
    let v6 = Packet::tcp(V6.0, V6.1).payload(b"data").build();
    for at in 0..v6.len() {
        let expected = match at {
            0..14 => Malformed::FrameShort,
            14..54 => Malformed::IpShort,
            _ => Malformed::IpTotalLength,
        };
        assert_eq!(cut(&v6, at), expected, "at {at}");
    }
}

#[test]
fn what_is_no_ip_is_named_so() {
    assert_eq!(parse(&arp_request("10.0.0.1", "10.0.0.2")).unwrap_err(), Malformed::NotIp);
}

/// RFC 1812 §5.2.2: version, header length, total length and checksum.
#[test]
fn rfc1812_bent_ipv4_headers_are_refused() {
    let good = Packet::tcp(V4.0, V4.1).payload(b"data").build();
    let bent = |at: usize, value: u8, mend: bool| {
        let mut frame = good.clone();
        frame[14 + at] = value;
        if mend {
            mend_ipv4(&mut frame, 14);
        }
        parse(&frame).map(|meta| meta.kind)
    };
    assert_eq!(bent(0, 0x45, true), Ok(Kind::Tcp));
    assert_eq!(bent(0, 0x65, true), Err(Malformed::IpVersion));
    assert_eq!(bent(0, 0x44, true), Err(Malformed::IpHeaderLength));
    assert_eq!(bent(0, 0x4f, false), Err(Malformed::IpHeaderLength));
    assert_eq!(bent(3, 19, true), Err(Malformed::IpTotalLength));
    assert_eq!(bent(3, 45, true), Err(Malformed::IpTotalLength));
    assert_eq!(bent(8, 63, false), Err(Malformed::IpChecksum));
    let mut v6 = Packet::tcp(V6.0, V6.1).build();
    v6[14] = 0x40;
    assert_eq!(parse(&v6).unwrap_err(), Malformed::IpVersion);
}

/// A single wrong bit in an IPv4 header never passes unnoticed.
#[test]
fn rfc1812_any_flipped_bit_in_the_ipv4_header_is_refused() {
    let good = Packet::tcp(V4.0, V4.1).payload(b"data").build();
    for bit in 0..160 {
        let mut frame = good.clone();
        frame[14 + bit / 8] ^= 1 << (bit % 8);
        assert!(parse(&frame).is_err(), "bit {bit}");
    }
}

/// RFC 791: options are skipped, never misread; a source route is refused (RFC 7126 §4.3).
#[test]
fn rfc791_rfc7126_options_are_walked() {
    let with = |options: &[u8]| parse(&Packet::tcp(V4.0, V4.1).ip_options(options).payload(b"x").build());
    for harmless in [&[1, 1, 1][..], &[148, 4, 0, 0], &[7, 7, 4, 0, 0, 0, 0], &[0], &[1; 40]] {
        let meta = with(harmless).unwrap();
        assert_eq!((meta.kind, meta.sport, meta.dport, meta.options), (Kind::Tcp, 1000, 80, true));
        assert_eq!(meta.l4, 34 + harmless.len().next_multiple_of(4) as u16);
    }
    assert_eq!(with(&[148, 5, 0, 0]).unwrap_err(), Malformed::IpOptions);
    assert_eq!(with(&[148, 1, 0, 0]).unwrap_err(), Malformed::IpOptions);
    assert_eq!(with(&[1, 1, 1, 148]).unwrap_err(), Malformed::IpOptions);
    assert_eq!(with(&[131, 7, 4, 10, 0, 0, 1]).unwrap_err(), Malformed::SourceRouted);
    assert_eq!(with(&[1, 137, 7, 4, 10, 0, 0, 1]).unwrap_err(), Malformed::SourceRouted);
    // Behind the end of the list nothing counts.
    assert!(with(&[0, 131, 7, 4]).is_ok());
}

/// RFC 9293 §3.1: data offset.
#[test]
fn rfc9293_a_bad_tcp_header_length_is_refused() {
    let mut frame = Packet::tcp(V4.0, V4.1).payload(b"data").build();
    assert!(parse(&frame).is_ok());
    frame[46] = 0x40;
    assert_eq!(parse(&frame).unwrap_err(), Malformed::TcpHeaderLength);
    frame[46] = 0x70;
    assert_eq!(parse(&frame).unwrap_err(), Malformed::TcpHeaderLength);
    let short = Packet::raw("10.0.0.1", "192.0.2.1", 6).payload([0; 19]).build();
    assert_eq!(parse(&short).unwrap_err(), Malformed::TransportShort);
}

#[test]
fn rfc768_a_bad_udp_length_is_refused() {
    for (src, dst) in [V4, V6] {
        let good = Packet::udp(src, dst).payload(b"data").build();
        let at = good.len() - 4 - 4;
        for (length, expected) in [
            (12, Ok(Kind::Udp)),
            (11, Ok(Kind::Udp)), // RFC 9868: bytes behind the datagram
            (8, Ok(Kind::Udp)),
            (7, Err(Malformed::UdpLength)),
            (0, Err(Malformed::UdpLength)),
            (13, Err(Malformed::UdpLength)),
        ] {
            let mut frame = good.clone();
            frame[at + 1] = length;
            assert_eq!(parse(&frame).map(|m| m.kind), expected, "{src} {length}");
        }
    }
    let short = Packet::raw("10.0.0.1", "192.0.2.1", 17).payload([0; 7]).build();
    assert_eq!(parse(&short).unwrap_err(), Malformed::TransportShort);
}

/// RFC 768 allows UDP without a checksum, RFC 8200 §8.1 does not.
#[test]
fn rfc768_rfc8200_udp_checksum_zero() {
    assert!(parse(&Packet::udp(V4.0, V4.1).no_checksum().build()).is_ok());
    let v6 = Packet::udp(V6.0, V6.1).no_checksum().build();
    assert_eq!(parse(&v6).unwrap_err(), Malformed::UdpChecksumZero);
}

#[test]
fn other_transports_have_no_ports() {
    for (src, dst, proto) in [("10.0.0.1", "192.0.2.1", 132), ("2001:db8::7", "2001:db8::1", 132)] {
        let meta = parse(&Packet::raw(src, dst, proto).payload([9; 40]).build()).unwrap();
        assert_eq!((meta.kind, meta.proto, meta.sport, meta.dport), (Kind::Other, 132, 0, 0));
    }
    // Each ICMP belongs to its own family.
    let meta = parse(&Packet::raw("10.0.0.1", "192.0.2.1", 58).payload([1; 40]).build()).unwrap();
    assert_eq!(meta.kind, Kind::Other);
    let meta = parse(&Packet::raw("2001:db8::7", "2001:db8::1", 1).payload([3; 40]).build()).unwrap();
    assert_eq!(meta.kind, Kind::Other);
}

/// The last length that fits: an IP packet may not end beyond byte 65535 of its frame.
#[test]
fn a_packet_beyond_sixteen_bits_is_refused() {
    let fits = Packet::udp(V4.0, V4.1).payload(vec![1; 65_535 - 14 - 28]).build();
    assert_eq!(parse(&fits).unwrap().end, 65_535);
    let long = Packet::udp(V4.0, V4.1).payload(vec![1; 65_535 - 14 - 27]).build();
    assert_eq!(parse(&long).unwrap_err(), Malformed::Oversized);
}
