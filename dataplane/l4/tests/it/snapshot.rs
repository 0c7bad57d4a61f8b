//! Snapshots: picked up at a turn, acknowledged at a tick, never freed by a worker.

use crate::rig::*;
use ringlead_l4::drops::Reason;
use ringlead_l4::tables::{Service, ServiceId, Tables};
use ringlead_wire::build::Packet;
use std::sync::Arc;

#[test]
fn a_new_snapshot_is_used_at_once_and_acknowledged_at_the_tick() {
    let plan = Plan::default();
    let mut rig = Rig::new(&plan);
    rig.tick();
    assert_eq!(rig.counters().epoch.get(), 1);
    let old = rig.shared.tables.load_full();
    rig.publish(tables_with(&plan, 2, &[]));
    rig.dropped(WAN, from_client(Packet::udp("198.51.100.7:5353", NAT4)).build(), Reason::NoServer);
    assert_eq!(rig.counters().epoch.get(), 1, "not before the tick");
    rig.tick();
    assert_eq!(rig.counters().epoch.get(), 2);
    assert_eq!(Arc::strong_count(&old), 1, "the worker let go of it, and control's copy is the last");
}

/// The plan's tables after every service was removed and came back: the same slots with other generations.
fn anew(plan: &Plan, epoch: u64, up: &[usize]) -> Tables {
    let mut tables = tables_with(plan, epoch, up);
    let mut services = tables.services.slots().to_vec();
    for service in services.iter_mut().flatten() {
        let old = Arc::clone(service);
        *service = Arc::new(Service {
            id: ServiceId { generation: old.id.generation + 1, ..old.id },
            name: old.name.clone(),
            delivery: old.delivery.clone(),
            sorry: None,
            sticky: None,
            mss: None,
            own: None,
            pool: old.pool.clone(),
            on_no_server: old.on_no_server,
            profile: old.profile,
        });
    }
    tables.services = services.into();
    tables
}

/// Flows that began and ended, and live flows by the servers' counts.
fn flows(rig: &Rig) -> (u64, u64, u64) {
    let created: u64 = rig.counters().flows_created.get();
    let live = (0..64).map(|id| u64::from(rig.shared.loads.get(id))).sum();
    (created, rig.counters().flows_ended.get(), live)
}

#[test]
fn a_removed_services_flows_do_not_become_another_services() {
    let plan = Plan { servers: 2, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    let packet = from_client(Packet::udp("198.51.100.7:5353", NAT4));
    let had = server_of(&rig.one(WAN, &packet).1);
    assert_eq!(flows(&rig), (1, 0, 1));
    // Only the other server is in the new service's pool; the one that the flow had still serves others.
    let other = 1 - had;
    let mut tables = anew(&plan, 2, &[other]);
    tables.servers = tables_with(&plan, 2, &[0, 1]).servers;
    rig.publish(tables);
    assert_eq!(server_of(&rig.one(WAN, &packet).1), other, "the packet is the new service's, at once");
    assert_eq!(flows(&rig), (2, 1, 1));
    assert_eq!(server_of(&rig.one(WAN, &packet).1), other);
    assert_eq!((flows(&rig), rig.drops()), ((2, 1, 1), vec![]));
}

#[test]
fn a_server_that_answers_a_removed_services_flow_ends_it() {
    let plan = Plan::default();
    let mut rig = Rig::new(&plan);
    let had = server_of(&rig.one(WAN, &from_client(Packet::udp("198.51.100.7:5353", NAT4))).1);
    rig.publish(anew(&plan, 2, &[0, 1, 2]));
    let answer = from_server(had, Packet::udp(server_address(had, false), "198.51.100.7:5353"));
    rig.dropped(LAN, answer.build(), Reason::ServerWithoutFlow);
    assert_eq!(flows(&rig), (1, 1, 0));
}

#[test]
fn the_sweep_ends_the_flows_of_removed_services() {
    let plan = Plan { flows_max: 100, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    for n in 0..20 {
        rig.one(WAN, &from_client(Packet::udp(format!("198.51.100.7:{}", 5000 + n), NAT4)));
        rig.one(WAN, &from_client(Packet::udp(format!("[2001:db8:7::7]:{}", 5000 + n), NAT6)));
    }
    (0..100).for_each(|_| drop(rig.tick()));
    assert_eq!(flows(&rig), (40, 0, 40), "time stands still, so nothing is over");
    rig.publish(anew(&plan, 2, &[0, 1, 2]));
    (0..100).for_each(|_| drop(rig.tick()));
    assert_eq!(flows(&rig), (40, 40, 0));
}
