//! A small run has every field of the record, and says what it left out.
#![allow(clippy::unwrap_used, reason = "a test")]

use ringlead_bench::core::cell::{Axis, Cell, Family, Kind};
use ringlead_bench::core::outcome::Outcome;
use ringlead_bench::core::plan::{Group, Plan};
use ringlead_bench::core::tables::rte::Child;
use ringlead_bench::core::world::Shape;
use ringlead_bench::core::{run, show};
use ringlead_l4::tables::Mode;
use ringlead_report::{Environment, Report};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::LazyLock;

/// One run for all tests of this file.
static OUTCOME: LazyLock<Outcome> = LazyLock::new(|| {
    let group = |axis, sizes: [(usize, usize); 2]| {
        let mut group = Group { name: format!("{axis:?}"), worlds: vec![], cells: vec![] };
        for (world, (services, servers)) in sizes.into_iter().enumerate() {
            let (mode, family, flows) = (Mode::Nat, Family::Ipv4, 1000);
            let shape =
                Shape { mode, families: vec![family], flows, services, servers, workers: 1, accounts: false };
            let cell = |kind| Cell {
                axis,
                mode,
                family,
                flows,
                services,
                servers,
                kind,
                workers: 1,
                accounts: false,
            };
            group.cells.extend(Kind::ALL.map(|kind| (world, cell(kind))));
            group.worlds.push(shape);
        }
        group
    };
    let mut path = group(Axis::Path, [(1, 16), (1, 16)]);
    path.worlds.truncate(1);
    path.cells.truncate(2);
    let groups =
        vec![path, group(Axis::Services, [(1, 16), (20, 16)]), group(Axis::Servers, [(1, 10), (1, 30)])];
    let left_out = vec!["path: 5 flows (test)".to_owned()];
    let (tables, maglev, control) = (vec![1000], vec![10, 100], vec![1, 20]);
    let plan = Plan { rounds: 1, groups, tables, maglev, control, left_out };
    let child = Child { program: PathBuf::from("/bin/false"), args: vec![] };
    run(plan, Environment::gather(), &child, &mut |_| {})
});

fn record() -> Value {
    serde_json::to_value(OUTCOME.report()).unwrap()
}

#[test]
fn the_record_is_one_object_with_rows_in_every_part() {
    let record = record();
    assert_eq!((&record["schema"], &record["kind"]), (&"ringlead-bench/1".into(), &"core".into()));
    assert!(record["environment"]["rustc"].as_str().unwrap().starts_with("rustc"));
    assert_eq!(record["left_out"][0], "path: 5 flows (test)");
    let counts = ["results", "services", "servers", "tables", "maglev", "control"]
        .map(|part| record[part].as_array().unwrap().len());
    assert_eq!(counts, [2, 4, 4, 5, 2, 2]);
    // What wrote it can read it, too.
    let again: Report = serde_json::from_value(record.clone()).unwrap();
    assert_eq!(serde_json::to_value(again).unwrap(), record);
}

#[test]
fn a_row_of_the_path_has_its_figures() {
    let record = record();
    let row = &record["results"][0];
    assert_eq!(row["name"], "path/nat/ipv4/1000/existing/1");
    let fields = ["mode", "family", "kind"].map(|field| row[field].as_str().unwrap());
    assert_eq!(fields, ["nat", "ipv4", "existing"]);
    let sizes = ["flows", "services", "servers", "workers", "rounds", "rounds_counted", "turn_packets"];
    assert_eq!(sizes.map(|field| row[field].as_u64().unwrap()), [1000, 1, 16, 1, 1, 1, 128]);
    for field in ["ns_per_packet", "median_ns", "floor_ns"] {
        assert!(row[field].as_f64().unwrap() > 0.0, "{field}");
    }
    let times = ["p50", "p99", "p999", "max"].map(|part| row["turn_ns"][part].as_u64().unwrap());
    assert!(times[0] > 0 && times.is_sorted(), "{times:?}");
    assert!(row["stages_ns"]["lookup"].as_f64().unwrap() > 0.0);
    assert!(row.as_object().unwrap().contains_key("instructions_per_packet"));
    assert_eq!(row["metrics"]["ns-per-packet"]["value"], row["ns_per_packet"]);
    assert_eq!(row["metrics"]["ns-per-packet"]["better"], "less");
    assert_eq!(record["results"][1]["kind"], "new");
    assert_eq!(record["results"][1]["turn_packets"], 64, "only clients send first packets");
}

#[test]
fn the_other_parts_have_theirs() {
    let record = record();
    let names = |part: &str| -> Vec<String> {
        record[part].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("services")[2], "services/nat/ipv4/20/existing");
    assert_eq!(names("servers")[3], "servers/nat/ipv4/30/new");
    assert_eq!(names("maglev"), ["maglev/10", "maglev/100"]);
    let table = &record["tables"][0];
    assert_eq!((&table["table"], &table["flows"]), (&"ringlead".into(), &1000.into()));
    for op in ["lookup_bulk", "lookup", "insert", "delete"] {
        assert!(table[op]["ns"].as_f64().unwrap() > 0.0, "{op}");
    }
    let dpdk = &record["tables"][4];
    assert_eq!(dpdk["table"], "DPDK rte_hash");
    assert!(dpdk["lookup"].is_null() && !dpdk["note"].as_str().unwrap().is_empty(), "never silently nothing");
    let maglev = &record["maglev"][1]["disruption"];
    assert!(maglev["restored"].as_bool().unwrap() && maglev["leave"].as_f64().unwrap() < 0.03);
}

#[test]
fn tables_for_people_and_lines_of_values_have_every_row() {
    let (tables, csv) = (show::tables(&OUTCOME), show::csv(&OUTCOME));
    for word in
        ["by flows", "by services", "by servers", "rte_hash", "Maglev", "Left out:\n  path: 5 flows (test)"]
    {
        assert!(tables.contains(word), "{word}:\n{tables}");
    }
    assert!(!tables.contains('\x1b'), "no colours");
    assert!(csv.lines().all(|line| line.split(',').count() == 3), "{csv}");
    for name in
        ["path/nat/ipv4/1000/new/1,ns_per_packet,", "tables/papaya/1000,insert_ns,", "maglev/10,build_ns,"]
    {
        assert_eq!(csv.matches(name).count(), 1, "{name}");
    }
}
