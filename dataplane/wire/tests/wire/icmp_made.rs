//! ICMP errors that this node makes itself: what they say, what they quote, and when there is none.

use etherparse::{Icmpv4Type, Icmpv6Type, NetSlice, SlicedPacket, TransportSlice, icmpv4, icmpv6};
use proptest::prelude::*;
use ringlead_wire::answer::{MADE_LEN_MAX, Made, icmp_error_made};
use ringlead_wire::build::{Packet, ToEndpoint};
use ringlead_wire::{Ip, Kind, TcpFlags, parse};

use crate::judge;

const PAIRS: [(&str, &str); 2] =
    [("10.0.0.1:1000", "192.0.2.1:80"), ("[2001:db8::7]:1000", "[2001:db8::1]:80")];
/// The node's own address in each family.
const FROM: [&str; 2] = ["192.0.2.254", "2001:db8::fe"];
const ALL: [Made; 5] = [
    Made::TooBig { mtu: 1444 },
    Made::PortUnreachable,
    Made::HostUnreachable,
    Made::AdminProhibited,
    Made::TtlExceeded,
];

fn from(v4: bool) -> Ip {
    FROM[usize::from(!v4)].to_endpoint().ip().into()
}

/// The error about a frame, its checksums and its headers judged by etherparse.
fn about(frame: &[u8], what: Made) -> Option<Vec<u8>> {
    let meta = parse(frame).unwrap();
    let mut out = [0xee; MADE_LEN_MAX + 1];
    let len = icmp_error_made(frame, &meta, from(meta.v4), what, &mut out)?;
    assert!(len <= MADE_LEN_MAX && out[len..].iter().all(|b| *b == 0xee), "written behind the end");
    let made = out[..len].to_vec();
    judge::checksums(&made).unwrap();
    Some(made)
}

fn made(packet: &Packet, what: Made) -> Option<Vec<u8>> {
    about(&[packet.build(), vec![0x77; 6]].concat(), what)
}

/// Type and code as the RFCs number them, read by etherparse.
#[test]
fn rfc1812_and_rfc4443_types_and_codes() {
    let v4 = ALL.map(|what| {
        let made = made(&Packet::udp(PAIRS[0].0, PAIRS[0].1).payload(b"data"), what).unwrap();
        match SlicedPacket::from_ethernet(&made).unwrap().transport {
            Some(TransportSlice::Icmpv4(icmp)) => icmp.icmp_type(),
            other => panic!("{other:?}"),
        }
    });
    use icmpv4::DestUnreachableHeader as V4;
    assert_eq!(
        v4,
        [
            Icmpv4Type::DestinationUnreachable(V4::FragmentationNeeded { next_hop_mtu: 1444 }),
            Icmpv4Type::DestinationUnreachable(V4::Port),
            Icmpv4Type::DestinationUnreachable(V4::Host),
            Icmpv4Type::DestinationUnreachable(V4::FilterProhibited),
            Icmpv4Type::TimeExceeded(icmpv4::TimeExceededCode::TtlExceededInTransit),
        ]
    );
    let v6 = ALL.map(|what| {
        let made = made(&Packet::udp(PAIRS[1].0, PAIRS[1].1).payload(b"data"), what).unwrap();
        match SlicedPacket::from_ethernet(&made).unwrap().transport {
            Some(TransportSlice::Icmpv6(icmp)) => icmp.icmp_type(),
            other => panic!("{other:?}"),
        }
    });
    use icmpv6::DestUnreachableCode as V6;
    assert_eq!(
        v6,
        [
            Icmpv6Type::PacketTooBig { mtu: 1444 },
            Icmpv6Type::DestinationUnreachable(V6::Port),
            Icmpv6Type::DestinationUnreachable(V6::Address),
            Icmpv6Type::DestinationUnreachable(V6::Prohibited),
            Icmpv6Type::TimeExceeded(icmpv6::TimeExceededCode::HopLimitExceeded),
        ]
    );
}

/// RFC 1191 §4, RFC 8201 §4: every MTU, and none below the floor.
#[test]
fn rfc1191_every_mtu_is_announced_down_to_the_floor() {
    for ((src, dst), floor) in PAIRS.into_iter().zip([576, 1280]) {
        let frame = Packet::tcp(src, dst).build();
        for mtu in 0..=u16::MAX {
            let made = about(&frame, Made::TooBig { mtu }).unwrap();
            let l4 = usize::from(parse(&made).unwrap().l4);
            assert_eq!(made[l4 + 4..l4 + 8], u32::from(mtu.max(floor)).to_be_bytes());
        }
    }
}

/// Only "too big" has a second word.
#[test]
fn the_unused_word_is_zero() {
    for (src, dst) in PAIRS {
        for what in &ALL[1..] {
            let made = made(&Packet::udp(src, dst), *what).unwrap();
            let l4 = usize::from(parse(&made).unwrap().l4);
            assert_eq!(made[l4 + 4..l4 + 8], [0; 4]);
        }
    }
}

