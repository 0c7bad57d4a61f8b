//! Nodes that share a service of layer l7: another one's flows are routed to it, and nothing goes round for ever.

use crate::rig::*;
use ringlead_l4::drops::Reason;
use ringlead_l4::tables::{Chooser, Delivery, Prefix, Tunnel};
use ringlead_pick::{HashBy, Maglev, Member};
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;
use ringlead_wire::tunnel::Encapsulation;

const AT4: &str = "192.0.2.9:443";
const AT6: &str = "[2001:db8::9]:443";
/// Server 0 of the plan is this node.
const OWN: usize = 0;

fn tunnel() -> Delivery {
    let prefix = |ip: &str, bits| Prefix::new(ip.parse::<std::net::IpAddr>().unwrap().into(), bits);
    Delivery::Tunnel(Tunnel {
        encapsulation: Encapsulation::Ipip,
        source_v4: prefix("172.16.0.0", 16).unwrap(),
        source_v6: prefix("100::", 64).unwrap(),
    })
}

/// A service of these nodes, this one among them or not.
fn rig_of(delivery: Delivery, at: &'static str, members: &[usize]) -> Rig {
    let plan = Plan::default();
    let rig = Rig::new(&plan);
    rig.publish(with_extras(tables(&plan, 2), &[extra(delivery, at, members)]));
    rig
}

fn extra(delivery: Delivery, at: &'static str, members: &[usize]) -> Extra {
    let all: Vec<Member> =
        members.iter().map(|&m| Member { identity: m as u64 * 977 + 5, weight: 1 }).collect();
    let chooser = Chooser::Maglev { table: Maglev::build(&all, 251), by: HashBy::FiveTuple };
    let v6 = at == AT6;
    let pool = pool_of(9, chooser, members, v6);
    Extra { own: Some(server_id(OWN, v6)), ..Extra::new(at, delivery, pool) }
}

fn client_of(at: &str, port: u16) -> String {
    if at == AT6 { format!("[2001:db8:c::7]:{port}") } else { format!("198.51.100.7:{port}") }
}

#[test]
fn dsr_counts_a_hop_and_changes_nothing_else() {
    for at in [AT4, AT6] {
        let mut rig = rig_of(Delivery::Dsr, at, &[1, 2]);
        let mut seen = [0; 3];
        for port in 40_000..40_050 {
            for (packet, ttl) in [
                (Packet::tcp(client_of(at, port), at).flags(TcpFlags::SYN), 64),
                (Packet::tcp(client_of(at, port), at).flags(TcpFlags::ACK).payload([7; 900]), 64),
                (Packet::tcp(client_of(at, port), at).flags(TcpFlags::ACK).payload([7; 1400]), 2),
            ] {
                let packet = from_client(packet.ttl(ttl));
                let (way, frame) = rig.one(WAN, &packet);
                let node = server_of(&frame);
                let wanted = packet.mac(LAN_MAC, server_mac(node)).ttl(ttl - 1).build();
                assert_eq!((way, &frame), (LAN, &wanted), "{at}: whole, its checksum too");
                seen[node] += 1;
            }
        }
        assert!(seen[OWN] == 0 && seen[1] > 30 && seen[2] > 30, "{seen:?}");
        assert_eq!(rig.counters().flows_created.get(), 50, "flows are pinned");
    }
}

#[test]
fn a_tunnel_counts_a_hop_of_the_inner_packet() {
    for at in [AT4, AT6] {
        let mut rig = rig_of(tunnel(), at, &[1]);
        let packet = from_client(Packet::tcp(client_of(at, 40_000), at).flags(TcpFlags::SYN).ttl(9));
        for _ in 0..2 {
            let (way, frame) = rig.one(WAN, &packet);
            let overhead = if at == AT6 { 40 } else { 20 };
            assert_eq!((way, server_of(&frame)), (LAN, 1));
            assert_eq!(frame[14 + overhead..], packet.clone().ttl(8).build()[14..]);
        }
    }
}

#[test]
fn a_packet_that_has_come_too_far_is_answered_and_not_sent_on() {
    for delivery in [Delivery::Dsr, tunnel()] {
        let mut rig = rig_of(delivery, AT4, &[1]);
        let packet = Packet::tcp(client_of(AT4, 40_000), AT4).flags(TcpFlags::SYN);
        for ttl in [1, 0] {
            let told = rig.told(WAN, &from_client(packet.clone().ttl(ttl)), Reason::TtlExpired);
            assert_eq!(told[..2], [11, 0], "time exceeded in transit (RFC 792)");
        }
        // A known flow's packet as well.
        rig.one(WAN, &from_client(packet.clone().ttl(2)));
        let told = rig.told(WAN, &from_client(packet.ttl(1)), Reason::TtlExpired);
        assert_eq!(told[..2], [11, 0]);
    }
}

