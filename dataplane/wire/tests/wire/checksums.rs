//! Sums, differences and partial checksums.

use etherparse::checksum::Sum16BitWords;
use proptest::prelude::*;
use ringlead_wire::build::Packet;
use ringlead_wire::checksum::{Delta, Sum, fix_partial, never_zero, transport_checksum_ok};
use ringlead_wire::parse;

use crate::judge;

const PAIRS: [(&str, &str); 2] =
    [("10.0.0.1:1000", "192.0.2.1:80"), ("[2001:db8::7]:1000", "[2001:db8::1]:80")];

/// A small generator, so that a million cases take no time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// RFC 1071 §4.1, word by word, to compare with.
fn plain(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// RFC 1071 §3 has this example: the sum of 00 01 f2 03 f4 f5 f6 f7 is ddf2.
#[test]
fn rfc1071_example() {
    assert_eq!(Sum::default().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).fold(), 0xddf2);
}

/// RFC 1624 §4: the example that RFC 1141 gets wrong.
#[test]
fn rfc1624_eq3_example() {
    assert_eq!(Delta::default().word(0x5555, 0x3285).apply(0xdd2f), 0x0000);
}

/// RFC 1624 eq. 3: every old and new word where sums wrap, and every checksum for some of them.
#[test]
fn rfc1624_eq3_exhaustive_on_words() {
    let edges = [0, 1, 2, 0x7fff, 0x8000, 0xfffe, 0xffff];
    for rest in edges {
        for old in 0..=u16::MAX {
            let before = Sum::default().word(old).word(rest).word(1).checksum();
            for new in edges {
                let expected = Sum::default().word(new).word(rest).word(1).checksum();
                assert_eq!(Delta::default().word(old, new).apply(before), expected, "{old} → {new}, {rest}");
            }
        }
    }
}

/// RFC 1624 eq. 3 on whole endpoints: a million random changes, v4 and v6 in turn, equal a full sum.
#[test]
fn rfc1624_eq3_random_endpoints_equal_the_full_sum() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..1_000_000 {
        let mut bytes = [0; 24];
        for word in bytes.as_chunks_mut::<8>().0 {
            // Every fourth word is all zeros or all ones, where the two zeros of one's complement meet.
            *word = match random.next() % 8 {
                0 => [0; 8],
                1 => [0xff; 8],
                _ => random.next().to_ne_bytes(),
            };
        }
        bytes[23] |= 1; // a real packet is never all zero
        let before = plain(&bytes);
        let mut changed = bytes;
        let delta = if round % 2 == 0 {
            let new = (random.next() as u32).to_be_bytes();
            let port = random.next() as u16;
            changed[..4].copy_from_slice(&new);
            changed[4..6].copy_from_slice(&port.to_be_bytes());
            let old_port = u16::from_be_bytes([bytes[4], bytes[5]]);
            Delta::default().four(*bytes.first_chunk().unwrap(), new).word(old_port, port)
        } else {
            let mut new = [0; 16];
            new[..8].copy_from_slice(&random.next().to_ne_bytes());
            changed[..16].copy_from_slice(&new);
            Delta::default().sixteen(*bytes.first_chunk().unwrap(), new)
        };
        assert_eq!(delta.apply(before), plain(&changed), "round {round}: {bytes:?} → {changed:?}");
    }
}

proptest! {
    #[test]
    fn rfc1071_the_wide_sum_equals_the_plain_one(bytes in prop::collection::vec(any::<u8>(), 0..1600)) {
        prop_assert_eq!(Sum::default().bytes(&bytes).checksum(), plain(&bytes));
        prop_assert_eq!(plain(&bytes), Sum16BitWords::new().add_slice(&bytes).ones_complement().to_be());
    }

    #[test]
    fn rfc1071_sums_add_up(a in prop::collection::vec(any::<[u8; 2]>(), 0..40), b in any::<Vec<u8>>()) {
        let a = a.concat();
        let whole = [a.clone(), b.clone()].concat();
        prop_assert_eq!(Sum::default().bytes(&a).bytes(&b).fold(), Sum::default().bytes(&whole).fold());
    }
}

/// The largest packet, all ones: no lane overflows.
#[test]
fn rfc1071_a_full_packet_of_ones() {
    let ones = vec![0xff; 65_535];
    assert_eq!(Sum::default().bytes(&ones).checksum(), plain(&ones));
}

