//! AF_XDP between two namespaces that the test makes: the near side sends and receives, the far side forwards from one
//! port to the other, all with the driver under test.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use ringlead_io::af_xdp::{XdpError, XdpOptions, XdpPort, XdpSpec, ZeroCopy, open_worker};
use ringlead_io::device::device_facts;
use ringlead_io::{FrameList, Frames, Port};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use support::{Lab, allocations, reason_to_skip};

/// Turns without any progress after which a test gives up.
const IDLE_TURNS_MAX: u32 = 200_000;

macro_rules! lab_or_skip {
    ($name:expr, $queues:expr) => {
        match reason_to_skip() {
            Some(why) => {
                eprintln!("skipped: {why}");
                return;
            }
            None => Lab::new($name, $queues),
        }
    };
}

/// One side: a worker's memory and ports, with everything that arrives redirected to them.
struct Side {
    frames: Frames,
    ports: Vec<XdpPort>,
    _programs: Vec<aya::Ebpf>,
}

impl Side {
    fn open(lab: &Lab, near: bool, sockets: &[(&str, u32)], options: &XdpOptions) -> Self {
        lab.inside(near, || {
            let specs: Vec<_> =
                sockets.iter().map(|(device, queue)| XdpSpec::of_device(device, *queue).unwrap()).collect();
            let (frames, ports, report) = open_worker(&specs, options).unwrap();
            assert_eq!(report.frames, frames.count());
            let programs = lab.redirect(&ports);
            Self { frames, ports, _programs: programs }
        })
    }

    fn start_turn(&mut self) {
        for port in &mut self.ports {
            port.reap(&mut self.frames);
            port.refill(&mut self.frames);
        }
    }

    /// Sends as many of `packets` as fit now, in order; returns how many.
    fn send(&mut self, at: usize, packets: &[Vec<u8>]) -> usize {
        let mut list = FrameList::new();
        for packet in packets.iter().take(list.capacity()) {
            let Some(mut frame) = self.frames.alloc() else { break };
            assert!(self.frames.copy_in(&mut frame, packet));
            list.push(frame);
        }
        let taken = self.ports[at].tx(&mut self.frames, &mut list);
        list.drain(..).for_each(|frame| self.frames.free(frame));
        taken
    }

    fn receive(&mut self, at: usize, into: &mut Vec<Vec<u8>>) -> usize {
        let mut list = FrameList::new();
        self.ports[at].rx(&mut self.frames, &mut list);
        let count = list.len();
        for frame in list.drain(..) {
            into.push(self.frames.bytes(&frame).to_vec());
            self.frames.free(frame);
        }
        count
    }

    /// What arrives at either port leaves by the other, changed by `change`.
    fn forward(&mut self, change: &mut dyn FnMut(&mut Frames, &mut ringlead_io::Frame)) {
        self.start_turn();
        for from in 0..self.ports.len() {
            let mut list = FrameList::new();
            self.ports[from].rx(&mut self.frames, &mut list);
            list.iter_mut().for_each(|frame| change(&mut self.frames, frame));
            let to = self.ports.len() - 1 - from;
            self.ports[to].tx(&mut self.frames, &mut list);
            list.drain(..).for_each(|frame| self.frames.free(frame));
        }
        self.ports.iter_mut().for_each(Port::kick);
    }
}

/// A frame of the given length with `number` in it.
fn packet(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5];
    bytes.extend(number.to_be_bytes());
    bytes.resize(len, u8::try_from(number % 251).unwrap());
    bytes
}

/// Pushes `packets` from near port 0 through `far` to near port 1, at most `window` on their way.
fn pass_through(
    near: &mut Side,
    far: &mut Side,
    packets: &[Vec<u8>],
    window: usize,
    change: &mut dyn FnMut(&mut Frames, &mut ringlead_io::Frame),
) -> Vec<Vec<u8>> {
    let (mut sent, mut idle, mut arrived) = (0, 0, Vec::new());
    while arrived.len() < packets.len() && idle < IDLE_TURNS_MAX {
        near.start_turn();
        let until = packets.len().min(arrived.len() + window);
        let progress = near.send(0, &packets[sent.min(until)..until]);
        sent += progress;
        near.ports.iter_mut().for_each(Port::kick);
        far.forward(change);
        let received = near.receive(1, &mut arrived);
        idle = if progress + received == 0 { idle + 1 } else { 0 };
    }
    arrived
}