/// Two nodes that each take the other for the right one: the packet ends at one of them.
#[test]
fn nodes_that_disagree_do_not_pass_a_packet_on_for_ever() {
    let mut rig = rig_of(Delivery::Dsr, AT4, &[1]);
    let mut packet =
        from_client(Packet::tcp(client_of(AT4, 40_000), AT4).flags(TcpFlags::SYN).ttl(64)).build();
    let mut hops = 0;
    loop {
        let mut sent = rig.send(WAN, &[packet]);
        let (port, frame) = sent.remove(0);
        if port == WAN {
            break;
        }
        hops += 1;
        assert!(hops < 64, "it goes on for ever");
        packet = frame;
    }
    assert_eq!((hops, rig.drops_of(Reason::TtlExpired)), (63, 1));
}

/// The first node has a flow of the second, drained one, which does not know the connection any more.
#[test]
fn what_a_node_handed_on_does_not_go_back_to_it() {
    let mut rig = rig_of(Delivery::Dsr, AT4, &[1]);
    let packet = Packet::tcp(client_of(AT4, 40_000), AT4);
    let handed_on = packet.clone().flags(TcpFlags::ACK).mac(server_mac(1), WAN_MAC);
    rig.dropped(WAN, handed_on.build(), Reason::NodeLoop);
    assert_eq!(rig.drops_of_services(), [("node-loop", 1)]);
    // From its client, or to open one, it goes on.
    rig.one(WAN, &from_client(packet.clone().flags(TcpFlags::ACK)));
    let other = Packet::tcp(client_of(AT4, 40_001), AT4).flags(TcpFlags::SYN);
    rig.one(WAN, &other.mac(server_mac(1), WAN_MAC));
}

/// The next hop of a tunnel's node may be the router that clients come by.
#[test]
fn by_a_tunnel_a_connection_goes_on_whoever_sent_it_here() {
    let mut rig = rig_of(tunnel(), AT4, &[1]);
    let packet = Packet::tcp(client_of(AT4, 40_000), AT4).flags(TcpFlags::ACK);
    assert_eq!(rig.send(WAN, &[packet.mac(server_mac(1), WAN_MAC).build()]).len(), 1);
    assert_eq!(rig.drops_of(Reason::NodeLoop), 0);
}

#[test]
fn what_is_this_nodes_own_is_dropped_by_name() {
    for delivery in [Delivery::Dsr, tunnel()] {
        let mut rig = rig_of(delivery, AT4, &[OWN]);
        let packet = Packet::tcp(client_of(AT4, 40_000), AT4);
        rig.dropped(WAN, from_client(packet.clone().flags(TcpFlags::SYN)).build(), Reason::OwnNode);
        // A later segment comes only where the kernel has no socket: nobody else would tell its client.
        let (way, reset) = rig.one(WAN, &from_client(packet.clone().flags(TcpFlags::ACK)));
        assert_eq!((way, reset[47] & TcpFlags::RST, rig.drops_of(Reason::OwnNode)), (WAN, TcpFlags::RST, 2));
        rig.dropped(WAN, from_client(packet.flags(TcpFlags::RST)).build(), Reason::OwnNode);
        assert_eq!(rig.drops_of_services(), [("own-node", 3)]);
        assert_eq!(rig.counters().flows_created.get(), 0);
    }
    // Of several nodes exactly its own share is.
    let mut rig = rig_of(Delivery::Dsr, AT4, &[OWN, 1, 2]);
    let syns: Vec<_> = (40_000..40_300)
        .map(|port| from_client(Packet::tcp(client_of(AT4, port), AT4).flags(TcpFlags::SYN)).build())
        .collect();
    let sent: usize = syns.chunks(50).map(|some| rig.send(WAN, some).len()).sum();
    let own = usize::try_from(rig.drops_of(Reason::OwnNode)).unwrap();
    assert!(sent + own == 300 && (60..140).contains(&own), "{sent} sent, {own} its own");
}

/// A flow stays where it began while that node is up, whatever the table says of it now.
#[test]
fn a_flow_stays_with_its_node() {
    let mut rig = rig_of(Delivery::Dsr, AT4, &[1]);
    let packet = Packet::tcp(client_of(AT4, 40_000), AT4);
    rig.one(WAN, &from_client(packet.clone().flags(TcpFlags::SYN)));
    rig.publish(with_extras(tables(&Plan::default(), 3), &[extra(Delivery::Dsr, AT4, &[OWN])]));
    let (_, frame) = rig.one(WAN, &from_client(packet.flags(TcpFlags::ACK)));
    assert_eq!(server_of(&frame), 1);
}
