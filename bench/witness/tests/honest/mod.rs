//! A generator and a slow, honest load balancer: packets are taken apart into etherparse's headers, changed, and put
//! together again with every checksum computed anew.
#![allow(dead_code, reason = "each test uses its part")]

use etherparse::{
    Ethernet2Header, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, LinkExtHeader, LinkHeader, NetHeaders,
    PacketBuilder, PacketHeaders, SingleVlanHeader, TcpHeader, TransportHeader, UdpHeader, VlanId,
    ether_type,
};
use ringlead_witness::{
    Arrival, Checksum, End, Expectation, Layout, Limits, Mode, Sender, Sent, Server, Service, Stamp,
    Transport, Witness,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(crate) const TRIAL: u8 = 9;
pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xc1];
pub(crate) const LB_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xa0];
pub(crate) const CLIENT_IF: u16 = 0;
pub(crate) const TOS: u8 = 0x2e << 2 | 1;
/// One a mode, family and protocol.
pub(crate) const SERVICES: u16 = 8;
const SERVERS_EACH: u16 = 3;

/// Flow f belongs to service f mod 8. Service bits: 1 UDP, 2 IPv6, 4 dsr.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) vlan: Option<u16>,
    pub(crate) checksum: Checksum,
    pub(crate) extra: usize,
    pub(crate) fragmentable: bool,
}

pub(crate) fn is_udp(service: u16) -> bool {
    service & 1 != 0
}

pub(crate) fn is_v6(service: u16) -> bool {
    service & 2 != 0
}

pub(crate) fn is_dsr(service: u16) -> bool {
    service & 4 != 0
}

pub(crate) fn service_of(flow: u32) -> u16 {
    u16::try_from(flow % u32::from(SERVICES)).unwrap()
}

pub(crate) fn client(flow: u32) -> SocketAddr {
    let port = 1024 + u16::try_from(flow % 60_000).unwrap();
    let ip: IpAddr = if is_v6(service_of(flow)) {
        Ipv6Addr::from_bits(0x2001_0002_0000_0001_0000_0000_0000_0001 + u128::from(flow)).into()
    } else {
        Ipv4Addr::from_bits(0xc612_0001 + flow / 60_000).into()
    };
    (ip, port).into()
}

pub(crate) fn service_address(service: u16) -> SocketAddr {
    let last = u8::try_from(service).unwrap() + 1;
    if is_v6(service) {
        (Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, last.into()), 80).into()
    } else {
        (Ipv4Addr::new(10, 9, 0, last), 80).into()
    }
}

pub(crate) fn expectation() -> Expectation {
    let mut expect = Expectation::default();
    for service in 0..SERVICES {
        let servers = (0..SERVERS_EACH).map(|n| service * SERVERS_EACH + n);
        for id in servers.clone() {
            let last = u8::try_from(id).unwrap() + 11;
            let ip: IpAddr = if is_v6(service) {
                Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, last.into()).into()
            } else {
                Ipv4Addr::new(10, 2, 0, last).into()
            };
            expect.servers.push(Server {
                name: format!("s{id}"),
                address: (ip, 8080).into(),
                mac: Some([2, 0, 0, 0, 1, last]),
                interface: Some(id + 1),
                vlan: None,
            });
        }
        expect.services.push(Service {
            address: service_address(service),
            transport: if is_udp(service) { Transport::Udp } else { Transport::Tcp },
            mode: if is_dsr(service) { Mode::Dsr } else { Mode::Nat },
            servers: servers.collect(),
        });
    }
    expect
}

/// The `n`th server of a flow's service.
pub(crate) fn server(flow: u32, n: u16) -> u16 {
    service_of(flow) * SERVERS_EACH + n % SERVERS_EACH
}

