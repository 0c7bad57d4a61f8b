//! `ringlead persist`: the persistence tables, or the clients that they know.

use super::listing::{Asked, Shown, refused, show};
use super::render::text;
use crate::cli::PersistArgs;
use serde_json::json;
use std::process::ExitCode;

/// Lists the tables, or with a table or a filter the clients.
pub(crate) fn persist(args: &PersistArgs) -> ExitCode {
    let asked = match Asked::of(&args.list.daemon) {
        Ok(asked) => asked,
        Err(why) => return refused("persist", &why),
    };
    let clients = args.entries || args.table.is_some() || args.client.is_some() || args.server.is_some();
    if !clients {
        return show(&tables_shown(), &args.list, || {
            asked.rows(json!({ "command": "list", "of": "persistence" }), json!(0))
        });
    }
    let request = json!({
        "command": "persist", "table": args.table, "client": args.client, "server": args.server,
    });
    show(&clients_shown(), &args.list, || asked.rows(request.clone(), json!([0, 0])))
}

fn tables_shown() -> Shown {
    Shown {
        command: "persist",
        name: "persistence",
        columns: vec![
            ("table", |row| text(row, "/name")),
            ("by", |row| format!("{} /{} IPv4, /{} IPv6", text(row, "/kind"), row["mask"], row["mask6"])),
            ("timeout", |row| format!("{} s", text(row, "/timeout_s"))),
            ("clients", |row| format!("{} of {}", row["used"], row["size"])),
        ],
        csv: vec!["/name", "/kind", "/mask", "/mask6", "/timeout_s", "/used", "/size"],
        degraded: |_| false,
    }
}

fn clients_shown() -> Shown {
    Shown {
        command: "persist",
        name: "clients",
        columns: vec![
            ("table", |row| text(row, "/table")),
            ("client", |row| text(row, "/client")),
            ("pool", |row| text(row, "/pool")),
            ("server", |row| text(row, "/server")),
            ("last new flow", |row| format!("{} s ago", text(row, "/idle_s"))),
            ("forgotten in", |row| format!("{} s", text(row, "/expires_s"))),
        ],
        csv: vec!["/table", "/client", "/pool", "/server", "/idle_s", "/expires_s"],
        degraded: |_| false,
    }
}
