//! Whoever of a connection is silent is told as well, by a reset in the place of what the other end had sent.

use super::*;
use crate::mixed::{NAT46, NAT64, mixed_rig, with_mixed};
use ringlead_l4::neighbours::NeighbourId;
use std::net::SocketAddr;

const SNAT4: &str = "192.0.2.9:80";
const CLIENT6: &str = "[2001:db8:c::7]:40000";

/// A rig with a service of every mode and both families, and one connection of a client to one of them.
struct Connection {
    plan: Plan,
    rig: Rig,
    ports: Arc<SnatPool>,
    service: &'static str,
    server: usize,
    /// What the server, where its packets come back through us, sees as its client and as itself.
    seen: Option<(SocketAddr, SocketAddr)>,
}

impl Connection {
    fn to(service: &'static str) -> Self {
        let plan = Plan::default();
        let (mut rig, ports) = mixed_rig(&plan, |_| ());
        rig.publish(with_all(tables_with(&plan, 2, &[0, 1, 2]), &ports));
        let client = if service.starts_with('[') { CLIENT6 } else { CLIENT };
        let syn = from_client(Packet::tcp(client, service).flags(TcpFlags::SYN));
        let (_, frame) = rig.one(WAN, &syn);
        let two_sided = [NAT4, NAT6, SNAT4, NAT64, NAT46].contains(&service);
        let (server, seen) = (server_of(&frame), two_sided.then(|| ends(&frame)));
        let mut it = Self { plan, rig, ports, service, server, seen };
        if let Some(answer) = it.answer() {
            it.rig.one(LAN, &answer.flags(TcpFlags::SYN | TcpFlags::ACK).seq(6999).ack(1000));
        }
        let ack = it.ask();
        it.rig.one(WAN, &ack);
        it
    }

    /// A segment of the client's.
    fn ask(&self) -> Packet {
        let client = if self.service.starts_with('[') { CLIENT6 } else { CLIENT };
        from_client(Packet::tcp(client, self.service).seq(1000).ack(7000))
    }

    /// One of the server's.
    fn answer(&self) -> Option<Packet> {
        let (client, server) = self.seen?;
        Some(from_server(self.server, Packet::tcp(server, client).seq(7000).ack(1000)))
    }

    /// The connection's server goes down, or comes back.
    fn publish(&self, epoch: u64, ends: Ends) {
        let up = if ends == Ends::Keep { vec![0, 1, 2] } else { others(&self.plan, self.server) };
        self.rig.publish(down(with_all(tables_with(&self.plan, epoch, &up), &self.ports), &up, ends));
    }

    /// What one segment leads to: the answer to its sender, and what its receiver gets.
    fn resets(&mut self, port: usize, packet: &Packet) -> (Vec<u8>, Vec<u8>) {
        let mut sent = self.rig.send(port, &[packet.build()]);
        let drops = self.rig.drops();
        assert_eq!(sent.iter().map(|(port, _)| *port).collect::<Vec<_>>(), [WAN, LAN], "{drops:?}");
        let ((_, wan), (_, lan)) = (sent.remove(0), sent.remove(0));
        if port == WAN { (wan, lan) } else { (lan, wan) }
    }

    /// Lets time pass until the sweep has seen every flow.
    fn wait(&mut self, seconds: u64) {
        self.rig.now += seconds * SECOND;
        (0..100).for_each(|_| drop(self.rig.tick()));
    }
}

fn with_all(tables: Tables, ports: &Arc<SnatPool>) -> Tables {
    let members: Vec<Member> = (0..3).map(|n| Member { identity: n, weight: 1 }).collect();
    let table = Maglev::build(&members, 251);
    let chooser = ringlead_l4::tables::Chooser::Maglev { table, by: HashBy::FiveTuple };
    let pool = pool_of(1, chooser, &[0, 1, 2], false);
    let extra = Extra::new(SNAT4, Delivery::Snat(Arc::clone(ports)), pool);
    with_extras(with_mixed(tables, ports), &[extra])
}

/// Without the identification of a first IPv4 header, which every packet has its own of, and its checksum.
fn plain(mut frame: Vec<u8>) -> Vec<u8> {
    if frame[12..14] == [8, 0] {
        frame[18..20].fill(0);
        frame[24..26].fill(0);
    }
    frame
}

