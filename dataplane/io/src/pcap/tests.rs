//! Captures are made here, byte by byte where the library would hide something, and read back with the library.
#![allow(clippy::wildcard_enum_match_arm, reason = "the library's options that no test looks at")]

use super::*;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

/// An output that the test can look at while the run owns it.
#[derive(Clone, Default)]
struct Output(Rc<RefCell<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One record of the output: interface name, time, bytes, comment.
type Record = (String, u64, Vec<u8>, Option<String>);

impl Output {
    fn records(&self) -> Vec<Record> {
        let bytes = self.0.borrow().clone();
        let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
        let (mut names, mut records) = (Vec::new(), Vec::new());
        while let Some(block) = reader.next_block() {
            match block.unwrap() {
                Block::InterfaceDescription(block) => {
                    let name = block.options.iter().find_map(|option| match option {
                        InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                        _ => None,
                    });
                    assert!(block.options.contains(&InterfaceDescriptionOption::IfTsResol(9)));
                    names.push(name.unwrap());
                }
                Block::EnhancedPacket(block) => {
                    let comment = block.options.iter().find_map(|option| match option {
                        EnhancedPacketOption::Comment(text) => Some(text.to_string()),
                        _ => None,
                    });
                    let name = names[usize::try_from(block.interface_id).unwrap()].clone();
                    let time = u64::try_from(block.timestamp.as_nanos()).unwrap();
                    records.push((name, time, block.data.to_vec(), comment));
                }
                other => panic!("unexpected block {other:?}"),
            }
        }
        records
    }
}

/// A classic capture in the given byte order and resolution.
fn pcap(big: bool, nanos: bool, packets: &[(u64, &[u8])]) -> Vec<u8> {
    let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let half = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut file = Vec::new();
    file.extend(word(if nanos { 0xa1b2_3c4d } else { 0xa1b2_c3d4 }));
    file.extend(half(2));
    file.extend(half(4));
    [0, 0, 65_535, 1].iter().for_each(|value| file.extend(word(*value)));
    for (time_ns, bytes) in packets {
        let fraction = time_ns % 1_000_000_000 / if nanos { 1 } else { 1000 };
        let len = u32::try_from(bytes.len()).unwrap();
        let header =
            [u32::try_from(time_ns / 1_000_000_000).unwrap(), u32::try_from(fraction).unwrap(), len, len];
        header.iter().for_each(|value| file.extend(word(*value)));
        file.extend_from_slice(bytes);
    }
    file
}

/// A block of pcapng in little-endian order.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
    [&kind.to_le_bytes()[..], &len, body, &len].concat()
}

fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = [code.to_le_bytes(), u16::try_from(value.len()).unwrap().to_le_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A pcapng file: interfaces as link type and options, packets as interface, ticks and bytes (a multiple of four).
fn pcapng(interfaces: &[(u16, Vec<u8>)], packets: &[(u32, u64, &[u8])]) -> Vec<u8> {
    let mut file =
        block(0x0a0d_0d0a, &[&0x1a2b_3c4du32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat());
    for (link, options) in interfaces {
        let link = link.to_le_bytes();
        file.extend(block(1, &[&link[..], &[0; 2], &[0; 4], options, &[0; 4]].concat()));
    }
    for (interface, ticks, bytes) in packets {
        let len = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let high = u32::try_from(ticks >> 32).unwrap().to_le_bytes();
        let low = u32::try_from(ticks & 0xffff_ffff).unwrap().to_le_bytes();
        file.extend(block(6, &[&interface.to_le_bytes()[..], &high, &low, &len, &len, bytes].concat()));
    }
    file
}

fn spec(device: &str) -> PcapSpec {
    PcapSpec {
        device: device.to_owned(),
        queue: 0,
        mac: [2; 6],
        frame_max: 1514,
        partial_checksums: true,
        take: Take::All,
        front: None,
    }
}

fn port(run: &PcapRun, device: &str, file: Vec<u8>) -> PcapPort {
    PcapPort::new(run, &spec(device), Some(Box::new(io::Cursor::new(file)))).unwrap()
}

/// The times and bytes that a file holds.
fn read(file: Vec<u8>, only: Option<&str>) -> io::Result<Vec<(u64, Vec<u8>)>> {
    take(file, only.map_or(Take::All, |name| Take::Only(name.to_owned())))
}

fn take(file: Vec<u8>, take: Take) -> io::Result<Vec<(u64, Vec<u8>)>> {
    let mut source = Source::new(Box::new(io::Cursor::new(file)), take)?;
    let mut packets = Vec::new();
    while let Some(packet) = source.next()? {
        packets.push((packet.time_ns, packet.bytes));
    }
    Ok(packets)
}

#[test]
fn classic_captures_of_every_kind_are_read() {
    let packets: [(u64, &[u8]); 2] =
        [(1_500_000_000_000_001_000, b"first"), (1_500_000_001_999_999_000, b"second")];
    let expected: Vec<_> = packets.iter().map(|(time, bytes)| (*time, bytes.to_vec())).collect();
    for (big, nanos) in [(false, false), (false, true), (true, false), (true, true)] {
        assert_eq!(read(pcap(big, nanos, &packets), None).unwrap(), expected, "big {big} nanos {nanos}");
    }
    let odd: [(u64, &[u8]); 1] = [(7, b"odd")];
    assert_eq!(read(pcap(false, true, &odd), None).unwrap()[0].0, 7, "single nanoseconds survive");
}

#[test]
fn pcapng_times_follow_the_interfaces_resolution_and_offset() {
    let microseconds = (1, Vec::new());
    let nanoseconds = (1, option(9, &[9]));
    let binary = (1, option(9, &[0x80 | 10]));
    let offset = (1, [option(9, &[3]), option(14, &5u64.to_le_bytes())].concat());
    let file = pcapng(
        &[microseconds, nanoseconds, binary, offset],
        &[(0, 3_000_001, b"aaaa"), (1, 3_000_000_001, b"bbbb"), (2, 1536, b"cccc"), (3, 250, b"dddd")],
    );
    let times: Vec<u64> = read(file, None).unwrap().iter().map(|(time, _)| *time).collect();
    assert_eq!(times, [3_000_001_000, 3_000_000_001, 1_500_000_000, 5_250_000_000]);
}

#[test]
fn one_interface_of_several_can_be_chosen() {
    let interfaces = [(1, option(2, b"eth0")), (101, option(2, b"raw0"))];
    let file = pcapng(&interfaces, &[(0, 1, b"aaaa"), (1, 2, b"bbbb"), (0, 3, b"cccc")]);
    let packets = read(file.clone(), Some("eth0")).unwrap();
    assert_eq!(packets.iter().map(|(_, bytes)| &bytes[..]).collect::<Vec<_>>(), [b"aaaa", b"cccc"]);
    let error = read(file, None).unwrap_err();
    assert!(error.to_string().contains("not of Ethernet"), "{error}");
}

#[test]
fn all_but_some_interfaces_can_be_chosen() {
    let interfaces = [(1, option(2, b"eth0")), (1, option(2, b"eth1")), (1, Vec::new())];
    let file = pcapng(&interfaces, &[(0, 1, b"aaaa"), (1, 2, b"bbbb"), (2, 3, b"cccc")]);
    let but = |names: &[&str]| Take::AllBut(names.iter().map(|&name| name.to_owned()).collect());
    let bytes = |file: &[u8], names| -> Vec<Vec<u8>> {
        take(file.to_vec(), but(names)).unwrap().into_iter().map(|(_, bytes)| bytes).collect()
    };
    assert_eq!(bytes(&file, &["eth1"]), [b"aaaa", b"cccc"], "an interface without a name is nobody else's");
    assert_eq!(bytes(&file, &["eth0", "eth1"]), [b"cccc"]);
    let classic = pcap(false, true, &[(1, b"no names")]);
    assert_eq!(bytes(&classic, &["eth1"]), [b"no names"]);
    assert!(read(classic, Some("eth1")).unwrap().is_empty());
}

#[test]
fn what_is_no_capture_is_refused() {
    for file in [b"".to_vec(), b"abc".to_vec(), b"no capture at all, just text".to_vec()] {
        assert_eq!(read(file, None).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
    let mut raw_ip = pcap(false, true, &[]);
    raw_ip[20] = 101;
    assert!(read(raw_ip, None).unwrap_err().to_string().contains("not of Ethernet"));
}

#[test]
fn packets_come_one_a_call_when_their_time_has_come() {
    let run = PcapRun::new(None).unwrap();
    let mut frames = Frames::in_memory(8, 2048).unwrap();
    let mut left = port(&run, "left", pcap(false, true, &[(10, b"a"), (10, b"b"), (30, b"d")]));
    let mut right = port(&run, "right", pcap(false, true, &[(20, b"c")]));
    let mut list = FrameList::new();
    let mut order = Vec::new();
    while let Some(time) = run.next_time() {
        run.set_time(time);
        for port in [&mut left, &mut right] {
            assert!(port.rx(&mut frames, &mut list) <= 1);
            for frame in list.drain(..) {
                order.push((run.time(), frames.bytes(&frame).to_vec()));
                frames.free(frame);
            }
        }
    }
    assert_eq!(order, [(10, b"a".to_vec()), (10, b"b".to_vec()), (20, b"c".to_vec()), (30, b"d".to_vec())]);
    assert_eq!((left.next_time(), left.stats().rx, right.stats().rx), (None, 3, 1));
    run.set_time(5);
    assert_eq!(run.time(), 30, "time never goes back");
}

#[test]
fn verdicts_become_comments_of_what_came_in_and_what_went_out() {
    let output = Output::default();
    let run = PcapRun::new(Some(Box::new(output.clone()))).unwrap();
    let mut frames = Frames::in_memory(4, 2048).unwrap();
    let mut left =
        port(&run, "left", pcap(false, true, &[(100, b"forward me"), (200, b"drop me"), (300, b"silent")]));
    let mut right = PcapPort::open(&run, &spec("right"), None).unwrap();
    let mut list = FrameList::new();

    run.set_time(100);
    left.rx(&mut frames, &mut list);
    frames.bytes_mut(&mut list[0])[..7].copy_from_slice(b"FORWARD");
    left.note(&frames, &list[0], &format_args!("to server {}", 1));
    run.set_time(150);
    assert_eq!(right.tx(&mut frames, &mut list), 1);

    run.set_time(200);
    left.rx(&mut frames, &mut list);
    left.note(&frames, &list[0], &"drop: not-ours");
    frames.free(list.remove(0));
    // Made here, in the very chunk of the packet that was dropped: its verdict is not this one's.
    let mut made = frames.alloc().unwrap();
    assert!(frames.copy_in(&mut made, b"icmp"));
    list.push(made);
    assert_eq!(right.tx(&mut frames, &mut list), 1);

    run.set_time(300);
    left.rx(&mut frames, &mut list);
    frames.free(list.remove(0));
    run.finish().unwrap();

    let said = |text: &str| Some(text.to_owned());
    let expected: [Record; 5] = [
        ("left in".into(), 100, b"forward me".to_vec(), said("to server 1")),
        ("right out".into(), 150, b"FORWARD me".to_vec(), said("to server 1")),
        ("left in".into(), 200, b"drop me".to_vec(), said("drop: not-ours")),
        ("right out".into(), 200, b"icmp".to_vec(), None),
        ("left in".into(), 300, b"silent".to_vec(), None),
    ];
    assert_eq!(output.records(), expected);
    assert_eq!(frames.free_count(), 4);
}

#[test]
fn a_second_verdict_takes_the_place_of_the_first() {
    let output = Output::default();
    let run = PcapRun::new(Some(Box::new(output.clone()))).unwrap();
    let mut frames = Frames::in_memory(2, 2048).unwrap();
    let mut left = port(&run, "left", pcap(false, true, &[(1, b"too long"), (2, b"next")]));
    let mut list = FrameList::new();
    run.set_time(1);
    left.rx(&mut frames, &mut list);
    left.note(&frames, &list[0], &"to server");
    left.note(&frames, &list[0], &"drop: too-big");
    frames.free(list.remove(0));
    // Made in the very chunk of the one that was dropped: its verdict corrects nothing.
    let mut made = frames.alloc().unwrap();
    assert!(frames.copy_in(&mut made, b"made"));
    left.note(&frames, &made, &"answer");
    list.push(made);
    left.tx(&mut frames, &mut list);
    run.set_time(2);
    left.rx(&mut frames, &mut list);
    left.note(&frames, &list[0], &"held");
    left.tx(&mut frames, &mut list);
    run.finish().unwrap();
    let said: Vec<_> = output.records().into_iter().map(|(name, _, _, said)| (name, said.unwrap())).collect();
    let expected =
        [("left in", "drop: too-big"), ("left out", "answer"), ("left in", "held"), ("left out", "held")];
    assert_eq!(said, expected.map(|(name, said)| (name.to_owned(), said.to_owned())));
}

#[test]
fn what_was_written_can_be_replayed() {
    let output = Output::default();
    let run = PcapRun::new(Some(Box::new(output.clone()))).unwrap();
    let mut frames = Frames::in_memory(4, 2048).unwrap();
    let time = 1_700_000_000_123_456_789;
    let mut left = port(&run, "left", pcap(false, true, &[(time, b"there and back")]));
    let mut list = FrameList::new();
    run.set_time(time);
    left.rx(&mut frames, &mut list);
    left.tx(&mut frames, &mut list);
    run.finish().unwrap();
    let file = output.0.borrow().clone();
    assert_eq!(read(file, Some("left out")).unwrap(), [(time, b"there and back".to_vec())]);
}

#[test]
fn a_packet_longer_than_a_frame_is_written_down_as_lost() {
    let output = Output::default();
    let run = PcapRun::new(Some(Box::new(output.clone()))).unwrap();
    let mut frames = Frames::in_memory(2, 2048).unwrap();
    let mut left = port(&run, "left", pcap(false, true, &[(1, &[7; 1793]), (1, &[8; 1792])]));
    let mut list = FrameList::new();
    run.set_time(1);
    assert_eq!(left.rx(&mut frames, &mut list), 1);
    assert_eq!(frames.bytes(&list[0]), [8; 1792]);
    assert_eq!((left.stats().rx, left.stats().rx_lost), (1, 1));
    let records = output.records();
    assert_eq!(records[0].3.as_deref(), Some("not replayed: 1793 bytes, a frame holds 1792"));
}

#[test]
fn without_a_free_frame_the_packet_waits() {
    let run = PcapRun::new(None).unwrap();
    let mut frames = Frames::in_memory(1, 2048).unwrap();
    let mut left = port(&run, "left", pcap(false, true, &[(1, b"one"), (1, b"two")]));
    let mut list = FrameList::new();
    run.set_time(1);
    assert_eq!((left.rx(&mut frames, &mut list), left.rx(&mut frames, &mut list)), (1, 0));
    left.tx(&mut frames, &mut list);
    assert_eq!(left.rx(&mut frames, &mut list), 1);
    assert_eq!(frames.bytes(&list[0]), b"two");
}

#[test]
fn a_capture_cut_short_is_an_error_at_the_end() {
    let mut file = pcap(false, true, &[(1, b"whole"), (2, b"cut")]);
    file.truncate(file.len() - 2);
    let run = PcapRun::new(None).unwrap();
    let mut frames = Frames::in_memory(2, 2048).unwrap();
    let mut left = port(&run, "left", file);
    let mut list = FrameList::new();
    run.set_time(9);
    assert_eq!((left.rx(&mut frames, &mut list), left.rx(&mut frames, &mut list)), (1, 0));
    assert!(run.finish().unwrap_err().to_string().starts_with("left: "));
}
