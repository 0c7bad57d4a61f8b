//! IPv6 extension headers.

use ringlead_wire::build::Packet;
use ringlead_wire::{Kind, Malformed, parse};

const SRC: &str = "[2001:db8::7]:1000";
const DST: &str = "[2001:db8::1]:80";

fn chain(headers: usize) -> Packet {
    (0..headers).fold(Packet::tcp(SRC, DST), |packet, _| packet.destination_options())
}

/// RFC 8200 §4: every known header is walked, and the ports found behind.
#[test]
fn rfc8200_every_extension_header_is_walked() {
    let packet = Packet::tcp(SRC, DST).hop_by_hop().routing(0).destination_options().authentication();
    let meta = parse(&packet.payload(b"data").build()).unwrap();
    assert_eq!((meta.kind, meta.proto, meta.sport, meta.dport), (Kind::Tcp, 6, 1000, 80));
    assert_eq!((meta.l4, meta.options), (14 + 40 + 8 + 24 + 8 + 24, true));
}

/// RFC 7045: a chain is bounded.
#[test]
fn rfc7045_a_chain_has_at_most_six_headers() {
    let meta = parse(&chain(6).build()).unwrap();
    assert_eq!((meta.kind, meta.l4), (Kind::Tcp, 14 + 40 + 48));
    assert_eq!(parse(&chain(7).build()).unwrap_err(), Malformed::ExtensionChain);
}

#[test]
fn rfc8200_hop_by_hop_comes_first_or_not_at_all() {
    let packet = Packet::tcp(SRC, DST).destination_options().hop_by_hop();
    assert_eq!(parse(&packet.build()).unwrap_err(), Malformed::ExtensionChain);
}

/// RFC 8200 §4.4: with segments left the destination in the header is not the one in the pseudo header.
#[test]
fn rfc8200_a_source_route_that_is_not_done_is_refused() {
    let packet = Packet::tcp(SRC, DST).routing(1);
    assert_eq!(parse(&packet.build()).unwrap_err(), Malformed::SourceRouted);
}

#[test]
fn a_chain_that_runs_out_of_the_packet_is_refused() {
    let mut frame = Packet::raw("2001:db8::7", "2001:db8::1", 6).destination_options().build();
    frame[14 + 40 + 1] = 1;
    assert_eq!(parse(&frame).unwrap_err(), Malformed::ExtensionShort);
    let empty = Packet::raw("2001:db8::7", "2001:db8::1", 60).build();
    assert_eq!(parse(&empty).unwrap_err(), Malformed::ExtensionShort);
    // Bytes behind the packet are padding, no header.
    let mut padded = empty;
    padded.extend([0; 32]);
    assert_eq!(parse(&padded).unwrap_err(), Malformed::ExtensionShort);
}

#[test]
fn what_is_no_extension_header_ends_the_chain() {
    for proto in [50, 59, 135, 132] {
        let packet = Packet::raw("2001:db8::7", "2001:db8::1", proto).destination_options().payload([0; 8]);
        let meta = parse(&packet.build()).unwrap();
        assert_eq!((meta.kind, meta.proto, meta.l4), (Kind::Other, proto, 14 + 48));
    }
}

/// RFC 6946: one fragment that is all of it counts as whole.
#[test]
fn rfc6946_an_atomic_fragment_is_whole() {
    let frame = Packet::udp(SRC, DST).destination_options().fragment(0, false).payload(b"data").build();
    let meta = parse(&frame).unwrap();
    assert_eq!((meta.kind, meta.sport, meta.dport, meta.l4), (Kind::Udp, 1000, 80, 14 + 40 + 8 + 8));
    assert!(ringlead_wire::fragment(&frame, &meta).is_none());
}

#[test]
fn rfc8200_a_second_fragment_header_is_refused() {
    let twice = Packet::udp(SRC, DST).extension(44, &[0; 8]).fragment(0, false);
    assert_eq!(parse(&twice.build()).unwrap_err(), Malformed::ExtensionChain);
}
