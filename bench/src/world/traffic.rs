//! The packets of a family: bare TCP segments of established flows, from clients and, in nat, from servers.

use crate::world::SERVERS;
use ringlead_io::{Frame, Frames};
use ringlead_l4::tables::Mode;
use ringlead_wire::build::Packet;
use ringlead_wire::{Ip, Meta, parse, rewrite};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xc1];
pub(super) const WAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xa0];
pub(super) const LAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xa1];
/// Connections of one client.
const PORTS_A_CLIENT: usize = 61;
/// Makes an IPv4 frame 64 bytes long and an IPv6 frame 84.
const PAYLOAD: [u8; 10] = *b"0123456789";

/// Which end sent a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// A client, to the service.
    Client,
    /// A server, to a client.
    Server,
}

/// The flows of one family, and a packet of each end to be changed into a packet of any flow.
pub struct Traffic {
    mode: Mode,
    v6: bool,
    asks: Template,
    answers: Vec<Template>,
    /// The server of each flow.
    servers: Vec<u8>,
}

impl Traffic {
    pub(super) fn new(mode: Mode, v6: bool, flows: usize) -> Self {
        let (client, service) = (client(0, v6), service(v6));
        let asks = Packet::tcp(client, service).mac(CLIENT_MAC, WAN_MAC);
        let answer = |n| Packet::tcp(server(n, v6), client).mac(server_mac(n), LAN_MAC);
        let answers = (0..SERVERS).map(|n| Template::new(&answer(n))).collect();
        Self { mode, v6, asks: Template::new(&asks), answers, servers: vec![0; flows] }
    }

    /// How many flows there are.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.servers.len()
    }

    /// The address and port that a packet of this flow gets by its rewrite in nat.
    #[must_use]
    pub fn target(&self, side: Side, flow: usize) -> (Ip, u16) {
        let to = match side {
            Side::Client => server(usize::from(self.servers[flow]), self.v6),
            Side::Server => service(self.v6),
        };
        (to.ip().into(), to.port())
    }

    /// Makes a frame a packet of a flow.
    pub(super) fn write(&self, frames: &mut Frames, frame: &mut Frame, side: Side, flow: usize) {
        let client = client(flow, self.v6);
        let template = match side {
            Side::Client => &self.asks,
            Side::Server => &self.answers[usize::from(self.servers[flow])],
        };
        assert!(frames.copy_in(frame, &template.bytes), "a packet fits into its chunk");
        let bytes = frames.bytes_mut(frame);
        match side {
            Side::Client => rewrite::to_client(bytes, &template.meta, client.ip().into(), client.port()),
            Side::Server => rewrite::to_server(bytes, &template.meta, client.ip().into(), client.port()),
        }
    }

    /// Notes the server that a client's first packet was sent to, and checks that it is that client's.
    pub(super) fn learn(&mut self, flow: usize, sent: &[u8]) {
        let meta = parse(sent).expect("what is sent can be parsed");
        let (ip, port) = (client(flow, self.v6).ip().into(), client(flow, self.v6).port());
        assert_eq!((meta.src, meta.sport), (ip, port), "the frames came back in another order");
        let server = usize::from(sent[5]);
        let to = if self.mode == Mode::Nat { self::server(server, self.v6) } else { service(self.v6) };
        assert_eq!((meta.dst, meta.dport, &sent[..6]), (to.ip().into(), to.port(), &server_mac(server)[..]));
        self.servers[flow] = sent[5];
    }
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

/// Where clients connect to.
pub(super) fn service(v6: bool) -> SocketAddr {
    let ip = if v6 { "2001:db8::1".parse() } else { "192.0.2.1".parse() };
    SocketAddr::new(ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), 80)
}

/// A server's address; servers count from 0.
pub(super) fn server(n: usize, v6: bool) -> SocketAddr {
    let last = u8::try_from(n + 11).unwrap_or(u8::MAX);
    let v6_address = Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, last.into());
    SocketAddr::new(if v6 { v6_address.into() } else { Ipv4Addr::new(10, 2, 0, last).into() }, 8080)
}

/// A server's Ethernet address; it ends with its number.
pub(super) fn server_mac(n: usize) -> [u8; 6] {
    [2, 0, 0, 0, 1, u8::try_from(n).unwrap_or(u8::MAX)]
}

/// A flow's client.
fn client(flow: usize, v6: bool) -> SocketAddr {
    let host = u32::try_from(flow / PORTS_A_CLIENT).unwrap_or(0);
    let port = u16::try_from(1024 + flow % PORTS_A_CLIENT * 997).unwrap_or(0);
    let [_, b, c, d] = host.to_be_bytes();
    let v6_address =
        Ipv6Addr::new(0x2001, 0xdb8, 7, u16::from(b), u16::from(c), u16::from(d), 0x1234, 0x5678);
    SocketAddr::new(if v6 { v6_address.into() } else { Ipv4Addr::new(11, b, c, d).into() }, port)
}
