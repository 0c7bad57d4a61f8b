//! ICMP errors: read down to the packet they quote, and rewritten with it (RFC 5508 REQ-3 to REQ-6).

use std::net::SocketAddr;

use ringlead_wire::build::{Packet, ToEndpoint};
use ringlead_wire::rewrite::{IcmpEdit, icmp_error, icmp_error_to_client, icmp_error_to_server};
use ringlead_wire::{Ip, Kind, Malformed, Meta, parse};

use crate::judge;

/// Client, service, server, router and SNAT address of one family.
struct Cast {
    client: &'static str,
    service: &'static str,
    server: &'static str,
    router: &'static str,
    snat: &'static str,
    kinds: &'static [u8],
}

const CASTS: [Cast; 2] = [
    Cast {
        client: "198.51.100.7:40000",
        service: "192.0.2.10:80",
        server: "10.1.0.5:8080",
        router: "203.0.113.1",
        snat: "10.1.0.254:20001",
        kinds: &[3, 11, 12],
    },
    Cast {
        client: "[2001:db8:c::7]:40000",
        service: "[2001:db8::10]:80",
        server: "[fd00::5]:8080",
        router: "2001:db8:e::1",
        snat: "[fd00::fe]:20001",
        kinds: &[1, 2, 3, 4],
    },
];

fn ip(endpoint: &str) -> Ip {
    endpoint.to_endpoint().ip().into()
}

fn port(endpoint: &str) -> u16 {
    endpoint.to_endpoint().port()
}

/// A TCP segment and UDP datagrams with and without a checksum.
fn quotes(cast: &Cast, src: &str, dst: &str) -> Vec<Packet> {
    let mut all = vec![
        Packet::tcp(src, dst).seq(99).payload(b"some payload of odd length"),
        Packet::udp(src, dst).payload(b"query"),
    ];
    if cast.kinds.contains(&11) {
        all.push(Packet::udp(src, dst).no_checksum().payload(b"query"));
        all.push(Packet::tcp(src, dst).ip_options(&[1; 8]).payload(b"x"));
    } else {
        all.push(Packet::udp(src, dst).destination_options().payload(b"x"));
    }
    all
}

/// The endpoints of the packet that an error quotes, and that packet.
fn quoted(frame: &[u8], meta: &Meta) -> (SocketAddr, SocketAddr, Vec<u8>) {
    let (l4, inner) = (usize::from(meta.inner_l4), frame[meta.inner_l3.into()..meta.end.into()].to_vec());
    let port = |at: usize| u16::from_be_bytes([frame[l4 + at], frame[l4 + at + 1]]);
    let address = |v4: usize, v6: usize| -> Ip {
        if meta.v4 {
            Ip::from_v4(*inner[v4..].first_chunk().unwrap())
        } else {
            Ip::from_v6(*inner[v6..].first_chunk().unwrap())
        }
    };
    let src = SocketAddr::new(address(12, 8).into(), port(0));
    let dst = SocketAddr::new(address(16, 24).into(), port(2));
    (src, dst, inner)
}

#[test]
fn an_error_reads_as_the_answer_to_what_it_quotes() {
    for cast in &CASTS {
        for kind in cast.kinds {
            let quote = Packet::tcp(cast.service, cast.client).vlan(3).ip();
            let frame = Packet::icmp_error(cast.router, cast.service, *kind, 0, 0, &quote).vlan(5).build();
            let meta = parse(&frame).unwrap();
            assert_eq!((meta.kind, meta.proto), (Kind::IcmpError, 6));
            assert_eq!((meta.src, meta.sport), (ip(cast.client), port(cast.client)));
            assert_eq!((meta.dst, meta.dport), (ip(cast.service), port(cast.service)));
            let header = if meta.v4 { 20 } else { 40 };
            assert_eq!((meta.l3, meta.l4), (18, 18 + header));
            assert_eq!((meta.inner_l3, meta.inner_l4), (18 + header + 8, 18 + header + 8 + header));
        }
    }
}

#[test]
fn rfc792_eight_bytes_of_the_quoted_transport_are_enough() {
    for cast in &CASTS {
        let mut quote = Packet::tcp(cast.service, cast.client).ip();
        let full = quote.len();
        quote.truncate(full - 12);
        let error = |quote: &[u8]| {
            parse(&Packet::icmp_error(cast.router, cast.service, 3, 0, 0, quote).build()).map(|m| m.kind)
        };
        assert_eq!(error(&quote), Ok(Kind::IcmpError));
        for len in 0..quote.len() {
            assert_eq!(error(&quote[..len]), Err(Malformed::IcmpEmbedded), "{len} bytes");
        }
    }
}