impl Sender for Plan {
    fn sent(&self, flow: u32, seq: u32) -> Option<Sent> {
        let service = service_of(flow);
        let udp = is_udp(service);
        Some(Sent {
            mac: Some(CLIENT_MAC),
            vlan: self.vlan,
            ttl: 61,
            tos: TOS,
            label: 0x1234,
            dont_fragment: !is_v6(service) && !self.fragmentable,
            flags: if udp { 0 } else { flags(seq) },
            checksum: self.checksum,
            reply_ttl: 33,
            reply_flags: if udp { 0 } else { flags(seq) | 0x10 },
            ..Sent::plain(service, client(flow), if udp { 0 } else { 4321 })
        })
    }
}

/// A SYN, then PSH and ACK.
fn flags(seq: u32) -> u8 {
    if seq == 0 { 0x02 } else { 0x18 }
}

impl Plan {
    pub(crate) fn witness(self, flows: u32) -> Witness<Self> {
        Witness::new(expectation(), self, TRIAL, Limits::flows(flows)).unwrap()
    }

    pub(crate) fn witness_of_replies(self, flows: u32) -> Witness<Self> {
        let limits = Limits { replies: true, ..Limits::flows(flows) };
        Witness::new(expectation(), self, TRIAL, limits).unwrap()
    }

    /// What the generator puts on the wire.
    pub(crate) fn frame(&self, flow: u32, seq: u32) -> Vec<u8> {
        let service = service_of(flow);
        let sent = self.sent(flow, seq).unwrap();
        let (from, to) = (sent.client, service_address(service));
        let transport = if is_udp(service) { Transport::Udp } else { Transport::Tcp };
        let payload = Layout::payload_min(transport) + self.extra;
        let mut parts = Parts::new(from, to, transport, payload);
        if let Some(vlan) = self.vlan {
            parts.set_vlan(Some(vlan));
        }
        match &mut parts.ip {
            Ip::V4(ip) => {
                ip.time_to_live = sent.ttl;
                ip.identification = 0x1234;
                ip.dont_fragment = sent.dont_fragment;
                (ip.dscp, ip.ecn) = ((TOS >> 2).try_into().unwrap(), (TOS & 3).try_into().unwrap());
            }
            Ip::V6(ip) => {
                ip.hop_limit = sent.ttl;
                ip.traffic_class = TOS;
                ip.flow_label = Ipv6FlowLabel::try_new(0x1234).unwrap();
            }
        }
        parts.set_flags(sent.flags);
        let mut bytes = parts.encode(Checksum::Right);
        let l4 = bytes.len() - payload - if is_udp(service) { 8 } else { 20 };
        let layout = Layout::new(transport, if is_udp(service) { 8 } else { 20 }, payload).unwrap();
        layout.fill(&mut bytes, l4);
        layout.write(&mut bytes, l4, &Stamp::new(TRIAL, flow, seq, u64::from(seq) * 1000));
        Parts::of(&bytes).encode(self.checksum)
    }
}

/// A frame taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) ethernet: Ethernet2Header,
    pub(crate) vlan: Option<SingleVlanHeader>,
    pub(crate) ip: Ip,
    pub(crate) transport: TransportHeader,
    pub(crate) payload: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) enum Ip {
    V4(Ipv4Header),
    V6(Ipv6Header),
}

impl Parts {
    fn new(from: SocketAddr, to: SocketAddr, transport: Transport, payload: usize) -> Self {
        let start = PacketBuilder::ethernet2(CLIENT_MAC, LB_MAC);
        let ip = match (from.ip(), to.ip()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => start.ipv4(a.octets(), b.octets(), 64),
            (IpAddr::V6(a), IpAddr::V6(b)) => start.ipv6(a.octets(), b.octets(), 64),
            _ => unreachable!("one family"),
        };
        let (mut bytes, payload) = (Vec::new(), vec![0; payload]);
        match transport {
            Transport::Tcp => {
                ip.tcp(from.port(), to.port(), 0, 4321).ack(0).write(&mut bytes, &payload).unwrap();
            }
            Transport::Udp => ip.udp(from.port(), to.port()).write(&mut bytes, &payload).unwrap(),
        }
        Self::of(&bytes)
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        let packet = PacketHeaders::from_ethernet_slice(bytes).unwrap();
        let Some(LinkHeader::Ethernet2(ethernet)) = packet.link else { panic!("Ethernet") };
        let vlan = packet.link_exts.first().map(|ext| match ext {
            LinkExtHeader::Vlan(vlan) => vlan.clone(),
            LinkExtHeader::Macsec(_) => panic!("MACsec"),
        });
        let ip = match packet.net.unwrap() {
            NetHeaders::Ipv4(header, _) => Ip::V4(header),
            NetHeaders::Ipv6(header, _) => Ip::V6(header),
            NetHeaders::Arp(_) => panic!("ARP"),
        };
        let transport = packet.transport.unwrap();
        Self { ethernet, vlan, ip, transport, payload: packet.payload.slice().to_vec() }
    }

