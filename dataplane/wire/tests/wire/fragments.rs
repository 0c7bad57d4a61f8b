//! Fragments: their fields, and the ones that are attacks.

use ringlead_wire::build::Packet;
use ringlead_wire::{Fragment, Kind, Malformed, fragment, parse};

const V4: (&str, &str) = ("10.0.0.1:1000", "192.0.2.1:80");
const V6: (&str, &str) = ("[2001:db8::7]:1000", "[2001:db8::1]:80");

fn outcome(packet: &Packet) -> Result<Kind, Malformed> {
    parse(&packet.build()).map(|meta| meta.kind)
}

/// RFC 4787 REQ-14 needs these fields from every piece.
#[test]
fn rfc4787_r14_every_piece_says_where_it_belongs() {
    for (src, dst) in [V4, V6] {
        for packet in [Packet::udp(src, dst), Packet::tcp(src, dst)] {
            let header = if packet == Packet::udp(src, dst) { 8 } else { 20 };
            let frames = packet.id(0xbeef).payload([7; 60]).fragments(32);
            let pieces: Vec<Fragment> = frames
                .iter()
                .map(|frame| {
                    let meta = parse(frame).unwrap();
                    assert_eq!((meta.kind, meta.sport, meta.dport), (Kind::Fragment, 0, 0));
                    assert_eq!(meta.proto, if header == 8 { 17 } else { 6 });
                    fragment(frame, &meta).unwrap()
                })
                .collect();
            let last = pieces.len() - 1;
            for (n, piece) in pieces.iter().enumerate() {
                let len = if n == last { (60 + header) % 32 } else { 32 };
                assert_eq!((piece.id, piece.offset), (0xbeef, 32 * n as u16));
                assert_eq!((piece.len, piece.more), (len, n != last));
                assert_eq!(piece.ports, (n == 0).then_some((1000, 80)));
            }
        }
    }
}

/// RFC 1858 §3: a first fragment that hides the flags.
#[test]
fn rfc1858_tiny_first_fragments_are_refused() {
    for (proto, needed) in [(6, 20), (17, 8)] {
        for (src, dst) in [("10.0.0.1", "192.0.2.1"), ("2001:db8::7", "2001:db8::1")] {
            let first = |len| Packet::raw(src, dst, proto).fragment(0, true).payload(vec![1; len]);
            let enough = usize::next_multiple_of(needed, 8);
            assert_eq!(outcome(&first(enough)), Ok(Kind::Fragment));
            if enough > 8 {
                assert_eq!(outcome(&first(8)), Err(Malformed::FragmentTiny));
                assert_eq!(outcome(&first(16)), Err(Malformed::FragmentTiny));
            }
        }
    }
}

/// RFC 3128: a second fragment that overwrites the flags.
#[test]
fn rfc3128_a_tcp_fragment_at_byte_8_is_refused() {
    for (src, dst) in [V4, V6] {
        let tcp = |offset| Packet::tcp(src, dst).fragment(offset, false).payload([1; 24]);
        assert_eq!(outcome(&tcp(8)), Err(Malformed::FragmentOverlap));
        assert_eq!(outcome(&tcp(16)), Ok(Kind::Fragment));
        assert_eq!(outcome(&Packet::udp(src, dst).fragment(8, false).payload([1; 24])), Ok(Kind::Fragment));
    }
}

/// RFC 7112: the first fragment holds the whole chain and the transport header.
#[test]
fn rfc7112_a_first_fragment_holds_the_header_chain() {
    let first = |next: u8, payload: &[u8]| {
        let packet = Packet::raw("2001:db8::7", "2001:db8::1", next).fragment(0, true).payload(payload);
        parse(&packet.build()).map(|meta| (meta.kind, meta.proto, meta.l4))
    };
    let mut inside = vec![17, 0, 1, 4, 0, 0, 0, 0];
    inside.extend([1; 8]);
    assert_eq!(first(60, &inside), Ok((Kind::Fragment, 17, 14 + 40 + 8 + 8)));
    assert_eq!(first(60, &inside[..8]), Err(Malformed::FragmentTiny));
    inside[1] = 3;
    assert_eq!(first(60, &inside), Err(Malformed::FragmentTiny));
}

/// RFC 8200 §4.5: what a later piece carries is no header, whatever its fragment header calls it.
#[test]
fn rfc8200_a_later_piece_is_not_read_as_an_extension_header() {
    for next in [0, 43, 44, 51, 60] {
        let packet = Packet::raw("2001:db8::7", "2001:db8::1", next).fragment(64, true).payload([0xff; 16]);
        let frame = packet.build();
        let meta = parse(&frame).unwrap();
        assert_eq!((meta.kind, meta.proto, meta.l4), (Kind::Fragment, next, 14 + 40 + 8));
        assert_eq!(fragment(&frame, &meta).map(|piece| (piece.offset, piece.len)), Some((64, 16)));
    }
}

#[test]
fn rfc791_rfc8200_impossible_fragments_are_refused() {
    for (src, dst) in [V4, V6] {
        let later =
            |offset, more, len| outcome(&Packet::udp(src, dst).fragment(offset, more).payload(vec![1; len]));
        assert_eq!(later(64, true, 16), Ok(Kind::Fragment));
        assert_eq!(later(64, false, 13), Ok(Kind::Fragment));
        assert_eq!(later(64, true, 13), Err(Malformed::FragmentLength), "uneven");
        assert_eq!(later(64, false, 0), Err(Malformed::FragmentLength), "empty");
        assert_eq!(later(65_528, false, 7), Ok(Kind::Fragment));
        assert_eq!(later(65_528, false, 8), Err(Malformed::FragmentLength), "ping of death");
    }
}

/// The rules for whole datagrams hold for their first piece.
#[test]
fn rfc8200_a_first_udp_fragment_without_checksum_is_refused_over_ipv6_only() {
    for ((src, dst), expected) in [(V4, Ok(Kind::Fragment)), (V6, Err(Malformed::UdpChecksumZero))] {
        let frame = Packet::udp(src, dst).no_checksum().payload([1; 24]).fragments(16).swap_remove(0);
        assert_eq!(parse(&frame).map(|meta| meta.kind), expected);
    }
}

#[test]
fn a_whole_packet_is_no_fragment() {
    let frame = Packet::udp(V4.0, V4.1).build();
    assert!(fragment(&frame, &parse(&frame).unwrap()).is_none());
}
