//! Who gets which source port, when it is free again, and what happens when there is none.

use super::*;

/// One group of 64 ports, so that a pool of it is soon exhausted.
const FEW: RangeInclusive<u16> = 20_032..=20_095;

fn client(n: usize) -> String {
    format!("198.51.{}.{}:5353", 100 + n / 250, 1 + n % 250)
}

fn datagram(n: usize) -> Packet {
    from_client(Packet::udp(client(n), SNAT4))
}

/// Ticks that come round all shards and all groups.
fn sweep(rig: &mut Rig) {
    for _ in 0..rig.shared.flows.shards() * 8 {
        rig.tick();
    }
}

/// Ports are taken for a whole burst ahead: those of packets whose flow a packet before them makes are free again, and so
/// are those of packets that find no room.
#[test]
fn a_burst_keeps_no_port_that_no_flow_has() {
    for limit in [None, Some(2)] {
        let plan = Plan { servers: 1, ..Plan::default() };
        let (mut rig, ports) = rig_of(&plan, RANGE);
        let mut pool = pool_of(1, Chooser::RoundRobin(RoundRobin::new(&[1])), &[0], false);
        pool.limits = limit.map(|limit| (server_id(0, false), limit)).into_iter().collect();
        let extra = Extra::new(SNAT4, Delivery::Snat(Arc::clone(&ports)), pool);
        rig.publish(with_ports(with_extras(tables(&plan, 3), &[extra]), &ports, &[ip(OURS4)]));
        let burst: Vec<_> = (0..64).map(|n| datagram(n % 4).build()).collect();
        let sent = rig.send(WAN, &burst);
        let sources: std::collections::BTreeSet<_> = sent.iter().map(|(_, frame)| ends(frame).0).collect();
        let flows = limit.map_or(4, |limit| limit as usize);
        assert_eq!((sources.len(), sent.len()), (flows, 16 * flows));
        assert_eq!((ports.usage().udp.used, ports.usage().udp.quarantined), (flows, 0), "{limit:?}");
    }
}

#[test]
fn each_worker_takes_ports_of_its_own_share() {
    let plan = Plan { workers: 2, servers: 1, ..Plan::default() };
    // Two groups, the first the second worker's: 313 is odd.
    let (mut rig, _ports) = rig_of(&plan, 20_032..=20_159);
    let mut other = worker(&rig.shared, &plan, 1);
    let frames = |from: usize| (from..from + 64).map(|n| datagram(n).build()).collect::<Vec<_>>();
    let taken = |sent: Vec<(usize, Vec<u8>)>| {
        let ports: std::collections::BTreeSet<u16> =
            sent.iter().map(|(_, frame)| ends(frame).0.port()).collect();
        assert_eq!(ports.len(), 64, "each flow has one of its own");
        (*ports.first().unwrap(), *ports.last().unwrap())
    };
    assert_eq!(taken(rig.send(WAN, &frames(0))), (20_096, 20_159));
    assert_eq!(taken(through(&mut other, rig.now, WAN, &frames(100))), (20_032, 20_095));
    assert_eq!(rig.drops(), [], "nobody ran out");
    rig.dropped(WAN, datagram(200).build(), Reason::SnatExhausted);
    other.finish();
}

#[test]
fn exhaustion_is_counted_answered_as_declared_and_passes() {
    for how in [OnNoServer::Drop, OnNoServer::Reset, OnNoServer::Unreachable] {
        let (mut rig, ports) = rig_of(&Plan { on_no_server: how, ..Plan::default() }, FEW);
        let first: Vec<_> = (0..64).map(|n| from_client(syn(client(n), SNAT4)).build()).collect();
        let sent = rig.send(WAN, &first);
        assert_eq!((sent.len(), ports.usage().tcp.used), (64, 64));
        let packet = from_client(syn(client(64), SNAT4).seq(41));
        match how {
            OnNoServer::Drop => rig.dropped(WAN, packet.build(), Reason::SnatExhausted),
            OnNoServer::Reset => {
                let (port, answer) = rig.one(WAN, &packet);
                let reset = Packet::tcp(SNAT4, client(64)).flags(TcpFlags::RST | TcpFlags::ACK).ack(42);
                let expected = reset.window(0).seq(0).mac(WAN_MAC, CLIENT_MAC).build();
                assert_eq!((port, &answer[26..]), (WAN, &expected[26..]));
            }
            OnNoServer::Unreachable => {
                let told = rig.told(WAN, &packet, Reason::SnatExhausted);
                assert_eq!((&told[..2], &told[8..]), (&[3, 1][..], &packet.ip()[..]));
            }
        }
        assert_eq!(rig.drops(), [("snat-exhausted", 1)], "{how:?}");
        // The other transport has ports of its own, and flows that have one are not disturbed.
        rig.one(WAN, &datagram(64));
        assert_eq!(rig.send(WAN, &first), sent);
        // It passes as soon as ports are free again.
        for _ in 0..25 {
            rig.now += 8 * SECOND;
            sweep(&mut rig);
        }
        assert_eq!(ports.usage().tcp.used + ports.usage().tcp.quarantined, 0);
        rig.one(WAN, &packet);
    }
}

