//! `ringlead explain tcp|udp CLIENT SERVICE`: which server a new flow would get, why, why not the others, and the way there.

use super::listing::{Asked, refused};
use super::render::{csv_head, csv_row, table};
use crate::cli::ExplainArgs;
use crate::out::print;
use ringlead_control::engine::requests::explain::ExplainAnswer;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::ExitCode;

/// Asks and prints. Exit status 0: somebody gets it; 1: nobody does, it is not ours, or the way there is not known; 2: refused, or
/// no answer.
pub(super) fn explain(args: &ExplainArgs, protocol: &str, client: &str, service: &str) -> ExitCode {
    if let Err(why) = client_of(client) {
        return refused("explain", &why);
    }
    let protocol = protocol.to_ascii_lowercase();
    let request = json!({ "command": "explain", "protocol": protocol, "client": client, "service": service });
    let answer = match Asked::of(&args.daemon).and_then(|asked| asked.ask(&request)) {
        Ok(answer) => answer,
        Err(why) => return refused("explain", &why),
    };
    let read: ExplainAnswer = match serde_json::from_value(answer.clone()) {
        Ok(read) => read,
        Err(error) => {
            return refused("explain", &format!("the daemon's answer is of another version: {error}"));
        }
    };
    print(&match (args.json, args.csv) {
        (true, _) => format!("{answer:#}\n"),
        (_, true) => csv(&answer),
        _ => said(&read),
    });
    if is_served(&read) { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// An address and a port: the server may depend on both.
fn client_of(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let asked = text.escape_debug();
        format!("`{asked}` is no client: it is ADDRESS:PORT, as 198.51.100.7:40000 or [2001:db8::7]:40000")
    })
}

/// The servers, one a row.
fn csv(answer: &Value) -> String {
    let columns = ["/server", "/address", "/chosen", "/why"];
    let rows = answer["servers"].as_array().into_iter().flatten();
    csv_head(&columns) + &rows.map(|row| csv_row(&columns, row)).collect::<String>()
}

fn is_served(answer: &ExplainAnswer) -> bool {
    let way = answer.way.as_ref().is_some_and(|way| way.neighbour.is_some());
    way || !answer.candidates.is_empty() || answer.decided_by.as_deref() == Some("own-node")
}

fn said(answer: &ExplainAnswer) -> String {
    let mut text = format!("{} {} -> {}\n", answer.protocol, answer.client, answer.listen);
    if let (Some(service), Some(layer), Some(mode), Some(pool)) =
        (&answer.service, &answer.layer, &answer.mode, &answer.pool)
    {
        text.push_str(&format!("service {service} ({layer}, {mode}), pool {pool}\n"));
    }
    text.push_str(&format!("{}\n", answer.says));
    if let Some(flow) = &answer.flow {
        let server = flow.server.as_deref().unwrap_or("?");
        text.push_str(&format!(
            "it has a flow to {server}: {}, silent for {} s, ends in {} s\n",
            flow.state, flow.idle_s, flow.expires_s
        ));
    }
    if let Some(known) = &answer.remembered {
        let counts = if known.counts { "" } else { ", which cannot take it now" };
        text.push_str(&format!(
            "persistence: the client had {}{counts}, {} s ago\n",
            known.server, known.idle_s
        ));
    }
    if !answer.servers.is_empty() {
        let rows = answer.servers.iter().map(|server| {
            let mark = if server.chosen { "->" } else { "" };
            vec![mark.to_owned(), server.server.clone(), server.address.clone(), server.why.clone()]
        });
        text.push_str(&format!("{}\n", table(&["", "server", "address", "why"], rows.collect())));
    }
    if let Some(way) = &answer.way {
        let vlan = way.vlan.map(|vlan| format!(", VLAN {vlan}")).unwrap_or_default();
        let neighbour =
            way.neighbour.as_deref().unwrap_or("not known: its packets wait, then drop as no-neighbour");
        text.push_str(&format!(
            "way: next hop {} by port {} ({}{vlan}), neighbour {neighbour}\n",
            way.next_hop, way.port, way.device
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_without_a_port_is_refused_by_what_is_expected() {
        assert!(client_of("[2001:db8::7]:40000").is_ok() && client_of("198.51.100.7:40000").is_ok());
        for wrong in ["10.1.0.2", "2001:db8::7", "web", ""] {
            let why = client_of(wrong).unwrap_err();
            assert!(why.contains(wrong) && why.contains("ADDRESS:PORT"), "{why}");
        }
    }

    #[test]
    fn a_server_is_a_row() {
        let server = json!({ "server": "web/a", "address": "10.0.0.1:80", "chosen": true, "why": "a, b" });
        let rows = csv(&json!({ "servers": [server] }));
        assert_eq!(rows, "server,address,chosen,why\nweb/a,10.0.0.1:80,true,\"a, b\"\n");
    }
}
