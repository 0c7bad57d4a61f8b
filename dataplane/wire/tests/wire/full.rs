//! Full NAT: both ends in one pass, judged by the steps one by one and by etherparse.

use ringlead_wire::build::{Packet, ToEndpoint};
use ringlead_wire::checksum::transport_checksum_ok;
use ringlead_wire::rewrite::{
    decrement_ttl, icmp_error_between, route_between_v4, route_between_v6, to_client, to_server,
};
use ringlead_wire::{Ip, Kind, Meta, parse};

use crate::judge;

const V4: (&str, &str) = ("10.0.0.1:1000", "192.0.2.1:80");
const V6: (&str, &str) = ("[2001:db8::7]:1000", "[2001:db8::1]:80");

/// Numbers that look random and are the same in every run (Steele, Lea, Flood: SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A unicast address and a port.
    pub(crate) fn ends(&mut self, v4: bool) -> (Ip, u16) {
        let port = self.roll() as u16;
        let (high, low) = (self.roll().to_be_bytes(), self.roll().to_be_bytes());
        let mut v6: [u8; 16] = [high, low].concat().try_into().unwrap();
        v6[0] = 0x20;
        let [_, b, c, d, ..] = high;
        let ip = if v4 { Ip::from_v4([100, b, c, d]) } else { Ip::from_v6(v6) };
        (ip, port)
    }

    /// A TCP or UDP packet of up to 100 bytes payload between random ends.
    pub(crate) fn packet(&mut self, v4: bool) -> Packet {
        let endpoint = |(ip, port): (Ip, u16)| std::net::SocketAddr::new(ip.into(), port);
        let (src, dst) = (endpoint(self.ends(v4)), endpoint(self.ends(v4)));
        let roll = self.roll();
        let packet = if roll & 1 == 0 { Packet::tcp(src, dst) } else { Packet::udp(src, dst) };
        let payload: Vec<u8> = (0..roll as usize >> 8 & 63).map(|_| self.roll() as u8).collect();
        let packet = packet.payload(payload).ttl(2 + (roll >> 20) as u8 % 200).tos((roll >> 32) as u8);
        if roll & 6 == 0 { packet.vlan(9) } else { packet }
    }
}

/// Both ends, whatever the family.
fn route_between(frame: &mut [u8], meta: &Meta, src: (Ip, u16), dst: (Ip, u16)) {
    let (from, to) = (src.1.to_be_bytes(), dst.1.to_be_bytes());
    if meta.v4 {
        route_between_v4(frame, meta, (src.0.last4(), from), (dst.0.last4(), to));
    } else {
        route_between_v6(frame, meta, (src.0.octets(), from), (dst.0.octets(), to));
    }
}

/// 100 000 random packets: the pass equals the steps, and every checksum equals a full sum (RFC 1624 eq. 3).
#[test]
fn rfc1624_both_ends_in_one_pass_are_the_steps_one_by_one() {
    let mut dice = Dice(7);
    for n in 0..100_000_u32 {
        let v4 = n % 2 == 0;
        let mut frame = dice.packet(v4).build();
        let meta = parse(&frame).unwrap();
        if n % 50 == 0 && meta.kind == Kind::Udp {
            // No checksum at all.
            frame[usize::from(meta.l4) + 6..][..2].fill(0);
        }
        let (src, dst) = (dice.ends(v4), dice.ends(v4));
        let (mut steps, mut pass) = (frame.clone(), frame);
        route_between(&mut pass, &meta, src, dst);
        to_client(&mut steps, &meta, src.0, src.1);
        to_server(&mut steps, &meta, dst.0, dst.1);
        decrement_ttl(&mut steps, &meta);
        assert_eq!(pass, steps, "{n}: {meta:?}");
        assert_eq!(judge::checksums(&pass), Ok(()), "{n}: {meta:?}");
        let after = parse(&pass).unwrap();
        assert_eq!((after.src, after.sport, after.dst, after.dport), (src.0, src.1, dst.0, dst.1));
        assert_eq!(after.ttl, meta.ttl - 1);
    }
}

#[test]
fn rfc768_a_computed_zero_is_sent_as_all_ones_and_none_stays_none() {
    for (src, dst) in [V4, V6] {
        let frame = Packet::udp(src, dst).payload(b"odd").build();
        let meta = parse(&frame).unwrap();
        let field = usize::from(meta.l4) + 6;
        let (from, to) = (Dice(1).ends(meta.v4), Dice(2).ends(meta.v4));
        let mut ones = 0;
        for port in 0..=u16::MAX {
            let mut pass = frame.clone();
            route_between(&mut pass, &meta, from, (to.0, port));
            assert_ne!(pass[field..field + 2], [0, 0], "{port}");
            if pass[field..field + 2] == [0xff, 0xff] {
                ones += 1;
                judge::checksums(&pass).unwrap();
            }
        }
        assert!(ones > 0);
    }
    let mut frame = Packet::udp(V4.0, V4.1).no_checksum().payload(b"data").build();
    let meta = parse(&frame).unwrap();
    route_between(&mut frame, &meta, Dice(1).ends(true), Dice(2).ends(true));
    assert_eq!(frame[40..42], [0, 0]);
}