/// Our own parser, and so the sender's stack, finds the flow that the error is about.
#[test]
fn the_error_is_about_the_packet_and_goes_to_its_sender() {
    for (src, dst) in PAIRS {
        for packet in [Packet::tcp(src, dst), Packet::udp(src, dst)] {
            for what in ALL {
                let packet =
                    packet.clone().mac([2; 6], [4; 6]).vlan_of_type(0x9100, 0x6007).vlan(8).ttl(1).tos(3);
                let made = made(&packet, what).unwrap();
                assert_eq!((&made[..6], &made[6..12]), (&[2; 6][..], &[4; 6][..]));
                assert_eq!(&made[12..20], &[0x91, 0x00, 0x60, 0x07, 0x81, 0x00, 0x00, 0x08]);
                let (there, back) = (parse(&packet.build()).unwrap(), parse(&made).unwrap());
                assert_eq!(back.kind, Kind::IcmpError);
                assert_eq!((back.src, back.sport, back.dst, back.dport), (there.dst, 80, there.src, 1000));
                assert_eq!((back.ttl, usize::from(back.end), back.options), (64, made.len(), false));
                headers(&made, there.src, from(there.v4));
            }
        }
    }
}

/// The outer header's fields: RFC 1812 §4.3.2.5 for the precedence, RFC 6864 §4.1 for the identification.
fn headers(made: &[u8], to: Ip, from: Ip) {
    match SlicedPacket::from_ethernet(made).unwrap().net {
        Some(NetSlice::Ipv4(v4)) => {
            let header = v4.header();
            assert_eq!((header.source(), header.destination()), (from.last4(), to.last4()));
            assert_eq!((header.slice()[1], header.identification(), header.dont_fragment()), (0xc0, 0, true));
        }
        Some(NetSlice::Ipv6(v6)) => {
            let header = v6.header();
            assert_eq!((header.source(), header.destination()), (from.octets(), to.octets()));
            assert_eq!((header.traffic_class(), header.flow_label().value()), (0, 0));
        }
        None | Some(NetSlice::Arp(_)) => unreachable!("{made:02x?}"),
    }
}

/// RFC 1812 §4.3.2.3 and RFC 4443 §2.4 c, with every size around the limits: the quote is the packet as it came, from its
/// IP header on, up to 576 or 1280 bytes in all, and no padding.
#[test]
fn rfc1812_and_rfc4443_the_quote_is_as_long_as_may_be() {
    for ((src, dst), (overhead, total)) in PAIRS.into_iter().zip([(28, 576), (48, 1280)]) {
        for size in (0..64).chain(480..600).chain(1150..1300).chain([8900]) {
            for packet in [Packet::tcp(src, dst), Packet::udp(src, dst).ip_options(&[1; 8]).hop_by_hop()] {
                let packet = packet.payload((0..=u8::MAX).cycle().take(size).collect::<Vec<_>>());
                let ip = &packet.build()[14..];
                let made = made(&packet, Made::TooBig { mtu: 1400 }).unwrap();
                let quoted = ip.len().min(total - overhead);
                assert_eq!(made.len(), 14 + overhead + quoted);
                assert_eq!(made[14 + overhead..], ip[..quoted]);
            }
        }
    }
}

/// Another transport has a sender, too.
#[test]
fn other_transports_are_answered() {
    for (src, dst) in PAIRS {
        let made = made(&Packet::raw(src, dst, 132).payload([1; 30]), Made::HostUnreachable).unwrap();
        assert_eq!(parse(&made).unwrap().kind, Kind::Icmp);
    }
}

/// RFC 1812 §4.3.2.7, RFC 4443 §2.4 e.
#[test]
fn rfc1812_icmp_and_fragments_are_never_answered() {
    for (src, dst) in PAIRS {
        let kind = if src.starts_with('1') { 3 } else { 1 };
        let error = Packet::icmp_error(dst, src, kind, 1, 0, &Packet::udp(src, dst).ip());
        let udp = Packet::udp(src, dst).payload([1; 40]);
        for what in ALL {
            assert!(made(&error, what).is_none());
            assert!(made(&Packet::icmp_echo(src, dst), what).is_none());
            assert!(made(&udp.clone().fragment(0, true), what).is_none());
            assert!(made(&udp.clone().fragment(64, false), what).is_none());
            // ICMP of the other family is ICMP all the same.
            assert!(made(&Packet::raw(src, dst, 1).payload([8; 8]), what).is_none());
            assert!(made(&Packet::raw(src, dst, 58).payload([128; 8]), what).is_none());
        }
    }
}