    /// Every length and checksum computed.
    pub(crate) fn encode(&self, checksum: Checksum) -> Vec<u8> {
        let (mut ip, mut transport) = (self.ip.clone(), self.transport.clone());
        match (&mut transport, &ip) {
            (TransportHeader::Tcp(tcp), Ip::V4(ip)) => {
                tcp.checksum = tcp.calc_checksum_ipv4_raw(ip.source, ip.destination, &self.payload).unwrap();
            }
            (TransportHeader::Tcp(tcp), Ip::V6(ip)) => {
                tcp.checksum = tcp.calc_checksum_ipv6_raw(ip.source, ip.destination, &self.payload).unwrap();
            }
            (TransportHeader::Udp(udp), Ip::V4(ip)) => {
                udp.checksum = udp.calc_checksum_ipv4_raw(ip.source, ip.destination, &self.payload).unwrap();
            }
            (TransportHeader::Udp(udp), Ip::V6(ip)) => {
                udp.checksum = udp.calc_checksum_ipv6_raw(ip.source, ip.destination, &self.payload).unwrap();
            }
            other => panic!("{other:?}"),
        }
        let field = match &mut transport {
            TransportHeader::Tcp(TcpHeader { checksum, .. })
            | TransportHeader::Udp(UdpHeader { checksum, .. }) => checksum,
            other => panic!("{other:?}"),
        };
        match checksum {
            Checksum::Right => {}
            Checksum::Absent => *field = 0,
            Checksum::Wrong => *field = if *field > 0x8000 { *field - 0x1234 } else { *field + 0x1234 },
        }
        let mut bytes = self.ethernet.to_bytes().to_vec();
        if let Some(vlan) = &self.vlan {
            bytes.extend(vlan.to_bytes());
        }
        match &mut ip {
            Ip::V4(ip) => {
                ip.header_checksum = ip.calc_header_checksum();
                bytes.extend(ip.to_bytes());
            }
            Ip::V6(ip) => bytes.extend(ip.to_bytes()),
        }
        match &transport {
            TransportHeader::Tcp(tcp) => bytes.extend(tcp.to_bytes()),
            TransportHeader::Udp(udp) => bytes.extend(udp.to_bytes()),
            other => panic!("{other:?}"),
        }
        bytes.extend(&self.payload);
        bytes
    }

    pub(crate) fn set_vlan(&mut self, vlan: Option<u16>) {
        let inner = if matches!(self.ip, Ip::V4(_)) { ether_type::IPV4 } else { ether_type::IPV6 };
        self.vlan = vlan.map(|vlan| SingleVlanHeader {
            pcp: 0.try_into().unwrap(),
            drop_eligible_indicator: false,
            vlan_id: VlanId::try_new(vlan).unwrap(),
            ether_type: inner,
        });
        self.ethernet.ether_type = if vlan.is_some() { ether_type::VLAN_TAGGED_FRAME } else { inner };
    }

    pub(crate) fn set_flags(&mut self, flags: u8) {
        if let TransportHeader::Tcp(tcp) = &mut self.transport {
            (tcp.fin, tcp.syn, tcp.rst) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
            (tcp.psh, tcp.ack) = (flags & 8 != 0, flags & 16 != 0);
        }
    }

