//! RFC 9293 §3.7.1: the MSS option is lowered where it stands, and the checksum stays right.

use etherparse::{TcpHeaderSlice, TcpOptionElement};
use proptest::prelude::*;
use ringlead_wire::build::Packet;
use ringlead_wire::mss::{clamp_mss, mss_of_mtu};
use ringlead_wire::{Meta, TcpFlags, parse};

use crate::judge;

const PAIRS: [(&str, &str); 2] =
    [("10.0.0.1:1000", "192.0.2.1:80"), ("[2001:db8::7]:1000", "[2001:db8::1]:80")];
const SYN: u8 = TcpFlags::SYN;
const SYN_ACK: u8 = TcpFlags::SYN | TcpFlags::ACK;

/// The MSS options that etherparse finds, until one that it does not understand.
fn announced(frame: &[u8], meta: &Meta) -> Vec<u16> {
    let tcp = TcpHeaderSlice::from_slice(&frame[usize::from(meta.l4)..]).unwrap();
    let mss = |option| if let TcpOptionElement::MaximumSegmentSize(mss) = option { Some(mss) } else { None };
    tcp.options_iterator().map_while(Result::ok).filter_map(mss).collect()
}

/// The frame after clamping, or None when it was left alone; either way its checksums are right.
fn clamped(packet: &Packet, max: u16) -> Option<Vec<u8>> {
    let before = [packet.build(), vec![0x77; 5]].concat();
    let meta = parse(&before).unwrap();
    let mut frame = before.clone();
    let changed = clamp_mss(&mut frame, &meta, max);
    assert_eq!(changed, frame != before);
    judge::checksums(&frame).unwrap();
    changed.then_some(frame)
}

fn option(mss: u16) -> [u8; 4] {
    let [high, low] = mss.to_be_bytes();
    [2, 4, high, low]
}

/// Every value against several limits, at an even and an odd offset: lowered to the limit, never raised.
#[test]
fn every_value_is_lowered_and_none_raised() {
    for (src, dst) in PAIRS {
        for nops in [0, 1] {
            let options = [&vec![1; nops][..], &option(0), &[3, 3, 7]].concat();
            let packet = Packet::tcp(src, dst).flags(SYN).tcp_options(&options).payload(b"odd");
            let template = packet.build();
            let meta = parse(&template).unwrap();
            let at = usize::from(meta.l4) + 20 + nops + 2;
            for mss in
                (0..=u16::MAX).step_by(if nops == 0 { 13 } else { 7 }).chain([1, 255, 256, 1460, 65_535])
            {
                for max in [1, 255, 256, 536, 1220, 1400, 0xfffe, 0xffff] {
                    let mut frame = template.clone();
                    assert_eq!(announced(&frame, &meta), [0]);
                    set_mss(&mut frame, &meta, at, mss);
                    assert_eq!(clamp_mss(&mut frame, &meta, max), mss > max);
                    assert_eq!(frame[at..at + 2], mss.min(max).to_be_bytes());
                    judge::checksums(&frame).unwrap_or_else(|e| panic!("{mss} → {max}: {e}"));
                }
            }
        }
    }
}

/// Writes an MSS and the full checksum, by plain words.
fn set_mss(frame: &mut [u8], meta: &Meta, at: usize, mss: u16) {
    let (l3, l4, end) = (usize::from(meta.l3), usize::from(meta.l4), usize::from(meta.end));
    frame[at..at + 2].copy_from_slice(&mss.to_be_bytes());
    frame[l4 + 16..l4 + 18].fill(0);
    let addresses = if meta.v4 { l3 + 12..l3 + 20 } else { l3 + 8..l3 + 40 };
    let pseudo = 6 + (end - l4) as u32;
    let words = frame[addresses].chunks(2).chain(frame[l4..end].chunks(2));
    let sum = words.fold(pseudo, |sum, w| {
        let sum = sum + u32::from(u16::from_be_bytes([w[0], *w.get(1).unwrap_or(&0)]));
        (sum & 0xffff) + (sum >> 16)
    });
    let checksum = !(((sum & 0xffff) + (sum >> 16)) as u16);
    frame[l4 + 16..l4 + 18].copy_from_slice(&checksum.to_be_bytes());
}

