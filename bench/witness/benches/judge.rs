//! How many frames a second one core judges: `cargo bench -p ringlead-witness`.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that prints what it saw, or ends"
)]

use etherparse::PacketBuilder;
use ringlead_witness::{
    Arrival, End, Expectation, Layout, Limits, Mode, Parsed, Sender, Sent, Server, Service, Stamp, Transport,
    Witness,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

/// Enough that the flows' states are not all in the caches.
const FRAMES: u32 = 1 << 20;
const SERVER: [u8; 4] = [10, 2, 0, 11];

struct Plan;

impl Sender for Plan {
    fn sent(&self, flow: u32, _seq: u32) -> Option<Sent> {
        Some(Sent { label: 0, ..Sent::plain(0, client(flow), 512) })
    }
}

fn client(flow: u32) -> SocketAddr {
    let port = 1024 + u16::try_from(flow % 61).unwrap_or(0);
    (Ipv4Addr::from_bits(0x0b00_0000 + flow / 61), port).into()
}

fn main() {
    for payload in [6, 472, 1460] {
        for flows in [1000, 1_000_000] {
            let (look, read) = measure(payload, flows);
            println!(
                "{:>4} byte frames, {flows:>7} flows: {look:>6.0} ns judged, {read:>6.0} ns read only",
                payload + 54
            );
        }
    }
}

/// Nanoseconds a frame: judged whole, and with only its stamp read.
fn measure(payload: usize, flows: u32) -> (f64, f64) {
    let layout = Layout::new(Transport::Tcp, 20, payload).expect("room");
    let frames: Vec<Vec<u8>> = (0..FRAMES / if payload > 400 { 8 } else { 1 })
        .map(|n| frame(&layout, payload, n.wrapping_mul(0x9e37_79b1) % flows, n))
        .collect();
    // Sequence numbers are each frame's own, so flows skip: the window is exercised, not only its fast path.
    let service = Service {
        address: ([10, 9, 0, 1], 80).into(),
        transport: Transport::Tcp,
        mode: Mode::Nat,
        servers: vec![0],
    };
    let server =
        Server { name: "s".into(), address: (SERVER, 80).into(), mac: None, interface: Some(1), vlan: None };
    let expect = Expectation { services: vec![service], servers: vec![server], ..Expectation::default() };
    let mut witness = Witness::new(expect, Plan, 1, Limits::flows(flows)).expect("a plan");
    let arrival = Arrival { interface: 1, end: End::Servers, at_ns: 1 };
    let look = timed(&frames, |frame| {
        witness.look(frame, &arrival);
    });
    let found = witness.so_far();
    assert!(found.is_clean(), "{:?}", found.examples.first());
    let mut sum = 0_u64;
    let read = timed(&frames, |frame| {
        let packet = Parsed::new(frame).expect("a packet");
        sum += ringlead_witness::stamp::peek(&packet).map_or(0, |stamp| u64::from(stamp.seq));
    });
    assert!(sum > 0);
    (look, read)
}

#[allow(clippy::cast_precision_loss, reason = "a mean")]
fn timed(frames: &[Vec<u8>], mut each: impl FnMut(&[u8])) -> f64 {
    let start = Instant::now();
    frames.iter().for_each(|frame| each(frame));
    start.elapsed().as_nanos() as f64 / frames.len() as f64
}

/// A packet as an honest balancer would hand it on.
fn frame(layout: &Layout, payload: usize, flow: u32, seq: u32) -> Vec<u8> {
    let SocketAddr::V4(from) = client(flow) else { return Vec::new() };
    let ip = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(from.ip().octets(), SERVER, 63);
    let mut frame = Vec::new();
    ip.tcp(from.port(), 80, 0, 512).ack(0).write(&mut frame, &vec![0; payload]).expect("memory");
    layout.fill(&mut frame, 34);
    frame[50..52].fill(0);
    let base = ringlead_witness::sum::transport(&frame[26..34], 6, &frame[34..]);
    let mut sum = u32::from(base) + layout.write(&mut frame, 34, &Stamp::new(1, flow, seq, 0));
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    frame[50..52].copy_from_slice(&(!u16::try_from(sum).unwrap_or(0)).to_be_bytes());
    frame
}
