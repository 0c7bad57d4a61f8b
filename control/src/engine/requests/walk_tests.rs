//! Walks through the tables of a daemon without workers: filters, pages, ends, and remembered clients.

use super::FlowFilter;
use super::explain::{ExplainAnswer, ExplainRequest, Explainer};
use super::flows::{
    ENTRIES_MAX, FlowRow, FlowWalk, FlowsAnswer, FlowsRequest, KillAnswer, KillRequest, ROWS_MAX,
};
use super::persist::{PersistAnswer, PersistRequest, PersistRow};
use super::tally::{TallyAnswer, TallyRequest};
use crate::config::{self, OperatorState};
use crate::engine::now_tick;
use crate::plan::{Health, HopKey, Plan, Said, ServerKey};
use ringlead_flow::{FlowTable, Link, Profile, ServerId, Sizes, Tuple};
use ringlead_l4::Shared;
use ringlead_l4::adopt::Inherited;
use ringlead_wire::Ip;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// What every configuration here begins with.
const HEAD: &str = r#"version = 1
[dataplane]
cores = [0]
[port.wan]
device = "eth0"
[port.lan]
device = "eth1"
"#;

const TEXT: &str = r#"
[snat.out]
addresses = ["10.0.0.200"]
[persistence.src]
type = "source"
timeout = "10m"
[service.web]
listen = "10.9.0.1:80"
protocol = "tcp"
mode = "nat"
pool = "web"
[service.out]
listen = "10.9.0.2:80"
protocol = "tcp"
mode = "snat"
snat = "out"
pool = "turns"
persistence = "src"
[service.dns]
listen = "10.9.0.3:53"
protocol = "udp"
mode = "dsr"
pool = "dns"
[pool.web]
algorithm = "maglev"
server = [{ name = "a", address = "10.0.0.1:80" }, { name = "b", address = "10.0.0.2:80" }, { name = "c", address = "10.0.0.5:80" }]
[pool.turns]
algorithm = "round-robin"
server = [{ name = "a", address = "10.0.0.3:80" }, { name = "b", address = "10.0.0.6:80", backup = true }]
[pool.dns]
algorithm = "maglev"
server = [{ name = "a", address = "10.0.0.4:53" }]
"#;

/// A daemon without workers, whose servers are all up and reached.
pub(super) fn walk(flows_max: usize) -> FlowWalk {
    walk_of(TEXT, flows_max)
}

/// The same of another configuration, which needs no version, core and ports.
pub(super) fn walk_of(text: &str, flows_max: usize) -> FlowWalk {
    let (config, _) = config::parse("test.toml", &format!("{HEAD}{text}")).unwrap_or_else(|e| panic!("{e}"));
    let mut plan = Plan::new(config).unwrap();
    let all: Vec<(ServerId, ServerKey)> = plan.servers().map(|s| (s.id, s.key.clone())).collect();
    for (id, key) in all {
        plan.set_reach(id, Ok(HopKey::untagged(1, key.address.ip()))).unwrap();
    }
    let flows = FlowTable::new(&Sizes { flows_max, workers: 1, seed: [1, 2, 3, 4] }).unwrap();
    let shared = Shared::new(plan.snapshot(), Arc::new(flows), 16, 1024, 1);
    let ports = plan.config().ports.clone();
    FlowWalk { plan: Arc::new(plan), shared, ports }
}

pub(super) fn id(walk: &FlowWalk, pool: &str, server: &str) -> ServerId {
    walk.plan.configured(pool, server).unwrap().0.id
}

