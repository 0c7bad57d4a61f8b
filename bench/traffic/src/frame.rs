//! Frames out of templates: what differs between packets is patched in, and checksums follow without summing a payload.

use crate::error::TrafficError;
use crate::flows::{Space, Tuple};
use crate::setup::Service;
use crate::size::FCS;
use crate::spec::Plan;
use ringlead_wire::checksum::{Sum, never_zero};
use ringlead_wire::{Protocol, build};
use ringlead_witness::{Layout, Stamp, Transport};
use std::net::IpAddr;

/// TTL of everything that is sent, replies too.
pub(crate) const TTL: u8 = 64;
/// TCP window of everything that is sent.
pub(crate) const WINDOW: u16 = 65_535;
/// TCP flags (byte 13).
pub(crate) const SYN: u8 = 0x02;
/// TCP flags.
pub(crate) const ACK: u8 = 0x10;

/// What one packet is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// Addresses and ports.
    pub(crate) tuple: Tuple,
    /// Its stamp.
    pub(crate) stamp: Stamp,
    /// TCP flags; without meaning over UDP.
    pub(crate) flags: u8,
    /// Spoil the transport checksum.
    pub(crate) wrong: bool,
}

/// A frame of one service and size, complete but for what differs between flows and packets.
#[derive(Clone, Debug)]
struct Template {
    bytes: Vec<u8>,
    l3: usize,
    l4: usize,
    layout: Layout,
    tcp: bool,
    v4: bool,
    /// Sum of the IPv4 header without the source address.
    ip_sum: u32,
    /// Sum of segment and pseudo header without source address and port, flags and stamp.
    l4_sum: u32,
}

/// What all frames of a trial have, whatever their flow.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tags {
    /// Their VLAN; None: untagged.
    pub(crate) vlan: Option<u16>,
    /// DSCP and ECN.
    pub(crate) tos: u8,
}

impl Tags {
    pub(crate) const fn of(plan: &Plan) -> Self {
        Self { vlan: plan.vlan, tos: plan.tos }
    }
}

/// All templates of a trial: by service, then by place in the cycle of sizes.
#[derive(Clone, Debug)]
pub(crate) struct Maker {
    templates: Vec<Template>,
    sizes: usize,
}

/// The least size, FCS included, of a frame with a stamp.
pub(crate) fn least(service: &Service, vlan: bool) -> usize {
    let (ip, transport, payload) = headers(service);
    (14 + usize::from(vlan) * 4 + ip + transport + payload + FCS).max(64)
}

fn headers(service: &Service) -> (usize, usize, usize) {
    let ip = if service.address.is_ipv4() { 20 } else { 40 };
    match service.protocol {
        Protocol::Tcp => (ip, 20, Layout::payload_min(Transport::Tcp)),
        Protocol::Udp => (ip, 8, Layout::payload_min(Transport::Udp)),
    }
}

impl Maker {
    /// Templates for every service of `space` in every size of `cycle` (FCS included).
    ///
    /// Sizes below [`least`] are raised to it.
    pub(crate) fn new(space: &Space, cycle: &[usize], tags: Tags) -> Result<Self, TrafficError> {
        let mut templates = Vec::with_capacity(space.services().len() * cycle.len());
        for (number, service) in space.services().iter().enumerate() {
            let any = u32::try_from(number).unwrap_or(0);
            let client = space.tuple(any).client;
            for size in cycle {
                let len = (*size).max(least(service, tags.vlan.is_some())) - FCS;
                templates.push(template(service, client, len, tags)?);
            }
        }
        Ok(Self { templates, sizes: cycle.len() })
    }

    /// Length of the frame, without FCS, of `service` at place `at` of the cycle of sizes.
    #[inline]
    pub(crate) fn len(&self, service: usize, at: usize) -> usize {
        self.templates.get(service * self.sizes + at).map_or(0, |template| template.bytes.len())
    }

    /// Writes the frame into `frame`, which has its length. `ether` is where to and where from.
    #[inline]
    pub(crate) fn write(&self, frame: &mut [u8], at: usize, ether: &[u8; 12], order: &Order) {
        let Some(t) = self.templates.get(order.tuple.service * self.sizes + at) else { return };
        if frame.len() != t.bytes.len() {
            return;
        }
        frame.copy_from_slice(&t.bytes);
        frame[..12].copy_from_slice(ether);
        let address_sum = match order.tuple.client {
            IpAddr::V4(client) => put_address(frame, t.l3 + 12, &client.octets()),
            IpAddr::V6(client) => put_address(frame, t.l3 + 8, &client.octets()),
        };
        if t.v4 {
            put(frame, t.l3 + 10, !fold(t.ip_sum + address_sum));
        }
        put(frame, t.l4, order.tuple.port);
        let mut sum = t.l4_sum + address_sum + u32::from(order.tuple.port);
        sum += t.layout.write(frame, t.l4, &order.stamp);
        let field = if t.tcp {
            frame[t.l4 + 13] = order.flags;
            sum += u32::from(order.flags);
            t.l4 + 16
        } else {
            t.l4 + 6
        };
        let checksum = never_zero_over_udp(!fold(sum), t.tcp);
        // Not 0 over UDP, which would mean "none".
        let spoilt = if checksum == 0x5a5a { 0xa5a5 } else { checksum ^ 0x5a5a };
        put(frame, field, if order.wrong { spoilt } else { checksum });
    }
}

