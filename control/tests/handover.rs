//! From one daemon's tables into another's, by names.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::io::Cursor;
use std::sync::Arc;
use std::time::Instant;

use ringlead_control::config;
use ringlead_control::handover::{Imported, Unreadable, VERSION, export, import};
use ringlead_control::plan::{Plan, ServerKey};
use ringlead_flow::{Account, FlowTable, Link, Phase, Profile, Sizes, Tick, Tuple, Volume};
use ringlead_l4::Shared;
use ringlead_l4::adopt::Inherited;
use ringlead_l4::tables::Tables;
use ringlead_pick::FrontHash;
use ringlead_wire::{Ip, Protocol};

const NOW_NS: u64 = 60_000_000_000;
const NOW: Tick = Tick::from_nanos(NOW_NS);

const HEAD: &str =
    "version = 1\n[dataplane]\ncores = [0]\n[port.wan]\ndevice = \"eth0\"\n[port.lan]\ndevice = \"eth1\"\n";
const SNAT: &str = "[snat.out]\naddresses = [\"10.0.0.200\"]\n";
const STICKY: &str = "[persistence.src]\ntype = \"source\"\ntimeout = \"10m\"\n";

fn service(name: &str, listen: &str, mode: &str, more: &str) -> String {
    format!(
        "[service.{name}]\nlisten = \"{listen}\"\nprotocol = \"tcp\"\nmode = \"{mode}\"\npool = \"{name}\"\n{more}\n"
    )
}

fn pool(name: &str, servers: &[&str]) -> String {
    let servers = servers.iter().map(|at| format!("{{ name = \"s{at}\", address = \"10.0.0.{at}:80\" }}"));
    let servers: Vec<String> = servers.collect();
    format!("[pool.{name}]\nalgorithm = \"round-robin\"\nserver = [{}]\n", servers.join(", "))
}

/// A daemon without workers.
struct Daemon {
    plan: Plan,
    shared: Shared,
}

fn daemon(text: &str, flows_max: usize) -> Daemon {
    let (config, _) = config::parse("test.toml", text).unwrap_or_else(|e| panic!("{e}"));
    let mut plan = Plan::new(config).unwrap();
    let tables = plan.snapshot();
    let flows = FlowTable::new(&Sizes { flows_max, workers: 1, seed: [1, 2, 3, 4] }).unwrap();
    let shared = Shared::new(Tables::empty(FrontHash::new([0; 16])), Arc::new(flows), 16, 1024, 1);
    shared.tables.store(Arc::new(tables));
    Daemon { plan, shared }
}

impl Daemon {
    fn server(&self, pool: &str, last: u8) -> ringlead_flow::ServerId {
        let address = format!("10.0.0.{last}:80").parse().unwrap();
        self.plan.id_of(&ServerKey { pool: pool.to_owned(), name: format!("s{last}"), address }).unwrap()
    }

    fn adopt(&self, flow: &Inherited) {
        self.shared.adopt(&self.shared.tables.load(), flow, NOW).unwrap();
    }

    fn export(&self) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        export(&self.plan, &self.shared, NOW_NS, VERSION, &mut out).unwrap();
        out.into_inner()
    }

    /// For a reader that knows the first version only.
    fn export_plain(&self) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        export(&self.plan, &self.shared, NOW_NS, 1, &mut out).unwrap();
        out.into_inner()
    }

    fn import(&self, bytes: &[u8]) -> Result<Imported, Unreadable> {
        import(Cursor::new(bytes), u64::try_from(bytes.len()).unwrap(), &self.plan, &self.shared)
    }
}

fn ip(last: [u8; 4]) -> Ip {
    Ip::from_v4(last)
}

/// Client number `n` of a service at `10.9.0.SERVICE`, port 80.
fn flow(daemon: &Daemon, name: &str, at: u8, n: u32, server: u8, way: u8) -> Inherited {
    let [_, a, b, c] = n.to_be_bytes();
    let client =
        Tuple { src: ip([172, 16 + a, b, c]), dst: ip([10, 9, 0, at]), sport: 4000, dport: 80, proto: 6 };
    let answers = Tuple { src: ip([10, 0, 0, server]), sport: 80, dst: client.src, dport: 4000, proto: 6 };
    Inherited {
        client,
        server: match way {
            0 => Some(answers),
            1 => {
                Some(Tuple { dst: ip([10, 0, 0, 200]), dport: 20_000 + u16::try_from(n).unwrap(), ..answers })
            }
            _ => None,
        },
        server_id: daemon.server(name, server),
        service: daemon.plan.service_id(name).unwrap(),
        way,
        profile: Profile::Rfc5382,
        link: Link { mac: [2, 0, 0, 0, 0, 9], port: 0, vlans: 1, vlan: [7, 0] },
        marks: 0b111,
        idle: 40,
        account: None,
    }
}

