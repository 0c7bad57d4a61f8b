//! The program itself, run by the kernel on frames in memory: what comes out, to the byte. tests/ has real ports.

#[path = "../tests/support/frames.rs"]
mod frames;

use crate::Kind;
use crate::counters::{Counters, Taken};
use crate::program::Program;
use aya::programs::{TestRun, TestRunOptions};
use frames::Family::{V4, V6};
use frames::{
    CLIENT_PORT, FAMILIES, Family, GUE_PORT, SERVICE_PORT, WRAPS, Wrap, ecn_cases, ethernet, inner, inside,
    ip, mixed, outer, tunnel, udp, wrapped,
};

const DROP: u32 = 1;
const PASS: u32 = 2;

/// The program with the tunnel addresses; without root, says so and gives `None`.
fn loaded(gue_port: u16) -> Option<Program> {
    if !nix::unistd::geteuid().is_root() {
        assert!(
            std::env::var_os("RINGLEAD_NO_SKIP").is_none(),
            "a test may not be left out here: needs root"
        );
        eprintln!("SKIPPED: loading an XDP program needs root");
        return None;
    }
    Some(Program::load(&FAMILIES.map(tunnel), gue_port).unwrap())
}

/// The verdict and what became of the frame.
fn run(program: &mut Program, frame: &[u8]) -> (u32, Vec<u8>) {
    let mut after = vec![0; frame.len() + 256];
    let options =
        TestRunOptions { data_in: Some(frame), data_out: Some(&mut after), ..TestRunOptions::default() };
    let result = program.xdp().unwrap().test_run(options).unwrap();
    after.truncate(result.data_size_out.try_into().unwrap());
    (result.return_value, after)
}

/// What counters are when packets of one wrap and pair of families were taken.
fn counted(wrap: Wrap, outer: Family, inner: Family, packets: u64) -> Counters {
    let mut taken = Taken::default();
    match (outer, inner) {
        (V4, V4) => taken.v4_in_v4 = packets,
        (V4, V6) => taken.v6_in_v4 = packets,
        (V6, V4) => taken.v4_in_v6 = packets,
        (V6, V6) => taken.v6_in_v6 = packets,
    }
    let mut counters = Counters::default();
    match wrap {
        Wrap::Ipip => counters.ipip = taken,
        Wrap::Gue0 => counters.gue0 = taken,
        Wrap::Gue1 => counters.gue1 = taken,
    }
    counters
}

/// Every wrap with every pair of families, outer first.
fn combinations() -> impl Iterator<Item = (Wrap, Family, Family)> {
    let pairs = [(V4, V4), (V4, V6), (V6, V4), (V6, V6)];
    WRAPS.into_iter().flat_map(move |wrap| pairs.map(|(outer, inner)| (wrap, outer, inner)))
}

#[test]
fn every_tunnel_loses_its_outer_headers_and_keeps_its_tags() {
    for (wrap, outside, family) in combinations() {
        let Some(mut program) = loaded(GUE_PORT) else { return };
        let packet = inner(family, 0xb8, 1, b"payload");
        for (sent, tags) in (1..).zip([&[][..], &[100], &[0x2007, 0xe00c]]) {
            let what = format!("{wrap:?}, {family:?} in {outside:?}, tags {tags:?}");
            let frame = ethernet(tags, &outer(wrap, outside, family, 0x28, 50_001, &packet));
            assert_eq!(run(&mut program, &frame), (PASS, ethernet(tags, &packet)), "{what}");
            assert_eq!(program.counters(), counted(wrap, outside, family, sent), "{what}");
        }
        let last = *program.outers().last().unwrap();
        assert_eq!((last.src, last.dst, last.service), (mixed(outside), tunnel(outside), 0x28));
        let kind = match wrap {
            Wrap::Ipip => (Kind::Ipip, 0),
            Wrap::Gue0 => (Kind::Gue0, 50_001),
            Wrap::Gue1 => (Kind::Gue1, 50_001),
        };
        assert_eq!((last.kind, last.sport), kind);
    }
}

