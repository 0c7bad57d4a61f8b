//! What becomes of the flows that there are, counted.

use ringlead_control::config::{self, Affected, Fate, FlowGroup, Side, diff};

fn side(text: &str) -> Side {
    Side::parse("diff.toml", text).unwrap_or_else(|e| panic!("{e}"))
}

/// So many flows of the example's service to one of its servers.
fn group(service: &str, listen: &str, mode: &str, server: (&str, &str, &str), flows: u64) -> FlowGroup {
    let (pool, name, address) = server;
    FlowGroup {
        service: Some(service.to_owned()),
        listen: listen.parse().unwrap(),
        protocol: if service.starts_with("dns") { 17 } else { 6 },
        mode: mode.to_owned(),
        pool: Some(pool.to_owned()),
        server: Some(name.to_owned()),
        server_address: Some(address.parse().unwrap()),
        down: false,
        flows,
    }
}

const WEB: &str = "192.0.2.10:80";
const WEB1: (&str, &str, &str) = ("web", "web1", "10.0.0.11:8080");
const WEB2: (&str, &str, &str) = ("web", "web2", "10.0.0.12:8080");
const NS1: (&str, &str, &str) = ("dns", "ns1", "10.0.0.21:53");

fn groups() -> Vec<FlowGroup> {
    vec![
        group("web", WEB, "nat", WEB1, 5),
        group("web", WEB, "nat", WEB2, 3),
        group("web", "192.0.2.10:8080", "nat", WEB2, 20),
        group("dns", "192.0.2.53:53", "dsr", NS1, 100),
    ]
}

/// The file with a change, the fate of flows, and all lines about them.
fn after(changes: &[(&str, &str)], groups: Vec<FlowGroup>) -> ([u64; 3], Vec<String>) {
    let new = changes.iter().fold(config::EXAMPLE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    let (old, new) = (side(config::EXAMPLE), side(&new));
    let affected = Affected::of(&old, &new, groups);
    let counts = [Fate::Ends, Fate::Moves, Fate::GoesOn].map(|fate| affected.count(fate));
    let found = diff(&old, &new).with_flows(Ok(affected));
    let json = found.to_json();
    let told = ["end", "move", "go_on"].map(|name| json["flows"][name].as_u64().unwrap());
    assert_eq!(told, counts);
    (counts, found.lines().into_iter().filter(|line| line.contains("flows")).collect())
}

#[test]
fn flows_of_a_server_that_goes_go_on_and_no_other_moves() {
    let (counts, lines) =
        after(&[("  { name = \"web2\", address = \"10.0.0.12:8080\", weight = 10 },\n", "")], groups());
    assert_eq!(counts, [0, 0, 23]);
    assert!(
        lines.iter().any(|line| line.ends_with(" % of Maglev slots move, 0 established flows move")),
        "{lines:?}"
    );
    let told = "flows: 23 of web/web2 go on until they end: 10.0.0.12:8080 is removed";
    assert!(lines.iter().any(|line| line == told), "{lines:?}");
    assert_eq!(
        lines.last().unwrap(),
        "flows: of 128 open ones 0 end, 0 move, 23 go on at what is no longer configured"
    );
    // Another address of the same name is another server.
    let (counts, _) = after(&[("10.0.0.12:8080", "10.0.0.19:8080")], groups());
    assert_eq!(counts, [0, 0, 23]);
    let (counts, _) = after(&[("weight = 10", "weight = 20")], groups());
    assert_eq!(counts, [0, 0, 0]);
}

#[test]
fn flows_end_with_their_service_or_the_place_that_they_came_to() {
    let (counts, lines) = after(&[("[service.dns]", "[service.names]")], groups());
    assert_eq!(counts, [100, 0, 0]);
    // What listens on every port has the place still; its servers are others then.
    let any = [("2.53:53\"", "2.53:0\""), ("0.21:53\"", "0.21:0\""), ("0.22:53\"", "0.22:0\"")];
    assert_eq!(after(&any, groups()).0, [0, 0, 100]);
    assert!(lines.contains(&"flows: 100 of service dns end: it is removed".to_owned()), "{lines:?}");
    let (counts, lines) =
        after(&[("[\"192.0.2.10:80\", \"192.0.2.10:8080\"]", "\"192.0.2.10:80\"")], groups());
    assert_eq!(counts, [20, 0, 0]);
    let told = "flows: 20 of service web to 192.0.2.10:8080 end: nobody listens there by tcp any more";
    assert!(lines.contains(&told.to_owned()), "{lines:?}");
}

#[test]
fn flows_of_a_server_that_is_down_do_what_their_pool_says_now() {
    let mut all = groups();
    all[1].down = true;
    for (then, counts) in [("reset", [3, 0, 0]), ("reselect", [0, 3, 0]), ("keep", [0, 0, 0])] {
        let health = format!("[pool.web]\non-server-down = \"{then}\"\n");
        let (found, lines) = after(&[("[pool.web]\n", &health), ("weight = 10", "weight = 20")], all.clone());
        assert_eq!(found, counts, "{then}");
        let moving = format!(" % of Maglev slots move, {} established flows move", counts[1]);
        assert!(lines.iter().any(|line| line.ends_with(&moving)), "{lines:?}");
    }
}

/// Where no server can be computed for a connection in its middle it is reset, not moved; a datagram chooses again in any case.
#[test]
fn flows_of_a_server_that_is_down_move_only_where_they_can() {
    let mut all = groups();
    all[1].down = true;
    all[3].down = true;
    let moves = ("[pool.web]\n", "[pool.web]\non-server-down = \"reselect\"\n");
    let turns = ("reselect\"\nalgorithm = \"maglev\"", "reselect\"\nalgorithm = \"round-robin\"");
    assert_eq!(after(&[moves, turns], all.clone()).0, [3, 0, 0]);
    let datagrams = ("[pool.dns]\n", "[pool.dns]\non-server-down = \"reset\"\n");
    assert_eq!(after(&[moves, datagrams], all).0, [0, 3, 0]);
}

#[test]
fn flows_keep_a_mode_that_their_service_no_longer_has() {
    let (counts, lines) =
        after(&[("protocol = \"udp\"\nmode = \"dsr\"", "protocol = \"udp\"\nmode = \"nat\"")], groups());
    assert_eq!(counts, [0, 0, 100]);
    assert!(
        lines.contains(
            &"flows: 100 of service dns go on until they end: by mode dsr, which it no longer has".to_owned()
        ),
        "{lines:?}"
    );
}

#[test]
fn a_reload_that_is_refused_changes_nothing_for_any_flow_and_who_cannot_be_asked_is_told() {
    let (counts, _) =
        after(&[("[service.dns]", "[service.names]"), ("cores = [1]", "cores = [2]")], groups());
    assert_eq!(counts, [0, 0, 0]);
    let (old, new) = (side(config::EXAMPLE), side(&config::EXAMPLE.replacen("weight = 10", "weight = 9", 1)));
    let lines = diff(&old, &new).with_flows(Err("not of this version".to_owned())).lines();
    assert_eq!(lines.last().unwrap(), "flows: it is not known how many end or move: not of this version");
    assert!(!lines[0].contains("established"), "{lines:?}");
}
