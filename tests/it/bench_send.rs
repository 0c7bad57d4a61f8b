//! `ringlead bench send`: a sender that fell behind proves nothing, and what was lost is counted and placed.

use crate::bench::bench;
use ringlead_tests::{Config, Family, Lab, Mode, Protocol, Ringlead, Service, needs_ringlead};

fn lab_config(lab: &Lab) -> String {
    Config::empty(lab).service(Service::standard(Mode::Nat, Protocol::Udp, Family::V4).unchecked()).render()
}

/// No machine sends 50 million packets a second over a veth pair.
#[test]
fn a_sender_that_falls_behind_makes_the_trial_invalid() {
    needs_ringlead!();
    let lab = Lab::new("bench-behind");
    let _ringlead = Ringlead::start(&lab, &lab_config(&lab));
    let options = ["--proto", "udp", "--rate", "50Mpps", "--duration", "300ms", "--flows", "100"];
    let ran = bench(&lab, "send", Mode::Nat, &[Family::V4], &options);
    assert_eq!(ran.code, Some(1), "{}", ran.summary());
    assert_eq!(ran.outcome()["invalid"]["why"], "too-few", "{}", ran.summary());
    assert!(ran.said.contains("fell behind"), "{}", ran.said);
    assert!(ran.count("sent") > 0 && ran.count("sent") < ran.count("planned"), "{}", ran.summary());
    let lag = ran.outcome()["lag"]["max_ns"].as_u64().unwrap();
    assert!(lag > 50_000_000, "half of the plan is later than 50 ms, and the lag says {lag} ns");
}

/// The negative control: without a balancer nothing arrives, and without its word nobody says where it went.
#[test]
fn without_a_balancer_all_is_lost() {
    needs_ringlead!();
    let lab = Lab::new("bench-alone");
    let ringlead = Ringlead::start(&lab, &lab_config(&lab));
    let options =
        ["--proto", "udp", "--rate", "2kpps", "--duration", "1s", "--lag-max", "30s", "--flows", "100"];
    let with = bench(&lab, "send", Mode::Nat, &[Family::V4], &options);
    assert_eq!((with.code, with.count("lost")), (Some(0), 0), "{}", with.summary());
    assert!(ringlead.stop().success());
    let without = bench(&lab, "send", Mode::Nat, &[Family::V4], &options);
    assert_eq!(without.code, Some(1), "{}", without.summary());
    let sent = without.count("sent");
    assert!(sent > 1000 && without.count("received") == 0, "{}", without.summary());
    assert_eq!(without.count("lost"), sent);
    let loss = &without.outcome()["loss"];
    assert!(loss["before"].is_null() && loss["inside"].is_null() && loss["after"].is_null(), "{loss}");
    assert!(loss["note"].as_str().is_some_and(|note| note.contains("no daemon listens")), "{loss}");
}

/// A pool without an eligible server: every frame is dropped in the balancer, by name.
#[test]
fn what_the_balancer_drops_is_told_by_its_reason() {
    needs_ringlead!();
    let lab = Lab::new("bench-drops");
    // Checked, and nobody listens.
    let service = Service::standard(Mode::Nat, Protocol::Udp, Family::V4);
    let ringlead = Ringlead::start(&lab, &Config::empty(&lab).service(service).render());
    let servers_down = || {
        let status = ringlead.status();
        status["services"].as_array().is_some_and(|all| all.iter().all(|s| s["servers_eligible"] == 0))
    };
    ringlead_tests::wait_until(std::time::Duration::from_secs(10), "all servers are down", servers_down);
    let options =
        ["--proto", "udp", "--rate", "2kpps", "--duration", "1s", "--lag-max", "30s", "--flows", "100"];
    let ran = bench(&lab, "send", Mode::Nat, &[Family::V4], &options);
    let (sent, loss) = (ran.count("sent"), &ran.outcome()["loss"]);
    assert_eq!((ran.code, ran.count("received")), (Some(1), 0), "{}", ran.summary());
    assert_eq!((&loss["before"], &loss["after"]), (&0.into(), &0.into()), "{loss}");
    assert_eq!(loss["inside"]["no-server"], sent, "{loss}");
}
