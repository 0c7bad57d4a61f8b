//! `ringlead status`: what a running daemon does, as tables or JSON.

use super::listing::{Asked, Watch, refused};
use super::{daemon, render};
use crate::cli::StatusArgs;
use ringlead_control::engine::status::{PoolStatus, ServerStatus, ServiceStatus, SnatPortsStatus, Status};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Asks and prints, once or again and again. Exit status 0: every service has a server, or a listener; 1: some have none, or a
/// pool is in panic; 2: no answer.
pub(crate) fn status(args: &StatusArgs) -> ExitCode {
    if args.csv {
        return refused(
            "status",
            "it is several tables: `ringlead services --csv`, or pools, servers, workers, ports, drops, snat, persist",
        );
    }
    let mut watch = Watch::of(args.watch, !args.json);
    loop {
        let (text, degraded) = match ask(args).and_then(|answer| shown(args, &answer)) {
            Ok(shown) => shown,
            Err(why) if watch.outlives("status", &why) => continue,
            Err(why) => return refused("status", &why),
        };
        if !watch.show(&text) || !watch.goes_on() {
            return if degraded { ExitCode::from(1) } else { ExitCode::SUCCESS };
        }
    }
}

/// As it is wanted, and whether it is a reason to look.
fn shown(args: &StatusArgs, answer: &Value) -> Result<(String, bool), String> {
    let status: Result<Status, _> = serde_json::from_value(answer.clone());
    let text = match (&status, args.json) {
        // Watched, an object is a line.
        (_, true) if args.watch.is_some() => format!("{answer}\n"),
        (_, true) => format!("{answer:#}\n"),
        (Ok(status), false) => format!("{}\n", tables(status)),
        (Err(error), false) => return Err(format!("the daemon's answer is of another version: {error}")),
    };
    let degraded = status.is_ok_and(|status| {
        status.services.iter().any(is_served_by_nobody)
            || status.pools.iter().any(|pool| pool.panic.is_some())
    });
    Ok((text, degraded))
}

fn is_served_by_nobody(service: &ServiceStatus) -> bool {
    service.listening == Some(false) || service.servers_eligible == 0 && !service.pool.is_empty()
}

fn ask(args: &StatusArgs) -> Result<Value, String> {
    Asked::of(&args.daemon)?.ask(&json!({ "command": "status" }))
}

fn tables(status: &Status) -> String {
    let mut text = format!(
        "node {}  ringlead {}  pid {}  up {:.0} s  tables {}  flows {} IPv4, {} IPv6 of {} each\n",
        status.node,
        status.version,
        status.pid,
        status.uptime_s,
        status.epoch,
        status.flows.ipv4,
        status.flows.ipv6,
        status.flows.max,
    );
    if let Some(error) = &status.reload.error {
        text.push_str(&format!("the last reload was refused:\n{error}\n"));
    }
    if let Some(left) = status.reload.waits_s {
        text.push_str(&format!("the last reload is waiting for confirm, {left} s left\n"));
    }
    for pool in &status.pools {
        if let Some(then) = &pool.panic {
            let name = &pool.name;
            text.push_str(&format!(
                "PANIC in pool {name}: most servers look dead, new flows go to: {then}\n"
            ));
        }
    }
    if let Some(said) = &status.node_said {
        let why = said.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        text.push_str(&format!("the node drains{why}: it serves what comes and is not ready for more\n"));
    }
    text.push_str(&services(status));
    text.push_str(&pools(&status.pools));
    text.push_str(&servers(&status.pools));
    text.push_str(&persistence(status));
    if !status.snat.is_empty() {
        text.push_str(&sources(status));
    }
    text.push_str(&ports(status));
    text.push_str(&workers(status));
    text.push_str("\ndrops: ");
    let drops: Vec<String> = status.drops.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
    text.push_str(&if drops.is_empty() { "none".to_owned() } else { drops.join(", ") });
    text
}

fn table(title: &str, head: &[&str], rows: Vec<Vec<String>>) -> String {
    format!("\n{title}\n{}\n", render::table(head, rows))
}

fn services(status: &Status) -> String {
    let rows = status.services.iter().map(|s| {
        vec![
            s.name.clone(),
            s.layer.clone(),
            s.mode.clone(),
            s.protocol.clone(),
            s.listen.join(" "),
            served_by(s),
            s.sorry.as_ref().map_or_else(|| s.on_no_server.clone(), |pool| format!("sorry:{pool}")),
            s.persistence.clone().unwrap_or_else(|| "none".to_owned()),
            s.flows_created.to_string(),
            s.packets_in.to_string(),
            s.packets_out.to_string(),
        ]
    });
    let head = [
        "service",
        "layer",
        "mode",
        "protocol",
        "listens on",
        "served by",
        "on no server",
        "persistence",
        "flows made",
        "packets in",
        "packets out",
    ];
    table("services", &head, rows.collect())
}

/// The pool, or the sockets of this node; of nodes both.
fn served_by(s: &ServiceStatus) -> String {
    let pool =
        (!s.pool.is_empty()).then(|| format!("{} ({} of {} up)", s.pool, s.servers_eligible, s.servers));
    let socket = s.listening.map(|listens| if listens { "listening" } else { "nobody listens" }.to_owned());
    pool.into_iter().chain(socket).collect::<Vec<_>>().join(", ")
}

