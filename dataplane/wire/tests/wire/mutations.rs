//! Damaged frames: parsing never panics, its offsets stay inside the frame, and rewriting what was parsed is safe.

use proptest::prelude::*;
use ringlead_wire::build::{Packet, ToEndpoint, arp_request};
use ringlead_wire::checksum::{fix_partial, transport_checksum_ok};
use ringlead_wire::reset::{RESET_LEN_MAX, into_reset, tcp_reset};
use ringlead_wire::rewrite::{
    decrement_ttl, icmp_error_to_client, icmp_error_to_server, to_client, to_server,
};
use ringlead_wire::{Ip, Kind, Meta, fragment, parse};

use crate::judge::mend_ipv4;

const PAIRS: [(&str, &str); 2] =
    [("10.0.0.1:1000", "192.0.2.1:80"), ("[2001:db8::7]:1000", "[2001:db8::1]:80")];

/// One frame of every shape.
fn seeds() -> Vec<Vec<u8>> {
    let mut all = vec![arp_request("10.0.0.1", "10.0.0.2")];
    for (src, dst) in PAIRS {
        for packet in [
            Packet::tcp(src, dst).tcp_options(&[1; 12]).payload(b"data"),
            Packet::udp(src, dst).vlan(1).payload(b"data"),
            Packet::icmp_echo(src, dst).vlan(1).vlan(2),
            Packet::raw(src, dst, 132).payload([1; 30]),
        ] {
            all.push(packet.clone().build());
            all.push(packet.clone().ip_options(&[7, 7, 4, 0, 0, 0, 0]).hop_by_hop().authentication().build());
            all.extend(packet.clone().payload([2; 60]).destination_options().fragments(32));
            let kind = if src.to_endpoint().is_ipv4() { 3 } else { 1 };
            all.push(Packet::icmp_error(dst, src, kind, 1, 0, &packet.routing(0).ip()).build());
        }
    }
    all
}

/// Everything that the packet path may do with a frame that parsed.
fn use_it(frame: &[u8], meta: &Meta) {
    let (l3, l4, end) = (usize::from(meta.l3), usize::from(meta.l4), usize::from(meta.end));
    assert!(l3 < l4 && l4 <= end && end <= frame.len(), "{meta:?} in {} bytes", frame.len());
    if meta.kind == Kind::IcmpError {
        let (inner_l3, inner_l4) = (usize::from(meta.inner_l3), usize::from(meta.inner_l4));
        assert!(l4 + 8 == inner_l3 && inner_l3 < inner_l4 && inner_l4 + 8 <= end, "{meta:?}");
    } else {
        assert_eq!((meta.inner_l3, meta.inner_l4), (0, 0));
    }
    assert_eq!((meta.src.is_v4(), meta.dst.is_v4()), (meta.v4, meta.v4), "{meta:?}");
    assert_eq!(fragment(frame, meta).is_some(), meta.kind == Kind::Fragment);

    let mut copy = frame.to_vec();
    let ip: Ip = PAIRS[usize::from(!meta.v4)].0.to_endpoint().ip().into();
    let right = transport_checksum_ok(frame, meta);
    if meta.kind == Kind::IcmpError {
        icmp_error_to_server(&mut copy, meta, ip, 8080);
        icmp_error_to_client(&mut copy, meta, ip, meta.src, 9);
    } else {
        to_server(&mut copy, meta, ip, 8080);
        to_client(&mut copy, meta, meta.dst, 9);
    }
    decrement_ttl(&mut copy, meta);
    assert_eq!(transport_checksum_ok(&copy, meta), right, "{meta:?}");
    assert_eq!(copy[end..], frame[end..], "padding changed");
    assert_eq!(copy[..l3], frame[..l3], "Ethernet header changed");
    fix_partial(&mut copy, meta);
    let _ = tcp_reset(frame, meta, &mut [0; RESET_LEN_MAX]);
    let mut copy = frame.to_vec();
    if let Some(end) = into_reset(&mut copy, meta) {
        copy.truncate(end.into());
        let reset = parse(&copy).unwrap();
        assert_eq!(
            (reset.end, reset.flags.is_rst(), transport_checksum_ok(&copy, &reset)),
            (end, true, true)
        );
    } else {
        assert_eq!(copy, frame);
    }
}

#[test]
fn every_seed_but_arp_parses() {
    for seed in &seeds()[1..] {
        use_it(seed, &parse(seed).unwrap_or_else(|e| panic!("{e:?}: {seed:02x?}")));
    }
}

#[test]
fn every_truncation_of_every_seed() {
    for seed in seeds() {
        for len in 0..seed.len() {
            if let Ok(meta) = parse(&seed[..len]) {
                use_it(&seed[..len], &meta);
            }
        }
    }
}

/// Every value of every header byte, with the IPv4 checksum mended so that the damage gets past it.
#[test]
fn every_value_of_every_byte_of_every_seed() {
    let mut parsed = 0_u32;
    for seed in seeds() {
        for at in 12..seed.len().min(120) {
            for value in 0..=u8::MAX {
                let mut frame = seed.clone();
                frame[at] = value;
                if frame[12..14] == [8, 0] {
                    mend_ipv4(&mut frame, 14);
                }
                if let Ok(meta) = parse(&frame) {
                    parsed += 1;
                    use_it(&frame, &meta);
                }
            }
        }
    }
    assert!(parsed > 100_000, "only {parsed} got through: the mutations are too blunt");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn several_damages_at_once(
        seed in prop::sample::select(seeds()),
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        len in 0..200_usize,
    ) {
        let mut frame = seed;
        for (at, value) in damages {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        frame.truncate(len.max(34));
        if frame.len() >= 34 && frame[12..14] == [8, 0] {
            mend_ipv4(&mut frame, 14);
        }
        if let Ok(meta) = parse(&frame) {
            use_it(&frame, &meta);
        }
    }

    #[test]
    fn noise(
        mut frame in prop::collection::vec(any::<u8>(), 0..200),
        ethertype in prop::sample::select(vec![0x0800_u16, 0x86dd, 0x8100]),
    ) {
        if frame.len() > 14 {
            frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
            frame[14] = if ethertype == 0x0800 { 0x45 } else { 0x60 };
        }
        if let Ok(meta) = parse(&frame) {
            use_it(&frame, &meta);
        }
    }
}
