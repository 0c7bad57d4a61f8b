//! `ringlead services`, `pools`, `servers`, `workers`, `ports` and `snat`: parts of the status, one row each.

use super::daemon;
use super::listing::{Asked, Shown, refused, show};
use super::render::{is, number, text};
use crate::cli::{ListArgs, ServersArgs};
use serde_json::{Value, json};
use std::process::ExitCode;

/// A worker that has not beaten for so many milliseconds is silent.
const SILENT_MS: f64 = 1_000.0;

/// `ringlead services`. Degraded: one has no server, or nobody listens.
pub(crate) fn services(args: &ListArgs) -> ExitCode {
    list(&services_shown(), args, json!({ "of": "services" }))
}

/// `ringlead pools`. Degraded: one has fewer servers than it should.
pub(crate) fn pools(args: &ListArgs) -> ExitCode {
    list(&pools_shown(), args, json!({ "of": "pools" }))
}

/// `ringlead servers`. Degraded: one that the operator wants gets no flows.
pub(crate) fn servers(args: &ServersArgs) -> ExitCode {
    list(&servers_shown(), &args.list, json!({ "of": "servers", "pool": args.pool }))
}

/// `ringlead workers`. Degraded: one is silent.
pub(crate) fn workers(args: &ListArgs) -> ExitCode {
    list(&workers_shown(), args, json!({ "of": "workers" }))
}

/// `ringlead ports`.
pub(crate) fn ports(args: &ListArgs) -> ExitCode {
    list(&ports_shown(), args, json!({ "of": "ports" }))
}

/// `ringlead snat`. Degraded: ports of one run out.
pub(crate) fn snat(args: &ListArgs) -> ExitCode {
    list(&snat_shown(), args, json!({ "of": "snat" }))
}

fn list(shown: &Shown, args: &ListArgs, mut request: Value) -> ExitCode {
    let asked = match Asked::of(&args.daemon) {
        Ok(asked) => asked,
        Err(why) => return refused(shown.command, &why),
    };
    if let Some(members) = request.as_object_mut() {
        members.insert("command".to_owned(), json!("list"));
    }
    show(shown, args, || asked.rows(request.clone(), json!(0)))
}

fn services_shown() -> Shown {
    Shown {
        command: "services",
        name: "services",
        columns: vec![
            ("service", |row| text(row, "/name")),
            ("layer", |row| text(row, "/layer")),
            ("mode", |row| text(row, "/mode")),
            ("protocol", |row| text(row, "/protocol")),
            ("listens on", |row| text(row, "/listen")),
            ("pool", |row| row["pool"].as_str().filter(|pool| !pool.is_empty()).unwrap_or("-").to_owned()),
            ("up", |row| match row["listening"].as_bool() {
                Some(listens) => if listens { "listening" } else { "nobody listens" }.to_owned(),
                None => format!("{} of {}", row["servers_eligible"], row["servers"]),
            }),
            ("flows made", |row| text(row, "/flows_created")),
            ("packets in", |row| text(row, "/packets_in")),
            ("packets out", |row| text(row, "/packets_out")),
        ],
        csv: vec![
            "/name",
            "/layer",
            "/mode",
            "/protocol",
            "/listen",
            "/pool",
            "/listening",
            "/on_no_server",
            "/sorry",
            "/persistence",
            "/servers_eligible",
            "/servers",
            "/flows_created",
            "/packets_in",
            "/bytes_in",
            "/packets_out",
            "/bytes_out",
        ],
        degraded: |row| {
            let nobody = number(row, "/servers_eligible") == 0.0
                && row["pool"].as_str().is_some_and(|p| !p.is_empty());
            row["listening"] == false || nobody
        },
    }
}

fn pools_shown() -> Shown {
    Shown {
        command: "pools",
        name: "pools",
        columns: vec![
            ("pool", |row| text(row, "/name")),
            ("algorithm", |row| text(row, "/algorithm")),
            ("hash", |row| text(row, "/hash")),
            ("slots", |row| text(row, "/table_size")),
            ("up", |row| {
                let panic = row["panic"].as_str().map(|then| format!(" (panic: {then})"));
                format!("{} of {}{}", row["servers_eligible"], row["servers"], panic.unwrap_or_default())
            }),
            ("min-servers", |row| {
                let below = if is(row, "/below_min_servers") { " (below)" } else { "" };
                format!("{}{below}", row["min_servers"])
            }),
            ("backups", |row| {
                let used = if is(row, "/backups_in_use") { ", in use" } else { "" };
                format!("{}{used}", row["backups"])
            }),
            ("flows", |row| text(row, "/flows")),
        ],
        csv: vec![
            "/name",
            "/algorithm",
            "/hash",
            "/table_size",
            "/slow_start_s",
            "/servers_eligible",
            "/servers",
            "/min_servers",
            "/below_min_servers",
            "/panic",
            "/backups",
            "/backups_in_use",
            "/flows",
        ],
        degraded: |row| {
            is(row, "/below_min_servers")
                || row["panic"].is_string()
                || number(row, "/servers_eligible") == 0.0
        },
    }
}