#[test]
fn the_last_port_serves_a_first_packet_that_is_repeated_at_once() {
    let (mut rig, ports) = rig_of(&Plan { on_no_server: OnNoServer::Reset, ..Plan::default() }, FEW);
    let mut frames: Vec<_> = (0..63).map(|n| from_client(syn(client(n), SNAT4)).build()).collect();
    assert_eq!(rig.send(WAN, &frames).len(), 63);
    frames = vec![from_client(syn(client(63), SNAT4)).build(); 2];
    let sent = rig.send(WAN, &frames);
    assert_eq!((sent.len(), ports.usage().tcp.used), (2, 64), "{:?}", rig.drops());
    assert_eq!(sent[0], sent[1]);
}

#[test]
fn a_port_that_was_given_back_rests_before_it_is_taken_again() {
    let (mut rig, ports) = rig_of(&Plan::default(), FEW);
    let (mapping, server) = begin(&mut rig, &datagram(0));
    rig.now += 301 * SECOND;
    sweep(&mut rig);
    assert_eq!((ports.usage().udp.used, ports.usage().udp.quarantined), (0, 1));
    // What still comes for it is nobody's.
    let late = from_server(server, Packet::udp(server_address(server, false), mapping));
    rig.dropped(LAN, late.build(), Reason::ServerWithoutFlow);
    let rest: Vec<_> = (1..64).map(|n| begin(&mut rig, &datagram(n)).0).collect();
    assert!(!rest.contains(&mapping));
    let ended = rig.now;
    let last = datagram(64);
    while rig.now < ended + 60 * SECOND {
        rig.dropped(WAN, last.build(), Reason::SnatExhausted);
        rig.now += SECOND / 2;
        sweep(&mut rig);
    }
    while rig.now < ended + 136 * SECOND {
        rig.now += SECOND / 2;
        sweep(&mut rig);
    }
    assert_eq!(begin(&mut rig, &last).0, mapping, "it is the only one left");
}

#[test]
fn a_datagram_whose_server_went_down_gets_another_server_and_port() {
    let plan = Plan::default();
    let (mut rig, ports) = rig_of(&plan, RANGE);
    let (mapping, server) = begin(&mut rig, &datagram(0));
    let rest: Vec<usize> = (0..3).filter(|other| *other != server).collect();
    rig.publish(snat_tables(&plan, 3, &ports, &rest));
    let (next, other) = begin(&mut rig, &datagram(0));
    assert_ne!((next, other), (mapping, server));
    assert_ne!(next, mapping);
    assert_eq!((ports.usage().udp.used, ports.usage().udp.quarantined), (1, 1));
    assert_eq!(begin(&mut rig, &datagram(0)), (next, other), "and keeps both");
    assert_eq!(rig.shared.loads.get(server_id(server, false).0), 0);
}

#[test]
fn two_packets_of_a_new_flow_in_one_burst_hold_one_port() {
    let (mut rig, ports) = rig_of(&Plan::default(), RANGE);
    let frame = datagram(0).build();
    let sent = rig.send(WAN, &[frame.clone(), frame.clone(), frame]);
    assert!(sent.len() == 3 && sent.iter().all(|(_, frame)| *frame == sent[0].1));
    assert_eq!((ports.usage().udp.used, ports.usage().udp.quarantined), (1, 0));
}

#[test]
fn a_full_flow_table_holds_no_ports() {
    let (mut rig, ports) = rig_of(&Plan { flows_max: 1024, ..Plan::default() }, 20_032..=40_000);
    let mut first = None;
    for burst in 0..48 {
        let frames: Vec<_> = (burst * 64..burst * 64 + 64).map(|n| datagram(n).build()).collect();
        let sent = rig.send(WAN, &frames);
        first = first.or(Some((frames, sent)));
    }
    let full = rig.drops_of(Reason::TableFull);
    assert!(full > 1000, "drops: {:?}", rig.drops());
    assert_eq!(ports.usage().udp.used, rig.shared.flows.len());
    assert_eq!(rig.shared.flows.len() as u64 + full, 48 * 64);
    let (frames, sent) = first.unwrap();
    assert_eq!(rig.send(WAN, &frames), sent, "old flows go on");
}
