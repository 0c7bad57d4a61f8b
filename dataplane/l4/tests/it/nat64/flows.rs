//! Flows with a tuple of each family: found from both ends, kept alive, ended, and their source ports given back.

use super::*;

/// Packets of all kinds of flows in one burst each way: every one gets its own flow.
#[test]
fn flows_of_all_kinds_share_a_burst() {
    let (mut rig, _) = mixed_rig(&Plan::default(), |_| ());
    let kind = |n: usize| {
        let client = |v4: bool| {
            let port = 1000 + n;
            if v4 { format!("198.51.100.7:{port}") } else { format!("[2001:db8:c::7]:{port}") }
        };
        match n % 4 {
            0 => (client(false), NAT64, true),
            1 => (client(true), NAT4, true),
            2 => (client(true), NAT46, false),
            _ => (client(false), NAT6, false),
        }
    };
    let asks: Vec<_> = (0..60)
        .map(|n| {
            let (client, service, _) = kind(n);
            from_client(Packet::udp(&client, service).payload([n as u8; 10])).build()
        })
        .collect();
    let asked = rig.send(WAN, &asks);
    assert_eq!((asked.len(), rig.counters().flows_created.get()), (60, 60), "{:?}", rig.drops());
    assert_eq!(rig.send(WAN, &asks).len(), 60);
    assert_eq!(rig.counters().flows_created.get(), 60, "known by now");
    let answers: Vec<_> = asked
        .iter()
        .enumerate()
        .map(|(n, (_, frame))| {
            let (client, _, v4_server) = kind(n);
            let to = match n % 4 {
                0 => format!("{OURS4}:{}", source_port(frame)),
                2 => format!("[{OURS6}]:{}", source_port(frame)),
                _ => client,
            };
            let server = server_of(frame);
            let answer = Packet::udp(server_address(server, !v4_server), to).payload([n as u8; 12]);
            from_server(server, answer).build()
        })
        .collect();
    let sent = rig.send(LAN, &answers);
    assert_eq!(sent.len(), 60, "{:?}", rig.drops());
    for (n, (port, frame)) in sent.iter().enumerate() {
        let (client, service, _) = kind(n);
        let mut expected = Packet::udp(service, client).payload([n as u8; 12]).ttl(63);
        if n % 4 == 2 {
            expected = made(expected, frame);
        }
        assert_eq!((*port, frame), (WAN, &expected.mac(WAN_MAC, CLIENT_MAC).build()), "{n}");
    }
}

#[test]
fn only_a_snapshot_with_such_services_looks_twice() {
    let plan = Plan::default();
    let (mut rig, pool) = mixed_rig(&plan, |_| ());
    let known = CASES.map(|case| Known::open(&mut rig, case, TRANSPORTS[1]));
    let mut tables = with_mixed(tables(&plan, 2), &pool);
    tables.mixed = false;
    rig.publish(tables);
    let answer = from_server(known[0].server, known[0].answers());
    rig.dropped(LAN, answer.build(), Reason::ServerWithoutFlow);
    rig.publish(with_mixed(super::tables(&plan, 3), &pool));
    assert_eq!(rig.one(LAN, &answer).0, WAN);
}

/// RFC 4787 R6: each end's packets alone keep the flow.
#[test]
fn either_end_keeps_a_flow() {
    for case in CASES {
        for side in [WAN, LAN] {
            let (mut rig, pool) = mixed_rig(&Plan::default(), |_| ());
            let known = Known::open(&mut rig, case, TRANSPORTS[1]);
            for _ in 0..5 {
                rig.now += 200 * SECOND;
                let packet = if side == WAN {
                    from_client(known.asks())
                } else {
                    from_server(known.server, known.answers())
                };
                rig.one(side, &packet);
            }
            assert_eq!(rig.counters().flows_created.get(), 1, "{case:?}");
            assert_eq!(pool.usage().udp.used, 1);
        }
    }
}