fn servers_shown() -> Shown {
    Shown {
        command: "servers",
        name: "servers",
        columns: vec![
            ("server", |row| format!("{}/{}", text(row, "/pool"), text(row, "/name"))),
            ("address", |row| text(row, "/address")),
            ("weight", |row| {
                let (now, full) = (number(row, "/weight_now"), text(row, "/weight"));
                if now < number(row, "/weight") { format!("{now}/{full}") } else { full }
            }),
            ("operator", operator),
            ("agent", |row| text(row, "/agent/says")),
            ("health", |row| text(row, "/health")),
            ("reason", |row| text(row, "/reason")),
            ("check p50/p99", |row| {
                let times = &row["check_times"];
                let of = |name: &str| number(times, name);
                if times.is_null() {
                    "-".to_owned()
                } else {
                    format!("{:.1}/{:.1} ms", of("/p50_ms"), of("/p99_ms"))
                }
            }),
            ("flows", |row| match row["flows_max"].as_u64() {
                Some(most) => format!("{}/{most}", row["flows"]),
                None => text(row, "/flows"),
            }),
            ("next hop", |row| {
                let neighbour = row["neighbour"].as_str().unwrap_or("unresolved");
                format!("{} ({neighbour})", text(row, "/next_hop"))
            }),
        ],
        csv: vec![
            "/pool",
            "/name",
            "/address",
            "/weight",
            "/weight_now",
            "/backup",
            "/operator",
            "/operator_file",
            "/said/reason",
            "/said/since",
            "/said/until",
            "/agent/says",
            "/health",
            "/reason",
            "/check_times/checks",
            "/check_times/p50_ms",
            "/check_times/p99_ms",
            "/eligible",
            "/flows",
            "/flows_max",
            "/next_hop",
            "/neighbour",
        ],
        degraded: |row| {
            let agent = row.pointer("/agent/wish").is_some_and(|wish| wish != "ready");
            row["operator"] == "ready" && !is(row, "/eligible") && (!agent || is(row, "/agent/overruled"))
        },
    }
}

/// `drain: kernel update, until …`.
fn operator(row: &Value) -> String {
    let reason = row.pointer("/said/reason").and_then(Value::as_str).map(|reason| format!(": {reason}"));
    let until = row.pointer("/said/until").and_then(Value::as_u64);
    let until = until.map(|until| format!(", until {}", daemon::at(until)));
    let backup = if is(row, "/backup") { ", backup" } else { "" };
    format!("{}{}{}{backup}", text(row, "/operator"), reason.unwrap_or_default(), until.unwrap_or_default())
}

fn workers_shown() -> Shown {
    Shown {
        command: "workers",
        name: "workers",
        columns: vec![
            ("worker", |row| text(row, "/worker")),
            ("core", |row| text(row, "/core")),
            ("load 1/10/60 s", |row| {
                let shares =
                    ["/load/0", "/load/1", "/load/2"].map(|at| format!("{:.0} %", number(row, at) * 100.0));
                shares.join(" ")
            }),
            ("beat", |row| format!("{} ms ago", text(row, "/beat_ms"))),
            ("tables", |row| text(row, "/epoch")),
            ("received", |row| text(row, "/received")),
            ("sent", |row| text(row, "/sent")),
            ("held", |row| text(row, "/held")),
            ("dropped", |row| text(row, "/dropped")),
        ],
        csv: vec![
            "/worker",
            "/core",
            "/load/0=load_1s",
            "/load/1=load_10s",
            "/load/2=load_60s",
            "/beat_ms",
            "/epoch",
            "/received",
            "/sent",
            "/made",
            "/held",
            "/dropped",
        ],
        degraded: |row| number(row, "/beat_ms") > SILENT_MS,
    }
}

fn ports_shown() -> Shown {
    Shown {
        command: "ports",
        name: "ports",
        columns: vec![
            ("port", |row| text(row, "/port")),
            ("device", |row| text(row, "/device")),
            ("driver", |row| text(row, "/mode")),
            ("queue", |row| text(row, "/queue")),
            ("worker", |row| text(row, "/worker")),
            ("rx", |row| text(row, "/rx")),
            ("tx", |row| text(row, "/tx")),
            ("rx lost", |row| text(row, "/rx_lost")),
            ("tx invalid", |row| text(row, "/tx_invalid")),
        ],
        csv: vec!["/port", "/device", "/mode", "/queue", "/worker", "/rx", "/tx", "/rx_lost", "/tx_invalid"],
        degraded: |_| false,
    }
}

