//! The stamp as a wire format: what is written is read, every damage is seen, the checksum comes by sum alone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use etherparse::PacketBuilder;
use proptest::prelude::*;
use ringlead_witness::{Layout, Parsed, Stamp, Transport, Unread, stamp};

/// A frame with a filled payload, where its transport header starts, and how long that is.
fn template(v4: bool, transport: Transport, payload: usize) -> (Vec<u8>, usize, Layout) {
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let ip = if v4 {
        ethernet.ipv4([10, 1, 0, 2], [192, 0, 2, 1], 64)
    } else {
        ethernet.ipv6([0xfd; 16], [0x20; 16], 64)
    };
    let (mut frame, l4) = (Vec::new(), if v4 { 34 } else { 54 });
    let header = match transport {
        Transport::Tcp => {
            ip.tcp(1024, 80, 0, 512).ack(0).write(&mut frame, &vec![0; payload]).unwrap();
            20
        }
        Transport::Udp => {
            ip.udp(1024, 80).write(&mut frame, &vec![0; payload]).unwrap();
            8
        }
    };
    let layout = Layout::new(transport, header, payload).unwrap();
    layout.fill(&mut frame, l4);
    (frame, l4, layout)
}

fn transports() -> impl Strategy<Value = (bool, Transport)> {
    (any::<bool>(), prop_oneof![Just(Transport::Tcp), Just(Transport::Udp)])
}

fn stamps() -> impl Strategy<Value = Stamp> {
    (any::<u8>(), 0..stamp::FLOWS_MAX, any::<u32>(), any::<u32>())
        .prop_map(|(trial, flow, seq, planned)| Stamp { trial, flow, seq, planned })
}

/// Where the checksum of the segment at `l4` stands.
fn checksum_at(l4: usize, transport: Transport) -> usize {
    l4 + if transport == Transport::Tcp { 16 } else { 6 }
}

proptest! {
    #[test]
    fn what_is_written_is_read((v4, transport) in transports(), extra in 0..1500usize, stamp in stamps()) {
        let (mut frame, l4, layout) = template(v4, transport, Layout::payload_min(transport) + extra);
        layout.write(&mut frame, l4, &stamp);
        let packet = Parsed::new(&frame).unwrap();
        prop_assert_eq!(stamp::read(&packet), Ok(stamp));
        prop_assert_eq!(stamp::peek(&packet), Ok(stamp));
    }

    /// RFC 1071 §2: the template's sum plus the stamp's is the packet's.
    #[test]
    fn the_sum_completes_the_checksum((v4, transport) in transports(), extra in 0..200usize, stamp in stamps()) {
        let (mut frame, l4, layout) = template(v4, transport, Layout::payload_min(transport) + extra);
        let at = checksum_at(l4, transport);
        frame[at..at + 2].fill(0);
        let addresses = if v4 { 26..34 } else { 22..54 };
        let base = ringlead_witness::sum::transport(&frame[addresses], transport.number(), &frame[l4..]);
        let mut sum = u32::from(base) + layout.write(&mut frame, l4, &stamp);
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        let checksum = !u16::try_from(sum).unwrap();
        frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        prop_assert!(Parsed::new(&frame).unwrap().l4_checksum_ok());
    }

    #[test]
    fn every_flipped_bit_of_a_long_payload_is_seen(
        (v4, transport) in transports(), extra in 4..300usize, stamp in stamps(), bit in any::<prop::sample::Index>()
    ) {
        let payload = Layout::payload_min(transport) + extra;
        let (mut frame, l4, layout) = template(v4, transport, payload);
        layout.write(&mut frame, l4, &stamp);
        let start = frame.len() - payload;
        let bit = bit.index(payload * 8);
        frame[start + bit / 8] ^= 1 << (bit % 8);
        let read = stamp::read(&Parsed::new(&frame).unwrap());
        match read {
            Err(Unread::Payload(claimed)) => prop_assert_eq!(claimed, stamp),
            Err(Unread::Head(_)) => {}
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

#[test]
fn every_flipped_bit_of_the_shortest_packet_is_seen() {
    for transport in [Transport::Tcp, Transport::Udp] {
        for extra in 0..4 {
            let payload = Layout::payload_min(transport) + extra;
            let (mut frame, l4, layout) = template(true, transport, payload);
            layout.write(&mut frame, l4, &Stamp { trial: 3, flow: 70_000, seq: 12, planned: 99 });
            let numbers = if transport == Transport::Tcp { l4 + 4..l4 + 12 } else { 0..0 };
            for byte in numbers.chain(frame.len() - payload..frame.len()) {
                for bit in 0..8 {
                    frame[byte] ^= 1 << bit;
                    assert!(
                        stamp::read(&Parsed::new(&frame).unwrap()).is_err(),
                        "{transport:?} byte {byte} bit {bit}"
                    );
                    frame[byte] ^= 1 << bit;
                }
            }
        }
    }
}

#[test]
fn a_minimum_frame_is_enough() {
    assert_eq!(template(true, Transport::Tcp, 6).0.len(), 60);
    let (mut frame, l4, layout) = template(true, Transport::Udp, 18);
    layout.write(&mut frame, l4, &Stamp::default());
    assert_eq!(frame.len(), 60);
    assert_ne!(frame[56..60], [0; 4], "a UDP frame of 60 bytes has room for the CRC-32");
    let error = Layout::new(Transport::Udp, 8, 13).unwrap_err();
    assert_eq!(error.to_string(), "13 bytes of payload: a stamp needs 14 to 65535");
}

#[test]
fn a_packet_of_another_length_is_damaged() {
    let (mut frame, l4, layout) = template(true, Transport::Tcp, 8);
    layout.write(&mut frame, l4, &Stamp::default());
    frame.truncate(frame.len() - 1);
    frame[17] -= 1;
    assert!(matches!(stamp::read(&Parsed::new(&frame).unwrap()), Err(Unread::Head(_))));
}

#[test]
fn latency_wraps_with_the_planned_time() {
    let range = (1_u64 << 32) * stamp::PLANNED_UNIT_NS;
    let late = Stamp::new(0, 0, 0, range - 64);
    assert_eq!(late.latency_ns(range + 960), 1024);
    assert_eq!(late.latency_ns(range - 64 + 136_000_000_000), 136_000_000_000);
    assert_eq!(late.latency_ns(range - 400_000_000), 0, "a packet sent early is not late");
    assert_eq!(Stamp::new(0, 0, 0, 3 * range + 320).latency_ns(3 * range + 640), 320);
}