/// Turns until nothing is in flight and every frame is free or in a fill ring.
fn settle(side: &mut Side) {
    for _ in 0..IDLE_TURNS_MAX {
        side.start_turn();
        side.ports.iter_mut().for_each(Port::kick);
        if side.ports.iter().all(|port| port.in_flight() == 0) {
            break;
        }
    }
    let options = XdpOptions::default();
    let filled = side.ports.len() * usize::try_from(options.fill_ring).unwrap();
    side.start_turn();
    assert_eq!(side.frames.free_count() + filled, side.frames.count(), "frames got lost");
    assert!(side.frames.held().is_none_or(|held| held == 0));
}

#[test]
fn frames_cross_from_port_to_port_unchanged_and_none_is_lost() {
    let lab = lab_or_skip!("x", 1);
    let options = XdpOptions::default();
    let mut near = Side::open(&lab, true, &[("a0", 0), ("b0", 0)], &options);
    let mut far = Side::open(&lab, false, &[("a1", 0), ("b1", 0)], &options);
    // More than the rings hold, in bursts larger than one sendto(2) moves by default.
    let packets: Vec<_> =
        (0..20_000u32).map(|n| packet(n, 60 + usize::try_from(n % 1455).unwrap())).collect();
    let arrived = pass_through(&mut near, &mut far, &packets, 512, &mut |_, _| {});
    assert_eq!(
        arrived.len(),
        packets.len(),
        "near {:?} far {:?}",
        near.ports[1].stats(),
        far.ports[0].stats()
    );
    assert!(arrived == packets, "order or bytes changed");
    settle(&mut near);
    settle(&mut far);
    let (first, second) = (far.ports[0].stats(), far.ports[1].stats());
    assert_eq!((first.rx, second.tx, first.rx_lost, second.tx_invalid), (20_000, 20_000, 0, 0));
}

#[test]
fn a_moved_head_is_sent_from_where_the_packet_is() {
    let lab = lab_or_skip!("h", 1);
    let options = XdpOptions::default();
    let mut near = Side::open(&lab, true, &[("a0", 0), ("b0", 0)], &options);
    let mut far = Side::open(&lab, false, &[("a1", 0), ("b1", 0)], &options);
    let packets: Vec<_> = (0..300).map(|n| packet(n, 200)).collect();
    let mut turn = 0u32;
    // Every third frame gains 28 bytes in front, every third loses 4, the others stay.
    let arrived = pass_through(&mut near, &mut far, &packets, 64, &mut |frames, frame| {
        match turn % 3 {
            0 => {
                let header = frames.bytes(frame)[..14].to_vec();
                assert!(frames.grow_head(frame, 28));
                frames.bytes_mut(frame)[..28].fill(0xee);
                frames.bytes_mut(frame)[..14].copy_from_slice(&header);
            }
            1 => assert!(frames.shrink_head(frame, 4)),
            _ => {}
        }
        turn += 1;
    });
    let expected = packets.iter().zip(0u32..).map(|(packet, n)| match n % 3 {
        0 => [&packet[..14], &[0xee; 14], packet].concat(),
        1 => packet[4..].to_vec(),
        _ => packet.clone(),
    });
    assert!(arrived.into_iter().eq(expected));
}

