//! The plan's pools: who is in, with which weight and limit; sorry pools; who remembers whom.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests report by panicking")]

use ringlead_control::config::{self, Config, OperatorState};
use ringlead_control::plan::{Health, HopKey, Plan, Said};
use ringlead_flow::ServerId;
use ringlead_l4::tables::{Chooser, Ends, OnNoServer, Pool, Service, Tables};
use ringlead_pick::{Cursor, HashBy};
use ringlead_wire::Ip;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const HEAD: &str = r#"
version = 1
[dataplane]
cores = [0]
[port.wan]
device = "eth1"
[health.tcp]
type = "tcp"
[service.web]
listen = "192.0.2.1:80"
protocol = "tcp"
mode = "nat"
pool = "app"
"#;

fn config(rest: &str) -> Config {
    config::parse("test.toml", &format!("{HEAD}{rest}")).unwrap_or_else(|e| panic!("{e}")).0
}

/// A pool with these options whose servers, `NAME OPTIONS`, are checked.
fn pool(name: &str, options: &str, servers: &[&str]) -> String {
    let servers = (1..).zip(servers).map(|(n, server)| {
        let (server, more) = server.split_once(' ').unwrap_or((server, ""));
        let comma = if more.is_empty() { "" } else { "," };
        format!("{{ name = \"{server}\", address = \"10.0.0.{n}:80\"{comma} {more} }}")
    });
    let servers: Vec<String> = servers.collect();
    format!("[pool.{name}]\nhealth = \"tcp\"\n{options}\nserver = [{}]\n", servers.join(", "))
}

/// A plan whose servers are all up and reachable.
fn plan(rest: &str) -> Plan {
    let mut plan = Plan::new(config(rest)).unwrap();
    let all: Vec<(ServerId, IpAddr)> = plan.servers().map(|s| (s.id, s.key.address.ip())).collect();
    for (id, ip) in all {
        plan.set_reach(id, Ok(HopKey::untagged(0, ip))).unwrap();
        plan.set_health(id, Health::Up, String::new());
    }
    plan
}

fn id(plan: &Plan, name: &str) -> ServerId {
    plan.servers().find(|s| s.key.name == name && !s.ghost).map(|s| s.id).unwrap()
}

fn set(plan: &mut Plan, name: &str, health: Health) {
    plan.set_health(id(plan, name), health, String::new());
}

fn service(tables: &Tables) -> &Service {
    tables.services.slots().iter().flatten().find(|s| &*s.name == "web").unwrap()
}

/// The names of a pool's members.
fn members(plan: &Plan, pool: &Pool) -> Vec<String> {
    pool.members.iter().map(|id| plan.server(*id).unwrap().key.name.clone()).collect()
}

/// The same of the service's pool in the next snapshot.
fn next_members(plan: &mut Plan) -> Vec<String> {
    let tables = plan.snapshot();
    members(plan, &service(&tables).pool)
}

#[test]
fn each_algorithm_has_its_chooser() {
    let chooser = |options: &str| {
        let tables = plan(&pool("app", options, &["s1", "s2"])).snapshot();
        format!("{:?}", service(&tables).pool.chooser)
    };
    for (name, by) in
        [("5-tuple", HashBy::FiveTuple), ("src", HashBy::Source), ("src+dport", HashBy::SourceAndPort)]
    {
        let text = chooser(&format!("algorithm = \"maglev\"\nhash = \"{name}\""));
        assert!(text.starts_with("Maglev") && text.ends_with(&format!("by: {by:?} }}")), "{text}");
    }
    for (name, starts) in
        [("round-robin", "RoundRobin("), ("least-flows", "LeastFlows("), ("random-2", "RandomTwo(")]
    {
        let text = chooser(&format!("algorithm = \"{name}\""));
        assert!(text.starts_with(starts), "{text}");
    }
}

