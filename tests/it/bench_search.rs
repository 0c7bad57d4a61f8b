//! `ringlead bench search` finds a rate through the shipped balancer, and none where nobody forwards.

use crate::bench::{Ran, TRIES, bench, starved};
use ringlead_tests::{Config, Family, Lab, Mode, Protocol, Ringlead, Service, needs_ringlead};
use serde_json::Value;
use std::fs;

/// The record's row of one goal.
fn row(ran: &Ran, goal: &str) -> Value {
    let rows = ran.report["results"].as_array().expect("a record has results");
    rows.iter().find(|row| row["name"] == goal).unwrap_or_else(|| panic!("no {goal} in {rows:?}")).clone()
}

/// The greatest rate that is tried is one that every machine carries; without a balancer the least one is too much.
#[test]
fn a_search_finds_a_rate_and_none_without_a_balancer() {
    needs_ringlead!();
    let lab = Lab::new("bench-search");
    let service = Service::standard(Mode::Nat, Protocol::Udp, Family::V4).unchecked();
    let ringlead = Ringlead::start(&lab, &Config::empty(&lab).service(service).render());
    let page = lab.files().join("search.html");
    let page_name = page.display().to_string();
    let options = ["--proto", "udp", "--quick", "--flows", "100", "--min", "1kpps", "--max", "8kpps"];
    let options = [&options[..], &["--lag-max", "1s", "--html", &page_name]].concat();
    let search = || bench(&lab, "search", Mode::Nat, &[Family::V4], &options);
    let mut with = search();
    for _ in 1..TRIES {
        if with.code == Some(0) || !starved(&ringlead) {
            break;
        }
        with = search();
    }
    assert_eq!(with.code, Some(0), "{}", with.said);
    for goal in ["NDR", "PDR"] {
        assert_eq!(row(&with, goal)["metrics"]["rate"]["value"], 8000.0, "{}", row(&with, goal));
    }
    for latency in ["half of NDR", "90 % of NDR"] {
        let row = row(&with, latency);
        assert!(row["metrics"]["latency-p99"]["value"].as_f64().is_some_and(|ns| ns > 0.0), "{row}");
    }
    let page = fs::read_to_string(page).expect("the page was written");
    assert!(page.contains("NDR") && !page.contains("<script src") && !page.contains("<link"));
    assert!(ringlead.stop().success());
    let without = search();
    assert_eq!(without.code, Some(1), "{}", without.said);
    for goal in ["NDR", "PDR"] {
        let row = row(&without, goal);
        assert!(row["metrics"]["rate"].is_null(), "{row}");
        assert_eq!(row["end"], "below the least load allowed", "{row}");
    }
}