#[test]
fn an_idle_port_makes_no_system_call_and_a_full_ring_keeps_the_rest() {
    let lab = lab_or_skip!("k", 1);
    let options = XdpOptions { tx_ring: 64, ..XdpOptions::default() };
    let mut near = Side::open(&lab, true, &[("a0", 0), ("b0", 0)], &options);
    for _ in 0..1000 {
        near.start_turn();
        near.ports.iter_mut().for_each(Port::kick);
    }
    assert_eq!(near.ports[0].kicks(), (0, 0), "nothing pending, nothing to say");

    let packets: Vec<_> = (0..64).map(|n| packet(n, 60)).collect();
    assert_eq!(near.send(0, &packets), 64);
    assert_eq!(near.send(0, &packets), 0, "the ring is full until the kernel is told");
    near.ports[0].kick();
    assert_eq!(near.ports[0].kicks(), (1, 0), "one call moves a ring within the budget");
    near.ports[0].kick();
    assert_eq!((near.ports[0].in_flight(), near.ports[0].kicks()), (64, (1, 0)), "the ring is empty");
    let mut turns = 0;
    while near.ports[0].in_flight() > 0 && turns < IDLE_TURNS_MAX {
        near.start_turn();
        near.ports[0].kick();
        turns += 1;
    }
    assert_eq!((near.ports[0].in_flight(), near.ports[0].kicks()), (0, (1, 0)));
    assert_eq!(near.send(0, &packets), 64);
}

#[test]
fn frames_that_no_descriptor_can_carry_come_back() {
    let lab = lab_or_skip!("i", 1);
    let mut near = Side::open(&lab, true, &[("a0", 0)], &XdpOptions::default());
    let free = near.frames.free_count();
    let mut list = FrameList::new();
    list.push(near.frames.alloc().unwrap());
    let mut long = near.frames.alloc().unwrap();
    assert!(near.frames.grow_head(&mut long, 256) && near.frames.set_len(&mut long, 2048));
    list.push(long);
    assert_eq!(near.ports[0].tx(&mut near.frames, &mut list), 2);
    assert_eq!((near.ports[0].stats().tx, near.ports[0].stats().tx_invalid), (0, 2));
    assert_eq!((near.frames.free_count(), near.ports[0].in_flight()), (free, 0));
}

#[test]
fn a_port_moves_nothing_for_another_workers_memory() {
    let lab = lab_or_skip!("o", 1);
    let mut near = Side::open(&lab, true, &[("a0", 0)], &XdpOptions::default());
    let mut other = Frames::in_memory(64, 2048).unwrap();
    let mut list = FrameList::new();
    let mut frame = other.alloc().unwrap();
    assert!(other.copy_in(&mut frame, &packet(1, 60)));
    list.push(frame);
    let sent = catch_unwind(AssertUnwindSafe(|| near.ports[0].tx(&mut other, &mut list)));
    // Debug builds panic, release builds refuse.
    assert_eq!(sent.ok(), if cfg!(debug_assertions) { None } else { Some(0) });
    assert_eq!((list.len(), near.ports[0].stats().tx), (1, 0));
}

#[test]
fn turns_allocate_nothing() {
    let lab = lab_or_skip!("n", 1);
    let options = XdpOptions::default();
    let mut near = Side::open(&lab, true, &[("a0", 0), ("b0", 0)], &options);
    let mut far = Side::open(&lab, false, &[("a1", 0), ("b1", 0)], &options);
    let packets: Vec<_> = (0..64).map(|n| packet(n, 100)).collect();
    let mut forwarded = 0;
    let mut allocated = 0;
    for _ in 0..500 {
        near.start_turn();
        near.send(0, &packets);
        near.ports[0].kick();
        allocated += allocations(|| far.forward(&mut |_, _| forwarded += 1));
        let mut list = FrameList::new();
        near.ports[1].rx(&mut near.frames, &mut list);
        list.drain(..).for_each(|frame| near.frames.free(frame));
    }
    assert!(forwarded > 1000, "{forwarded} frames are no test");
    assert_eq!(allocated, 0);
    assert_eq!(allocations(|| drop(vec![0u8; 100])), 1, "the counter counts");
}