#[test]
fn backups_join_when_no_primary_is_left_and_leave_again() {
    let mut plan = plan(&pool("app", "algorithm = \"maglev\"", &["s1", "s2", "b1 backup = true"]));
    assert_eq!(next_members(&mut plan), ["s1", "s2"]);
    set(&mut plan, "s1", Health::Down);
    assert_eq!(next_members(&mut plan), ["s2"]);
    assert!(!plan.strength("app").unwrap().below_min());
    set(&mut plan, "s2", Health::Down);
    assert_eq!(next_members(&mut plan), ["b1"]);
    assert!(plan.strength("app").unwrap().uses_backups());
    set(&mut plan, "s1", Health::Up);
    assert_eq!(next_members(&mut plan), ["s1"]);
    assert!(!plan.strength("app").unwrap().uses_backups());
}

#[test]
fn backups_help_out_below_min_servers() {
    let options = "algorithm = \"round-robin\"\nmin-servers = 2";
    let mut plan = plan(&pool("app", options, &["s1", "s2", "b1 backup = true", "b2 backup = true"]));
    assert_eq!(next_members(&mut plan), ["s1", "s2"]);
    set(&mut plan, "b2", Health::Down);
    set(&mut plan, "s2", Health::Down);
    assert_eq!(next_members(&mut plan), ["s1", "b1"]);
    let strength = plan.strength("app").unwrap();
    assert_eq!((strength.primaries, strength.primaries_eligible, strength.backups_eligible), (2, 1, 1));
    set(&mut plan, "b1", Health::Down);
    assert_eq!(next_members(&mut plan), ["s1"], "nobody helps out: it goes on alone");
    let strength = plan.strength("app").unwrap();
    assert!(strength.below_min() && !strength.uses_backups());
}

#[test]
fn without_backups_min_servers_changes_nothing_but_what_is_told() {
    let options = "algorithm = \"round-robin\"\nmin-servers = 2";
    let mut plan = plan(&pool("app", options, &["s1", "s2"]));
    assert_eq!(next_members(&mut plan), ["s1", "s2"]);
    assert!(!plan.strength("app").unwrap().below_min());
    set(&mut plan, "s2", Health::Down);
    assert_eq!(next_members(&mut plan), ["s1"]);
    assert!(plan.strength("app").unwrap().below_min());
}

#[test]
fn limits_are_those_of_all_servers_draining_ones_included() {
    let servers = ["s1 max-flows = 7", "s2", "s3 max-flows = 9, state = \"drain\""];
    let mut plan = plan(&pool("app", "algorithm = \"least-flows\"", &servers));
    let tables = plan.snapshot();
    let pool = &service(&tables).pool;
    assert_eq!(members(&plan, pool), ["s1", "s2"]);
    let limit = |name: &str| pool.limit(id(&plan, name));
    assert_eq!((limit("s1"), limit("s2"), limit("s3")), (Some(7), None, Some(9)));
}

#[test]
fn a_changed_limit_is_a_changed_pool() {
    let with = |limit: u32| pool("app", "algorithm = \"least-flows\"", &[&format!("s1 max-flows = {limit}")]);
    let mut plan = plan(&with(7));
    let before = plan.snapshot();
    plan.adopt(config(&with(8))).unwrap();
    let after = plan.snapshot();
    let limit = |tables: &Tables| service(tables).pool.limit(id(&plan, "s1"));
    assert_eq!((limit(&before), limit(&after)), (Some(7), Some(8)));
}

#[test]
fn a_sorry_pool_comes_before_the_default_answer_and_is_steered() {
    let page = "on-no-server = \"sorry:page\"\n";
    let apps = pool("app", "algorithm = \"maglev\"", &["s1"]);
    let rest = format!(
        "{page}{apps}{}",
        pool("page", "algorithm = \"maglev\"", &["p1"]).replace("10.0.0.1", "10.0.1.1")
    );
    let mut plan = plan(&rest);
    let tables = plan.snapshot();
    let service_of = service(&tables);
    assert_eq!(members(&plan, service_of.sorry.as_ref().unwrap()), ["p1"]);
    assert_eq!(service_of.on_no_server, OnNoServer::Reset);
    assert_eq!(tables.nat_servers.len(), 2, "the sorry pool's answers come through us, too");
    let plain = crate::plan(&format!("on-no-server = \"icmp-unreachable\"\n{apps}")).snapshot();
    assert!(service(&plain).sorry.is_none());
    assert_eq!(service(&plain).on_no_server, OnNoServer::Unreachable);
}