#[inline]
fn never_zero_over_udp(checksum: u16, tcp: bool) -> u16 {
    if tcp { checksum } else { never_zero(checksum) }
}

/// Writes an address and returns the sum of its words.
#[inline]
fn put_address<const N: usize>(frame: &mut [u8], at: usize, address: &[u8; N]) -> u32 {
    frame[at..at + N].copy_from_slice(address);
    address.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum()
}

#[inline]
fn put(frame: &mut [u8], at: usize, word: u16) {
    frame[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "two folds leave sixteen bits")]
const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum + (sum >> 16)) as u16
}

fn template(service: &Service, client: IpAddr, len: usize, tags: Tags) -> Result<Template, TrafficError> {
    let (ip, transport, _) = headers(service);
    let (tcp, v4) = (service.protocol == Protocol::Tcp, service.address.is_ipv4());
    let l3 = 14 + usize::from(tags.vlan.is_some()) * 4;
    let l4 = l3 + ip;
    let payload = len - l4 - transport;
    let packet = if tcp {
        build::Packet::tcp(client, service.address).flags(0).window(WINDOW)
    } else {
        build::Packet::udp(client, service.address)
    };
    let packet = packet.ttl(TTL).tos(tags.tos).payload(vec![0; payload]);
    let packet = tags.vlan.map_or(packet.clone(), |vlan| packet.vlan(vlan));
    let mut bytes = packet.build();
    // A short IPv4 frame is padded by nobody: its length is its size.
    bytes.resize(len, 0);
    let kind = if tcp { Transport::Tcp } else { Transport::Udp };
    let layout = Layout::new(kind, transport, payload).map_err(|why| TrafficError::Setup(why.to_string()))?;
    layout.fill(&mut bytes, l4);
    put(&mut bytes, l4, 0);
    put(&mut bytes, if tcp { l4 + 16 } else { l4 + 6 }, 0);
    let source = if v4 { l3 + 12..l3 + 16 } else { l3 + 8..l3 + 24 };
    bytes[source].fill(0);
    if v4 {
        put(&mut bytes, l3 + 10, 0);
    }
    let addresses = if v4 { &bytes[l3 + 12..l3 + 20] } else { &bytes[l3 + 8..l3 + 40] };
    let segment = &bytes[l4..];
    let length = u16::try_from(segment.len()).map_err(|e| TrafficError::Setup(e.to_string()))?;
    let sum = Sum::default()
        .bytes(addresses)
        .bytes(segment)
        .word(u16::from(service.protocol.number()))
        .word(length);
    let ip_sum = if v4 { u32::from(Sum::default().bytes(&bytes[l3..l4]).fold()) } else { 0 };
    Ok(Template { l3, l4, layout, tcp, v4, ip_sum, l4_sum: u32::from(sum.fold()), bytes })
}

/// Turns an arrived frame into the server's answer, in place: addresses and ports exchanged, which leaves every checksum
/// as it is, TTL fresh, and the answer to a SYN a SYN-ACK. `to` is the Ethernet address it goes to, `from` our own.
/// False, and nothing done, for what is no whole IP packet.
#[inline]
pub(crate) fn reflect(frame: &mut [u8], to: [u8; 6], from: [u8; 6]) -> bool {
    let Ok(meta) = ringlead_wire::parse(frame) else { return false };
    if !matches!(meta.kind, ringlead_wire::Kind::Tcp | ringlead_wire::Kind::Udp) {
        return false;
    }
    let (l3, l4) = (usize::from(meta.l3), usize::from(meta.l4));
    frame[..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&from);
    if meta.v4 {
        swap::<4>(frame, l3 + 12);
        let old = u16::from_be_bytes([frame[l3 + 8], frame[l3 + 9]]);
        frame[l3 + 8] = TTL;
        let new = u16::from_be_bytes([frame[l3 + 8], frame[l3 + 9]]);
        adjust(frame, l3 + 10, old, new);
    } else {
        swap::<16>(frame, l3 + 8);
        frame[l3 + 7] = TTL;
    }
    swap::<2>(frame, l4);
    if meta.kind == ringlead_wire::Kind::Tcp && meta.flags.is_syn() {
        let old = u16::from_be_bytes([frame[l4 + 12], frame[l4 + 13]]);
        frame[l4 + 13] |= ACK;
        adjust(frame, l4 + 16, old, old | u16::from(ACK));
    }
    true
}