fn text(services: &[String], tail: &str) -> String {
    format!("{HEAD}{SNAT}{}{tail}", services.concat())
}

fn old() -> Daemon {
    let services = [
        service("web", "10.9.0.1:80", "nat", ""),
        service("gone", "10.9.0.2:80", "dsr", ""),
        service("out", "10.9.0.3:80", "snat", ""),
        service("client", "10.9.0.4:80", "nat", "persistence = \"src\""),
    ];
    let pools = [
        pool("web", &["1", "2"]),
        pool("gone", &["3"]),
        pool("out", &["4", "5"]),
        pool("client", &["6", "7"]),
    ];
    daemon(&text(&services, &format!("{STICKY}{}", pools.concat())), 1024)
}

/// Other numbers for the same names, ports the other way round, and no `gone`, and no server 2.
fn new() -> Daemon {
    let services = [
        service("another", "10.9.0.9:80", "dsr", ""),
        service("client", "10.9.0.4:80", "nat", "persistence = \"src\""),
        service("out", "10.9.0.3:80", "snat", ""),
        service("web", "10.9.0.1:80", "nat", ""),
    ];
    let pools =
        [pool("another", &["9"]), pool("client", &["7", "6"]), pool("out", &["5", "4"]), pool("web", &["1"])];
    let text = text(&services, &format!("{STICKY}{}", pools.concat()));
    let (wan, lan) = ("[port.wan]\ndevice = \"eth0\"\n", "[port.lan]\ndevice = \"eth1\"\n");
    daemon(&text.replace(&format!("{wan}{lan}"), &format!("{lan}{wan}")), 1024)
}

#[test]
fn flows_come_over_by_name_with_all_that_they_hold() {
    let (old, new) = (old(), new());
    let web = flow(&old, "web", 1, 1, 1, 0);
    let out = flow(&old, "out", 3, 2, 5, 1);
    let without_server = flow(&old, "web", 1, 3, 2, 0);
    let without_service = Inherited { way: 0, ..flow(&old, "gone", 2, 4, 3, 9) };
    for one in [&web, &out, &without_server, &without_service] {
        old.adopt(one);
    }
    let pool = old.shared.tables.load().snat.get(&ip([10, 0, 0, 200])).cloned().unwrap();
    assert!(pool.claim(ip([10, 0, 0, 200]), 30_000, Protocol::Tcp));
    pool.give_back(ip([10, 0, 0, 200]), 30_000, Protocol::Tcp);
    let done = new.import(&old.export()).unwrap();
    let why: Vec<_> = done.left_out.iter().map(|(why, n)| (*why, *n)).collect();
    assert_eq!((done.flows, why), (2, vec![("no such server", 1), ("no such service", 1)]));
    assert_eq!(new.shared.flows.len(), 2);
    for (wanted, pool, server) in [(&web, "web", 1), (&out, "out", 5)] {
        let id = new.server(pool, server);
        let present = Tick::from_nanos(NOW_NS);
        let found = new.shared.flows.lookup(&wanted.server.unwrap(), present).unwrap();
        assert_eq!((found.client, found.server_id), (wanted.client, id));
        assert!(new.shared.tables.load().has_service(found.service));
        assert_eq!((found.state.phase(), found.state.profile()), (Phase::HalfClosed, Profile::Rfc5382));
        assert_eq!(found.link, Link { port: 1, ..wanted.link }, "the same port, by its name");
        assert_eq!(new.shared.loads.get(id.0), 1);
    }
    let usage = new.plan.snat_usage().next().unwrap().1.tcp;
    assert_eq!((usage.used, usage.quarantined, done.resting), (1, 1, 1));
    let again = new.import(&old.export()).unwrap();
    assert_eq!(again.flows, 0, "a flow that is there, or whose port is held, is not taken twice");
    assert_eq!(new.shared.loads.get(new.server("web", 1).0), 1);
    let usage = new.plan.snat_usage().next().unwrap().1.tcp;
    assert_eq!(usage.used, 1);
}