fn snat_shown() -> Shown {
    Shown {
        command: "snat",
        name: "snat",
        columns: vec![
            ("source", |row| text(row, "/name")),
            ("addresses", |row| text(row, "/addresses")),
            ("ports", |row| text(row, "/ports")),
            ("tcp: used + in quarantine", |row| used(row, "/tcp")),
            ("udp: used + in quarantine", |row| used(row, "/udp")),
        ],
        csv: vec![
            "/name",
            "/addresses",
            "/ports",
            "/tcp/used",
            "/tcp/quarantined",
            "/tcp/total",
            "/udp/used",
            "/udp/quarantined",
            "/udp/total",
        ],
        degraded: |row| ["/tcp", "/udp"].iter().any(|of| is_nearly_full(row, of)),
    }
}

fn used(row: &Value, of: &str) -> String {
    let part = |name: &str| text(row, &format!("{of}/{name}"));
    format!("{} + {} of {}", part("used"), part("quarantined"), part("total"))
}

/// Less than one in 64 is free.
fn is_nearly_full(row: &Value, of: &str) -> bool {
    let part = |name: &str| number(row, &format!("{of}/{name}"));
    part("used") + part("quarantined") >= part("total") * (63.0 / 64.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_csv_column_and_every_cell_is_one_of_its_row() {
        let server = json!({
            "pool": "web", "name": "s1", "address": "10.0.0.1:80", "weight": 10, "weight_now": 2.5, "backup": true,
            "operator": "drain", "operator_file": "ready", "said": { "reason": "kernel update", "since": 1, "until": null },
            "agent": { "says": "50%" }, "health": "up", "reason": "connected", "eligible": false, "flows": 3, "flows_max": 9,
            "next_hop": "10.0.0.1 by port lan", "neighbour": "02:00:00:00:00:01",
            "check_times": { "checks": 2, "p50_ms": 0.25, "p99_ms": 1.5 },
        });
        let shown = servers_shown();
        let cells: Vec<String> = shown.columns.iter().map(|(_, cell)| cell(&server)).collect();
        assert_eq!(
            cells,
            [
                "web/s1",
                "10.0.0.1:80",
                "2.5/10",
                "drain: kernel update, backup",
                "50%",
                "up",
                "connected",
                "0.2/1.5 ms",
                "3/9",
                "10.0.0.1 by port lan (02:00:00:00:00:01)"
            ]
        );
        assert!(shown.csv.iter().all(|column| server.pointer(column).is_some()), "{:?}", shown.csv);
        assert!(!(shown.degraded)(&server), "an operator's drain is wanted");
    }

    #[test]
    fn a_pool_in_panic_is_a_reason_to_look_though_all_its_servers_get_flows() {
        let shown = pools_shown();
        let pool = |panic: Option<&str>| json!({ "servers_eligible": 3, "servers": 3, "below_min_servers": false, "panic": panic });
        assert!(!(shown.degraded)(&pool(None)));
        assert!((shown.degraded)(&pool(Some("all"))));
        let up = shown.columns.iter().find(|(name, _)| *name == "up").unwrap().1;
        assert_eq!(
            (up(&pool(None)), up(&pool(Some("all")))),
            ("3 of 3".to_owned(), "3 of 3 (panic: all)".to_owned())
        );
    }

    #[test]
    fn what_an_operator_wants_and_does_not_get_is_a_reason_to_look() {
        let row = |listening: Value, pool: &str, eligible: u32| json!({ "listening": listening, "pool": pool, "servers_eligible": eligible, "servers": 3 });
        let degraded = services_shown().degraded;
        assert!(degraded(&row(Value::Null, "web", 0)) && degraded(&row(json!(false), "", 0)));
        assert!(!degraded(&row(Value::Null, "web", 1)) && !degraded(&row(json!(true), "", 0)));
        let degraded = servers_shown().degraded;
        assert!(degraded(&json!({ "operator": "ready", "eligible": false })));
        assert!(!degraded(&json!({ "operator": "ready", "eligible": true })));
        let agent = |overruled: bool| json!({ "operator": "ready", "eligible": false, "agent": { "wish": "drain", "overruled": overruled } });
        assert!(!degraded(&agent(false)) && degraded(&agent(true)), "its agent wants that");
        let ports = |used: u32| json!({ "tcp": { "used": used, "quarantined": 0, "total": 64 }, "udp": { "used": 0, "quarantined": 0, "total": 64 } });
        assert!((snat_shown().degraded)(&ports(63)) && !(snat_shown().degraded)(&ports(62)));
        assert!((workers_shown().degraded)(&json!({ "beat_ms": 1_001 })));
    }
}
