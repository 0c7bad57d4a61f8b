//! The witness's own idea of a balancer: a table of who speaks with whom, filled from the packets that were seen.

use crate::ip::{Frame, Ip};
use crate::output::Record;
use crate::setup::{Link, Packing, Service, Setup, Sources, Way};
use crate::{crossing, tunnel};
use ringlead_tests::pcap_cases::Port;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Client, service and protocol.
type Flow = (SocketAddr, SocketAddr, u8);

/// Everything that the packets so far have said.
#[derive(Default)]
pub(crate) struct Conversations {
    /// Server, whom it answers to, and protocol → the client and the service that it spoke to.
    answers: BTreeMap<(SocketAddr, SocketAddr, u8), (SocketAddr, SocketAddr)>,
    /// Where its last packet came from.
    links: BTreeMap<Flow, Link>,
    /// snat: the server, and what it takes for its client.
    mappings: BTreeMap<Flow, (SocketAddr, SocketAddr)>,
    /// tunnel: outer source address and port.
    outer: BTreeMap<Flow, SocketAddr>,
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
        let mut before = Frame::of(&came.frame).ok_or("unreadable")?;
        let service = service_of(setup, came.verdict());
        if let Some(most) = service.and_then(|service| service.mss) {
            before.ip = before.ip.clamped(most);
        }
        if let Some(Service { way: Way::Tunnel(packing), .. }) = service {
            return self.check_tunnel(setup, packing, came.verdict(), &before, went);
        }
        let after = Frame::of(&went.frame).ok_or("unreadable")?;
        if let Some(checksum) = after.ip.wrong_checksum() {
            return Err(format!("wrong {checksum}"));
        }
        let expected = match came.verdict().split_once(" <- ") {
            Some((_, server)) => self.back_to_client(service.ok_or("no such service")?, server, &before)?,
            None => self.towards_server(setup, came.verdict(), &before, &after)?,
        };
        if before.ip.v4() == after.ip.v4() {
            expected.compare(&before, went, &after)
        } else {
            expected.same_place(&before, went, &after)?;
            crossing::compare(&before.ip, &after.ip)
        }
    }

    fn towards_server(
        &mut self,
        setup: &Setup,
        verdict: &str,
        before: &Frame,
        after: &Frame,
    ) -> Result<Expected, String> {
        if verdict.contains("computed") {
            return computed(setup, before);
        }
        let Asked { service, server, client, asked, protocol } = Asked::of(setup, verdict, before)?;
        let link = setup.link(server.ip());
        let quote = before.ip.quote();
        let flow = (client, asked, protocol);
        let seen_as = match &service.way {
            Way::Dsr | Way::Tunnel(_) => return Ok(Expected::untouched(before, link)),
            Way::Nat => client,
            Way::Snat(_) if quote.is_some() => {
                let (to, seen_as) = *self.mappings.get(&flow).ok_or("an error about no flow")?;
                if to != server {
                    return Err(format!("its server is {to}"));
                }
                seen_as
            }
            Way::Snat(sources) => self.mapped(sources, flow, server, after)?,
        };
        if let Some(other) = self.answers.insert((server, seen_as, protocol), (client, asked))
            && other != (client, asked)
        {
            return Err(format!("{server} cannot tell {client} at {asked} from {other:?}"));
        }
        let ttl = before.ip.ttl() - 1;
        let (from, to) = before.ip.endpoints();
        let crosses = server.is_ipv4() != client.is_ipv4();
        if quote.is_some() {
            // The client's own errors hide it from a server that knows an address of ours; a router's have no counterpart
            // in the other family (RFC 6791 §3).
            let itself = matches!(service.way, Way::Snat(_)) && (from.ip() == client.ip() || crosses);
            let from = if itself { SocketAddr::new(seen_as.ip(), 0) } else { from };
            let ends = (from, SocketAddr::new(server.ip(), 0));
            return Ok(Expected { port: Port::Lan, link, ends, quoted: Some((server, seen_as)), ttl });
        }
        self.links.insert((from, to, protocol), (before.from, before.tags.clone()));
        Ok(Expected { port: Port::Lan, link, ends: (seen_as, server), quoted: None, ttl })
    }

    /// What a server takes for the client of this flow: what it took before, or an address and port of the pool.
    fn mapped(
        &mut self,
        sources: &Sources,
        flow: Flow,
        server: SocketAddr,
        after: &Frame,
    ) -> Result<SocketAddr, String> {
        let (seen_as, _) = after.ip.endpoints();
        let (to, known) = *self.mappings.entry(flow).or_insert((server, seen_as));
        if to != server || known != seen_as {
            return Err(format!("{flow:?} was {known} at {to}, now {seen_as} at {server}"));
        }
        if !sources.addresses.contains(&seen_as.ip()) || !sources.ports.contains(&seen_as.port()) {
            return Err(format!("{seen_as} is not of the pool"));
        }
        Ok(seen_as)
    }

    /// The packet, whole, inside another one, whose source is the same for all of the flow.
    fn check_tunnel(
        &mut self,
        setup: &Setup,
        packing: &Packing,
        verdict: &str,
        before: &Frame,
        went: &Record,
    ) -> Result<(), String> {
        let Asked { server, client, asked, protocol, .. } = Asked::of(setup, verdict, before)?;
        if went.port() != Port::Lan.name() {
            return Err(format!("left by {}", went.port()));
        }
        let link = setup.link(server.ip());
        let source = tunnel::unpacked(packing, &link, server.ip(), &before.ip, &went.frame)?;
        let known = *self.outer.entry((client, asked, protocol)).or_insert(source);
        if known == source { Ok(()) } else { Err(format!("outer source {source}, before {known}")) }
    }

    fn back_to_client(&self, service: &Service, server: &str, before: &Frame) -> Result<Expected, String> {
        let quote = before.ip.quote();
        let (sender, seen_as) = quote.as_ref().map_or(before.ip.endpoints(), |quote| {
            let (from, to) = quote.endpoints();
            (to, from)
        });
        let listed = *service.servers.get(server).ok_or("no such server")?;
        if listed.ip() != sender.ip() || listed.port() != 0 && listed.port() != sender.port() {
            return Err(format!("{sender} is not {server}"));
        }
        let protocol = quote.as_ref().map_or(before.ip.protocol, |quote| quote.protocol);
        let key = (sender, seen_as, protocol);
        let (client, asked) = *self.answers.get(&key).ok_or("the client has not spoken")?;
        let link = self.links.get(&(client, asked, protocol)).ok_or("the client has not spoken")?.clone();
        let ttl = before.ip.ttl() - 1;
        let (from, _) = before.ip.endpoints();
        if quote.is_none() {
            return Ok(Expected { port: Port::Wan, link, ends: (asked, client), quoted: None, ttl });
        }
        // The server's own errors hide it; a router between is shown as it is, where its address can be written.
        let itself = from.ip() == sender.ip() || from.is_ipv4() != client.is_ipv4();
        let from = if itself { SocketAddr::new(asked.ip(), 0) } else { from };
        let ends = (from, SocketAddr::new(client.ip(), 0));
        Ok(Expected { port: Port::Wan, link, ends, quoted: Some((client, asked)), ttl })
    }
}

