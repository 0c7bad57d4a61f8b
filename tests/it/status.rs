//! `ringlead status`: what people and programs are told is what happens.

use ringlead_tests::{
    Exchange, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, config, needs_ringlead, wait_until,
};
use serde_json::Value;
use std::time::Duration;

/// The entry of a list by its name.
fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found = list.as_array().and_then(|list| list.iter().find(|entry| entry["name"] == name));
    found.unwrap_or_else(|| panic!("no {name} in {list}"))
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no count: {value}"))
}

#[test]
fn the_status_tells_services_servers_ports_workers_and_drops() {
    needs_ringlead!();
    let lab = Lab::new("status");
    let mut farm = Farm::start(&lab);
    let ringlead = Ringlead::start(&lab, &config(&lab));
    let service = Service::standard(Mode::Nat, Protocol::Udp, Family::V4);
    lab.await_servers(&service, "123");
    let before = ringlead.status();
    let talk = Exchange::new(service.listen).times(8, 5);
    assert!(lab.within(Node::Client, || talk.hold()).perfect());
    let after = ringlead.status();

    let packets = |status: &Value, way: &str| count(&named(&status["services"], &service.name)[way]);
    for way in ["packets_in", "packets_out"] {
        assert_eq!(packets(&after, way) - packets(&before, way), 40, "{way}");
    }
    let entry = named(&after["services"], &service.name);
    assert_eq!(
        (&entry["layer"], &entry["mode"], &entry["protocol"]),
        (&"l4".into(), &"nat".into(), &"udp".into())
    );
    assert_eq!(count(&entry["servers_eligible"]), 3);
    for port in ["wan", "lan"] {
        let port = named(&after["ports"], port);
        assert_eq!(port["mode"], "af-xdp native copy");
        assert_eq!(port["queues"].as_array().map(Vec::len), Some(2));
    }
    let workers = after["workers"].as_array().unwrap();
    assert_eq!(workers.len(), 2);
    assert!(
        workers.iter().all(|w| count(&w["beat_ms"]) < 500 && w["load"].as_array().unwrap().len() == 3),
        "{workers:?}"
    );
    assert!(count(&after["flows"]["ipv4"]) > 0 && after["ready"] == true);

    // A server that dies is told with its reason; the drivers' counters are told once a second.
    farm.kill(2);
    let pool = entry["pool"].as_str().unwrap().to_owned();
    let server = |status: &Value| named(&named(&status["pools"], &pool)["servers"], "s2").clone();
    wait_until(Duration::from_secs(5), "server 2 is told to be down", || {
        server(&ringlead.status())["health"] == "down"
    });
    let dead = server(&ringlead.status());
    assert_eq!((&dead["reason"], &dead["operator"]), (&"connection refused".into(), &"ready".into()));
    wait_until(Duration::from_secs(5), "the ports' counters", || {
        let status = ringlead.status();
        let queues = named(&status["ports"], "wan")["queues"].as_array().unwrap().clone();
        queues.iter().map(|queue| count(&queue["rx"])).sum::<u64>() > 40
    });
}
