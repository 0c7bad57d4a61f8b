//! Making, keeping and ending flows.

use crate::rig::*;
use ringlead_l4::drops::Reason;
use ringlead_l4::tables::{OnNoServer, Tables};
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;

fn client(n: usize, service: &str) -> Packet {
    from_client(Packet::udp(format!("198.51.{}.{}:5353", n / 250, n % 250), service))
}

#[test]
fn two_packets_of_a_new_flow_in_one_burst_make_one_flow() {
    let mut rig = Rig::new(&Plan { round_robin: true, ..Plan::default() });
    let frame = client(1, NAT4).build();
    let sent = rig.send(WAN, &[frame.clone(), frame.clone(), frame]);
    assert_eq!(sent.len(), 3);
    assert!(sent.windows(2).all(|w| w[0].1 == w[1].1), "one flow, one server");
    assert_eq!(rig.counters().flows_created.get(), 1);
}

#[test]
fn round_robin_takes_turns_and_does_not_guess() {
    let mut rig = Rig::new(&Plan { round_robin: true, ..Plan::default() });
    let servers: Vec<usize> = (0..6).map(|n| server_of(&rig.one(WAN, &client(n, DSR4)).1)).collect();
    assert_eq!(servers[..3], servers[3..]);
    let ack = from_client(Packet::tcp("198.51.100.1:1", DSR4));
    rig.dropped(WAN, ack.build(), Reason::UnknownFlow);
}

#[test]
fn a_packet_that_makes_no_flow_takes_no_turn() {
    let mut rig = Rig::new(&Plan { servers: 2, round_robin: true, ..Plan::default() });
    let strays = [
        from_client(Packet::tcp("198.51.100.1:1", DSR4)),
        from_client(Packet::icmp_error(
            "203.0.113.9",
            "192.0.2.2",
            3,
            1,
            0,
            &Packet::udp(DSR4, "198.51.0.99:9").ip(),
        )),
    ];
    let mut servers = Vec::new();
    for n in 0..4 {
        let burst = [strays[n % 2].build(), client(n, DSR4).build()];
        servers.extend(rig.send(WAN, &burst).iter().map(|(_, frame)| server_of(frame)));
    }
    assert_eq!(
        (servers.len(), rig.drops_of(Reason::UnknownFlow), rig.drops_of(Reason::IcmpWithoutFlow)),
        (4, 2, 2)
    );
    assert!(servers.windows(2).all(|w| w[0] != w[1]), "{servers:?}");
}

#[test]
fn maglev_picks_a_connection_up_in_the_middle() {
    let mut rig = Rig::new(&Plan::default());
    let ack = from_client(Packet::tcp("198.51.100.1:1", NAT4).payload(b"middle"));
    let first = server_of(&rig.one(WAN, &ack).1);
    let mut again = Rig::new(&Plan::default());
    assert_eq!(server_of(&again.one(WAN, &ack).1), first, "another node agrees");
}