/// Each member's turns in one sequence of round-robin.
fn turns(tables: &Tables) -> Vec<usize> {
    let pool = &service(tables).pool;
    let Chooser::RoundRobin(order) = &pool.chooser else { panic!("not round-robin") };
    let all = order.sequence();
    (0..pool.members.len()).map(|m| all.iter().filter(|turn| usize::from(**turn) == m).count()).collect()
}

const SLOWLY: &str = "algorithm = \"round-robin\"\nslow-start = \"100s\"";

/// The service's turns at a time.
fn turns_at(plan: &mut Plan, seconds: u64) -> Vec<usize> {
    plan.set_time(Duration::from_secs(seconds));
    turns(&plan.snapshot())
}

#[test]
fn a_server_that_comes_up_starts_with_a_tenth_and_grows() {
    let mut plan = plan(&pool("app", SLOWLY, &["s1", "s2"]));
    set(&mut plan, "s2", Health::Down);
    assert_eq!(turns(&plan.snapshot()), [1], "before the daemon has started nobody starts slowly");
    assert_eq!(turns_at(&mut plan, 1_000), [1]);
    assert!(!plan.ramps());
    set(&mut plan, "s2", Health::Up);
    assert_eq!(turns_at(&mut plan, 1_001), [10, 1], "a tenth, of a weight of 1 too");
    assert!(plan.ramps());
    assert_eq!(turns_at(&mut plan, 1_051), [20, 11], "half of the rest after half of the time: 55 %");
    let s2 = |plan: &Plan| {
        let pool = &plan.config().pools[0];
        plan.weight_now(pool, &pool.servers[1])
    };
    assert!((s2(&plan) - 0.55).abs() < 1e-9, "{}", s2(&plan));
    assert_eq!(turns_at(&mut plan, 1_101), [1, 1]);
    assert!(!plan.ramps(), "nothing more to do");
    assert!((s2(&plan) - 1.0).abs() < 1e-9);
}

#[test]
fn a_ramp_ends_when_the_server_goes_down_and_begins_anew() {
    let mut plan = plan(&pool("app", SLOWLY, &["s1", "s2"]));
    assert_eq!(turns(&plan.snapshot()), [1, 1]);
    set(&mut plan, "s2", Health::Down);
    turns_at(&mut plan, 1);
    set(&mut plan, "s2", Health::Up);
    assert_eq!(turns_at(&mut plan, 2), [10, 1]);
    set(&mut plan, "s2", Health::Down);
    assert_eq!(turns_at(&mut plan, 50), [1]);
    assert!(!plan.ramps());
    set(&mut plan, "s2", Health::Up);
    assert_eq!(turns_at(&mut plan, 60), [10, 1]);
}

#[test]
fn slow_start_is_for_the_new_not_for_those_that_were_up() {
    let all_at_once = SLOWLY.lines().next().unwrap();
    let mut plan = plan(&pool("app", all_at_once, &["s1"]));
    turns_at(&mut plan, 0);
    plan.adopt(config(&pool("app", SLOWLY, &["s1", "s2 state = \"drain\"", "s3"]))).unwrap();
    for name in ["s2", "s3"] {
        plan.set_reach(id(&plan, name), Ok(HopKey::untagged(0, "10.0.0.9".parse().unwrap()))).unwrap();
        set(&mut plan, name, Health::Up);
    }
    assert_eq!(turns_at(&mut plan, 10), [10, 1], "s1 was up, s3 is new");
    // From drain to ready: s2 has got no flow either.
    plan.adopt(config(&pool("app", SLOWLY, &["s1", "s2", "s3"]))).unwrap();
    let turns = turns_at(&mut plan, 110);
    assert_eq!(turns, [10, 1, 10]);
    // Without slow start everybody is there at once.
    plan.adopt(config(&pool("app", all_at_once, &["s1", "s2", "s3"]))).unwrap();
    assert_eq!(turns_at(&mut plan, 111), [1, 1, 1]);
    assert!(!plan.ramps());
}