#[test]
fn the_option_is_found_at_every_offset() {
    for (src, dst) in PAIRS {
        for flags in [SYN, SYN_ACK, SYN | 0xc0] {
            for nops in 0..=36 {
                let options = [&vec![1; nops][..], &option(1460)].concat();
                let packet = Packet::tcp(src, dst).flags(flags).tcp_options(&options);
                let frame = clamped(&packet, 1401).unwrap();
                assert_eq!(announced(&frame, &parse(&frame).unwrap()), [1401], "{nops}");
                assert_eq!(frame[..packet.build().len()], {
                    let options = [&vec![1; nops][..], &option(1401)].concat();
                    packet.tcp_options(&options).build()
                });
            }
        }
    }
}

/// Other options before it are stepped over, VLAN tags, IP options and extension headers too; a second MSS counts.
#[test]
fn the_option_is_found_behind_others() {
    let timestamps = [8, 10, 0, 2, 4, 0xff, 2, 4, 0xff, 0xff];
    for (src, dst) in PAIRS {
        let options =
            [&[4, 2][..], &timestamps, &[3, 3, 2], &option(9000), &[254, 3, 2], &option(1500)].concat();
        let packet =
            Packet::tcp(src, dst).flags(SYN).tcp_options(&options).vlan(3).ip_options(&[1; 8]).hop_by_hop();
        let frame = clamped(&packet, 1000).unwrap();
        let expected =
            [&[4, 2][..], &timestamps, &[3, 3, 2], &option(1000), &[254, 3, 2], &option(1000)].concat();
        assert_eq!(frame[..frame.len() - 5], packet.tcp_options(&expected).build());
    }
}

#[test]
fn only_segments_that_open_are_changed() {
    for (src, dst) in PAIRS {
        let packet = Packet::tcp(src, dst).tcp_options(&option(1460)).payload([9; 40]);
        for flags in 0..64 {
            let opens = flags & 0b111 == SYN;
            assert_eq!(clamped(&packet.clone().flags(flags), 1000).is_some(), opens, "{flags:#b}");
        }
        let first = packet.flags(SYN).fragment(0, true);
        assert!(!clamp_mss(&mut first.build(), &parse(&first.build()).unwrap(), 1000));
        assert!(clamped(&Packet::udp(src, dst).payload(option(1460)), 1000).is_none());
    }
}

#[test]
fn nothing_is_added_and_nothing_behind_the_end_is_read() {
    for (src, dst) in PAIRS {
        for options in [
            &[][..],
            &[1; 40],
            &[0, 1, 1, 1, 2, 4, 0xff, 0xff], // behind the end of the list
            &[2, 3, 0xff, 1, 1, 2, 4, 0xff], // an MSS of the wrong length; the next is cut off
            &[2, 2, 1, 1, 2, 6, 0xff, 0xff, 0xff, 0xff], // two more
            &[254, 4, 0xff, 0xff],           // another option
            &[9, 0, 2, 4, 0xff, 0xff, 1, 1], // a length of 0
            &[9, 1, 2, 4, 0xff, 0xff, 1, 1], // a length of 1
            &[9, 9, 2, 4, 0xff, 0xff, 1, 1], // one beyond the header
            &[1, 1, 1, 2],                   // the header ends inside
            &[1, 1, 2, 4],
        ] {
            let packet = Packet::tcp(src, dst).flags(SYN).tcp_options(options).payload([2, 4, 0xff, 0xff]);
            assert!(clamped(&packet, 500).is_none(), "{options:?}");
        }
        let cut = Packet::tcp(src, dst).flags(SYN).tcp_options(&[1, 2, 4, 0xff]).payload([0xff, 2, 4, 0xff]);
        assert!(clamped(&cut, 500).is_none());
    }
}

/// Padding is no option, even when the header has grown over it since it was parsed.
#[test]
fn padding_is_never_changed() {
    for (src, dst) in PAIRS {
        let mut frame = [Packet::tcp(src, dst).flags(SYN).build(), option(1460).to_vec()].concat();
        let meta = parse(&frame).unwrap();
        frame[usize::from(meta.l4) + 12] = 6 << 4;
        assert!(!clamp_mss(&mut frame, &meta, 1000));
    }
}