#[test]
fn damage_is_not_hidden() {
    for (src, dst) in [V4, V6] {
        for packet in [Packet::tcp(src, dst), Packet::udp(src, dst)] {
            let mut frame = packet.payload(b"data").build();
            let last = frame.len() - 1;
            frame[last] ^= 1;
            let meta = parse(&frame).unwrap();
            route_between(&mut frame, &meta, Dice(1).ends(meta.v4), Dice(2).ends(meta.v4));
            assert!(!transport_checksum_ok(&frame, &meta));
            frame[last] ^= 1;
            assert!(transport_checksum_ok(&frame, &meta));
        }
    }
}

/// A meta that promises more than there is changes what is there or nothing, and never panics.
#[test]
fn a_frame_that_is_too_short_is_no_panic() {
    for (src, dst) in [V4, V6] {
        for packet in [Packet::tcp(src, dst), Packet::udp(src, dst)] {
            let frame = packet.build();
            let meta = parse(&frame).unwrap();
            for len in 0..frame.len() {
                let mut cut = frame[..len].to_vec();
                route_between(&mut cut, &meta, Dice(1).ends(meta.v4), Dice(2).ends(meta.v4));
                assert_eq!(cut[..14.min(len)], frame[..14.min(len)]);
            }
        }
    }
}

/// A client behind our own address and port talks to a server; errors about either direction.
struct Talk {
    client: &'static str,
    service: &'static str,
    snat: &'static str,
    server: &'static str,
    router: &'static str,
    kind: u8,
}

const TALKS: [Talk; 2] = [
    Talk {
        client: "198.51.100.7:40000",
        service: "192.0.2.10:80",
        snat: "10.1.0.254:20001",
        server: "10.1.0.5:8080",
        router: "203.0.113.1",
        kind: 11,
    },
    Talk {
        client: "[2001:db8:c::7]:40000",
        service: "[2001:db8::10]:80",
        snat: "[fd00::fe]:20001",
        server: "[fd00::5]:8080",
        router: "2001:db8:e::1",
        kind: 3,
    },
];

fn ends(endpoint: &str) -> (Ip, u16) {
    let endpoint = endpoint.to_endpoint();
    (endpoint.ip().into(), endpoint.port())
}

/// RFC 5508 REQ-4 and REQ-5: what the server's side says about snat → server is told to the client about
/// client → service, in all five checksums.
#[test]
fn rfc5508_r4_an_error_through_full_nat_is_rewritten_at_both_quoted_ends() {
    for talk in &TALKS {
        for (n, packet) in [Packet::tcp, Packet::udp].into_iter().enumerate() {
            for (from, shown) in [(talk.router, None), (talk.server, Some(ends(talk.service).0))] {
                for quoted in [usize::MAX, 8] {
                    let quote = packet(talk.snat, talk.server).payload(b"odd").ttl(1).ip();
                    let header = if talk.kind == 11 { 20 } else { 40 };
                    let quote = &quote[..quote.len().min(quoted.saturating_add(header))];
                    let mut frame =
                        Packet::icmp_error(from, talk.snat, talk.kind, 0, 0, quote).tos(5).build();
                    let before = parse(&frame).unwrap();
                    let (client, service) = (ends(talk.client), ends(talk.service));
                    icmp_error_between(&mut frame, &before, shown, client.0, client, service);
                    assert_eq!(judge::checksums(&frame), Ok(()), "{n} {from} {quoted}");
                    let after = parse(&frame).unwrap();
                    // Reversed: as if the service had answered the client.
                    assert_eq!(((after.src, after.sport), (after.dst, after.dport)), (service, client));
                    let sender = Packet::raw(from, talk.snat, 99).build();
                    let l3 = usize::from(after.l3);
                    let at = if after.v4 { l3 + 12..l3 + 16 } else { l3 + 8..l3 + 24 };
                    match shown {
                        None => assert_eq!(frame[at.clone()], sender[at]),
                        Some(ip) if after.v4 => assert_eq!(frame[at], ip.last4()),
                        Some(ip) => assert_eq!(frame[at], ip.octets()),
                    }
                    if quoted == usize::MAX {
                        judge::packet_checksums(&frame[after.inner_l3.into()..]).unwrap();
                    }
                }
            }
        }
    }
}