/// Where the new daemon keeps accounts, too; one that does not takes the flow alone.
#[test]
fn flows_come_over_with_what_they_have_carried() {
    let volume = |n| Volume { packets: n, bytes: 100 * n };
    let account = |n| Account { why: 1, began_us: 5, last_us: 9, client: volume(n), server: volume(2 * n) };
    let old = old();
    old.shared.flows.keep_accounts().unwrap();
    let plain = flow(&old, "web", 1, 1, 1, 0);
    let out = Inherited { account: Some(account(7)), ..flow(&old, "out", 3, 2, 5, 1) };
    let left_out = Inherited { account: Some(account(8)), ..flow(&old, "web", 1, 3, 2, 0) };
    let web = Inherited { account: Some(account(9)), ..flow(&old, "web", 1, 4, 1, 0) };
    for one in [&plain, &out, &left_out, &web] {
        old.adopt(one);
    }
    for keeps in [true, false] {
        let new = new();
        if keeps {
            new.shared.flows.keep_accounts().unwrap();
        }
        assert_eq!(new.import(&old.export()).unwrap().flows, 3);
        let has = |one: &Inherited| {
            let found = new.shared.flows.lookup(&one.client, Tick::from_nanos(NOW_NS)).unwrap();
            new.shared.flows.account(&found)
        };
        assert_eq!(
            [&plain, &out, &web].map(has),
            [&plain, &out, &web].map(|one| one.account.filter(|_| keeps))
        );
    }
}

/// An older program can take over from this one: without what it does not know.
#[test]
fn who_knows_the_first_version_only_gets_flows_without_accounts() {
    let (old, new) = (old(), new());
    old.shared.flows.keep_accounts().unwrap();
    new.shared.flows.keep_accounts().unwrap();
    let web = Inherited { account: Some(Account::default()), ..flow(&old, "web", 1, 2, 1, 0) };
    old.adopt(&web);
    let (plain, whole) = (old.export_plain(), old.export());
    assert_eq!((&plain[8..12], &whole[8..12]), (&1_u32.to_le_bytes()[..], &VERSION.to_le_bytes()[..]));
    assert_eq!(new.import(&plain).unwrap().flows, 1);
    let found = new.shared.flows.lookup(&web.client, Tick::from_nanos(NOW_NS)).unwrap();
    assert_eq!(new.shared.flows.account(&found), None);
}

#[test]
fn clients_are_known_to_the_same_servers() {
    let (old, new) = (old(), new());
    let table = |daemon: &Daemon| Arc::clone(&daemon.plan.sticky_tables()[0].1);
    let salt = |daemon: &Daemon| daemon.plan.salts().find(|(pool, _)| *pool == "client").unwrap().1;
    let source = ip([172, 16, 0, 1]);
    let (from, to) = (table(&old), table(&new));
    assert!(from.put(&from.key(source, salt(&old)), old.server("client", 6).0, NOW.0));
    let done = new.import(&old.export()).unwrap();
    assert_eq!((done.clients, done.clients_left_out), (1, 0));
    assert_eq!(to.get(&to.key(source, salt(&new)), NOW.0), Some(new.server("client", 6).0));
}

#[test]
fn a_service_of_another_mode_or_address_does_not_get_the_flows() {
    let old = old();
    old.adopt(&flow(&old, "web", 1, 1, 1, 0));
    for (listen, mode) in [("10.9.0.1:80", "dsr"), ("10.9.0.5:80", "nat")] {
        let new = daemon(&text(&[service("web", listen, mode, "")], &pool("web", &["1"])), 1024);
        let done = new.import(&old.export()).unwrap();
        assert_eq!(
            (done.flows, done.left_out.get("its service is another")),
            (0, Some(&1)),
            "{listen} {mode}"
        );
        assert!(new.shared.flows.is_empty());
    }
}

#[test]
fn a_full_table_takes_what_it_can_and_frees_the_ports_of_the_rest() {
    let old = old();
    for n in 0..64 {
        old.adopt(&flow(&old, "out", 3, n, 4, 1));
    }
    let services = [service("out", "10.9.0.3:80", "snat", "")];
    let new = daemon(&text(&services, &pool("out", &["4"])), 32);
    let done = new.import(&old.export()).unwrap();
    assert_eq!((done.flows, done.left_out.get("the table is full")), (32, Some(&32)));
    let usage = new.plan.snat_usage().next().unwrap().1.tcp;
    assert_eq!(
        (usage.used, usage.quarantined, done.resting),
        (32, 32, 32),
        "their servers may remember them"
    );
}

