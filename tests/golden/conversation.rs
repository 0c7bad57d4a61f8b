//! The witness's own idea of a balancer: a table of who speaks with whom, filled from the packets that were seen.

use crate::ip::{Frame, Ip};
use crate::output::Record;
use crate::setup::{Link, Service, Setup};
use ringlead_tests::pcap_cases::Port;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Everything that the packets so far have said.
#[derive(Default)]
pub(crate) struct Conversations {
    /// Server, client and protocol → the service that the client spoke to.
    services: BTreeMap<(SocketAddr, SocketAddr, u8), SocketAddr>,
    /// Client, service and protocol → where its last packet came from.
    links: BTreeMap<(SocketAddr, SocketAddr, u8), Link>,
}

/// What a forwarded packet must look like, as far as it differs from the received one.
struct Expected {
    port: Port,
    link: Link,
    ends: (SocketAddr, SocketAddr),
    quoted: Option<(SocketAddr, SocketAddr)>,
    ttl: u8,
}

impl Conversations {
    /// Checks one forwarded packet: what came in, and what went out for it.
    pub(crate) fn check(&mut self, setup: &Setup, came: &Record, went: &Record) -> Result<(), String> {
        let read = |record: &Record| Frame::of(&record.frame).ok_or("unreadable");
        let (before, after) = (read(came)?, read(went)?);
        if let Some(checksum) = after.ip.wrong_checksum() {
            return Err(format!("wrong {checksum}"));
        }
        let expected = match came.verdict().split_once(" <- ") {
            Some((service, server)) => {
                let name = service.strip_prefix("to client: ").ok_or("no verdict")?;
                let service = setup.services.get(name).ok_or("no such service")?;
                self.back_to_client(service, server, &before)?
            }
            None => self.towards_server(setup, came.verdict(), &before)?,
        };
        expected.compare(&before, went, &after)
    }

    fn towards_server(&mut self, setup: &Setup, verdict: &str, before: &Frame) -> Result<Expected, String> {
        let Some((service, server)) = verdict.split_once(" -> ") else {
            return computed(setup, before);
        };
        let (name, _) =
            service.strip_prefix("to server: ").and_then(|s| s.split_once(' ')).ok_or("no verdict")?;
        let service = setup.services.get(name).ok_or("no such service")?;
        let server = server.split(',').next().unwrap_or_default();
        let server = *service.servers.get(server).ok_or("no such server")?;
        let link = setup.link(server.ip());
        let quote = before.ip.quote();
        // An error about what the service sent is a packet of the client's, the other way round.
        let (client, asked) = quote.as_ref().map_or(before.ip.endpoints(), |quote| {
            let (from, to) = quote.endpoints();
            (to, from)
        });
        let asked_port = if service.listen.port() == 0 { 0 } else { asked.port() };
        if service.listen != SocketAddr::new(asked.ip(), asked_port) {
            return Err(format!("{asked} is not where {name} listens"));
        }
        if !service.nat {
            return Ok(Expected::untouched(before, link));
        }
        let protocol = quote.as_ref().map_or(before.ip.protocol, |quote| quote.protocol);
        if let Some(other) = self.services.insert((server, client, protocol), asked)
            && other != asked
        {
            return Err(format!("{server} cannot tell {client}'s flows to {other} and {asked} apart"));
        }
        let ttl = before.ip.ttl() - 1;
        let (from, to) = before.ip.endpoints();
        if quote.is_some() {
            let ends = (from, SocketAddr::new(server.ip(), 0));
            return Ok(Expected { port: Port::Lan, link, ends, quoted: Some((server, client)), ttl });
        }
        self.links.insert((from, to, protocol), (before.from, before.tags.clone()));
        Ok(Expected { port: Port::Lan, link, ends: (from, server), quoted: None, ttl })
    }

    fn back_to_client(&self, service: &Service, server: &str, before: &Frame) -> Result<Expected, String> {
        let quote = before.ip.quote();
        let (sender, client) = quote.as_ref().map_or(before.ip.endpoints(), |quote| {
            let (from, to) = quote.endpoints();
            (to, from)
        });
        if service.servers.get(server) != Some(&sender) {
            return Err(format!("{sender} is not {server}"));
        }
        let protocol = quote.as_ref().map_or(before.ip.protocol, |quote| quote.protocol);
        let asked = *self.services.get(&(sender, client, protocol)).ok_or("the client has not spoken")?;
        let link = self.links.get(&(client, asked, protocol)).ok_or("the client has not spoken")?.clone();
        let ttl = before.ip.ttl() - 1;
        let (from, to) = before.ip.endpoints();
        if quote.is_none() {
            return Ok(Expected { port: Port::Wan, link, ends: (asked, client), quoted: None, ttl });
        }
        // The server's own errors hide it; a router between is shown as it is.
        let from = if from.ip() == sender.ip() { SocketAddr::new(asked.ip(), 0) } else { from };
        Ok(Expected { port: Port::Wan, link, ends: (from, to), quoted: Some((client, asked)), ttl })
    }
}

/// Sent to a server without a flow: to any that a dsr service has.
fn computed(setup: &Setup, before: &Frame) -> Result<Expected, String> {
    let dsr = setup.services.values().filter(|service| !service.nat);
    let (_, to) = before.ip.endpoints();
    let listening = dsr.filter(|service| service.listen.ip() == to.ip());
    let links = listening.flat_map(|service| service.servers.values()).map(|server| setup.link(server.ip()));
    Ok(Expected::untouched(before, links.min().ok_or("no dsr service")?))
}

impl Expected {
    fn untouched(before: &Frame, link: Link) -> Self {
        let quoted = before.ip.quote().map(|quote| quote.endpoints());
        Self { port: Port::Lan, link, ends: before.ip.endpoints(), quoted, ttl: before.ip.ttl() }
    }

    fn compare(&self, before: &Frame, went: &Record, after: &Frame) -> Result<(), String> {
        let untouched = self.ttl == before.ip.ttl();
        if went.port() != self.port.name() {
            return Err(format!("left by {}", went.port()));
        }
        // Which server a computed one is, the verdict does not say.
        let same_link = after.to == self.link.0 || went.verdict().contains("computed");
        if !same_link || after.from != self.port.mac() || after.tags != self.link.1 {
            return Err(format!("Ethernet is {:02x?} {:02x?} {:x?}", after.to, after.from, after.tags));
        }
        if after.ip.endpoints() != self.ends {
            return Err(format!("ends are {:?}, not {:?}", after.ip.endpoints(), self.ends));
        }
        let quoted = after.ip.quote().as_ref().map(Ip::endpoints);
        if quoted != self.quoted {
            return Err(format!("quoted ends are {quoted:?}, not {:?}", self.quoted));
        }
        if after.ip.ttl() != self.ttl {
            return Err(format!("TTL is {}, not {}", after.ip.ttl(), self.ttl));
        }
        if after.ip.what_nobody_changes() != before.ip.what_nobody_changes()
            || after.padding != before.padding
        {
            return Err("more than addresses, ports, TTL and checksums has changed".to_owned());
        }
        // dsr touches nothing, except a checksum that was not finished.
        if untouched && before.ip.wrong_checksum().is_none() && after.ip != before.ip {
            return Err("dsr has changed the packet".to_owned());
        }
        Ok(())
    }
}