fn pools(pools: &[PoolStatus]) -> String {
    let rows = pools.iter().map(|pool| {
        let options = [
            pool.hash.as_ref().map(|hash| format!("hash {hash}")),
            pool.table_size.map(|size| format!("{size} slots")),
            pool.slow_start_s.map(|seconds| format!("slow start {seconds} s")),
        ];
        let short = if pool.below_min_servers { " (below)" } else { "" };
        let backups = match pool.servers.iter().filter(|server| server.backup).count() {
            0 => "none".to_owned(),
            n if pool.backups_in_use => format!("{n}, in use"),
            n => format!("{n}"),
        };
        let algorithm = [Some(pool.algorithm.clone())].into_iter().chain(options).flatten();
        vec![
            pool.name.clone(),
            algorithm.collect::<Vec<_>>().join(", "),
            format!("{}{short}", pool.min_servers),
            backups,
        ]
    });
    table("pools", &["pool", "algorithm", "min-servers", "backups"], rows.collect())
}

/// `10`, or `2.5/10` while it starts slowly.
fn weight(server: &ServerStatus) -> String {
    let full = server.weight.to_string();
    if server.weight_now < f64::from(server.weight) { format!("{}/{full}", server.weight_now) } else { full }
}

/// `drain`, or `drain (operator: kernel update, since …, until …; file says ready)`.
fn operator(server: &ServerStatus) -> String {
    let mut text = server.operator.clone();
    if let Some(said) = &server.said {
        let reason = said.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let until = said.until.map(|at| format!(", until {}", daemon::at(at))).unwrap_or_default();
        let since = daemon::at(said.since);
        text.push_str(&format!(
            " (operator{reason}, since {since}{until}; file says {})",
            server.operator_file
        ));
    }
    if server.backup { format!("{text}, backup") } else { text }
}

/// What the check says or was reported, for how long that counts or is not believed, and what the agent says.
fn reason(server: &ServerStatus) -> String {
    let left = server.reported.as_ref().map(|report| format!(", {} s left", report.left_s));
    let held =
        server.held_s.map(|left| format!("; held down for {left:.0} s more: it came and went too often"));
    let found = format!("{}{}{}", server.reason, left.unwrap_or_default(), held.unwrap_or_default());
    let Some(agent) = &server.agent else { return found };
    let why = agent.reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    let notes = [
        (agent.overruled && agent.wish != "ready")
            .then(|| "the operator's command stands above it".to_owned()),
        agent.weight_kept.then(|| "maglev keeps the weight".to_owned()),
        agent.ignored.as_ref().map(|words| format!("ignored: {words}")),
        agent.problem.as_ref().map(|problem| format!("no answer now: {problem}")),
    ];
    let notes: String = notes.into_iter().flatten().map(|note| format!("; {note}")).collect();
    format!("{found}; agent: {}{why}{notes}", agent.says)
}

/// Nothing where no table is configured.
fn persistence(status: &Status) -> String {
    if status.persistence.is_empty() {
        return String::new();
    }
    let rows = status.persistence.iter().map(|p| {
        vec![
            p.name.clone(),
            format!("{} /{} IPv4, /{} IPv6", p.kind, p.mask, p.mask6),
            format!("{} s", p.timeout_s),
            format!("{} of {}", p.used, p.size),
        ]
    });
    table("persistence", &["table", "by", "timeout", "clients"], rows.collect())
}

fn servers(pools: &[PoolStatus]) -> String {
    let rows = pools.iter().flat_map(|pool| {
        pool.servers.iter().map(|s| {
            vec![
                format!("{}/{}", pool.name, s.name),
                s.address.clone(),
                weight(s),
                operator(s),
                s.health.clone(),
                reason(s),
                s.flows_max.map_or_else(|| s.flows.to_string(), |max| format!("{}/{max}", s.flows)),
                format!("{} ({})", s.next_hop, s.neighbour.as_deref().unwrap_or("unresolved")),
            ]
        })
    });
    let head = ["server", "address", "weight", "operator", "health", "reason", "flows", "next hop"];
    table("servers", &head, rows.collect())
}

fn sources(status: &Status) -> String {
    let ports = |of: &SnatPortsStatus| format!("{} + {} of {}", of.used, of.quarantined, of.total);
    let rows = status.snat.iter().map(|s| {
        let (first, more) =
            (s.addresses.first().cloned().unwrap_or_default(), s.addresses.len().saturating_sub(1));
        let addresses = if more == 0 { first } else { format!("{first} and {more} more") };
        vec![s.name.clone(), addresses, s.ports.clone(), ports(&s.tcp), ports(&s.udp)]
    });
    let head = ["source", "addresses", "ports", "tcp: used + in quarantine", "udp: used + in quarantine"];
    table("source addresses (snat)", &head, rows.collect())
}

fn ports(status: &Status) -> String {
    let rows = status.ports.iter().flat_map(|port| {
        port.queues.iter().map(|q| {
            vec![
                port.name.clone(),
                port.device.clone(),
                port.mode.clone(),
                q.queue.to_string(),
                q.worker.to_string(),
                q.rx.to_string(),
                q.tx.to_string(),
                q.rx_lost.to_string(),
            ]
        })
    });
    table("ports", &["port", "device", "driver", "queue", "worker", "rx", "tx", "lost"], rows.collect())
}

fn workers(status: &Status) -> String {
    let rows = status.workers.iter().map(|w| {
        vec![
            w.worker.to_string(),
            w.core.to_string(),
            w.load.map(|load| format!("{:.0} %", load * 100.0)).join(" "),
            format!("{} ms ago", w.beat_ms),
            w.received.to_string(),
            w.sent.to_string(),
            w.held.to_string(),
            w.dropped.to_string(),
        ]
    });
    let head = ["worker", "core", "load 1/10/60 s", "beat", "received", "sent", "held", "dropped"];
    table("workers", &head, rows.collect())
}
