//! Flows that an operator ends.

use super::*;
use ringlead_flow::{Flow, Tick};
use ringlead_l4::ends::Why;
use std::thread;

fn flows(rig: &Rig) -> Vec<Flow> {
    let (mut all, mut from) = (Vec::new(), Some(0));
    while let Some(at) = from {
        from = rig.shared.flows.visit(at, usize::MAX, Tick::from_nanos(rig.now), &mut |flow| all.push(*flow));
    }
    all
}

/// By whoever is first of many; and the source port rests as after every other end.
#[test]
fn a_flow_is_ended_once_with_all_that_it_holds() {
    let (mut rig, ports) = rig_of(&Plan::default(), RANGE);
    for port in 1000..1020 {
        begin(&mut rig, &from_client(syn(format!("198.51.100.7:{port}"), SNAT4)));
    }
    rig.shared.ends.take(1, &[], ringlead_l4::ends::Accounts::Sampled);
    let before = flows(&rig);
    assert_eq!((before.len(), ports.usage().tcp.used), (20, 20));
    let ended: usize = thread::scope(|scope| {
        let end = || before.iter().filter(|flow| rig.shared.end(flow)).count();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(end)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((ended, flows(&rig).len(), rig.shared.flows.len()), (20, 0, 0));
    assert!((0..64).all(|server| rig.shared.loads.get(server) == 0));
    let told: Vec<Why> = std::iter::from_fn(|| rig.shared.ends.next()).map(|ended| ended.why).collect();
    assert_eq!(told, [Why::Killed; 20], "for the flow log, once each");
    let usage = ports.usage().tcp;
    assert_eq!((usage.used, usage.quarantined), (0, 20));
    assert_eq!(rig.shared.ended.load(std::sync::atomic::Ordering::Relaxed), 20);
    // What goes on coming of the connection has no flow any more.
    let more = Packet::tcp("198.51.100.7:1000", SNAT4).flags(TcpFlags::ACK);
    rig.dropped(WAN, from_client(more).build(), Reason::UnknownFlow);
}