#[test]
fn padding_behind_the_outer_packet_does_not_matter() {
    let Some(mut program) = loaded(GUE_PORT) else { return };
    let packet = inner(V4, 0, 1, b"");
    let frame = ethernet(&[], &outer(Wrap::Ipip, V4, V4, 0, 0, &packet));
    let (verdict, after) = run(&mut program, &[&frame[..], &[0; 18]].concat());
    assert_eq!((verdict, after), (PASS, [ethernet(&[], &packet), vec![0; 18]].concat()));
}

#[test]
fn rfc_6040_figure_4_and_the_inner_dscp_stays() {
    let Some(mut program) = loaded(GUE_PORT) else { return };
    let mut dropped = 0;
    for (wrap, outside, family) in combinations() {
        for (inner_ecn, outer_ecn, after) in ecn_cases() {
            let (dscp, other_dscp) = (46 << 2, 10 << 2);
            let packet = inner(family, dscp | inner_ecn, 1, b"ecn");
            let frame = ethernet(&[], &outer(wrap, outside, family, other_dscp | outer_ecn, 9, &packet));
            let what =
                format!("{wrap:?}, {family:?} in {outside:?}: inner {inner_ecn:02b}, outer {outer_ecn:02b}");
            let (verdict, bytes) = run(&mut program, &frame);
            match after {
                Some(ecn) => {
                    // Built from nothing, so its checksum is not the one that the program changed.
                    let expected = ethernet(&[], &inner(family, dscp | ecn, 1, b"ecn"));
                    assert_eq!((verdict, bytes), (PASS, expected), "{what}");
                }
                None => {
                    dropped += 1;
                    assert_eq!(verdict, DROP, "{what}");
                }
            }
            assert_eq!(program.counters().dropped_ecn, dropped, "{what}");
        }
    }
    assert_eq!(dropped, 12);
}

/// RFC 1624: whatever the checksum was, among them the values where carries and the two zeros matter.
#[test]
fn the_inner_checksum_is_right_for_every_identification() {
    let Some(mut program) = loaded(GUE_PORT) else { return };
    for id in 0..=u16::MAX {
        for (before, mark, after) in [(0b10, 0b11, 0b11), (0b10, 0b01, 0b01)] {
            let sent = ip_of_twenty(before, id);
            let frame = ethernet(&[], &outer(Wrap::Ipip, V4, V4, mark, 0, &sent));
            assert_eq!(run(&mut program, &frame), (PASS, ethernet(&[], &ip_of_twenty(after, id))), "id {id}");
        }
    }
}

fn ip_of_twenty(service: u8, id: u16) -> Vec<u8> {
    ip(frames::client(V4), frames::service(V4), service, 253, id, &[])
}

#[test]
fn what_is_no_tunnel_to_us_passes_untouched() {
    let Some(mut program) = loaded(GUE_PORT) else { return };
    let packet = inner(V4, 0, 1, b"x");
    let tunnelled = outer(Wrap::Ipip, V4, V4, 3, 0, &packet);
    let in_v6 = outer(Wrap::Gue1, V6, V4, 3, 9, &packet);
    let arp = [&frames::SERVER_MAC[..], &frames::HERE_MAC, &[8, 6], &[1; 46]].concat();
    let elsewhere = ip(mixed(V4), frames::service(V4), 0, 4, 1, &packet);
    let elsewhere6 = ip(mixed(V6), frames::service(V6), 0, 4, 1, &packet);
    let mut three_tags = ethernet(&[1, 2], &tunnelled);
    three_tags.splice(12..12, [0x81, 0, 0, 3]);
    let others = [
        ("a plain datagram", ethernet(&[], &packet)),
        ("a plain datagram over IPv6", ethernet(&[], &inner(V6, 0, 1, b"x"))),
        ("UDP to the tunnel address", ethernet(&[], &to_us(17, &udp(1, SERVICE_PORT, &packet)))),
        ("UDP from the GUE port", ethernet(&[], &to_us(17, &udp(GUE_PORT, CLIENT_PORT, &packet)))),
        ("UDP without a header", ethernet(&[], &to_us(17, &[0; 7]))),
        ("TCP to the tunnel address", ethernet(&[], &to_us(6, &packet))),
        ("ARP", arp),
        ("nothing but Ethernet", ethernet(&[], &packet)[..14].to_vec()),
        ("to another address", ethernet(&[], &elsewhere)),
        ("to another address over IPv6", ethernet(&[], &elsewhere6)),
        ("options in the outer header", ethernet(&[], &with_options(&tunnelled))),
        ("the first fragment", ethernet(&[], &with_fragment(&tunnelled, 0x2000))),
        ("the last fragment", ethernet(&[], &with_fragment(&tunnelled, 0x0001))),
        ("an IPv6 fragment", ethernet(&[], &with_next(&in_v6, 44))),
        ("IPv6 destination options", ethernet(&[], &with_next(&in_v6, 60))),
        ("three tags", three_tags),
    ];
    for (passed, (what, frame)) in (1..).zip(others) {
        assert_eq!(run(&mut program, &frame), (PASS, frame), "{what}");
        assert_eq!(program.counters(), Counters { passed, ..Counters::default() }, "{what}");
    }
    assert_eq!(program.outers(), []);
}