/// Whichever of the two does not know a flow's service any more.
#[test]
fn source_ports_of_flows_that_are_left_out_rest() {
    let both = [service("out", "10.9.0.3:80", "snat", ""), service("web", "10.9.0.1:80", "snat", "")];
    let pools = [pool("out", &["4"]), pool("web", &["1"])];
    let with = text(&both, &pools.concat());
    let without = text(&both[1..], &pools[1]);
    let config = |text: &str| config::parse("test.toml", text).unwrap().0;
    for removed_before in [true, false] {
        let mut old = daemon(&with, 1024);
        for n in 0..70 {
            old.adopt(&flow(&old, "out", 3, n, 4, 1));
        }
        if removed_before {
            old.plan.adopt(config(&without)).unwrap();
        }
        let new = daemon(&without, 1024);
        let done = new.import(&old.export()).unwrap();
        let usage = new.plan.snat_usage().next().unwrap().1.tcp;
        assert_eq!((done.flows, done.left_out.len()), (0, usize::from(!removed_before)));
        assert_eq!((usage.used, usage.quarantined, done.resting), (0, 70, 70), "{removed_before}");
    }
}

/// A node that shares its services with another one: one service of each mode that hands connections on.
fn node(name: &str) -> Daemon {
    let service = |name: &str, at: u8, mode: &str| {
        format!(
            "[service.{name}]\nlisten = \"10.9.0.{at}:80\"\nprotocol = \"tcp\"\nlayer = \"l7\"\nnodes = \"edge\"\nhand-off = \"{mode}\"\n"
        )
    };
    let servers = [1, 2].map(|n| format!("{{ name = \"lb{n}\", address = \"10.0.1.{n}:0\" }}")).join(", ");
    let edge = format!("[pool.edge]\nalgorithm = \"maglev\"\nserver = [{servers}]\n");
    let services = [service("direct", 1, "dsr"), service("packed", 2, "tunnel")].concat();
    let named = HEAD.replace("[dataplane]", &format!("[node]\nname = \"{name}\"\n[dataplane]"));
    daemon(&format!("{named}{services}{edge}"), 1024)
}

#[test]
fn flows_that_another_node_has_come_over_but_not_one_that_would_be_our_own() {
    let old = node("lb1");
    let lb2 = |daemon: &Daemon| {
        let address = "10.0.1.2:0".parse().unwrap();
        daemon.plan.id_of(&ServerKey { pool: "edge".to_owned(), name: "lb2".to_owned(), address }).unwrap()
    };
    for (at, name) in [(1, "direct"), (2, "packed")] {
        let client =
            Tuple { src: ip([172, 16, 0, at]), dst: ip([10, 9, 0, at]), sport: 4000, dport: 80, proto: 6 };
        old.adopt(&Inherited {
            client,
            server: None,
            server_id: lb2(&old),
            service: old.plan.service_id(name).unwrap(),
            way: 2,
            profile: Profile::Lb,
            link: Link::NONE,
            marks: 0b1,
            idle: 0,
            account: None,
        });
    }
    let stream = old.export();
    let same = node("lb1");
    let done = same.import(&stream).unwrap();
    assert_eq!((done.flows, done.left_out.len()), (2, 0), "{:?}", done.left_out);
    assert_eq!(same.shared.loads.get(lb2(&same).0), 2);
    let renamed = node("lb2");
    let done = renamed.import(&stream).unwrap();
    assert_eq!((done.flows, done.left_out.get("its service is another")), (0, Some(&2)));
    assert_eq!(renamed.shared.loads.get(lb2(&renamed).0), 0);
}

/// How long a million flows take. Run it optimized: `cargo test -p ringlead-control --release --test handover -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn a_million_flows() {
    let services = [service("web", "10.9.0.1:80", "nat", "")];
    let text = text(&services, &pool("web", &["1", "2"]));
    let (old, new) = (daemon(&text, 1 << 20), daemon(&text, 1 << 20));
    for n in 0..1_000_000 {
        old.adopt(&flow(&old, "web", 1, n, 1 + u8::try_from(n % 2).unwrap(), 0));
    }
    let begin = Instant::now();
    let bytes = old.export();
    let exported = begin.elapsed();
    let begin = Instant::now();
    let done = new.import(&bytes).unwrap();
    println!(
        "{} flows, {} bytes: export {exported:?}, import {:?}",
        done.flows,
        bytes.len(),
        begin.elapsed()
    );
    assert_eq!(done.flows, 1_000_000);
}
