//! The replay cases of `tests/pcap`: the shipped binary's `ringlead replay` over captures made from source.
//!
//! Two judges who know nothing of each other: `written` compares every byte with what was written down before, and
//! `witness` works out from the configuration and the packets alone what must have become of each.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "tests report by panicking and printing; a block or option that they do not know is nothing to them"
)]

mod conversation;
mod crossing;
mod ip;
mod output;
mod replay;
mod setup;
mod tunnel;
mod witness;
mod written;

use output::Output;
use replay::replayed;
use ringlead_tests::pcap_cases;
use ringlead_tests::skip_unless;
use ringlead_wire::malformed::Malformed;
use std::collections::{BTreeMap, BTreeSet};

/// Ends the test when there are faults, with all of them.
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

macro_rules! needs_binary {
    () => {
        skip_unless!(
            ringlead_tests::ringlead_binary().is_some(),
            "no ringlead binary: `cargo build`, or set RINGLEAD_BIN"
        );
    };
}

#[test]
fn every_folder_is_a_case_and_every_case_a_folder() {
    let cases: BTreeSet<String> = pcap_cases::all().iter().map(|case| case.name.to_owned()).collect();
    assert_eq!(cases.len(), pcap_cases::all().len(), "two cases of one name");
    assert_eq!(cases, written::folders());
}

#[test]
fn what_comes_out_is_what_was_written_down() {
    needs_binary!();
    let bless = std::env::var_os("RINGLEAD_BLESS").is_some();
    none(&pcap_cases::all().iter().flat_map(|case| written::compare(case, bless)).collect::<Vec<_>>());
}

#[test]
fn every_packet_gets_the_one_verdict_that_its_source_asks_for() {
    needs_binary!();
    none(&pcap_cases::all().iter().flat_map(witness::verdicts).collect::<Vec<_>>());
}

#[test]
fn every_sent_packet_is_what_the_configuration_makes_of_the_received_one() {
    needs_binary!();
    none(&pcap_cases::all().iter().flat_map(witness::rewrites).collect::<Vec<_>>());
}

#[test]
fn the_counters_say_what_the_verdicts_say() {
    needs_binary!();
    none(&pcap_cases::all().iter().flat_map(witness::counters).collect::<Vec<_>>());
}

/// The servers that a case's clients were given, in order.
fn servers_of(output: &Output) -> BTreeMap<String, Vec<String>> {
    let mut given: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in output.records.iter().filter(|record| record.received()) {
        let Some((service, server)) = record.verdict().split_once(" -> ") else { continue };
        let (client, _) = ip::Frame::of(&record.frame).unwrap().ip.endpoints();
        let server = server.split(',').next().unwrap_or_default();
        given.entry(format!("{client} {service}")).or_default().push(server.to_owned());
    }
    given
}

#[test]
fn maglev_gives_the_middle_of_a_connection_the_server_of_its_begin() {
    needs_binary!();
    let case = replay::case("maglev-mid-connection");
    let given = servers_of(&replayed(&case).output);
    let pairs: Vec<_> = given.values().filter(|servers| servers.len() == 2).collect();
    assert_eq!(pairs.len(), 32);
    assert!(pairs.iter().all(|servers| servers[0] == servers[1]), "{given:?}");
    let different: BTreeSet<_> = pairs.iter().map(|servers| &servers[0]).collect();
    assert_eq!(different.len(), 6, "not all servers were used: this shows nothing");
}

#[test]
fn round_robin_takes_turns() {
    needs_binary!();
    let case = replay::case("round-robin-unknown-flow");
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (key, servers) in servers_of(&replayed(&case).output) {
        let service = key.split_once(' ').map_or("", |(_, service)| service).to_owned();
        assert!(servers.iter().all(|server| *server == servers[0]), "{key} was moved: {servers:?}");
        *counts.entry((service, servers[0].clone())).or_default() += 1;
    }
    assert_eq!(counts.len(), 9, "{counts:?}");
    assert!(counts.values().all(|flows| (1..=2).contains(flows)), "{counts:?}");
}