/// A flow of client 172.16.x.y number `n`, silent for `idle` ticks.
pub(super) fn add(
    walk: &FlowWalk,
    service: &str,
    at: [u8; 4],
    server: (&str, u8),
    n: u32,
    way: u8,
    idle: u32,
) {
    let [_, _, c, d] = n.to_be_bytes();
    let (port, proto) = if service == "dns" { (53, 17) } else { (80, 6) };
    let sport = 4000 + u16::try_from(n >> 16).unwrap();
    let client = Tuple { src: Ip::from_v4([172, 16, c, d]), dst: Ip::from_v4(at), sport, dport: port, proto };
    let answers =
        Tuple { src: Ip::from_v4([10, 0, 0, server.1]), sport: port, dst: client.src, dport: sport, proto };
    let ours = Tuple {
        dst: Ip::from_v4([10, 0, 0, 200]),
        dport: 20_000 + u16::try_from(n % 40_000).unwrap(),
        ..answers
    };
    let inherited = Inherited {
        client,
        server: [Some(answers), Some(ours), None][usize::from(way)],
        server_id: id(walk, service_pool(service), server.0),
        service: walk.plan.service_id(service).unwrap(),
        way: if way == 2 { 0 } else { way },
        profile: Profile::Rfc5382,
        link: Link { mac: [2, 0, 0, 0, 0, 9], port: 0, vlans: 0, vlan: [0, 0] },
        marks: 0b11,
        idle,
        account: None,
    };
    walk.shared.adopt(&walk.shared.tables.load(), &inherited, now_tick()).unwrap();
}

fn service_pool(service: &str) -> &str {
    if service == "out" { "turns" } else { service }
}

/// Four of each service.
fn filled() -> FlowWalk {
    let walk = walk(1024);
    for n in 0..4 {
        add(&walk, "web", [10, 9, 0, 1], if n < 3 { ("a", 1) } else { ("b", 2) }, n, 0, 0);
        add(&walk, "out", [10, 9, 0, 2], ("a", 3), n, 1, 400);
        add(&walk, "dns", [10, 9, 0, 3], ("a", 4), 256 + n, 2, 0);
    }
    walk
}

fn pages(walk: &FlowWalk, filter: &FlowFilter, count: bool) -> Vec<FlowsAnswer> {
    let (mut all, mut cursor) = (Vec::new(), Some(0));
    while let Some(at) = cursor {
        let request = FlowsRequest { filter: filter.clone(), cursor: at, count };
        let page: FlowsAnswer = serde_json::from_value(walk.list(&request).unwrap()).unwrap();
        cursor = page.next;
        all.push(page);
    }
    all
}

