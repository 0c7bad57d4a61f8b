//! RFC 9293 §3.10.7.1: what answers a segment that nobody wants.

use ringlead_wire::build::Packet;
use ringlead_wire::reset::{RESET_LEN_MAX, into_reset, tcp_reset};
use ringlead_wire::{Kind, TcpFlags, parse};

use crate::judge;

const PAIRS: [(&str, &str); 2] =
    [("10.0.0.1:1000", "192.0.2.1:80"), ("[2001:db8::7]:1000", "[2001:db8::1]:80")];

/// The reset's frame, sequence number, acknowledgment number and flags.
fn answer(packet: &Packet) -> Option<(Vec<u8>, u32, u32, u8)> {
    let mut frame = packet.build();
    frame.extend([0; 6]); // padding is no payload
    let mut out = [0xee; RESET_LEN_MAX];
    let len = tcp_reset(&frame, &parse(&frame).unwrap(), &mut out)?;
    let reset = out[..len].to_vec();
    judge::checksums(&reset).unwrap();
    let meta = parse(&reset).unwrap();
    let number = |at: usize| u32::from_be_bytes(*reset[usize::from(meta.l4) + at..].first_chunk().unwrap());
    Some((reset.clone(), number(4), number(8), meta.flags.0))
}

#[test]
fn rfc9293_a_segment_with_ack_gets_a_reset_where_the_peer_expects_it() {
    for (src, dst) in PAIRS {
        for flags in [TcpFlags::ACK, TcpFlags::ACK | TcpFlags::SYN, TcpFlags::ACK | TcpFlags::FIN] {
            let packet = Packet::tcp(src, dst).flags(flags).seq(5).ack(0xfedc_ba98).payload(b"data");
            let (_, seq, ack, flags) = answer(&packet).unwrap();
            assert_eq!((seq, ack, flags), (0xfedc_ba98, 0, TcpFlags::RST));
        }
    }
}

#[test]
fn rfc9293_a_segment_without_ack_is_acknowledged_in_full() {
    for (src, dst) in PAIRS {
        for (flags, payload, expected) in [
            (TcpFlags::SYN, &b""[..], 1),
            (TcpFlags::SYN, b"fast", 5),
            (TcpFlags::SYN | TcpFlags::FIN, b"", 2),
            (TcpFlags::FIN, b"", 1),
            (0, b"data", 4),
        ] {
            let packet =
                Packet::tcp(src, dst).tcp_options(&[1; 12]).flags(flags).seq(u32::MAX).payload(payload);
            let (_, seq, ack, flags) = answer(&packet).unwrap();
            assert_eq!(
                (seq, ack, flags),
                (0, u32::MAX.wrapping_add(expected), TcpFlags::RST | TcpFlags::ACK)
            );
        }
    }
}

#[test]
fn the_reset_goes_back_the_way_the_segment_came() {
    for (src, dst) in PAIRS {
        let packet = Packet::tcp(src, dst).mac([2; 6], [4; 6]).vlan_of_type(0x9100, 0x6007).vlan(8).ttl(3);
        let (reset, ..) = answer(&packet).unwrap();
        assert_eq!((&reset[..6], &reset[6..12]), (&[2; 6][..], &[4; 6][..]));
        assert_eq!(&reset[12..20], &[0x91, 0x00, 0x60, 0x07, 0x81, 0x00, 0x00, 0x08]);
        let (there, back) = (parse(&packet.build()).unwrap(), parse(&reset).unwrap());
        assert_eq!((back.src, back.sport, back.dst, back.dport), (there.dst, 80, there.src, 1000));
        assert_eq!((back.kind, back.ttl, usize::from(back.end)), (Kind::Tcp, 64, reset.len()));
    }
}

/// A segment with IP options or extension headers gets a reset without.
#[test]
fn the_reset_has_plain_headers() {
    let v4 = answer(&Packet::tcp(PAIRS[0].0, PAIRS[0].1).ip_options(&[1; 8])).unwrap().0;
    let v6 = answer(&Packet::tcp(PAIRS[1].0, PAIRS[1].1).destination_options()).unwrap().0;
    assert_eq!((v4.len(), v6.len()), (14 + 20 + 20, 14 + 40 + 20));
}

#[test]
fn rfc9293_a_reset_is_never_answered_and_nor_is_udp() {
    let (src, dst) = PAIRS[0];
    assert!(answer(&Packet::tcp(src, dst).flags(TcpFlags::RST)).is_none());
    assert!(answer(&Packet::tcp(src, dst).flags(TcpFlags::RST | TcpFlags::ACK)).is_none());
    assert!(answer(&Packet::udp(src, dst)).is_none());
    assert!(answer(&Packet::tcp(src, dst).payload([0; 44]).fragment(0, true)).is_none());
}

#[test]
fn a_buffer_that_is_too_short_gets_nothing() {
    let frame = Packet::tcp(PAIRS[1].0, PAIRS[1].1).vlan(1).vlan(2).build();
    let meta = parse(&frame).unwrap();
    assert_eq!(tcp_reset(&frame, &meta, &mut [0; RESET_LEN_MAX]), Some(RESET_LEN_MAX));
    assert_eq!(tcp_reset(&frame, &meta, &mut [0; RESET_LEN_MAX - 1]), None);
}

/// What its receiver would have got from its sender: numbers, addresses, tags and IP options stay, payload and TCP options go.
#[test]
fn a_segment_becomes_the_reset_of_its_own_connection() {
    for (src, dst) in PAIRS {
        let plain = Packet::tcp(src, dst).vlan(8).ttl(3).seq(5).ack(0xfedc_ba98);
        let options =
            if src.starts_with('[') { plain.clone().hop_by_hop() } else { plain.clone().ip_options(&[1; 8]) };
        for packet in [plain, options] {
            for (flags, ack, becomes) in [
                (TcpFlags::ACK, 0xfedc_ba98, TcpFlags::RST | TcpFlags::ACK),
                (TcpFlags::ACK | TcpFlags::FIN, 0xfedc_ba98, TcpFlags::RST | TcpFlags::ACK),
                (TcpFlags::ACK | TcpFlags::SYN, 0xfedc_ba98, TcpFlags::RST | TcpFlags::ACK),
                (TcpFlags::FIN, 0, TcpFlags::RST),
            ] {
                let mut frame = packet.clone().flags(flags).tcp_options(&[1; 12]).payload(b"data").build();
                let meta = parse(&frame).unwrap();
                let end = into_reset(&mut frame, &meta).unwrap();
                frame.truncate(end.into());
                let expected = packet.clone().flags(becomes).ack(ack).window(0).build();
                assert_eq!(frame, expected, "{src} {flags:x}");
            }
        }
    }
}

#[test]
fn what_is_no_segment_or_a_reset_becomes_none_and_stays_as_it_is() {
    let (src, dst) = PAIRS[0];
    for packet in [
        Packet::tcp(src, dst).flags(TcpFlags::RST),
        Packet::udp(src, dst),
        Packet::tcp(src, dst).payload([0; 44]).fragment(0, true),
    ] {
        let mut frame = packet.build();
        let meta = parse(&frame).unwrap();
        assert_eq!((into_reset(&mut frame, &meta), frame), (None, packet.build()));
    }
}
