//! Snapshots: picked up at a turn, acknowledged at a tick, never freed by a worker.

use crate::rig::*;
use ringlead_l4::drops::Reason;
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

#[test]
fn a_removed_services_flows_do_not_become_another_services() {
    let plan = Plan::default();
    let mut rig = Rig::new(&plan);
    let packet = from_client(Packet::udp("198.51.100.7:5353", NAT4));
    rig.one(WAN, &packet);
    let mut tables = tables(&plan, 2);
    let mut services = tables.services.slots().to_vec();
    for service in services.iter_mut().flatten() {
        let old = Arc::clone(service);
        *service = Arc::new(ringlead_l4::tables::Service {
            id: ringlead_l4::tables::ServiceId { generation: old.id.generation + 1, ..old.id },
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
    rig.publish(tables);
    rig.dropped(WAN, packet.build(), Reason::NotOurs);
}
