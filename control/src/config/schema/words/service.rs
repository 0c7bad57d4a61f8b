//! `[service.NAME]`.

use serde_json::{Value, json};

use super::{ENDPOINT, NAME, choice, integer, one_or_many, text, with};

pub(super) fn service() -> Vec<(&'static str, Value)> {
    let mut keys = forwarding();
    keys.extend(serving());
    keys
}

/// Where a service's packets come in and go to.
fn forwarding() -> Vec<(&'static str, Value)> {
    vec![
        (
            "listen",
            one_or_many(
                ENDPOINT,
                64,
                "\"192.0.2.10:80\" or \"[2001:db8::1]:80\", or a list of them; port 0 is every port.",
            ),
        ),
        ("protocol", choice(&["tcp", "udp"], "The transport protocol.")),
        (
            "layer",
            with(
                "l4",
                choice(
                    &["l4", "l7"],
                    "l4: packets go to servers; l7: connections are accepted on this node, or on one of `nodes`.",
                ),
            ),
        ),
        (
            "nodes",
            text(
                NAME,
                "With layer l7: the pool whose servers are the nodes, this one by [node] name. Default: this node alone.",
            ),
        ),
        (
            "hand-off",
            choice(&["dsr", "tunnel"], "With `nodes`: how other nodes get their flows. Default: dsr."),
        ),
        ("mode", choice(&["nat", "snat", "dsr", "tunnel"], "With layer l4: how packets reach a server.")),
        ("pool", text(NAME, "With layer l4: the servers.")),
        ("snat", text(NAME, "With mode snat: a table [snat.NAME]. Default: the only one.")),
        (
            "tunnel",
            text(NAME, "With mode or hand-off tunnel: gue, ipip or a table [tunnel.NAME]. Default: gue."),
        ),
    ]
}

/// How it treats them.
fn serving() -> Vec<(&'static str, Value)> {
    let on_no_server = json!({
        "anyOf": [{ "enum": ["drop", "reset", "icmp-unreachable"] }, { "type": "string", "pattern": "^sorry:." }],
        "description": "What a new client gets when no server is up and ready; sorry:POOL is another pool. Default: reset for tcp, drop for udp.",
    });
    let timeouts = choice(
        &["lb", "rfc5382"],
        "How long idle flows are kept: short, as load balancers do, or the least that a NAT must.",
    );
    vec![
        ("on-no-server", on_no_server),
        (
            "persistence",
            text(
                NAME,
                "A table [persistence.NAME]: clients come back to their server. Default: every flow is chosen for anew.",
            ),
        ),
        (
            "addresses",
            with(
                "manage",
                choice(
                    &["manage", "expect"],
                    "Who puts the addresses on the node: ringlead, or somebody else.",
                ),
            ),
        ),
        (
            "mss-clamp",
            integer(
                536,
                65_495,
                "The most that a SYN may offer as its segment size, tcp only. Default: as it is.",
            ),
        ),
        ("timeouts", with("lb", timeouts)),
    ]
}
