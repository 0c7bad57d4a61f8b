//! The packets of a family: bare TCP segments of clients' flows and, where they pass here, of the servers' answers.

use crate::core::cell::{Family, replies};
use crate::core::world::Shape;
use crate::core::world::tables::ENCAPSULATION;
use ringlead_flow::Tuple;
use ringlead_io::frames::HEADROOM;
use ringlead_io::{Frame, Frames};
use ringlead_l4::tables::Mode;
use ringlead_wire::build::Packet;
use ringlead_wire::{Ip, Meta, TcpFlags, parse, rewrite};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xc1];
pub(super) const WAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xa0];
pub(super) const LAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xa1];
/// Connections of one client.
const PORTS_A_CLIENT: usize = 61;
/// Makes an IPv4 frame 64 bytes long and an IPv6 frame 84.
const PAYLOAD: [u8; 10] = *b"0123456789";
const TCP: u8 = 6;

/// What a packet is in its flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Segment {
    /// A client's, of an established connection.
    Ask,
    /// A server's, to a client.
    Answer,
    /// A client's first: its SYN.
    First,
}

/// The flows of one family, and a packet of each sort to be changed into a packet of any flow.
pub struct Traffic {
    family: Family,
    mode: Mode,
    /// Bytes of outer headers.
    overhead: usize,
    /// By service.
    asks: Vec<Template>,
    firsts: Vec<Template>,
    /// By server.
    answers: Vec<Template>,
    /// The server of each flow.
    chosen: Vec<u16>,
    /// With snat, where its server answers to: the address by number, and the port.
    mapped: Vec<[u16; 2]>,
}

impl Traffic {
    pub(super) fn new(shape: &Shape, family: Family) -> Self {
        let client = client(0, family);
        let ask = |n| Packet::tcp(client, service(n, family)).mac(CLIENT_MAC, WAN_MAC);
        let answer = |n| Packet::tcp(server(n, family), client).mac(server_mac(n), LAN_MAC);
        let services = || 0..shape.services;
        Self {
            family,
            mode: shape.mode,
            overhead: if shape.mode == Mode::Tunnel { ENCAPSULATION.overhead(!family.is_v6()) } else { 0 },
            asks: services().map(|n| Template::new(&ask(n))).collect(),
            firsts: services().map(|n| Template::new(&ask(n).flags(TcpFlags::SYN))).collect(),
            answers: (0..shape.servers).map(|n| Template::new(&answer(n))).collect(),
            chosen: vec![0; shape.flows],
            mapped: if shape.mode == Mode::Snat { vec![[0; 2]; shape.flows] } else { Vec::new() },
        }
    }

    /// How many flows are in the table.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.chosen.len()
    }

    /// The address and port that a packet of this flow gets by its rewrite, where there is one.
    #[must_use]
    pub fn target(&self, segment: Segment, flow: usize) -> (Ip, u16) {
        let to = match segment {
            Segment::Ask | Segment::First => server(usize::from(self.chosen[flow]), self.family),
            Segment::Answer => service(self.service_of(flow), self.family),
        };
        (to.ip().into(), to.port())
    }

    /// A flow as its client sends it, also one that is not in the table.
    #[must_use]
    pub fn tuple(&self, flow: usize) -> Tuple {
        let (from, to) = (client(flow, self.family), service(self.service_of(flow), self.family));
        let (src, dst) = (from.ip().into(), to.ip().into());
        Tuple { src, dst, sport: from.port(), dport: to.port(), proto: TCP }
    }

    /// Makes a frame a packet of a flow.
    pub(super) fn write(&self, frames: &mut Frames, frame: &mut Frame, segment: Segment, flow: usize) {
        let client = client(flow, self.family);
        let template = match segment {
            Segment::Ask => &self.asks[self.service_of(flow)],
            Segment::First => &self.firsts[self.service_of(flow)],
            Segment::Answer => &self.answers[usize::from(self.chosen[flow])],
        };
        restart(frames, frame);
        assert!(frames.copy_in(frame, &template.bytes), "a packet fits into its chunk");
        let bytes = frames.bytes_mut(frame);
        match segment {
            Segment::Ask | Segment::First => {
                rewrite::to_client(bytes, &template.meta, client.ip().into(), client.port());
            }
            Segment::Answer => {
                let to = self
                    .mapped
                    .get(flow)
                    .map_or(client, |&[n, port]| SocketAddr::new(snat(n.into(), self.family), port));
                rewrite::to_server(bytes, &template.meta, to.ip().into(), to.port());
            }
        }
    }

    /// Notes the server that a client's packet was sent to, and checks that it is that client's and that server's.
    ///
    /// # Panics
    /// When it is not: then something else was measured than what is meant.
    pub(super) fn learn(&mut self, flow: usize, sent: &[u8]) {
        let opened = self.open(sent);
        let meta = parse(&opened).expect("what is sent can be parsed");
        if let Some(mapped) = self.mapped.get_mut(flow) {
            let [.., high, low] = meta.src.octets();
            *mapped = [u16::from_be_bytes([high, low]), meta.sport];
            assert_eq!(IpAddr::from(meta.src), snat(mapped[0].into(), self.family), "no address of ours");
        } else {
            let (ip, port) = (client(flow, self.family).ip().into(), client(flow, self.family).port());
            assert_eq!((meta.src, meta.sport), (ip, port), "the frames came back in another order");
        }
        let server = u16::from_be_bytes([sent[4], sent[5]]);
        let to = if replies(self.mode) {
            self::server(server.into(), self.family)
        } else {
            service(self.service_of(flow), self.family)
        };
        let mac = server_mac(server.into());
        assert_eq!((meta.dst, meta.dport, &sent[..6]), (to.ip().into(), to.port(), &mac[..]));
        self.chosen[flow] = server;
    }

    /// The client's frame of a sent one: without the outer headers where there are some.
    fn open(&self, sent: &[u8]) -> Vec<u8> {
        let (ethernet, rest) = sent.split_at(14);
        [ethernet, &rest[self.overhead..]].concat()
    }

    /// Flows take the services in turn.
    fn service_of(&self, flow: usize) -> usize {
        flow % self.asks.len()
    }
}