/// The service that a verdict names.
fn service_of<'s>(setup: &'s Setup, verdict: &str) -> Option<&'s Service> {
    let name = match verdict.split_once(" <- ") {
        Some((service, _)) => service.strip_prefix("to client: ")?,
        None => verdict.strip_prefix("to server: ")?.split_once(' ')?.0,
    };
    setup.services.get(name)
}

/// A packet for a server: whose, and what it is about.
struct Asked<'s> {
    service: &'s Service,
    server: SocketAddr,
    client: SocketAddr,
    asked: SocketAddr,
    protocol: u8,
}

impl<'s> Asked<'s> {
    fn of(setup: &'s Setup, verdict: &str, before: &Frame) -> Result<Self, String> {
        let service = service_of(setup, verdict).ok_or("no such service")?;
        let (_, server) = verdict.split_once(" -> ").ok_or("no verdict")?;
        let server = server.split(',').next().unwrap_or_default();
        let mut server = *service.servers.get(server).ok_or("no such server")?;
        let quote = before.ip.quote();
        // An error about what the service sent is a packet of the client's, the other way round.
        let (client, asked) = quote.as_ref().map_or(before.ip.endpoints(), |quote| {
            let (from, to) = quote.endpoints();
            (to, from)
        });
        let protocol = quote.as_ref().map_or(before.ip.protocol, |quote| quote.protocol);
        let exact = |other: &Service| other.protocol == protocol && other.listen.contains(&asked);
        let any_beside_exact = !exact(service) && setup.services.values().any(exact);
        if service.protocol != protocol || !service.listens_at(asked) || any_beside_exact {
            return Err(format!("{asked} is not where {verdict} listens"));
        }
        if server.port() == 0 {
            server.set_port(asked.port());
        }
        Ok(Self { service, server, client, asked, protocol })
    }
}

/// Sent to a server without a flow: to any that a dsr service has.
fn computed(setup: &Setup, before: &Frame) -> Result<Expected, String> {
    let dsr = setup.services.values().filter(|service| matches!(service.way, Way::Dsr));
    let (_, to) = before.ip.endpoints();
    let listening = dsr.filter(|service| service.listen.iter().any(|at| at.ip() == to.ip()));
    let links = listening.flat_map(|service| service.servers.values()).map(|server| setup.link(server.ip()));
    Ok(Expected::untouched(before, links.min().ok_or("no dsr service")?))
}

impl Expected {
    fn untouched(before: &Frame, link: Link) -> Self {
        let quoted = before.ip.quote().map(|quote| quote.endpoints());
        Self { port: Port::Lan, link, ends: before.ip.endpoints(), quoted, ttl: before.ip.ttl() }
    }

    /// Where it left, to whom, and what it says about both ends.
    fn same_place(&self, before: &Frame, went: &Record, after: &Frame) -> Result<(), String> {
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
            return Err(format!("TTL is {}, not {} of {}", after.ip.ttl(), self.ttl, before.ip.ttl()));
        }
        Ok(())
    }

    fn compare(&self, before: &Frame, went: &Record, after: &Frame) -> Result<(), String> {
        let untouched = self.ttl == before.ip.ttl();
        self.same_place(before, went, after)?;
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