/// How many clients of a case each server was given.
fn flows_of(case: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for servers in servers_of(&replayed(&replay::case(case)).output).into_values() {
        assert!(servers.iter().all(|server| *server == servers[0]), "{servers:?}");
        *counts.entry(servers[0].clone()).or_default() += 1;
    }
    counts
}

#[test]
fn least_flows_fills_servers_by_weight_and_random_2_nearly_evenly() {
    needs_binary!();
    let flows = flows_of("least-flows");
    assert_eq!(flows.into_values().collect::<Vec<_>>(), [12, 6, 6]);
    let flows = flows_of("random-2");
    // One choice at random would leave a spread of ten and more (Mitzenmacher 2001).
    assert_eq!(flows.len(), 4);
    assert!(flows.values().all(|count| (46..=54).contains(count)), "{flows:?}");
}

#[test]
fn hash_src_gives_a_client_one_server_whatever_its_ports_and_protocols() {
    needs_binary!();
    let given = servers_of(&replayed(&replay::case("hash-src")).output);
    let mut by_client: BTreeMap<(bool, String), BTreeSet<&String>> = BTreeMap::new();
    for (key, servers) in &given {
        let client = key.split(':').next().unwrap_or_default().to_owned();
        by_client.entry((key.contains("by-port"), client)).or_default().extend(servers);
    }
    assert_eq!(by_client.len(), 40);
    assert!(by_client.values().all(|servers| servers.len() == 1), "{by_client:?}");
    assert_eq!(by_client.values().flatten().collect::<BTreeSet<_>>().len(), 6, "not all servers were used");
}

#[test]
fn backups_serve_where_too_few_others_do() {
    needs_binary!();
    let given = servers_of(&replayed(&replay::case("backup")).output);
    let two: BTreeSet<&str> = given
        .iter()
        .filter(|(key, _)| key.contains("two"))
        .flat_map(|(_, s)| s)
        .map(String::as_str)
        .collect();
    assert_eq!(two, BTreeSet::from(["two/s1", "two/s3"]));
}

#[test]
fn max_flows_are_never_exceeded() {
    needs_binary!();
    let output = &replayed(&replay::case("max-flows")).output;
    let first: Vec<&str> =
        output.records.iter().filter(|r| r.received()).take(5).map(output::Record::verdict).collect();
    let of = |server: &str| first.iter().filter(|verdict| verdict.contains(server)).count();
    assert_eq!((of("web/s1"), of("web/s2")), (3, 2), "{first:?}");
}

#[test]
fn outer_sources_tell_flows_apart() {
    needs_binary!();
    let case = replay::case("tunnel-gue1");
    let output = &replayed(&case).output;
    let ports: BTreeSet<&[u8]> = output
        .records
        .iter()
        .filter(|r| !r.received() && r.frame[12..14] == [8, 0] && r.port() == "lan")
        .map(|r| &r.frame[34..36])
        .collect();
    assert_eq!(ports.len(), 2, "one port for each of the two pairs of ends: {ports:?}");
}

#[test]
fn a_classic_capture_comes_out_as_its_pcapng_does() {
    needs_binary!();
    let case = replay::case("dsr-udp4");
    let classic = replay::replay(&case, &replay::classic_capture(&case));
    assert_eq!(classic.output.records, replayed(&case).output.records);
    assert_eq!(classic.counters, replayed(&case).counters);
}

#[test]
fn every_reason_of_parsing_is_in_the_malformed_case() {
    // Frames that the steering program cannot read stay with the kernel: no worker ever sees them.
    let kernel = ["frame-short", "not-ip", "vlan-depth", "ip-short", "ip-version"];
    let case = replay::case("malformed");
    let dropped: BTreeSet<&str> =
        case.inputs.iter().filter_map(|input| input.verdict.strip_prefix("drop: ")).collect();
    let all: BTreeSet<&str> =
        Malformed::ALL.iter().map(|reason| reason.name()).filter(|name| !kernel.contains(name)).collect();
    assert_eq!(dropped, all);
}
