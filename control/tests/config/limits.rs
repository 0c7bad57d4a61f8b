//! The most that is accepted, and that one more is refused in reasonable time.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ringlead_control::config::{self, Config, Diagnostics, codes, diagnostics::FINDINGS_MAX};

struct Sizes {
    cores: usize,
    ports: usize,
    services: usize,
    listen: usize,
    pools: usize,
    servers: usize,
    pool_options: &'static str,
}

const SMALL: Sizes =
    Sizes { cores: 1, ports: 1, services: 1, listen: 1, pools: 1, servers: 1, pool_options: "" };

/// A configuration of these sizes; `servers` is a pool's, `listen` a service's.
fn text(s: &Sizes) -> String {
    let cores = (0..s.cores).map(|c| c.to_string()).collect::<Vec<_>>().join(", ");
    let mut out = format!("version = 1\n[dataplane]\ncores = [{cores}]\n");
    let list =
        |count: usize, item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<Vec<_>>().join(", ");
    for i in 0..s.ports {
        writeln!(out, "[port.p{i}]\ndevice = \"eth{i}\"").unwrap();
    }
    for i in 0..s.services {
        let listen = list(s.listen, &|l| format!("\"192.{}.{}.{l}:80\"", i / 256, i % 256));
        let pool = i % s.pools;
        writeln!(
            out,
            "[service.s{i}]\nlisten = [{listen}]\nprotocol = \"tcp\"\nmode = \"nat\"\npool = \"p{pool}\""
        )
        .unwrap();
    }
    for i in 0..s.pools {
        let address = |s: usize| format!("10.{i}.{}.{}:80", s / 256, s % 256);
        let server = list(s.servers, &|s| format!("{{ name = \"s{s}\", address = \"{}\" }}", address(s)));
        writeln!(out, "[pool.p{i}]\nalgorithm = \"maglev\"\n{}\nserver = [{server}]", s.pool_options)
            .unwrap();
    }
    out
}

fn accepted(sizes: &Sizes) -> Config {
    config::parse("big.toml", &text(sizes)).unwrap_or_else(|e| panic!("{e}")).0
}

fn refused(sizes: &Sizes) -> Diagnostics {
    config::parse("big.toml", &text(sizes)).unwrap_err()
}

#[track_caller]
fn refused_as(code: &str, sizes: &Sizes) {
    let codes: Vec<_> = refused(sizes).entries().iter().map(|e| e.code).collect();
    assert_eq!(codes, [code]);
}

#[test]
fn cores_ports_and_addresses() {
    assert_eq!(accepted(&Sizes { cores: 64, ..SMALL }).dataplane.cores.len(), 64);
    refused_as(codes::TOO_MANY, &Sizes { cores: 65, ..SMALL });
    assert_eq!(accepted(&Sizes { ports: 16, ..SMALL }).ports.len(), 16);
    refused_as(codes::TOO_MANY, &Sizes { ports: 17, ..SMALL });
    assert_eq!(accepted(&Sizes { listen: 64, ..SMALL }).services[0].listen.len(), 64);
    refused_as(codes::TOO_MANY, &Sizes { listen: 65, ..SMALL });
}

#[test]
fn services() {
    assert_eq!(accepted(&Sizes { services: 10_000, ..SMALL }).services.len(), 10_000);
    refused_as(codes::TOO_MANY, &Sizes { services: 10_001, ..SMALL });
}

#[test]
fn servers_of_a_pool_and_in_all() {
    assert_eq!(accepted(&Sizes { servers: 1_000, ..SMALL }).pools[0].servers.len(), 1_000);
    refused_as(codes::TOO_MANY, &Sizes { servers: 1_001, ..SMALL });
    let many = Sizes { services: 69, pools: 69, servers: 949, ..SMALL };
    assert_eq!(accepted(&many).pools.iter().map(|p| p.servers.len()).sum::<usize>(), 65_481);
    refused_as(codes::TOO_MANY, &Sizes { servers: 950, ..many });
}

#[test]
fn persistence_tables_and_their_size() {
    let with = |tables: usize, size: usize| {
        let mut text = text(&Sizes { services: tables, ..SMALL });
        for i in 0..tables {
            let header = format!("[service.s{i}]\n");
            text = text.replace(&header, &format!("{header}persistence = \"t{i}\"\n"));
            write!(text, "[persistence.t{i}]\ntype = \"source\"\nsize = {size}\n").unwrap();
        }
        config::parse("big.toml", &text)
    };
    let codes = |found: Diagnostics| found.entries().iter().map(|e| e.code).collect::<Vec<_>>();
    assert_eq!(with(64, 1 << 20).unwrap().0.persistence.len(), 64);
    assert_eq!(codes(with(65, 8).unwrap_err()), [codes::TOO_MANY]);
    assert_eq!(with(4, 1 << 24).unwrap().0.persistence[3].entries, 1 << 24);
    assert_eq!(codes(with(5, 1 << 24).unwrap_err()), [codes::TOO_MANY]);
    assert_eq!(codes(with(1, (1 << 24) + 1).unwrap_err()), [codes::RANGE]);
}

#[test]
fn persistence_tables_without_a_size_count_too() {
    let mut text = text(&Sizes { services: 5, ..SMALL });
    for i in 0..5 {
        let header = format!("[service.s{i}]\n");
        text = text.replace(&header, &format!("{header}persistence = \"t{i}\"\n"));
        let size = if i < 4 { "size = 16777216\n" } else { "" };
        write!(text, "[persistence.t{i}]\ntype = \"source\"\n{size}").unwrap();
    }
    let found = config::parse("big.toml", &text).unwrap_err();
    assert_eq!(found.entries().iter().map(|e| e.code).collect::<Vec<_>>(), [codes::TOO_MANY]);
}

#[test]
fn source_addresses_of_all_pools() {
    let with = |ranges: &[&str]| {
        let mut text = text(&Sizes { services: ranges.len(), ..SMALL }).replace("\"nat\"", "\"snat\"");
        for (i, range) in ranges.iter().enumerate() {
            let header = format!("[service.s{i}]\n");
            text = text.replace(&header, &format!("{header}snat = \"n{i}\"\n"));
            write!(text, "[snat.n{i}]\naddresses = \"{range}\"\n").unwrap();
        }
        config::parse("big.toml", &text)
    };
    let halves = ["172.16.0.0-172.16.7.255", "172.17.0.0-172.17.7.255"];
    assert_eq!(with(&halves).unwrap().0.snats[1].addresses.len(), 2048);
    let found = with(&[halves[0], halves[1], "172.18.0.1"]).unwrap_err();
    assert_eq!(found.entries().iter().map(|e| e.code).collect::<Vec<_>>(), [codes::TOO_MANY]);
}

#[test]
fn a_table_needs_a_slot_a_server() {
    let sizes = Sizes { servers: 127, pool_options: "table-size = 127", ..SMALL };
    assert_eq!(accepted(&sizes).pools[0].servers.len(), 127);
    refused_as(codes::TABLE_TOO_SMALL, &Sizes { servers: 128, ..sizes });
}

#[test]
fn thousands_of_mistakes_are_counted_but_not_all_shown() {
    let bad = text(&Sizes { services: 10_000, ..SMALL }).replace("pool = \"p0\"", "pool = \"q0\"");
    let start = Instant::now();
    let found = config::parse("big.toml", &bad).unwrap_err();
    assert_eq!(found.entries().len(), FINDINGS_MAX);
    let text = found.to_string();
    assert!(
        text.ends_with("big.toml: 10000 errors; 9900 of them not shown\n"),
        "{}",
        &text[text.len() - 99..]
    );
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}