#[test]
fn a_flow_that_ends_gives_its_port_back() {
    for case in CASES {
        let (mut rig, pool) = mixed_rig(&Plan::default(), |_| ());
        let known = Known::open(&mut rig, case, TRANSPORTS[1]);
        assert_eq!((pool.usage().udp.used, pool.usage().udp.quarantined), (1, 0));
        rig.now += 301 * SECOND;
        rig.dropped(LAN, from_server(known.server, known.answers()).build(), Reason::ServerWithoutFlow);
        for _ in 0..64 {
            rig.tick();
        }
        assert_eq!((pool.usage().udp.used, pool.usage().udp.quarantined), (0, 1), "{case:?}");
        assert_eq!(rig.counters().flows_ended.get(), 1);
    }
}

#[test]
fn a_client_whose_server_is_down_gets_another_and_its_port_comes_back() {
    let plan = Plan::default();
    for case in CASES {
        let (mut rig, pool) = mixed_rig(&plan, |_| ());
        let known = Known::open(&mut rig, case, TRANSPORTS[1]);
        let up: Vec<usize> = (0..plan.servers).filter(|server| *server != known.server).collect();
        rig.publish(with_mixed(tables_with(&plan, 2, &up), &pool));
        let (_, frame) = rig.one(WAN, &from_client(known.asks()));
        let next = Known::of(case, TRANSPORTS[1], &frame);
        assert_ne!(next.server, known.server);
        assert_eq!(frame, to_server(&next, next.asked().ttl(63), &frame));
        assert_eq!((pool.usage().udp.used, pool.usage().udp.quarantined), (1, 1));
        assert_eq!((rig.counters().flows_created.get(), rig.counters().flows_ended.get()), (2, 1));
    }
}

#[test]
fn replies_follow_a_client_that_moves() {
    for case in CASES {
        let (mut rig, _) = mixed_rig(&Plan::default(), |_| ());
        let known = Known::open(&mut rig, case, TRANSPORTS[0]);
        let elsewhere = [2, 0, 0, 0, 0, 0xc9];
        rig.one(WAN, &known.asks().mac(elsewhere, WAN_MAC));
        let (_, frame) = rig.one(LAN, &from_server(known.server, known.answers()));
        assert_eq!(frame, made(known.answered().ttl(63), &frame).mac(WAN_MAC, elsewhere).build());
    }
}

#[test]
fn traffic_is_counted_as_it_came() {
    for case in CASES {
        let (mut rig, _) = mixed_rig(&Plan::default(), |_| ());
        let known = Known::open(&mut rig, case, TRANSPORTS[1]);
        let ask = from_client(known.asks().payload([1; 100]));
        let answer = from_server(known.server, known.answers().payload([1; 200]));
        rig.one(WAN, &ask);
        rig.one(LAN, &answer);
        let slot = if case.v4_client { 19 } else { 17 };
        let counted = rig.counters().service(slot).unwrap();
        let first = from_client(known.asks()).build().len();
        assert_eq!(
            [counted.flows.get(), counted.packets_in.get(), counted.packets_out.get()],
            [1, 2, 1],
            "{case:?}"
        );
        assert_eq!(counted.bytes_in.get(), (first + ask.build().len()) as u64);
        assert_eq!(counted.bytes_out.get(), answer.build().len() as u64);
    }
}

/// The other family may use a port that this one holds.
#[test]
fn a_stray_packet_to_our_address_is_dropped_by_name() {
    let (mut rig, _) = mixed_rig(&Plan::default(), |_| ());
    for (case, build) in CASES.into_iter().zip(TRANSPORTS) {
        let known = Known::open(&mut rig, case, build);
        let stranger = if case.v4_client { "[fd02::99]:8080" } else { "10.2.0.99:8080" };
        let stray = build(stranger, &known.ours);
        rig.dropped(LAN, from_server(0, stray).build(), Reason::ServerWithoutFlow);
    }
}