/// RFC 768, all 65536 checksums: 0 stays 0 and nothing else becomes 0.
#[test]
fn rfc768_sweep_of_every_udp_checksum() {
    for checksum in 0..=u16::MAX {
        for (old, new) in [(0, 1), (53, 5353), (0xffff, 0), (7, 7), (1, 0xffff), (0, 0)] {
            let delta = Delta::default().word(old, new);
            let udp = delta.apply_udp(checksum);
            if checksum == 0 {
                assert_eq!(udp, 0);
            } else {
                assert_ne!(udp, 0, "{checksum:#x}: {old} → {new}");
                assert_eq!(udp, never_zero(delta.apply(checksum)));
            }
        }
    }
}

/// All 65536 payloads of two bytes through the full computation: what is sent is never 0 and always right.
#[test]
fn rfc768_sweep_of_every_full_udp_checksum() {
    for (src, dst) in PAIRS {
        let template = Packet::udp(src, dst).payload([0; 2]).partial_checksum().build();
        let meta = parse(&template).unwrap();
        let field = usize::from(meta.l4) + 6;
        for payload in 0..=u16::MAX {
            let mut frame = template.clone();
            let end = frame.len();
            frame[end - 2..].copy_from_slice(&payload.to_be_bytes());
            assert!(fix_partial(&mut frame, &meta));
            assert_ne!(frame[field..field + 2], [0, 0]);
            assert!(transport_checksum_ok(&frame, &meta));
        }
    }
}

#[test]
fn a_partial_checksum_is_completed() {
    for (src, dst) in PAIRS {
        for packet in [Packet::tcp(src, dst), Packet::udp(src, dst)] {
            for payload in [&b""[..], b"x", b"odd", b"even", &[0xff; 1460]] {
                let expected = packet.clone().payload(payload).build();
                let mut frame = packet.clone().payload(payload).partial_checksum().build();
                let meta = parse(&frame).unwrap();
                assert!(!transport_checksum_ok(&frame, &meta));
                frame.extend([0x77; 3]); // padding is not summed
                assert!(fix_partial(&mut frame, &meta));
                assert_eq!(frame[..expected.len()], expected);
                assert!(transport_checksum_ok(&frame, &meta));
                judge::checksums(&frame).unwrap();
            }
        }
    }
}

#[test]
fn a_complete_or_damaged_checksum_is_left_alone() {
    for (src, dst) in PAIRS {
        for packet in [Packet::tcp(src, dst), Packet::udp(src, dst), Packet::icmp_echo(src, dst)] {
            let mut frame = packet.payload(b"data").build();
            let meta = parse(&frame).unwrap();
            assert!(transport_checksum_ok(&frame, &meta));
            let last = frame.len() - 1;
            for damage in [0, 1] {
                frame[last] ^= damage;
                let before = frame.clone();
                assert!(!fix_partial(&mut frame, &meta));
                assert_eq!(frame, before);
                assert_eq!(transport_checksum_ok(&frame, &meta), damage == 0);
            }
        }
    }
    let mut none = Packet::udp(PAIRS[0].0, PAIRS[0].1).no_checksum().build();
    let meta = parse(&none).unwrap();
    assert!(!fix_partial(&mut none, &meta) && transport_checksum_ok(&none, &meta));
}

/// The complement of the pseudo header's sum is another value, and not what Linux leaves.
#[test]
fn the_complemented_form_is_not_taken_for_partial() {
    let mut frame = Packet::tcp(PAIRS[0].0, PAIRS[0].1).partial_checksum().payload(b"data").build();
    let meta = parse(&frame).unwrap();
    let at = usize::from(meta.l4) + 16;
    frame[at] ^= 0xff;
    frame[at + 1] ^= 0xff;
    assert!(!fix_partial(&mut frame, &meta));
}

/// A fragment's field covers bytes that are not here, even when it looks partial.
#[test]
fn fragments_are_never_completed() {
    for (src, dst) in PAIRS {
        let packet = Packet::udp(src, dst).payload([1; 24]).partial_checksum();
        let mut frame = packet.clone().fragment(0, true).build();
        let before = frame.clone();
        let meta = parse(&frame).unwrap();
        assert!(!fix_partial(&mut frame, &meta));
        assert_eq!(frame, before);
    }
}

/// With a routing header or an atomic fragment header in between, the pseudo header is the same.
#[test]
fn partial_checksums_behind_extension_headers_are_completed() {
    let mut frame = Packet::udp(PAIRS[1].0, PAIRS[1].1)
        .hop_by_hop()
        .fragment(0, false)
        .partial_checksum()
        .payload(b"x")
        .build();
    let meta = parse(&frame).unwrap();
    assert!(fix_partial(&mut frame, &meta));
    assert!(transport_checksum_ok(&frame, &meta));
}
