//! What the witness is told: the services and servers, and how each packet was sent. It computes, so nothing is stored.

use crate::error::TrafficError;
use crate::flows::Space;
use crate::frame::{ACK, TTL, WINDOW};
use crate::mode::Mode;
use crate::setup::Setup;
use crate::station::PortInfo;
use crate::supply::{flags, spread};
use ringlead_wire::Protocol;
use ringlead_witness::{Checksum, Expectation, Sender, Sent, Transport, Witness};
use std::net::SocketAddr;
use std::sync::Arc;

/// The judge of one trial.
pub(crate) type Judge = Witness<Book>;

/// How packets of one trial were sent.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    pub(crate) space: Arc<Space>,
    /// Flows below exist when the trial begins.
    pub(crate) primed: u32,
    /// Flows from here on have wrong checksums.
    pub(crate) odd_from: u32,
    /// Where replies to a flow go, by the queue that it is sent by.
    pub(crate) client_macs: Vec<[u8; 6]>,
    /// DSCP and ECN of every packet.
    pub(crate) tos: u8,
    /// The clients' VLAN, in which the balancer sends replies.
    pub(crate) vlan: Option<u16>,
}

impl Sender for Book {
    #[inline]
    fn sent(&self, flow: u32, seq: u32) -> Option<Sent> {
        let tuple = self.space.tuple(flow);
        let service = self.space.services().get(tuple.service)?;
        let tcp = service.protocol == Protocol::Tcp;
        let client = SocketAddr::new(tuple.client, tuple.port);
        let number = u16::try_from(tuple.service).ok()?;
        let queue = spread(flow) as usize % self.client_macs.len().max(1);
        let flags = if tcp { flags(flow, seq, self.primed) } else { 0 };
        Some(Sent {
            mac: self.client_macs.get(queue).copied(),
            vlan: self.vlan,
            ttl: TTL,
            tos: self.tos,
            flags,
            reply_flags: if tcp { flags | ACK } else { 0 },
            reply_ttl: TTL,
            checksum: if flow >= self.odd_from { Checksum::Wrong } else { Checksum::Right },
            ..Sent::plain(number, client, if tcp { WINDOW } else { 0 })
        })
    }
}

/// The services with their servers. In `dsr` mode a server is its port, in `tunnel` mode its address, and else its address
/// and port. Services have the servers of their own family, in `snat` mode without such those of the other.
pub(crate) fn expectation(setup: &Setup, ports: &[PortInfo]) -> Result<Expectation, TrafficError> {
    let mut servers: Vec<ringlead_witness::Server> = Vec::new();
    for server in &setup.servers {
        let at = ports.iter().position(|info| info.port == server.port);
        let at = at.ok_or_else(|| TrafficError::Setup(format!("{} is no port of ours", server.port)))?;
        let interface = u16::try_from(at).ok();
        let twin = |other: &ringlead_witness::Server| match setup.mode {
            Mode::Nat | Mode::Snat => other.address == server.address,
            Mode::Dsr => other.interface == interface,
            Mode::Tunnel => other.address.ip() == server.address.ip(),
        };
        if servers.iter().any(|other| twin(other) || other.address == server.address) {
            continue;
        }
        let name = match setup.mode {
            Mode::Nat | Mode::Snat | Mode::Tunnel => format!("{}@{}", server.address, server.port),
            Mode::Dsr => server.port.to_string(),
        };
        let mac = ports.get(at).map(|info| info.mac);
        servers.push(ringlead_witness::Server { name, address: server.address, mac, interface, vlan: None });
    }
    let services = setup.services.iter().map(|service| {
        let own = |server: &ringlead_witness::Server| server.address.is_ipv4() == service.address.is_ipv4();
        let has_own = servers.iter().any(own);
        let fits = |server: &ringlead_witness::Server| match setup.mode {
            Mode::Nat => own(server),
            // Without servers of its own family it is translated (RFC 7915).
            Mode::Snat => own(server) || !has_own,
            Mode::Dsr | Mode::Tunnel => true,
        };
        let mine = (0_u16..).zip(&servers).filter(|(_, server)| fits(server)).map(|(index, _)| index);
        ringlead_witness::Service {
            address: service.address,
            transport: match service.protocol {
                Protocol::Tcp => Transport::Tcp,
                Protocol::Udp => Transport::Udp,
            },
            mode: setup.mode.of_witness(),
            servers: mine.collect(),
        }
    });
    let services = services.collect();
    let (snat, tunnel) = (setup.snat.clone(), setup.tunnel.clone());
    Ok(Expectation { services, servers, snat, tunnel })
}
