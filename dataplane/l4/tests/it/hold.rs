//! Frames that wait: for a next hop's Ethernet address, for room in a ring.

use crate::rig::*;
use ringlead_l4::drops::Reason;
use ringlead_l4::neighbours::NeighbourId;
use ringlead_wire::build::Packet;

fn unresolved() -> Rig {
    let rig = Rig::new(&Plan { servers: 1, ..Plan::default() });
    rig.shared.neighbours.set(NeighbourId(0), None);
    rig
}

fn packet(n: usize) -> Vec<u8> {
    from_client(Packet::udp(format!("198.51.100.7:{}", 1000 + n), DSR4)).build()
}

#[test]
fn a_frame_waits_for_its_next_hop() {
    let mut rig = unresolved();
    assert!(rig.send(WAN, &[packet(0)]).is_empty());
    assert_eq!((rig.counters().held.get(), rig.tick().len()), (1, 0));
    rig.resolve(0);
    let sent = rig.tick();
    assert_eq!((sent.len(), server_of(&sent[0].1), rig.counters().held.get()), (1, 0, 0));
}

#[test]
fn it_does_not_wait_for_ever() {
    let mut rig = unresolved();
    rig.send(WAN, &[packet(0)]);
    rig.now += SECOND;
    assert!(rig.tick().is_empty());
    assert_eq!((rig.drops_of(Reason::NoNeighbour), rig.counters().held.get()), (1, 0));
}

#[test]
fn the_waiting_room_is_bounded() {
    let mut rig = unresolved();
    for burst in 0..5 {
        let frames: Vec<_> = (burst * 64..burst * 64 + 64).map(packet).collect();
        rig.send(WAN, &frames);
    }
    assert_eq!((rig.counters().held.get(), rig.drops_of(Reason::HoldFull)), (256, 64));
    rig.worker.finish();
    assert_eq!(rig.drops_of(Reason::Shutdown), 256);
}

#[test]
fn a_full_ring_keeps_a_burst_waiting_and_drops_the_rest_by_name() {
    let mut rig = Rig::new(&Plan::default());
    rig.worker.port(LAN).unwrap().set_tx_room(0);
    let burst = |from: usize| (from..from + 64).map(packet).collect::<Vec<_>>();
    assert!(rig.send(WAN, &burst(0)).is_empty());
    assert_eq!((rig.counters().held.get(), rig.drops_of(Reason::TxFull)), (64, 0));
    assert!(rig.send(WAN, &burst(64)).is_empty());
    assert_eq!((rig.counters().held.get(), rig.drops_of(Reason::TxFull)), (64, 64));
    rig.worker.port(LAN).unwrap().set_tx_room(256);
    assert_eq!(rig.turn().len(), 64);
    assert_eq!((rig.counters().held.get(), rig.counters().sent.get()), (0, 64));
}

#[test]
fn a_stopping_worker_counts_what_the_ring_still_takes() {
    let mut rig = Rig::new(&Plan::default());
    rig.worker.port(LAN).unwrap().set_tx_room(0);
    assert!(rig.send(WAN, &(0..64).map(packet).collect::<Vec<_>>()).is_empty());
    rig.worker.port(LAN).unwrap().set_tx_room(40);
    rig.worker.finish();
    assert_eq!((rig.counters().sent.get(), rig.drops_of(Reason::Shutdown)), (40, 24));
}

#[test]
fn frames_received_ahead_are_next_and_none_is_lost() {
    let mut rig = Rig::new(&Plan::default());
    let frames: Vec<_> = (0..100).map(packet).collect();
    for frame in &frames {
        for side in [WAN, LAN] {
            let (memory, port) = rig.worker.frames_and_port(side).unwrap();
            assert!(port.inject(memory, frame));
        }
    }
    // A burst of each port; the first port's next one is received while the second port's is worked on.
    assert_eq!(rig.worker.turn(rig.now), 128);
    assert_eq!(rig.worker.port(WAN).unwrap().rx_waiting(), 0);
    assert_eq!(rig.worker.port(LAN).unwrap().rx_waiting(), 36);
    assert_eq!(rig.counters().received.get(), 128, "a frame counts when its turn comes");
    assert_eq!((rig.worker.turn(rig.now), rig.worker.turn(rig.now)), (72, 0));
    assert_eq!((rig.counters().received.get(), rig.counters().sent.get()), (200, 200));
    assert_eq!(rig.tick().len(), 200);
    for frame in frames.iter().cycle().take(128) {
        let (memory, port) = rig.worker.frames_and_port(WAN).unwrap();
        assert!(port.inject(memory, frame));
    }
    assert_eq!(rig.worker.turn(rig.now), 64, "the other port has nothing");
    rig.worker.finish();
    assert_eq!((rig.counters().received.get(), rig.drops_of(Reason::Shutdown)), (328, 64));
}