#[test]
fn weights_keep_their_ratio_while_somebody_starts_slowly() {
    let servers = ["s1 weight = 256", "s2 weight = 128", "s3 weight = 64"];
    let mut plan = plan(&pool("app", "algorithm = \"least-flows\"\nslow-start = \"100s\"", &servers));
    set(&mut plan, "s3", Health::Down);
    assert!(plan.snapshot().epoch > 0);
    set(&mut plan, "s3", Health::Up);
    plan.set_time(Duration::from_secs(1));
    let tables = plan.snapshot();
    let Chooser::LeastFlows(least) = &service(&tables).pool.chooser else { panic!("not least-flows") };
    assert_eq!(least.weights(), [25_600, 12_800, 640]);
    let mut cursor = Cursor::new(0);
    assert_eq!(least.pick(|_| 0, |_| true, &mut cursor), Some(0));
}

const STICKY: &str = "persistence = \"by-source\"\n";
const TABLE: &str = "[persistence.by-source]\ntype = \"source\"\nmask = 24\ntimeout = \"1m\"\nsize = 64\n";

fn sticky_plan(table: &str, servers: &[&str]) -> String {
    format!("{STICKY}{}{table}", pool("app", "algorithm = \"least-flows\"", servers))
}

#[test]
fn a_persistence_table_is_kept_over_reloads_while_its_settings_stay() {
    let mut plan = plan(&sticky_plan(TABLE, &["s1", "s2"]));
    let sticky = |tables: &Tables| Arc::clone(service(tables).sticky.as_ref().unwrap());
    let before = sticky(&plan.snapshot());
    assert_eq!(before.capacity(), 64);
    plan.adopt(config(&sticky_plan(TABLE, &["s1"]))).unwrap();
    assert!(Arc::ptr_eq(&before, &sticky(&plan.snapshot())));
    plan.adopt(config(&sticky_plan(&TABLE.replace("mask = 24", "mask = 16"), &["s1"]))).unwrap();
    let after = sticky(&plan.snapshot());
    assert!(!Arc::ptr_eq(&before, &after));
    plan.adopt(config(&pool("app", "algorithm = \"least-flows\"", &["s1"]))).unwrap();
    assert!(service(&plan.snapshot()).sticky.is_none());
    assert!(plan.sticky_tables().is_empty());
}

#[test]
fn a_table_does_what_its_settings_say() {
    let mut plan = plan(&sticky_plan(TABLE, &["s1"]));
    let tables = plan.snapshot();
    let (service, client) = (service(&tables), |last| Ip::from_v4([198, 51, 100, last]));
    let sticky = service.sticky.as_ref().unwrap();
    let key = |last| sticky.key(client(last), service.pool.salt);
    assert!(sticky.put(&key(1), 5, 0));
    assert_eq!(sticky.get(&key(2), 239), Some(5), "the same /24, 59.75 s later");
    assert_eq!(sticky.get(&key(2), 239 + 240), None, "a minute is 240 ticks");
}

#[test]
fn a_pools_salt_is_its_own_and_stays() {
    let two = |first: &str| {
        let other = pool("other", "algorithm = \"least-flows\"", &["x"]);
        let service =
            "[service.api]\nlisten = \"192.0.2.2:80\"\nprotocol = \"tcp\"\nmode = \"nat\"\npool = \"app\"\n";
        format!("{}{other}{service}", first.to_owned() + &pool("app", "algorithm = \"least-flows\"", &["s1"]))
    };
    let salts = |tables: &Tables| -> Vec<u32> {
        tables.services.slots().iter().flatten().map(|s| s.pool.salt).collect()
    };
    let mut plan = plan(&two(""));
    let before = salts(&plan.snapshot());
    assert_eq!(before[0], before[1], "services of one pool share their clients");
    assert_ne!(before[0], 0);
    plan.adopt(config(&two("on-no-server = \"sorry:other\"\n"))).unwrap();
    let tables = plan.snapshot();
    assert_eq!(salts(&tables), before);
    let other = service(&tables).sorry.as_ref().unwrap().salt;
    assert_ne!(other, before[0], "another pool's clients are others");
}