#[test]
fn several_queues_of_one_device_share_the_memory() {
    let lab = lab_or_skip!("q", 2);
    let options = XdpOptions::default();
    let mut near = Side::open(&lab, true, &[("a0", 0), ("a0", 1)], &options);
    let mut far = Side::open(&lab, false, &[("a1", 0), ("a1", 1)], &options);
    let mut seen = BTreeSet::new();
    for (at, range) in [(0, 0..200), (1, 200..400)] {
        let packets: Vec<_> = range.map(|n| packet(n, 80)).collect();
        let (mut sent, mut arrived) = (0, Vec::new());
        for _ in 0..IDLE_TURNS_MAX {
            near.start_turn();
            sent += near.send(at, &packets[sent..]);
            near.ports.iter_mut().for_each(Port::kick);
            far.start_turn();
            for queue in 0..2 {
                if far.receive(queue, &mut arrived) > 0 {
                    seen.insert(queue);
                }
            }
            if arrived.len() == packets.len() {
                break;
            }
        }
        arrived.sort();
        assert_eq!(arrived, packets);
    }
    assert_eq!(seen.len(), 2, "veth takes the receive queue from the sender's");
    settle(&mut near);
}

#[test]
fn a_queue_can_be_taken_again_at_once() {
    let lab = lab_or_skip!("r", 1);
    let options = XdpOptions::default();
    let mut far = Side::open(&lab, false, &[("a1", 0), ("b1", 0)], &options);
    for round in 0..3 {
        let mut near = Side::open(&lab, true, &[("a0", 0), ("b0", 0)], &options);
        let packets: Vec<_> = (0..50).map(|n| packet(n + round, 100)).collect();
        assert_eq!(pass_through(&mut near, &mut far, &packets, 32, &mut |_, _| {}), packets);
    }
}

#[test]
fn zero_copy_falls_back_by_name_and_required_zero_copy_fails() {
    let lab = lab_or_skip!("z", 1);
    lab.inside(false, || {
        let specs = [XdpSpec::of_device("a1", 0).unwrap(), XdpSpec::of_device("b1", 0).unwrap()];
        let (frames, ports, report) = open_worker(&specs, &XdpOptions::default()).unwrap();
        assert!(!report.zero_copy && ports.iter().all(|port| !port.zero_copy()));
        assert_eq!((report.fallbacks.len(), report.fallbacks[0].device.as_str()), (1, "a1"));
        assert!(report.fallbacks[0].what.starts_with("zero-copy refused ("), "{:?}", report.fallbacks);
        assert_eq!(ports[0].caps().mode, "af-xdp copy");
        // The first socket stays bound as long as the memory lives.
        drop((frames, ports));

        let require = XdpOptions { zero_copy: ZeroCopy::Require, ..XdpOptions::default() };
        let error = open_worker(&specs, &require).unwrap_err();
        assert!(matches!(&error, XdpError::Socket { device, .. } if device == "a1"), "{error}");

        let off = XdpOptions { zero_copy: ZeroCopy::Off, chunk_size: 4096, ..XdpOptions::default() };
        let (frames, _ports, report) = open_worker(&specs, &off).unwrap();
        assert_eq!((frames.chunk_size(), report.fallbacks.len()), (4096, 0));
    });
}

#[test]
fn a_queue_that_is_not_there_or_is_held_is_named() {
    let lab = lab_or_skip!("e", 1);
    lab.inside(false, || {
        let spec = XdpSpec::of_device("a1", 7).unwrap();
        let error = open_worker(&[spec], &XdpOptions::default()).unwrap_err().to_string();
        assert!(error.contains("a1 queue 7"), "{error}");
        let spec = XdpSpec::of_device("a1", 0).unwrap();
        let _held = open_worker(std::slice::from_ref(&spec), &XdpOptions::default()).unwrap();
        let error = open_worker(&[spec], &XdpOptions::default()).unwrap_err().to_string();
        assert!(error.contains("another AF_XDP socket holds this queue"), "{error}");
    });
}

#[test]
fn a_veth_is_described_by_its_own_namespace() {
    let lab = lab_or_skip!("d", 2);
    lab.inside(true, || {
        let facts = device_facts("a0").unwrap();
        assert_eq!((facts.driver.as_str(), facts.rx_queues, facts.mtu, facts.up), ("veth", 2, 1500, true));
        assert!(facts.partial_checksums() && facts.mac != [0; 6] && facts.ifindex > 0);
        let spec = XdpSpec::of_device("a0", 1).unwrap();
        assert_eq!((spec.frame_max, spec.mac, spec.partial_checksums), (1514, facts.mac, true));
        assert!(device_facts("a1").is_err(), "the other end is in the other namespace");
    });
}