/// A wrong checksum stays wrong by the same amount: damage is not hidden.
#[test]
fn a_wrong_checksum_stays_wrong() {
    let mut frame = Packet::tcp(PAIRS[0].0, PAIRS[0].1).flags(SYN).tcp_options(&option(1460)).build();
    let meta = parse(&frame).unwrap();
    frame[usize::from(meta.l4) + 4] ^= 0x10;
    assert!(clamp_mss(&mut frame, &meta, 1000));
    assert!(judge::checksums(&frame).is_err());
    frame[usize::from(meta.l4) + 4] ^= 0x10;
    judge::checksums(&frame).unwrap();
}

#[test]
fn rfc6691_an_mss_is_the_mtu_less_plain_headers() {
    assert_eq!((mss_of_mtu(1500, true), mss_of_mtu(1500, false)), (1460, 1440));
    assert_eq!((mss_of_mtu(39, true), mss_of_mtu(0, false)), (0, 0));
}

/// A frame that is shorter than its meta says, at every length and with every header length.
#[test]
fn a_truncated_frame_is_no_panic() {
    for (src, dst) in PAIRS {
        let mut whole = Packet::tcp(src, dst).flags(SYN).tcp_options(&option(1460)).payload([2; 40]).build();
        let meta = parse(&whole).unwrap();
        for offset in 0..16 {
            whole[usize::from(meta.l4) + 12] = offset << 4;
            for len in 0..whole.len() {
                clamp_mss(&mut whole[..len].to_vec(), &meta, 1);
            }
        }
    }
}

/// One well-formed option, often an MSS.
fn any_option() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => any::<u16>().prop_map(|mss| option(mss).to_vec()),
        2 => Just(vec![1]),
        1 => any::<u8>().prop_map(|shift| vec![3, 3, shift]),
        1 => Just(vec![4, 2]),
        1 => any::<[u8; 8]>().prop_map(|times| [&[8, 10][..], &times].concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100_000))]

    /// Any options in any order: each MSS is the lesser of what it was and the limit, and every checksum is right.
    #[test]
    fn random_options_are_clamped_and_nothing_else(
        options in prop::collection::vec(any_option(), 0..8),
        (v4, acks, max) in any::<(bool, bool, u16)>(),
        payload in prop::collection::vec(any::<u8>(), 0..9),
        seq in any::<u32>(),
    ) {
        let (src, dst) = PAIRS[usize::from(!v4)];
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for option in &options {
            if bytes.len() + option.len() > 40 {
                break;
            }
            bytes.extend(option);
            match option[..] {
                [2, 4, high, low] => expected.extend(self::option(u16::from_be_bytes([high, low]).min(max))),
                _ => expected.extend(option),
            }
        }
        let packet = Packet::tcp(src, dst).flags(if acks { SYN_ACK } else { SYN }).seq(seq).payload(payload);
        let before = packet.clone().tcp_options(&bytes).build();
        let after = packet.tcp_options(&expected).build();
        let mut frame = before.clone();
        let changed = clamp_mss(&mut frame, &parse(&before).unwrap(), max);
        prop_assert_eq!(changed, bytes != expected);
        prop_assert_eq!(judge::checksums(&frame), Ok(()));
        prop_assert_eq!(frame, after);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Options that are noise: no panic, and right checksums stay right.
    #[test]
    fn noise_in_options_is_no_panic(
        options in prop::collection::vec(prop_oneof![0..9_u8, any::<u8>()], 0..41),
        (v4, max) in any::<(bool, u16)>(),
    ) {
        let (src, dst) = PAIRS[usize::from(!v4)];
        let mut frame = Packet::tcp(src, dst).flags(SYN).tcp_options(&options).build();
        let meta = parse(&frame).unwrap();
        clamp_mss(&mut frame, &meta, max);
        prop_assert_eq!(judge::checksums(&frame), Ok(()));
    }
}