fn found(walk: &FlowWalk, filter: &FlowFilter) -> Vec<FlowRow> {
    pages(walk, filter, false).into_iter().flat_map(|page| page.rows).collect()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn refused(walk: &FlowWalk, filter: FlowFilter) -> String {
    walk.list(&FlowsRequest { filter, ..FlowsRequest::default() }).unwrap_err()
}

#[test]
fn each_filter_leaves_those_that_it_means() {
    let walk = filled();
    let all = FlowFilter::default();
    for (filter, expected) in [
        (all.clone(), 12),
        (FlowFilter { service: some("web"), ..all.clone() }, 4),
        (FlowFilter { pool: some("turns"), ..all.clone() }, 4),
        (FlowFilter { server: some("web/a"), ..all.clone() }, 3),
        (FlowFilter { server: some("web/b"), service: some("out"), ..all.clone() }, 0),
        (FlowFilter { client: some("172.16.1.0/24"), ..all.clone() }, 4),
        (FlowFilter { client: some("172.16.0.2"), ..all.clone() }, 2),
        (FlowFilter { client: some("::/0"), ..all.clone() }, 0),
        (FlowFilter { client_port: Some(4000), ..all.clone() }, 12),
        (FlowFilter { client_port: Some(4001), ..all.clone() }, 0),
        (FlowFilter { protocol: some("udp"), ..all.clone() }, 4),
        (FlowFilter { state: some("established"), ..all.clone() }, 8),
        (FlowFilter { state: some("datagram"), ..all.clone() }, 4),
        (FlowFilter { idle_min_s: Some(90.0), ..all.clone() }, 4),
        (FlowFilter { idle_max_s: Some(90.0), ..all.clone() }, 8),
    ] {
        assert_eq!(found(&walk, &filter).len(), expected, "{filter}");
        let counted = pages(&walk, &filter, true);
        assert_eq!(counted.iter().map(|page| page.matched).sum::<usize>(), expected, "{filter}");
        assert!(counted.iter().all(|page| page.rows.is_empty()));
    }
}

#[test]
fn a_filter_that_means_nobody_known_is_refused_with_the_name() {
    let walk = filled();
    let all = FlowFilter::default();
    for (filter, why) in [
        (FlowFilter { service: some("wbe"), ..all.clone() }, "no service `wbe`"),
        (FlowFilter { pool: some("wbe"), ..all.clone() }, "no pool `wbe`"),
        (FlowFilter { server: some("web/z"), ..all.clone() }, "no server `web/z`"),
        (FlowFilter { server: some("a"), ..all.clone() }, "no POOL/SERVER"),
        (FlowFilter { server: some("web/a"), pool: some("dns"), ..all.clone() }, "not of pool `dns`"),
        (FlowFilter { client: some("172.16.1.0/33"), ..all.clone() }, "no prefix"),
        (FlowFilter { protocol: some("sctp"), ..all.clone() }, "neither tcp nor udp"),
        (FlowFilter { state: some("open"), ..all.clone() }, "half-closed"),
        (FlowFilter { idle_min_s: Some(-1.0), ..all.clone() }, "no time"),
    ] {
        let said = refused(&walk, filter);
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn a_flow_is_told_in_words() {
    let walk = filled();
    let row = |filter| found(&walk, &filter).remove(0);
    let snat = row(FlowFilter { service: some("out"), client: some("172.16.0.2"), ..FlowFilter::default() });
    assert_eq!(
        (snat.client.as_str(), snat.listen.as_str(), snat.mode.as_str(), snat.state.as_str()),
        ("172.16.0.2:4000", "10.9.0.2:80", "snat", "established")
    );
    assert_eq!(
        (snat.server, snat.server_address, snat.source, snat.port),
        (some("turns/a"), some("10.0.0.3:80"), some("10.0.0.200:20002"), some("wan"))
    );
    // Silent for 100 s of two hours and four minutes, but for the moment that the test took.
    assert!((100.0..130.0).contains(&snat.idle_s) && (snat.idle_s + snat.expires_s - 7_440.0).abs() < 0.1);
    let dsr = row(FlowFilter { service: some("dns"), ..FlowFilter::default() });
    assert_eq!((dsr.mode.as_str(), dsr.protocol.as_str(), dsr.source), ("dsr", "udp", None));
    assert_eq!(row(FlowFilter { service: some("web"), ..FlowFilter::default() }).mode, "nat");
}

#[test]
fn pages_are_bounded_and_have_every_flow_once() {
    let walk = walk(3 * ENTRIES_MAX);
    for n in 0..2_500 {
        add(&walk, "web", [10, 9, 0, 1], ("a", 1), n, 0, 0);
    }
    let pages = pages(&walk, &FlowFilter::default(), false);
    assert!(pages.iter().all(|page| page.rows.len() <= ROWS_MAX && page.matched == page.rows.len()));
    assert!(pages.len() > 2 * 3, "{} pages", pages.len());
    let clients: BTreeSet<String> =
        pages.iter().flat_map(|page| &page.rows).map(|row| row.client.clone()).collect();
    let rows: usize = pages.iter().map(|page| page.rows.len()).sum();
    assert_eq!((rows, clients.len()), (2_500, 2_500));
}

#[test]
fn only_what_is_meant_is_ended_and_nothing_by_mistake() {
    let walk = filled();
    let kill = |filter: FlowFilter, all| walk.kill(&KillRequest { filter, all, cursor: 0 });
    assert!(kill(FlowFilter::default(), false).unwrap_err().contains("--all"));
    assert_eq!(walk.shared.flows.len(), 12);
    let done = |said: Result<serde_json::Value, String>| -> (usize, usize) {
        let answer: KillAnswer = serde_json::from_value(said.unwrap()).unwrap();
        (answer.ended, answer.computed)
    };
    assert_eq!(done(kill(FlowFilter { server: some("web/a"), ..FlowFilter::default() }, false)), (3, 3));
    assert_eq!(found(&walk, &FlowFilter { service: some("web"), ..FlowFilter::default() }).len(), 1);
    assert_eq!(walk.shared.loads.get(id(&walk, "web", "a").0), 0);
    assert_eq!(walk.shared.loads.get(id(&walk, "web", "b").0), 1);
    let out = FlowFilter { service: some("out"), ..FlowFilter::default() };
    assert_eq!(done(kill(out, false)), (4, 0), "their servers are not computed");
    let usage = walk.plan.snat_usage().next().unwrap().1.tcp;
    assert_eq!((usage.used, usage.quarantined), (0, 4));
    // The IPv4 half of the table is the first page's; nobody is in the other.
    assert_eq!(done(kill(FlowFilter::default(), true)), (5, 5));
    assert!(walk.shared.flows.is_empty());
}

#[test]
fn remembered_clients_are_found_by_prefix_and_server() {
    let walk = walk(64);
    let (_, sticky) = walk.plan.sticky_tables().remove(0);
    let salt = walk.plan.salts().find(|(pool, _)| *pool == "turns").unwrap().1;
    for n in 0..5 {
        let server = id(&walk, "turns", if n < 3 { "a" } else { "b" });
        assert!(sticky.put(&sticky.key(Ip::from_v4([172, 16, n, 9]), salt), server.0, now_tick().0));
    }
    let ask = |mut request: PersistRequest| -> Result<Vec<PersistRow>, String> {
        let (mut rows, mut next) = (Vec::new(), Some((0, 0)));
        while let Some(cursor) = next {
            request.cursor = cursor;
            let page: PersistAnswer = serde_json::from_value(walk.persist(&request)?).unwrap();
            rows.extend(page.rows);
            next = page.next;
        }
        Ok(rows)
    };
    assert_eq!(ask(PersistRequest::default()).unwrap().len(), 5);
    let one = ask(PersistRequest {
        client: some("172.16.1.0/24"),
        table: some("src"),
        ..PersistRequest::default()
    });
    let one = one.unwrap().remove(0);
    assert_eq!(
        (one.client.as_str(), one.pool, one.server),
        ("172.16.1.9/32", some("turns"), some("turns/a"))
    );
    assert!(one.idle_s < 60.0 && (one.idle_s + one.expires_s - 600.0).abs() < 0.1);
    assert_eq!(
        ask(PersistRequest { server: some("turns/b"), ..PersistRequest::default() }).unwrap().len(),
        2
    );
    for (request, why) in [
        (PersistRequest { table: some("no"), ..PersistRequest::default() }, "no persistence table `no`"),
        (PersistRequest { server: some("turns/z"), ..PersistRequest::default() }, "no server `z`"),
        (PersistRequest { client: some("x"), ..PersistRequest::default() }, "no prefix"),
    ] {
        let said = ask(request).unwrap_err();
        assert!(said.contains(why), "{said}");
    }
}

pub(super) fn explain(
    walk: FlowWalk,
    client: &str,
    service: &str,
    protocol: &str,
) -> Result<ExplainAnswer, String> {
    let local = BTreeSet::from(["10.1.0.1".parse().unwrap()]);
    let request = ExplainRequest {
        protocol: protocol.to_owned(),
        client: client.parse().unwrap(),
        service: service.to_owned(),
    };
    Explainer { walk, local }.explain(&request).map(|answer| serde_json::from_value(answer).unwrap())
}

#[test]
fn what_is_not_ours_is_said_to_be_whose() {
    for (service, protocol, why) in [
        ("10.1.0.1:22", "tcp", "an address of this node"),
        ("10.9.0.1:81", "tcp", "none at 10.9.0.1:81/tcp: web (10.9.0.1:80/tcp)"),
        ("10.9.0.1:80", "udp", "none at 10.9.0.1:80/udp"),
        ("10.0.0.200:80", "tcp", "source address"),
        ("203.0.113.9:80", "tcp", "no address of this node"),
    ] {
        let answer = explain(walk(64), "172.16.0.1:4000", service, protocol).unwrap();
        assert!(!answer.ours && answer.says.contains(why), "{}", answer.says);
    }
    for (client, service, protocol, why) in [
        ("172.16.0.1:4000", "nobody", "tcp", "no service of that name"),
        ("172.16.0.1:4000", "web", "udp", "no IPv4 address for udp"),
        ("[fd01::1]:4000", "web", "tcp", "no IPv6 address for tcp"),
        ("[fd01::1]:4000", "10.9.0.1:80", "tcp", "different families"),
        ("172.16.0.1:4000", "web", "icmp", "neither tcp nor udp"),
    ] {
        let said = explain(walk(64), client, service, protocol).unwrap_err();
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn each_server_is_told_why_it_does_not_get_the_flow() {
    let mut walk = walk(64);
    let plan = Arc::make_mut(&mut walk.plan);
    let said = |server: &str, state, reason: Option<&str>| Said {
        pool: "web".to_owned(),
        server: server.to_owned(),
        state,
        reason: reason.map(str::to_owned),
        since: 0,
        until: None,
        absent_since: None,
    };
    plan.say(said("a", OperatorState::Drain, Some("kernel update"))).unwrap();
    let c = plan.configured("web", "c").unwrap().0.id;
    plan.set_health(c, Health::Down, "connection refused".to_owned());
    walk.shared.tables.store(Arc::new(plan.snapshot()));
    let answer = explain(walk, "172.16.0.1:4000", "web", "tcp").unwrap();
    assert_eq!(
        (answer.server, answer.decided_by, answer.slots),
        (some("web/b"), some("algorithm"), Some(509))
    );
    let why: Vec<(&str, bool)> = answer.servers.iter().map(|s| (s.why.as_str(), s.chosen)).collect();
    let slot = format!("Maglev slot {} is its", answer.slot.unwrap());
    assert_eq!(
        why,
        [("drain (\"kernel update\")", false), (slot.as_str(), true), ("down: connection refused", false)]
    );
    let way = answer.way.unwrap();
    assert_eq!((way.next_hop.as_str(), way.port.as_str(), way.neighbour), ("10.0.0.2", "lan", None));
    let turns = explain(self::walk(64), "172.16.0.1:4000", "out", "tcp").unwrap();
    let why: Vec<&str> = turns.servers.iter().map(|server| server.why.as_str()).collect();
    assert_eq!(why, ["the algorithm leaves nobody else", "backup: enough other servers are up"]);
}

#[test]
fn open_flows_are_counted_by_what_a_reload_may_change_for_them() {
    let walk = filled();
    let tally = |cursor| -> TallyAnswer {
        serde_json::from_value(walk.tally(&TallyRequest { cursor }).unwrap()).unwrap()
    };
    let told: BTreeSet<_> = tally(0)
        .rows
        .into_iter()
        .map(|row| {
            (row.server_address.unwrap().to_string(), row.listen.to_string(), row.mode, row.down, row.flows)
        })
        .collect();
    let expected = [
        ("10.0.0.1:80", "10.9.0.1:80", "nat", 3),
        ("10.0.0.2:80", "10.9.0.1:80", "nat", 1),
        ("10.0.0.3:80", "10.9.0.2:80", "snat", 4),
        ("10.0.0.4:53", "10.9.0.3:53", "dsr", 4),
    ];
    let expected = expected.map(|(server, listen, mode, flows)| {
        (server.to_owned(), listen.to_owned(), mode.to_owned(), false, flows)
    });
    assert_eq!(told, BTreeSet::from(expected));
    // Pages are bounded by what is looked at, and no flow is on two of them.
    let many = self::walk(3 * ENTRIES_MAX);
    (0..500).for_each(|n| add(&many, "web", [10, 9, 0, 1], ("a", 1), n, 0, 0));
    let (mut cursor, mut pages, mut flows) = (Some(0), 0, 0);
    while let Some(at) = cursor {
        let page: TallyAnswer =
            serde_json::from_value(many.tally(&TallyRequest { cursor: at }).unwrap()).unwrap();
        flows += page.rows.iter().map(|row| row.flows).sum::<u64>();
        (cursor, pages) = (page.next, pages + 1);
    }
    assert!(flows == 500 && pages >= 6, "{flows} in {pages}");
    assert!(
        many.tally(&TallyRequest { cursor: usize::MAX / 2 }).is_ok(),
        "beyond the table there is nothing"
    );
}

#[test]
#[ignore = "a measurement, of a million flows"]
fn a_million_flows_are_listed_counted_and_filtered() {
    let walk = walk(1_000_000);
    for n in 0..1_000_000 {
        add(&walk, "web", [10, 9, 0, 1], ("a", 1), n, 0, 0);
    }
    let all = FlowFilter::default();
    let one = FlowFilter { client: some("172.16.200.7"), client_port: Some(4003), ..all.clone() };
    for (what, filter, count, expected) in
        [("list", &all, false, 1_000_000), ("count", &all, true, 1_000_000), ("filter", &one, false, 1)]
    {
        let begin = Instant::now();
        let pages = pages(&walk, filter, count);
        let matched: usize = pages.iter().map(|page| page.matched).sum();
        println!("{what}: {matched} in {} pages, {:?}", pages.len(), begin.elapsed());
        assert_eq!(matched, expected);
    }
}