#[test]
fn damaged_tunnel_packets_are_counted_and_left_to_the_kernel() {
    let Some(mut program) = loaded(GUE_PORT) else { return };
    // Read as the other family, their lengths would do: byte 4 is the identification, byte 2 the flow label.
    let (packet, mut packet6) = (inner(V4, 0, 0, &[0; 40]), inner(V6, 0, 0, &[0; 40]));
    packet6[2..4].copy_from_slice(&[0, 48]);
    let gue =
        |header: [u8; 4]| ethernet(&[], &to_us(17, &udp(9, GUE_PORT, &[&header, &packet[..]].concat())));
    let mut bad_checksum = ethernet(&[], &to_us(4, &packet));
    bad_checksum[14 + 10] ^= 1;
    let mut longer = udp(9, GUE_PORT, &packet);
    longer[5] += 1;
    let mut shorter = udp(9, GUE_PORT, &packet);
    shorter[5] = 7;
    let mut beyond_packet = to_us(17, &[udp(9, GUE_PORT, &packet), vec![0]].concat());
    beyond_packet[3] -= 2; // the last byte of the datagram is padding now
    let beyond_packet = ethernet(&[], &with_checksum(&beyond_packet));
    let mut beyond_frame = ethernet(&[], &to_us(4, &packet));
    beyond_frame.truncate(beyond_frame.len() - 1);
    let mut tiny_inner = packet.clone();
    tiny_inner[2..4].copy_from_slice(&[0, 19]);
    let damaged = [
        ("a wrong outer checksum", bad_checksum),
        ("IPv6 said to be IPv4", ethernet(&[], &to_us(4, &packet6))),
        ("IPv4 said to be IPv6", ethernet(&[], &to_us(41, &packet))),
        ("an inner packet that ends early", ethernet(&[], &to_us(4, &packet[..packet.len() - 1]))),
        ("an inner IPv6 packet that ends early", ethernet(&[], &to_us(41, &packet6[..packet6.len() - 1]))),
        ("an inner header cut short", ethernet(&[], &to_us(4, &packet[..19]))),
        ("an inner length below its header", ethernet(&[], &to_us(4, &tiny_inner))),
        ("an outer packet longer than the frame", beyond_frame),
        ("a datagram longer than its frame", ethernet(&[], &to_us(17, &longer))),
        ("a datagram longer than its packet", beyond_packet),
        ("a datagram shorter than its header", ethernet(&[], &to_us(17, &shorter))),
        ("an empty datagram", ethernet(&[], &to_us(17, &udp(9, GUE_PORT, &[])))),
        ("a GUE control message", gue([0x20, 4, 0, 0])),
        ("GUE with a word of fields", gue([0x01, 4, 0, 0])),
        ("GUE with flags", gue([0, 4, 0x80, 0])),
        ("GUE of version 2", gue([0x80, 4, 0, 0])),
        ("GUE of version 3", gue([0xc0, 4, 0, 0])),
        ("GUE with TCP", gue([0, 6, 0, 0])),
        ("GUE of variant 1 with IP version 5", gue([0x50, 4, 0, 0])),
        ("GUE of variant 1 with IP version 7", gue([0x70, 4, 0, 0])),
    ];
    for (refused, (what, frame)) in (1..).zip(damaged) {
        assert_eq!(run(&mut program, &frame), (PASS, frame), "{what}");
        assert_eq!(program.counters(), Counters { refused, ..Counters::default() }, "{what}");
    }
}