/// Byte for byte what a reset of the sender's own would have become: in every mode, of both families and between them.
#[test]
fn the_other_end_gets_the_reset_that_its_peer_would_have_sent() {
    let services = [NAT4, NAT6, SNAT4, NAT64, NAT46, DSR4, DSR6, TUNNEL44, TUNNEL46, TUNNEL64, TUNNEL66];
    for service in services {
        for port in [WAN, LAN] {
            let mut it = Connection::to(service);
            let Some(packet) = (if port == WAN { Some(it.ask()) } else { it.answer() }) else { continue };
            let data = packet.clone().tcp_options(&[1; 12]).payload([7; 600]);
            it.publish(3, Ends::Reset);
            let (told, onward) = it.resets(port, &data);
            is_reset(&told, &data.build(), if port == WAN { 7000 } else { 1000 });
            let drops = it.rig.drops();
            assert_eq!(drops, [("flow-reset", 1)], "{service}");
            it.publish(4, Ends::Keep);
            let reset = packet.flags(TcpFlags::RST | TcpFlags::ACK).window(0);
            let (_, expected) = it.rig.one(port, &reset);
            assert_eq!(plain(onward), plain(expected), "{service} by port {port}");
        }
    }
}

/// RFC 9293 §3.10.7.3: a client whose SYN is being answered takes a reset by its acknowledgment alone.
#[test]
fn rfc9293_a_client_that_still_connects_is_refused() {
    let mut it = Connection::to(NAT4);
    it.publish(3, Ends::Reset);
    let answer = it.answer().unwrap().flags(TcpFlags::SYN | TcpFlags::ACK);
    let (_, refusal) = it.resets(LAN, &answer);
    assert_eq!((&refusal[42..46], refusal[47]), (&1000_u32.to_be_bytes()[..], TcpFlags::RST | TcpFlags::ACK));
}

/// The reset for the silent end may have been lost. Once both have spoken, two seconds are enough.
#[test]
fn a_flow_is_known_until_both_ends_were_answered_or_its_own_timer_ends() {
    for service in [NAT4, SNAT4, NAT64] {
        let mut it = Connection::to(service);
        it.publish(3, Ends::Reset);
        let (ask, answer) = (it.ask(), it.answer().unwrap());
        it.resets(LAN, &answer);
        it.wait(25);
        assert_eq!(flows(&it.rig), (1, 0, 1), "{service}: the client was silent");
        let (told, _) = it.resets(WAN, &ask);
        is_reset(&told, &ask.build(), 7000);
        it.wait(1);
        assert_eq!(flows(&it.rig), (1, 0, 1), "a reset may cross with data");
        it.wait(2);
        assert_eq!(flows(&it.rig), (1, 1, 0), "{service}");
        let mut it = Connection::to(service);
        it.publish(3, Ends::Reset);
        it.resets(LAN, &it.answer().unwrap());
        it.wait(31);
        assert_eq!(flows(&it.rig), (1, 1, 0), "{service}: not for ever");
        assert_eq!(it.ports.usage().tcp.used, 0);
    }
}

/// Where the server answers by itself, its client is all that speaks here.
#[test]
fn a_one_sided_flow_waits_for_its_client_only() {
    for service in [DSR4, TUNNEL66] {
        let mut it = Connection::to(service);
        it.publish(3, Ends::Reset);
        let ask = it.ask();
        it.resets(WAN, &ask);
        it.wait(3);
        assert_eq!(flows(&it.rig), (1, 1, 0), "{service}");
    }
}

/// A server that is gone has no Ethernet address: what waits for it would keep others' packets out of the waiting room.
#[test]
fn no_reset_waits_for_a_server_that_is_gone() {
    let mut it = Connection::to(NAT4);
    it.publish(3, Ends::Reset);
    for family in 0..2 {
        it.rig.shared.neighbours.set(NeighbourId((it.server * 2 + family) as u32), None);
    }
    let ask = it.ask();
    let (port, told) = it.rig.one(WAN, &ask);
    is_reset(&told, &ask.build(), 7000);
    assert_eq!((port, it.rig.drops()), (WAN, vec![("flow-reset", 1)]));
    it.rig.tick();
    assert_eq!(it.rig.counters().held.get(), 0);
}
