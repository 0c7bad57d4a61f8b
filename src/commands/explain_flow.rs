//! `ringlead explain tcp|udp CLIENT SERVICE`: which server a new flow would get, why, why not the others, and the way there.

use super::listing::{Asked, refused};
use super::render::table;
use crate::cli::ExplainArgs;
use crate::out::print;
use ringlead_control::engine::requests::explain::ExplainAnswer;
use serde_json::json;
use std::process::ExitCode;

/// Asks and prints. Exit status 0: somebody gets it; 1: nobody does, it is not ours, or the way there is not known; 2: refused, or
/// no answer.
pub(super) fn explain(args: &ExplainArgs, protocol: &str, client: &str, service: &str) -> ExitCode {
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
    print(&if args.json { format!("{answer:#}\n") } else { said(&read) });
    if is_served(&read) { ExitCode::SUCCESS } else { ExitCode::from(1) }
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