/// Exchanges two neighbouring fields of `N` bytes.
#[inline]
fn swap<const N: usize>(frame: &mut [u8], at: usize) {
    let (first, second) = frame[at..at + 2 * N].split_at_mut(N);
    first.swap_with_slice(second);
}

/// RFC 1624, equation 3.
#[inline]
fn adjust(frame: &mut [u8], at: usize, old: u16, new: u16) {
    let checksum = u16::from_be_bytes([frame[at], frame[at + 1]]);
    put(frame, at, !fold(u32::from(!checksum) + u32::from(!old) + u32::from(new)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mode::Mode;
    use crate::setup::Setup;
    use proptest::prelude::*;
    use ringlead_witness::{Parsed, stamp};

    fn space() -> Space {
        let mut setup = Setup::new(Mode::Nat);
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for address in ["10.9.0.1:80", "[fd09::1]:443"] {
                setup.services.push(Service { address: address.parse().unwrap(), protocol });
            }
        }
        Space::new(&setup)
    }

    fn made(size: usize, vlan: Option<u16>, tos: u8, flow: u32, wrong: bool) -> (Vec<u8>, Order) {
        let space = space();
        let maker = Maker::new(&space, &[size], Tags { vlan, tos }).unwrap();
        let stamp = Stamp::new(7, flow, flow / 3, u64::from(flow) * 977);
        let flags = if flow.is_multiple_of(2) { SYN } else { ACK };
        let order = Order { tuple: space.tuple(flow), stamp, flags, wrong };
        let mut frame = vec![0xee; maker.len(order.tuple.service, 0)];
        maker.write(&mut frame, 0, &[2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1], &order);
        (frame, order)
    }

    proptest! {
        /// Judged by other code: every field is what was ordered and every checksum right, or wrong when that was ordered.
        #[test]
        fn frames_are_what_was_ordered(size in 64_usize..1519, vlan in prop::option::of(1_u16..4095), tos: u8, flow in 0_u32..5_000_000, wrong: bool) {
            let (frame, order) = made(size, vlan, tos, flow, wrong);
            let space = space();
            let service = space.services()[order.tuple.service];
            prop_assert_eq!(frame.len(), size.max(least(&service, vlan.is_some())) - FCS);
            let parsed = Parsed::new(&frame).unwrap();
            prop_assert_eq!(parsed.source(), (order.tuple.client, order.tuple.port).into());
            prop_assert_eq!(parsed.destination(), service.address);
            prop_assert_eq!((parsed.vlan(), parsed.ttl(), parsed.tos()), (vlan, TTL, tos));
            prop_assert_eq!(&frame[..12], &[2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1]);
            prop_assert!(parsed.ip_checksum_ok());
            prop_assert_eq!(parsed.l4_checksum_ok(), !wrong);
            prop_assert_eq!(stamp::read(&parsed), Ok(order.stamp));
            if service.protocol == Protocol::Tcp {
                prop_assert_eq!(parsed.tcp_header()[13], order.flags);
            }
        }

        #[test]
        fn a_reply_goes_back_with_right_checksums(size in 64_usize..1519, flow in 0_u32..5_000_000) {
            let (mut frame, order) = made(size, None, 0, flow, false);
            let service = space().services()[order.tuple.service];
            // As after a hop.
            if service.address.is_ipv4() {
                frame[22] -= 1;
                let protocol = u16::from(frame[23]);
                adjust(&mut frame, 24, 0x4000 | protocol, 0x3f00 | protocol);
            } else {
                frame[21] -= 1;
            }
            prop_assert!(reflect(&mut frame, [1; 6], [3; 6]));
            let parsed = Parsed::new(&frame).unwrap();
            prop_assert_eq!(parsed.destination(), (order.tuple.client, order.tuple.port).into());
            prop_assert_eq!(parsed.source(), service.address);
            prop_assert!(parsed.ip_checksum_ok() && parsed.l4_checksum_ok());
            prop_assert_eq!((parsed.ttl(), stamp::read(&parsed)), (TTL, Ok(order.stamp)));
            if service.protocol == Protocol::Tcp {
                prop_assert_eq!(parsed.tcp_header()[13], order.flags | ACK);
            }
        }
    }

    #[test]
    fn the_least_sizes_are_those_of_their_headers() {
        let sizes: Vec<usize> = space().services().iter().map(|service| least(service, false)).collect();
        assert_eq!(sizes, [64, 84, 64, 80]);
        assert_eq!(least(&space().services()[0], true), 68);
    }

    #[test]
    fn what_is_no_packet_is_not_reflected() {
        let arp = build::arp_request("10.0.0.1", "10.0.0.2");
        assert!(!reflect(&mut arp.clone(), [1; 6], [3; 6]));
    }
}