#[test]
fn rfc5508_r3_a_bad_icmp_checksum_is_refused() {
    for cast in &CASTS {
        let quote = Packet::tcp(cast.service, cast.client).ip();
        let good = Packet::icmp_error(cast.router, cast.service, 3, 0, 0, &quote).build();
        let l4 = usize::from(parse(&good).unwrap().l4);
        for at in l4 + 4..good.len() {
            let mut frame = good.clone();
            frame[at] ^= 0x10;
            assert_eq!(parse(&frame).unwrap_err(), Malformed::IcmpChecksum, "byte {at}");
        }
    }
}

/// Linux drops these too: an error goes to the sender of what it quotes, or it is forged.
#[test]
fn an_error_sent_to_somebody_else_is_refused() {
    for cast in &CASTS {
        let quote = Packet::tcp(cast.service, cast.client).ip();
        let frame = Packet::icmp_error(cast.router, cast.server, 3, 0, 0, &quote).build();
        assert_eq!(parse(&frame).unwrap_err(), Malformed::IcmpMismatch);
    }
}

#[test]
fn a_quote_of_the_wrong_family_or_with_mapped_addresses_is_refused() {
    let [v4, v6] = &CASTS;
    let (quote4, quote6) = (Packet::tcp(v4.service, v4.client).ip(), Packet::tcp(v6.service, v6.client).ip());
    let mut mapped = Packet::tcp("[::ffff:192.0.2.10]:80", "[::ffff:198.51.100.7]:9").ip();
    for frame in [
        Packet::icmp_error(v4.router, v4.service, 3, 0, 0, &quote6).build(),
        Packet::icmp_error(v6.router, v6.service, 1, 0, 0, &quote4).build(),
        Packet::icmp_error(v6.router, v6.service, 1, 0, 0, &mapped).build(),
    ] {
        assert_eq!(parse(&frame).unwrap_err(), Malformed::IcmpEmbedded);
    }
    // Only the destination mapped.
    mapped[8..24].copy_from_slice(&ip(v6.service).octets());
    let frame = Packet::icmp_error(v6.router, v6.service, 1, 0, 0, &mapped).build();
    assert_eq!(parse(&frame).unwrap_err(), Malformed::IcmpEmbedded);
}

#[test]
fn what_names_no_flow_is_plain_icmp() {
    for cast in &CASTS {
        let later = Packet::udp(cast.service, cast.client).fragment(64, false).payload([1; 16]).ip();
        let first = Packet::udp(cast.service, cast.client).fragment(0, true).payload([1; 16]).ip();
        let other = Packet::raw(cast.service, cast.client, 132).payload([1; 16]).ip();
        let kind = |quote: &[u8], kind| {
            parse(&Packet::icmp_error(cast.router, cast.service, kind, 0, 0, quote).build()).unwrap().kind
        };
        let error = cast.kinds[0];
        assert_eq!((kind(&later, error), kind(&other, error)), (Kind::Icmp, Kind::Icmp));
        assert_eq!(kind(&first, error), Kind::IcmpError);
        // Source quench, redirect and router advertisement; ND redirect.
        for no_error in if error == 3 { [4, 5, 9] } else { [5, 137, 128] } {
            assert_eq!(kind(&first, no_error), Kind::Icmp);
        }
        let echo = parse(&Packet::icmp_echo(cast.client, cast.service).build()).unwrap();
        assert_eq!((echo.kind, echo.src, echo.dst), (Kind::Icmp, ip(cast.client), ip(cast.service)));
    }
}

#[test]
fn a_short_icmp_message_is_refused() {
    let icmp = |payload: &[u8]| {
        parse(&Packet::raw("203.0.113.1", "192.0.2.10", 1).payload(payload).build()).map(|m| m.kind)
    };
    assert_eq!(icmp(&[8, 0, 0]), Err(Malformed::IcmpShort));
    assert_eq!(icmp(&[8, 0, 0, 0]), Ok(Kind::Icmp));
    assert_eq!(icmp(&[3, 0, 0, 0, 0, 0, 0]), Err(Malformed::IcmpShort));
}