#[test]
fn no_frame_cut_anywhere_is_taken() {
    let Some(mut program) = loaded(GUE_PORT) else { return };
    for (wrap, outside, family) in combinations() {
        let whole = ethernet(&[100, 12], &outer(wrap, outside, family, 3, 9, &inner(family, 2, 1, b"x")));
        for length in 14..whole.len() {
            let cut = &whole[..length];
            let what = format!("{wrap:?}, {family:?} in {outside:?}, {length} bytes");
            assert_eq!(run(&mut program, cut), (PASS, cut.to_vec()), "{what}");
        }
    }
    assert_eq!(program.counters().taken(), 0);
}

#[test]
fn gue_is_off_at_port_0() {
    let Some(mut program) = loaded(0) else { return };
    let packet = inner(V4, 0, 1, b"x");
    for (_, port) in [("GUE", GUE_PORT), ("no port", 0)] {
        let frame = ethernet(&[], &to_us(17, &udp(9, port, &packet)));
        assert_eq!(run(&mut program, &frame), (PASS, frame));
    }
    assert_eq!(program.counters(), Counters { passed: 2, ..Counters::default() });
    let (verdict, _) = run(&mut program, &ethernet(&[], &to_us(4, &packet)));
    assert_eq!((verdict, program.counters().ipip.v4_in_v4), (PASS, 1), "IPIP stays");
}

#[test]
fn the_last_64_outer_headers_are_kept_in_order() {
    let Some(mut program) = loaded(GUE_PORT) else { return };
    for sport in 1000..1100 {
        let (protocol, payload) = wrapped(Wrap::Gue1, V6, sport, &inner(V6, 0, 1, b"x"));
        let frame = ethernet(&[], &ip(mixed(V6), tunnel(V6), 0, protocol, 1, &payload));
        assert_eq!(run(&mut program, &frame).0, PASS);
    }
    let sports: Vec<u16> = program.outers().iter().map(|outer| outer.sport).collect();
    assert_eq!(sports, (1036..1100).collect::<Vec<u16>>());
}

/// An IPv4 packet to the tunnel address.
fn to_us(protocol: u8, payload: &[u8]) -> Vec<u8> {
    assert_eq!((inside(V4), inside(V6)), (4, 41));
    ip(mixed(V4), tunnel(V4), 0, protocol, 1, payload)
}

/// The IPv4 packet with four bytes of options that do nothing.
fn with_options(packet: &[u8]) -> Vec<u8> {
    let mut header = etherparse::Ipv4Header::from_slice(packet).unwrap().0;
    header.options = [1; 4].into();
    header.total_len += 4;
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], &packet[20..]].concat()
}

/// The IPv4 packet with other fragment flags and offset.
fn with_fragment(packet: &[u8], flags_offset: u16) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[6..8].copy_from_slice(&flags_offset.to_be_bytes());
    with_checksum(&packet)
}

/// The IPv4 packet with a right header checksum.
fn with_checksum(packet: &[u8]) -> Vec<u8> {
    let checksum = etherparse::Ipv4Header::from_slice(packet).unwrap().0.calc_header_checksum();
    [&packet[..10], &checksum.to_be_bytes(), &packet[12..]].concat()
}

/// The IPv6 packet with an extension header of eight bytes that says what came next.
fn with_next(packet: &[u8], next: u8) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let carried = packet[6];
    packet[6] = next;
    packet[5] += 8;
    packet.splice(40..40, [carried, 0, 1, 4, 0, 0, 0, 0]);
    packet
}
