//! 10 000 services: they all serve, a reload touches what it changes, and a storm of reloads breaks nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringlead_tests::{Farm, Lab, ManyServices, Node, Ringlead, Transfer, needs_ringlead, wait_until};
use serde_json::Value;

/// How long reloads are asked for without waiting for one.
const STORM: Duration = Duration::from_secs(8);
const BETWEEN: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn ten_thousand_services_serve_through_a_storm_of_reloads_and_leave_nothing() {
    needs_ringlead!();
    let lab = Lab::new("many");
    let many = ManyServices::ten_thousand();
    ManyServices::route(&lab);
    let _farm = Farm::start(&lab);
    let before = addresses(&lab);
    let places = [0, 4_999, 5_000, 9_999].map(|service| many.listen(service));
    for place in places {
        let alone =
            lab.within(Node::Client, || Transfer::new(place).timeout(Duration::from_millis(300)).make());
        assert!(alone.is_err(), "{place} answers without a balancer");
    }

    let mut ringlead = Ringlead::start(&lab, &many.render(&lab));
    assert_eq!(addresses(&lab).lines().count(), before.lines().count() + many.addresses);
    for place in places {
        carries(&lab, place);
    }
    let status = ringlead.status();
    assert_eq!((count(&status["services"]), count(&status["pools"])), (10_000, 200));
    assert_eq!(flows(&status, 4_999), 1, "one transfer was made through it");

    let (stop, made) = (AtomicBool::new(false), places.map(|_| AtomicUsize::new(0)));
    thread::scope(|scope| {
        let clients: Vec<_> = (places.iter().zip(&made))
            .map(|(place, made)| scope.spawn(|| transfer_on(&lab, *place, &stop, made)))
            .collect();
        all_make_one(&made);
        one_service_moves(&lab, &mut ringlead, &many);
        storm(&lab, &ringlead, &many);
        all_make_one(&made);
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    assert!(ringlead.stop().success());
    assert_eq!(addresses(&lab), before, "every address is gone again");
}

/// A reload moves one service to another port: it answers there and no longer where it was, all others go on.
fn one_service_moves(lab: &Lab, ringlead: &mut Ringlead, many: &ManyServices) {
    let moved = many.clone().moving(7_777);
    let said = ringlead.reload(&moved.render(lab));
    assert!(said.contains("in force"), "{said}");
    carries(lab, moved.listen(7_777));
    let quick = Transfer::new(many.listen(7_777)).timeout(Duration::from_millis(300));
    assert!(lab.within(Node::Client, || quick.make()).is_err(), "it still answers where it was");
    let status = ringlead.status();
    assert!(flows(&status, 4_999) > 1, "a service that stays counts on");
}

/// SIGHUP every 100 ms, each with another file, every third of them bad; then one that is good.
fn storm(lab: &Lab, ringlead: &Ringlead, many: &ManyServices) {
    let good = many.render(lab);
    let files = [many.clone().moving(3), many.clone().moving(9_000)].map(|many| many.render(lab));
    let bad = good.replacen("pool = \"p100\"", "pool = \"p1000\"", 1);
    let before = ringlead.log().len();
    let begin = Instant::now();
    for file in [&files[0], &bad, &files[1]].into_iter().cycle() {
        if begin.elapsed() > STORM {
            break;
        }
        ringlead.hang_up(file);
        thread::sleep(BETWEEN);
    }
    ringlead.hang_up(&many.clone().moving(5).render(lab));
    let place = many.clone().moving(5).listen(5).to_string();
    wait_until(LIMIT, "the last file is in force", || {
        let status = ringlead.status();
        status["reload"]["successful"] == true && service(&status, 5)["listen"][0] == *place
    });
    let log = ringlead.log();
    let lines = |text: &str| log[before..].lines().filter(|line| line.contains(text)).count();
    assert!(lines("the new configuration is in force") >= 2, "{}", &log[before..]);
    assert!(lines("there is no pool `p1000`") >= 1, "no bad file was refused:\n{}", &log[before..]);
    assert_eq!(lines("silent for a second"), 0, "a worker was held up:\n{}", &log[before..]);
    let status = ringlead.status();
    assert_eq!(count(&status["services"]), 10_000);
    assert_eq!(service(&status, 3)["listen"][0], *many.listen(3).to_string(), "what moved has moved back");
    let eligible = |pool: &Value| pool["servers"].as_array().unwrap().iter().all(|s| s["eligible"] == true);
    assert!(status["pools"].as_array().unwrap().iter().all(eligible), "a server was lost");
    carries(lab, many.clone().moving(5).listen(5));
}

/// One transfer after the other, each to last a second; joining a client of one that broke panics.
fn transfer_on(lab: &Lab, place: SocketAddr, stop: &AtomicBool, made: &AtomicUsize) {
    lab.within(Node::Client, || {
        while !stop.load(Ordering::Relaxed) {
            let each = Transfer::new(place).bytes(200_003, 200_003).lasting(Duration::from_secs(1));
            each.timeout(LIMIT).make().unwrap_or_else(|e| panic!("{place}: {e}"));
            made.fetch_add(1, Ordering::Relaxed);
        }
    });
}

/// Waits until every client has begun and ended another transfer.
fn all_make_one(made: &[AtomicUsize]) {
    for made in made {
        let now = made.load(Ordering::Relaxed);
        // The one under way may have begun before.
        wait_until(LIMIT, "two more transfers", || made.load(Ordering::Relaxed) >= now + 2);
    }
}

fn carries(lab: &Lab, place: SocketAddr) {
    lab.within(Node::Client, || Transfer::new(place).make()).unwrap_or_else(|e| panic!("{place}: {e}"));
}

fn addresses(lab: &Lab) -> String {
    ["l0", "l1"]
        .map(|port| lab.must_run(Node::Balancer, "ip", &["-oneline", "address", "show", port]))
        .concat()
        .lines()
        // How long an address is still valid is told too, but never ends here.
        .map(|line| line.split_whitespace().take(4).collect::<Vec<_>>().join(" ") + "\n")
        .collect()
}

fn count(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}

fn service(status: &Value, number: usize) -> &Value {
    let (name, all) = (ManyServices::name(number), status["services"].as_array().unwrap());
    all.iter().find(|service| service["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

fn flows(status: &Value, number: usize) -> u64 {
    service(status, number)["flows_created"].as_u64().unwrap()
}