    pub(crate) fn set_source(&mut self, to: SocketAddr) {
        match (&mut self.ip, to.ip()) {
            (Ip::V4(ip), IpAddr::V4(to)) => ip.source = to.octets(),
            (Ip::V6(ip), IpAddr::V6(to)) => ip.source = to.octets(),
            other => panic!("{other:?}"),
        }
        match &mut self.transport {
            TransportHeader::Tcp(tcp) => tcp.source_port = to.port(),
            TransportHeader::Udp(udp) => udp.source_port = to.port(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn set_destination(&mut self, to: SocketAddr) {
        match (&mut self.ip, to.ip()) {
            (Ip::V4(ip), IpAddr::V4(to)) => ip.destination = to.octets(),
            (Ip::V6(ip), IpAddr::V6(to)) => ip.destination = to.octets(),
            other => panic!("{other:?}"),
        }
        match &mut self.transport {
            TransportHeader::Tcp(tcp) => tcp.destination_port = to.port(),
            TransportHeader::Udp(udp) => udp.destination_port = to.port(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn set_ttl(&mut self, ttl: u8) {
        match &mut self.ip {
            Ip::V4(ip) => ip.time_to_live = ttl,
            Ip::V6(ip) => ip.hop_limit = ttl,
        }
    }
}

/// Gives the packet a header of this family as RFC 7915 has it, whatever it had.
pub(crate) fn translate(parts: &mut Parts, from: SocketAddr, to: SocketAddr, ttl: u8, id: u16) {
    let (protocol, header) = match &parts.transport {
        TransportHeader::Tcp(_) => (IpNumber::TCP, 20),
        TransportHeader::Udp(_) => (IpNumber::UDP, 8),
        other => panic!("{other:?}"),
    };
    let length = u16::try_from(header + parts.payload.len()).unwrap();
    parts.ip = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut ip = Ipv4Header::new(length, ttl, protocol, from.octets(), to.octets()).unwrap();
            (ip.dscp, ip.ecn) = ((TOS >> 2).try_into().unwrap(), (TOS & 3).try_into().unwrap());
            (ip.identification, ip.dont_fragment) = (id, length + 20 > 1260);
            Ip::V4(ip)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => Ip::V6(Ipv6Header {
            traffic_class: TOS,
            flow_label: Ipv6FlowLabel::ZERO,
            payload_length: length,
            next_header: protocol,
            hop_limit: ttl,
            source: from.octets(),
            destination: to.octets(),
        }),
        _ => unreachable!("one family"),
    };
    parts.set_vlan(None);
    parts.set_source(from);
    parts.set_destination(to);
}

/// What an honest balancer makes of a client's packet, before the checksums.
pub(crate) fn forward(flow: u32, frame: &[u8], to: u16) -> Parts {
    let expect = expectation();
    let server = &expect.servers[usize::from(to)];
    let mut parts = Parts::of(frame);
    parts.ethernet.source = LB_MAC;
    parts.ethernet.destination = server.mac.unwrap();
    parts.set_vlan(None);
    if !is_dsr(service_of(flow)) {
        parts.set_destination(server.address);
        parts.set_ttl(60);
    }
    parts
}

/// What comes back to the client when its server answers the packet with itself.
pub(crate) fn reply(plan: &Plan, flow: u32, frame: &[u8]) -> Parts {
    let sent = plan.sent(flow, 0).unwrap();
    let service = service_of(flow);
    let mut parts = Parts::of(frame);
    parts.ethernet.source = LB_MAC;
    parts.ethernet.destination = CLIENT_MAC;
    parts.set_vlan(plan.vlan);
    parts.set_source(service_address(service));
    parts.set_destination(sent.client);
    parts.set_ttl(if is_dsr(service) { 33 } else { 32 });
    let syn = matches!(&parts.transport, TransportHeader::Tcp(tcp) if tcp.syn);
    parts.set_flags(if syn { 0x12 } else { 0x18 });
    parts
}

pub(crate) fn at_server(server: u16, at_ns: u64) -> Arrival {
    Arrival { interface: server + 1, end: End::Servers, at_ns }
}

pub(crate) fn at_client(at_ns: u64) -> Arrival {
    Arrival { interface: CLIENT_IF, end: End::Clients, at_ns }
}