/// REQ-4 and REQ-5: inner and outer headers translated, all checksums right.
#[test]
fn rfc5508_r4_an_error_to_a_server_is_rewritten_inside_and_out() {
    for cast in &CASTS {
        for quote in quotes(cast, cast.service, cast.client) {
            let mut frame =
                Packet::icmp_error(cast.router, cast.service, 3, 4, 1400, &quote.ip()).tos(0x2e).build();
            let before = frame.clone();
            let meta = parse(&frame).unwrap();
            icmp_error_to_server(&mut frame, &meta, ip(cast.server), port(cast.server));
            judge::checksums(&frame).unwrap();
            let (src, dst, inner) = quoted(&frame, &meta);
            assert_eq!((src, dst), (cast.server.to_endpoint(), cast.client.to_endpoint()));
            judge::packet_checksums(&inner).unwrap();
            // To a new parser it is an error about the server's own packet, sent to the server.
            let after = parse(&frame).unwrap();
            assert_eq!((after.src, after.dst), (ip(cast.client), ip(cast.server)));
            assert_eq!(after.dport, port(cast.server));
            // The router's name, the MTU and the DSCP stay.
            let l3 = usize::from(meta.l3);
            let sources = if meta.v4 { l3 + 12..l3 + 16 } else { l3 + 8..l3 + 24 };
            assert_eq!(frame[sources.clone()], before[sources]);
            let l4 = usize::from(meta.l4);
            assert_eq!(frame[l4 + 4..l4 + 8], before[l4 + 4..l4 + 8]);
            assert_eq!(frame[..l3 + 2], before[..l3 + 2]);
        }
    }
}

#[test]
fn rfc5508_r5_an_error_to_a_client_hides_the_server_but_not_a_router() {
    for cast in &CASTS {
        for quote in quotes(cast, cast.client, cast.server) {
            for (from, shown) in [(cast.server, cast.service), (cast.router, cast.router)] {
                let mut frame = Packet::icmp_error(from, cast.client, 3, 0, 0, &quote.ip()).build();
                let meta = parse(&frame).unwrap();
                icmp_error_to_client(
                    &mut frame,
                    &meta,
                    ip(cast.server),
                    ip(cast.service),
                    port(cast.service),
                );
                judge::checksums(&frame).unwrap();
                let (src, dst, inner) = quoted(&frame, &meta);
                assert_eq!((src, dst), (cast.client.to_endpoint(), cast.service.to_endpoint()));
                judge::packet_checksums(&inner).unwrap();
                let outer = if meta.v4 {
                    Ip::from_v4(*frame[14 + 12..].first_chunk().unwrap())
                } else {
                    Ip::from_v6(*frame[14 + 8..].first_chunk().unwrap())
                };
                assert_eq!(outer, ip(shown));
            }
        }
    }
}

/// SNAT changes both ends of the quote.
#[test]
fn rfc5508_r4_both_quoted_ends_can_change_at_once() {
    for cast in &CASTS {
        for quote in quotes(cast, cast.service, cast.client) {
            let mut frame = Packet::icmp_error(cast.router, cast.service, 3, 0, 0, &quote.ip()).build();
            let meta = parse(&frame).unwrap();
            let edit = IcmpEdit {
                outer_src: Some(ip(cast.snat)),
                outer_dst: Some(ip(cast.server)),
                quoted_src: Some((ip(cast.server), port(cast.server))),
                quoted_dst: Some((ip(cast.snat), port(cast.snat))),
            };
            icmp_error(&mut frame, &meta, &edit);
            judge::checksums(&frame).unwrap();
            let (src, dst, inner) = quoted(&frame, &meta);
            assert_eq!((src, dst), (cast.server.to_endpoint(), cast.snat.to_endpoint()));
            judge::packet_checksums(&inner).unwrap();
        }
    }
}

/// A quote of eight transport bytes ends before TCP's checksum: what stands there is padding and stays.
#[test]
fn rfc792_a_short_tcp_quote_is_rewritten_without_its_checksum() {
    for cast in &CASTS {
        let mut quote = Packet::tcp(cast.service, cast.client).ip();
        quote.truncate(quote.len() - 12);
        let mut frame = Packet::icmp_error(cast.router, cast.service, 3, 0, 0, &quote).build();
        let end = frame.len();
        frame.extend([0x5a; 18]);
        let meta = parse(&frame).unwrap();
        icmp_error_to_server(&mut frame, &meta, ip(cast.server), port(cast.server));
        judge::checksums(&frame[..end]).unwrap();
        assert_eq!(frame[end..], [0x5a; 18]);
        assert_eq!(quoted(&frame, &meta).0, cast.server.to_endpoint());
    }
}
