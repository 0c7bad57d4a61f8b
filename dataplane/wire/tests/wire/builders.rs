//! The builders make what they say, as etherparse reads it.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use ringlead_wire::TcpFlags;
use ringlead_wire::build::{Packet, arp_request};

use crate::judge;

#[test]
fn a_tcp_segment_has_every_field_it_was_given() {
    let frame = Packet::tcp("10.0.0.1:1000", "192.0.2.1:80")
        .flags(TcpFlags::SYN | TcpFlags::ACK)
        .seq(0x0102_0304)
        .ack(0x0506_0708)
        .window(4321)
        .tcp_options(&[2, 4, 5, 0xb4])
        .ttl(17)
        .tos(0xb9)
        .id(77)
        .vlan(0x6005)
        .mac([2; 6], [4; 6])
        .payload(b"hello")
        .build();
    let packet = SlicedPacket::from_ethernet(&frame).unwrap();
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("{packet:?}") };
    let ip = ip.header();
    assert_eq!((ip.source(), ip.destination()), ([10, 0, 0, 1], [192, 0, 2, 1]));
    assert_eq!((ip.ttl(), ip.identification(), ip.dont_fragment()), (17, 77, true));
    assert_eq!((ip.dcp().value(), ip.ecn().value()), (0xb9 >> 2, 1));
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { panic!("{packet:?}") };
    assert_eq!((tcp.source_port(), tcp.destination_port(), tcp.window_size()), (1000, 80, 4321));
    assert_eq!((tcp.sequence_number(), tcp.acknowledgment_number()), (0x0102_0304, 0x0506_0708));
    assert_eq!((tcp.syn(), tcp.ack(), tcp.fin(), tcp.rst()), (true, true, false, false));
    assert_eq!((tcp.options(), tcp.payload()), (&[2, 4, 5, 0xb4][..], &b"hello"[..]));
    assert_eq!((&frame[..6], &frame[6..12], &frame[14..16]), (&[4; 6][..], &[2; 6][..], &[0x60, 5][..]));
    judge::checksums(&frame).unwrap();
}

#[test]
fn everything_built_has_right_checksums() {
    for (src, dst) in [("10.0.0.1:7", "192.0.2.1:80"), ("[2001:db8::7]:7", "[2001:db8::1]:80")] {
        let quoted = Packet::tcp(src, dst).ip();
        for packet in [
            Packet::tcp(src, dst).payload(b"odd"),
            Packet::udp(src, dst).payload(b"four"),
            Packet::icmp_echo(src, dst),
            Packet::icmp_error(dst, src, 3, 4, 1400, &quoted),
        ] {
            judge::checksums(&packet.build()).unwrap_or_else(|e| panic!("{packet:?}: {e}"));
        }
    }
}

#[test]
fn an_extension_chain_is_linked_in_order() {
    let frame = Packet::udp("[2001:db8::7]:7", "[2001:db8::1]:53")
        .hop_by_hop()
        .routing(0)
        .destination_options()
        .authentication()
        .payload(b"q")
        .build();
    let packet = SlicedPacket::from_ethernet(&frame).unwrap();
    let Some(TransportSlice::Udp(udp)) = &packet.transport else { panic!("{packet:?}") };
    assert_eq!((udp.destination_port(), udp.payload()), (53, &b"q"[..]));
    judge::checksums(&frame).unwrap();
}

#[test]
fn an_arp_request_is_one() {
    let frame = arp_request("10.0.0.1", "10.0.0.2");
    let packet = SlicedPacket::from_ethernet(&frame).unwrap();
    let Some(NetSlice::Arp(arp)) = &packet.net else { panic!("{packet:?}") };
    assert_eq!(
        (arp.sender_protocol_addr(), arp.target_protocol_addr()),
        (&[10, 0, 0, 1][..], &[10, 0, 0, 2][..])
    );
    assert_eq!((arp.operation().0, &frame[..6]), (1, &[0xff; 6][..]));
}

#[test]
fn a_partial_checksum_is_the_folded_pseudo_header_sum() {
    // By hand: 0a00 + 0001 + c000 + 0201 + 0006 + 0014 = cc1c.
    let frame = Packet::tcp("10.0.0.1:1000", "192.0.2.1:80").partial_checksum().build();
    assert_eq!(frame[14 + 20 + 16..14 + 20 + 18], [0xcc, 0x1c]);
    assert!(judge::checksums(&frame).is_err());
}
