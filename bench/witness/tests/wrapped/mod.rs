//! A slow, honest tunnel: outer headers by etherparse's builder, patched by hand where it has no say.
#![allow(dead_code, reason = "each test uses its part")]

use etherparse::PacketBuilder;
use ringlead_witness::{Encapsulation, GUE_PORT, sum};
use std::net::IpAddr;

/// What goes around a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrap {
    pub(crate) encapsulation: Encapsulation,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) source_port: u16,
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    pub(crate) dont_fragment: bool,
    pub(crate) flow_label: u32,
}

impl Wrap {
    /// The untagged frame's packet in the tunnel, with the frame's Ethernet addresses. A UDP checksum is left out.
    pub(crate) fn around(&self, frame: &[u8]) -> Vec<u8> {
        let (ethernet, packet) = frame.split_at(14);
        let protocol = if packet[0] >> 4 == 4 { 4 } else { 41 };
        let mut payload = match self.encapsulation {
            Encapsulation::Ipip | Encapsulation::Gue => Vec::new(),
            Encapsulation::GueZero => vec![0, protocol, 0, 0],
        };
        payload.extend(packet);
        let start = PacketBuilder::ethernet2([0; 6], [0; 6]);
        let start = match (self.source, self.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => start.ipv4(from.octets(), to.octets(), self.ttl),
            (IpAddr::V6(from), IpAddr::V6(to)) => start.ipv6(from.octets(), to.octets(), self.ttl),
            _ => panic!("one family outside"),
        };
        let mut bytes = Vec::new();
        if self.encapsulation == Encapsulation::Ipip {
            start.write(&mut bytes, protocol.into(), &payload).unwrap();
        } else {
            start.udp(self.source_port, GUE_PORT).write(&mut bytes, &payload).unwrap();
        }
        bytes[..12].copy_from_slice(&ethernet[..12]);
        self.patch(&mut bytes);
        bytes
    }

    fn patch(&self, bytes: &mut [u8]) {
        let udp = self.encapsulation != Encapsulation::Ipip;
        if self.source.is_ipv4() {
            bytes[15] = self.tos;
            bytes[20] = if self.dont_fragment { 0x40 } else { 0 };
            fix_ipv4(bytes);
            if udp {
                bytes[40..42].fill(0);
            }
        } else {
            let word = 6 << 28 | u32::from(self.tos) << 20 | self.flow_label;
            bytes[14..18].copy_from_slice(&word.to_be_bytes());
            if udp {
                bytes[60..62].fill(0);
            }
        }
    }
}

/// The outer IPv4 header's checksum.
fn fix_ipv4(bytes: &mut [u8]) {
    bytes[24..26].fill(0);
    let checksum = !sum::sum(&bytes[14..34]);
    bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
}

/// The outer UDP checksum, as if it were not optional.
pub(crate) fn fill_udp_checksum(frame: &mut [u8], udp: usize) {
    let addresses = if udp == 34 { 26..34 } else { 22..54 };
    frame[udp + 6..udp + 8].fill(0);
    let checksum = !sum::transport(&frame[addresses], 17, &frame[udp..]);
    let checksum = if checksum == 0 { 0xffff } else { checksum };
    frame[udp + 6..udp + 8].copy_from_slice(&checksum.to_be_bytes());
}

/// One byte more in every outer length.
pub(crate) fn lengthen(frame: &mut [u8], udp: usize, encapsulation: Encapsulation) {
    let mut add = |at: usize| {
        let length = u16::from_be_bytes([frame[at], frame[at + 1]]) + 1;
        frame[at..at + 2].copy_from_slice(&length.to_be_bytes());
    };
    if encapsulation != Encapsulation::Ipip {
        add(udp + 4);
    }
    if udp == 34 {
        add(16);
        fix_ipv4(frame);
    } else {
        add(18);
    }
}

/// The frame's packet cut in two after `at` bytes of its payload (RFC 791 §3.2, RFC 8200 §4.5).
pub(crate) fn cut(frame: &[u8], at: usize) -> [Vec<u8>; 2] {
    let v4 = frame[14] >> 4 == 4;
    let (header, payload) = frame[14..].split_at(if v4 { 20 } else { 40 });
    let part = |offset: usize, more: bool, bytes: &[u8]| {
        let mut part = [&frame[..14], header].concat();
        if v4 {
            let field = u16::try_from(offset / 8).unwrap() | if more { 0x2000 } else { 0 };
            part[16..18].copy_from_slice(&u16::try_from(20 + bytes.len()).unwrap().to_be_bytes());
            part[20..22].copy_from_slice(&field.to_be_bytes());
            fix_ipv4(&mut part);
        } else {
            let field = u16::try_from(offset).unwrap() | u16::from(more);
            part[18..20].copy_from_slice(&u16::try_from(8 + bytes.len()).unwrap().to_be_bytes());
            let next = std::mem::replace(&mut part[20], 44);
            part.extend([next, 0]);
            part.extend(field.to_be_bytes());
            part.extend([0, 0, 0, 7]);
        }
        part.extend(bytes);
        part
    };
    [part(0, true, &payload[..at]), part(at, false, &payload[at..])]
}