/// Empties a frame, which then begins where received ones do: outer headers have moved its start.
fn restart(frames: &Frames, frame: &mut Frame) {
    let (forth, back) =
        (HEADROOM.saturating_sub(frame.headroom()), frame.headroom().saturating_sub(HEADROOM));
    let moved = frames.set_len(frame, forth) && frames.shrink_head(frame, forth);
    assert!(moved && frames.grow_head(frame, back) && frames.set_len(frame, 0), "a start within the chunk");
}

/// A packet whose client's end is still to be filled in.
struct Template {
    bytes: Vec<u8>,
    meta: Meta,
}

impl Template {
    fn new(packet: &Packet) -> Self {
        let bytes = packet.clone().payload(PAYLOAD).build();
        let meta = parse(&bytes).expect("the template is a packet");
        Self { bytes, meta }
    }
}

/// Where clients connect to; services count from 0. Addresses of RFC 2544 and RFC 3849.
pub(super) fn service(n: usize, family: Family) -> SocketAddr {
    let [high, low] = halves(n);
    let ip: IpAddr = match family {
        Family::Ipv4 => Ipv4Addr::new(198, 18, high, low).into(),
        Family::Ipv6 => Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, u16::from_be_bytes([high, low])).into(),
    };
    SocketAddr::new(ip, 80)
}

/// A server's address; servers count from 0.
pub(super) fn server(n: usize, family: Family) -> SocketAddr {
    let [high, low] = halves(n);
    let ip: IpAddr = match family {
        Family::Ipv4 => Ipv4Addr::new(10, 2, high, low).into(),
        Family::Ipv6 => Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 1, u16::from_be_bytes([high, low])).into(),
    };
    SocketAddr::new(ip, 8080)
}

/// An address of ours that servers see; they count from 0.
pub(super) fn snat(n: usize, family: Family) -> IpAddr {
    let [high, low] = halves(n);
    match family {
        Family::Ipv4 => Ipv4Addr::new(10, 3, high, low).into(),
        Family::Ipv6 => Ipv6Addr::new(0xfd03, 0, 0, 0, 0, 0, 1, u16::from_be_bytes([high, low])).into(),
    }
}

/// A server's Ethernet address; it ends with its number.
pub(super) fn server_mac(n: usize) -> [u8; 6] {
    let [high, low] = halves(n);
    [2, 0, 0, 1, high, low]
}

/// A flow's client.
fn client(flow: usize, family: Family) -> SocketAddr {
    let host = u32::try_from(flow / PORTS_A_CLIENT).unwrap_or(0);
    let port = u16::try_from(1024 + flow % PORTS_A_CLIENT * 997).unwrap_or(0);
    let [_, b, c, d] = host.to_be_bytes();
    let ip: IpAddr = match family {
        Family::Ipv4 => Ipv4Addr::new(11, b, c, d).into(),
        Family::Ipv6 => Ipv6Addr::new(0x2001, 0xdb8, 7, b.into(), c.into(), d.into(), 0x1234, 0x5678).into(),
    };
    SocketAddr::new(ip, port)
}

/// A number below 65 536 as two bytes.
fn halves(n: usize) -> [u8; 2] {
    u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes()
}