#[test]
fn no_server_is_answered_as_declared() {
    let plan = Plan { on_no_server: OnNoServer::Reset, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    rig.publish(tables_with(&plan, 2, &[]));
    let syn = Packet::tcp("198.51.100.1:1000", NAT4).flags(TcpFlags::SYN).seq(41);
    let (port, answer) = rig.one(WAN, &from_client(syn));
    let reset =
        Packet::tcp(NAT4, "198.51.100.1:1000").flags(TcpFlags::RST | TcpFlags::ACK).ack(42).window(0).seq(0);
    let expected = reset.mac(WAN_MAC, CLIENT_MAC).build();
    assert_eq!((port, &answer[..12]), (WAN, &expected[..12]));
    assert_eq!(&answer[26..], &expected[26..], "addresses and the whole TCP header");
    assert_eq!((rig.drops_of(Reason::Answered), rig.counters().made.get()), (1, 1));
    rig.dropped(WAN, client(1, NAT4).build(), Reason::NoServer);

    // A flood is not reflected: the budget of one tick is 16.
    let flood: Vec<Vec<u8>> = (0..40)
        .map(|port| {
            from_client(Packet::tcp(format!("198.51.100.2:{}", 2000 + port), NAT4).flags(TcpFlags::SYN))
                .build()
        })
        .collect();
    rig.tick();
    assert_eq!(rig.send(WAN, &flood).len(), 16);

    let plan = Plan { on_no_server: OnNoServer::Drop, ..plan };
    rig.publish(tables_with(&plan, 3, &[]));
    rig.tick();
    let syn = from_client(Packet::tcp("198.51.100.1:1001", NAT4).flags(TcpFlags::SYN));
    rig.dropped(WAN, syn.build(), Reason::NoServer);
}

#[test]
fn a_flow_of_a_dead_server_chooses_again_but_an_established_connection_stays() {
    let plan = Plan::default();
    let mut rig = Rig::new(&plan);
    let udp = client(1, NAT4);
    let data = from_client(Packet::tcp("198.51.100.1:1000", NAT4).payload(b"x"));
    let (udp_server, tcp_server) = (server_of(&rig.one(WAN, &udp).1), server_of(&rig.one(WAN, &data).1));
    let up = |dead: usize| (0..3).filter(|&s| s != dead).collect::<Vec<_>>();

    rig.publish(tables_with(&plan, 2, &up(udp_server)));
    assert_ne!(server_of(&rig.one(WAN, &udp).1), udp_server);

    rig.publish(tables_with(&plan, 3, &up(tcp_server)));
    assert_eq!(server_of(&rig.one(WAN, &data).1), tcp_server);
    let syn = from_client(Packet::tcp("198.51.100.1:1000", NAT4).flags(TcpFlags::SYN));
    assert_ne!(server_of(&rig.one(WAN, &syn).1), tcp_server, "a new connection from the same port");
}

#[test]
fn a_new_connection_on_an_ended_ones_ports_leaves_a_server_that_takes_none() {
    let plan = Plan::default();
    let mut rig = Rig::new(&plan);
    let segment = |flags: u8| from_client(Packet::tcp("198.51.100.1:1000", DSR4).flags(flags));
    let server = server_of(&rig.one(WAN, &segment(TcpFlags::SYN)).1);
    rig.one(WAN, &segment(TcpFlags::ACK));
    // Drained: it is not chosen any more, but it is not down.
    let rest: Vec<usize> = (0..3).filter(|&s| s != server).collect();
    let mut tables = tables_with(&plan, 2, &rest);
    let mut servers = tables.servers.to_vec();
    servers.iter_mut().flatten().for_each(|s| s.down = false);
    tables.servers = servers.into();
    rig.publish(tables);
    assert_eq!(server_of(&rig.one(WAN, &segment(TcpFlags::ACK)).1), server, "established");
    assert_eq!(server_of(&rig.one(WAN, &segment(TcpFlags::SYN)).1), server, "a stray SYN ends nothing");
    rig.one(WAN, &segment(TcpFlags::FIN | TcpFlags::ACK));
    assert_ne!(server_of(&rig.one(WAN, &segment(TcpFlags::SYN)).1), server, "ended, and begun anew");
}

#[test]
fn flows_keep_their_server_when_the_pool_changes() {
    let plan = Plan::default();
    let mut rig = Rig::new(&plan);
    let before: Vec<usize> = (0..100).map(|n| server_of(&rig.one(WAN, &client(n, DSR4)).1)).collect();
    let bigger = Plan { servers: 6, ..Plan::default() };
    for server in 3..6 {
        rig.resolve(server);
    }
    rig.publish(tables(&bigger, 2));
    let after: Vec<usize> = (0..100).map(|n| server_of(&rig.one(WAN, &client(n, DSR4)).1)).collect();
    assert_eq!(before, after);
    let new: Vec<usize> = (100..200).map(|n| server_of(&rig.one(WAN, &client(n, DSR4)).1)).collect();
    assert!(new.iter().any(|&server| server >= 3), "new flows use the new servers");
}

#[test]
fn rfc4787_r5_r6_an_idle_udp_flow_ends_after_300_s_and_either_side_refreshes_it() {
    let mut rig = Rig::new(&Plan { round_robin: true, ..Plan::default() });
    let request = client(1, NAT4);
    let server = server_of(&rig.one(WAN, &request).1);
    let reply = from_server(server, Packet::udp(server_address(server, false), "198.51.0.1:5353"));
    for _ in 0..3 {
        rig.now += 299 * SECOND;
        assert_eq!(rig.one(LAN, &reply).0, WAN);
    }
    rig.now += 301 * SECOND;
    rig.dropped(LAN, reply.build(), Reason::ServerWithoutFlow);
    for _ in 0..rig.shared.flows.shards() * 8 {
        rig.tick();
    }
    assert_eq!((rig.counters().flows_ended.get(), rig.shared.flows.len()), (1, 0));
    assert_eq!((0..64).map(|id| rig.shared.loads.get(id)).sum::<u32>(), 0);
}

#[test]
fn rfc5508_r8_a_full_table_leaves_old_flows_alone() {
    let mut rig = Rig::new(&Plan { flows_max: 1024, ..Plan::default() });
    let packet =
        |n: usize, to: &str| from_client(Packet::udp(format!("198.51.100.1:{}", 1000 + n), to)).build();
    let first: Vec<_> = (0..64).map(|n| packet(n, NAT4)).collect();
    let before = rig.send(WAN, &first);
    for burst in 1..40 {
        let frames: Vec<_> = (burst * 64..burst * 64 + 64).map(|n| packet(n, NAT4)).collect();
        rig.send(WAN, &frames);
    }
    assert!(rig.drops_of(Reason::TableFull) > 1000, "drops: {:?}", rig.drops());
    assert_eq!(rig.send(WAN, &first), before);
    // dsr with maglev needs no entry.
    let sent = rig.send(WAN, &[packet(7, DSR4)]);
    assert_eq!((sent.len(), rig.counters().stateless.get()), (1, 1));
}

#[test]
fn two_services_on_one_server_do_not_mix_one_clients_replies() {
    // The same client address and port towards nat over two services with the same single server: the second's replies
    // could not be told from the first's.
    let plan = Plan { servers: 1, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    let mut tables: Tables = tables(&plan, 2);
    let second = "192.0.2.3:80".parse::<std::net::SocketAddr>().unwrap();
    let at = |ip: std::net::SocketAddr| ringlead_wire::Endpoint {
        ip: ip.ip().into(),
        port: ip.port(),
        protocol: ringlead_wire::Protocol::Udp,
    };
    let mut listen = (*tables.listen).clone();
    let mut id = tables.listener(at(NAT4.parse().unwrap())).unwrap().id;
    let original = tables.services.get(id.slot).cloned().unwrap();
    let mut services = tables.services.slots().to_vec();
    id.slot = services.len() as u16;
    services.push(Some(std::sync::Arc::new(ringlead_l4::tables::Service {
        id,
        name: "second".into(),
        delivery: original.delivery.clone(),
        sorry: None,
        sticky: None,
        mss: None,
        own: None,
        pool: original.pool.clone(),
        on_no_server: original.on_no_server,
        profile: original.profile,
    })));
    listen.insert(at(second), id.slot);
    tables.services = services.into();
    tables.listen = std::sync::Arc::new(listen);
    rig.publish(tables);
    rig.one(WAN, &client(1, NAT4));
    rig.dropped(WAN, client(1, "192.0.2.3:80").build(), Reason::TupleTaken);
}

#[test]
fn a_silent_workers_shards_are_aged_by_the_next() {
    let plan = Plan { workers: 2, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    let mut other = worker(&rig.shared, &plan, 1);
    other.tick(rig.now);
    for n in 0..200 {
        rig.one(WAN, &client(n, DSR4));
    }
    // Both alive: worker 0 ages only its own shards.
    rig.now += 400 * SECOND;
    other.tick(rig.now);
    let round = |rig: &mut Rig| {
        for _ in 0..rig.shared.flows.shards() * 16 {
            rig.tick();
        }
    };
    round(&mut rig);
    let left = rig.shared.flows.len();
    assert!(left > 0 && left < 200, "{left} flows left");
    rig.now += 2 * SECOND;
    round(&mut rig);
    assert_eq!(rig.shared.flows.len(), 0);
    other.finish();
}