/// RFC 1812 §4.3.2.7, RFC 4443 §2.4 e.3 and e.4: by Ethernet or by IP.
#[test]
fn rfc1812_packets_to_many_are_never_answered() {
    let (v4, v6) = (PAIRS[0].0, PAIRS[1].0);
    for what in ALL {
        for dst in ["224.0.0.1:5", "239.1.2.3:5", "255.255.255.255:5", "240.0.0.1:5"] {
            assert!(made(&Packet::udp(v4, dst), what).is_none(), "{dst}");
        }
        assert!(made(&Packet::udp(v4, "223.255.255.1:5"), what).is_some());
        assert!(made(&Packet::udp(v6, "[ff02::1]:5"), what).is_none());
        assert!(made(&Packet::udp(v6, "[fe80::1]:5"), what).is_some());
        for (src, dst) in PAIRS {
            for mac in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]] {
                assert!(made(&Packet::udp(src, dst).mac([2; 6], mac), what).is_none(), "{mac:?}");
            }
        }
    }
}

#[test]
fn an_address_of_the_other_family_gets_nothing() {
    for (src, dst) in PAIRS {
        let frame = Packet::udp(src, dst).build();
        let meta = parse(&frame).unwrap();
        let mut out = [0; MADE_LEN_MAX];
        assert!(icmp_error_made(&frame, &meta, from(!meta.v4), Made::PortUnreachable, &mut out).is_none());
    }
}

/// The longest one fits exactly; every shorter buffer and every truncated frame gets nothing, and no panic.
#[test]
fn a_buffer_or_frame_that_is_too_short_gets_nothing() {
    for (src, dst) in PAIRS {
        let frame = Packet::tcp(src, dst).vlan(1).vlan(2).payload([3; 1400]).build();
        let meta = parse(&frame).unwrap();
        let write = |frame: &[u8], out: &mut [u8]| {
            icmp_error_made(frame, &meta, from(meta.v4), Made::TooBig { mtu: 1400 }, out)
        };
        let needed = if meta.v4 { 22 + 576 } else { MADE_LEN_MAX };
        for room in 0..=MADE_LEN_MAX {
            assert_eq!(write(&frame, &mut vec![0; room]), (room >= needed).then_some(needed));
        }
        let quoted = needed - if meta.v4 { 28 } else { 48 };
        for len in 0..=frame.len() {
            let made = write(&frame[..len], &mut [0; MADE_LEN_MAX]);
            assert_eq!(made, (len >= quoted).then_some(needed), "frame of {len}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100_000))]

    /// Any packet that may be answered: every checksum is right by a full sum, and the quote is the packet.
    #[test]
    fn random_packets_get_right_errors(
        (v4, tcp, flags, tos) in any::<(bool, bool, u8, u8)>(),
        payload in prop::collection::vec(any::<u8>(), 0..90),
        (host, sport, dport) in (1..250_u8, 1..u16::MAX, any::<u16>()),
        what in prop_oneof![
            any::<u16>().prop_map(|mtu| Made::TooBig { mtu }),
            prop::sample::select(&ALL[1..]),
        ],
    ) {
        let (src, dst) = if v4 {
            (format!("10.1.{host}.{host}:{sport}"), format!("192.0.2.1:{dport}"))
        } else {
            (format!("[2001:db8::{host:x}:1]:{sport}"), format!("[2001:db8:1::]:{dport}"))
        };
        let packet = if tcp { Packet::tcp(src, dst).flags(flags | TcpFlags::ACK) } else { Packet::udp(src, dst) };
        let packet = packet.payload(payload).tos(tos);
        let made = made(&packet, what).unwrap();
        let at = 14 + if v4 { 28 } else { 48 };
        prop_assert_eq!(&made[at..], &packet.ip()[..]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Damaged frames that still parse: no panic, and what is made is right.
    #[test]
    fn damaged_packets_are_no_panic(
        (v4, udp) in any::<(bool, bool)>(),
        damages in prop::collection::vec((12..90_usize, any::<u8>()), 0..6),
        (len, room) in (0..120_usize, 0..200_usize),
    ) {
        let (src, dst) = PAIRS[usize::from(!v4)];
        let packet = if udp { Packet::udp(src, dst) } else { Packet::tcp(src, dst) };
        let mut frame = packet.vlan(5).payload([6; 40]).build();
        for (at, value) in damages {
            let at = at % frame.len();
            frame[at] = value;
        }
        frame.truncate(len);
        if v4 && frame.len() >= 38 {
            judge::mend_ipv4(&mut frame, 18);
        }
        if let Ok(meta) = parse(&frame) {
            let mut out = vec![0; room];
            if let Some(len) = icmp_error_made(&frame, &meta, from(meta.v4), ALL[len % 5], &mut out) {
                prop_assert_eq!(judge::checksums(&out[..len]), Ok(()));
            }
        }
    }
}