#[test]
fn clients_of_a_gone_server_are_forgotten_before_its_id_is_anothers() {
    let mut plan = plan(&sticky_plan(TABLE, &["s1", "s2"]));
    assert!(plan.snapshot().epoch == 1 && plan.remembered().is_empty());
    let s2 = id(&plan, "s2");
    plan.adopt(config(&sticky_plan(TABLE, &["s1"]))).unwrap();
    assert!(plan.remembered().is_empty(), "no snapshot says so yet");
    assert_eq!(plan.forget_ghosts(|_| true), 0);
    let gone = plan.snapshot().epoch;
    assert_eq!(plan.remembered(), [(s2, gone)]);
    assert_eq!(plan.forget_ghosts(|_| true), 0, "clients are known to it");
    plan.set_forgotten(&[(s2, gone)]);
    assert!(plan.remembered().is_empty());
    assert_eq!(plan.forget_ghosts(|_| true), 1);
}

#[test]
fn a_server_that_went_offline_again_is_forgotten_again() {
    let with = |state: &str| sticky_plan(TABLE, &["s1", &format!("s2 state = \"{state}\"")]);
    let mut plan = plan(&with("ready"));
    let admits = |plan: &Plan, tables: &Tables| tables.server(id(plan, "s2")).unwrap().admits;
    assert!(admits(&plan.clone(), &plan.snapshot()));
    plan.adopt(config(&with("drain"))).unwrap();
    let tables = plan.snapshot();
    assert!(admits(&plan, &tables) && !tables.server(id(&plan, "s2")).unwrap().accepts);
    assert!(plan.remembered().is_empty(), "its clients come back");

    plan.adopt(config(&with("offline"))).unwrap();
    let mut tables = plan.snapshot();
    assert!(!admits(&plan, &tables));
    let first = plan.remembered();
    assert_eq!(first, [(id(&plan, "s2"), tables.epoch)]);
    for state in ["ready", "offline"] {
        plan.adopt(config(&with(state))).unwrap();
        tables = plan.snapshot();
    }
    assert!(tables.epoch > first[0].1);
    plan.set_forgotten(&first);
    assert_eq!(plan.remembered().len(), 1, "that walk was for its first time");
    let second = plan.remembered();
    plan.set_forgotten(&second);
    assert!(plan.remembered().is_empty());
}

#[test]
fn flows_of_a_down_server_end_as_its_pool_says_and_a_closed_ones_are_reset() {
    for (option, ends) in [
        ("", Ends::Keep),
        ("on-server-down = \"keep\"", Ends::Keep),
        ("on-server-down = \"reset\"", Ends::Reset),
        ("on-server-down = \"reselect\"", Ends::Reselect),
    ] {
        let rest = pool("app", &format!("algorithm = \"maglev\"\n{option}"), &["s1", "s2"]);
        let mut plan = plan(&rest);
        let of = |plan: &mut Plan, name: &str| {
            let tables = plan.snapshot();
            (tables.server(id(plan, name)).unwrap().ends, tables.ends_flows)
        };
        assert_eq!(of(&mut plan, "s1"), (Ends::Keep, false));
        set(&mut plan, "s1", Health::Down);
        assert_eq!(of(&mut plan, "s1"), (ends, ends != Ends::Keep), "{option}");
        assert_eq!(of(&mut plan, "s2").0, Ends::Keep);
        // It left the file: what was said of its flows still holds.
        let left = pool("app", "algorithm = \"maglev\"", &["other", "s2"]);
        let ghost = id(&plan, "s1");
        plan.adopt(config(&left)).unwrap();
        assert_eq!(plan.snapshot().server(ghost).unwrap().ends, ends, "{option}");
    }
    let mut plan = plan(&pool("app", "algorithm = \"maglev\"", &["s1", "s2"]));
    for (state, admits, ends) in [
        (OperatorState::Offline, false, Ends::Keep),
        (OperatorState::Closed, false, Ends::Reset),
        (OperatorState::Drain, true, Ends::Keep),
    ] {
        let (pool, server) = ("app".to_owned(), "s1".to_owned());
        plan.say(Said { pool, server, state, reason: None, since: 0, until: None, absent_since: None })
            .unwrap();
        let tables = plan.snapshot();
        let server = tables.server(id(&plan, "s1")).unwrap();
        assert_eq!((server.accepts, server.admits, server.ends), (false, admits, ends), "{state:?}");
    }
}
