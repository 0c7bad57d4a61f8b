//! What is said of the keys of `[health.NAME]`.

use serde_json::{Value, json};

use super::{ADDRESS, DURATION, PATH, choice, integer, some_text, text, with};
use crate::health::DnsProbe;

pub(super) fn health() -> Vec<(&'static str, Value)> {
    let mut keys = checking();
    keys.extend(asking());
    keys
}

/// When a check is made, and what its results do.
fn checking() -> Vec<(&'static str, Value)> {
    vec![
        (
            "type",
            choice(
                &["icmp", "tcp", "tls", "http", "https", "udp", "dns", "agent", "report"],
                "What is asked: icmp is a ping, tcp a connection that is accepted, tls a handshake, agent a line about the server; with report nothing: others say.",
            ),
        ),
        ("interval", with("2s", text(DURATION, "100ms to 1h: from one check of a server to its next."))),
        (
            "interval-changing",
            text(
                DURATION,
                "100ms to 1h, not above the interval: the same while the last check speaks against the server's state. Default: the interval.",
            ),
        ),
        (
            "timeout",
            text(
                DURATION,
                "10ms to 1h, not above the interval: of one check. Default: 1s, or the interval if that is less.",
            ),
        ),
        ("rise", with(2, integer(1, 100, "Good checks in a row that bring a server up; not with agent."))),
        ("fall", with(3, integer(1, 100, "Bad checks in a row that take it down; not with agent."))),
        (
            "flaps",
            with(
                5,
                integer(0, 100, "So often down within `flap-window`: held down; 0: never. Not with agent."),
            ),
        ),
        (
            "flap-window",
            with("1m", text(DURATION, "1s to 1h: in which time; who stays up for so long begins anew.")),
        ),
        (
            "flap-hold",
            with("10s", text(DURATION, "1s to 5m: how long the first hold is; each next one twice as long.")),
        ),
        ("flap-hold-max", with("5m", text(DURATION, "1s to 1h, not below `flap-hold`: how long at most."))),
        ("port", integer(1, 65_535, "The port to check, not with icmp. Default: the server's own.")),
        (
            "via",
            with(
                "direct",
                choice(
                    &["direct", "service-path"],
                    "With tcp, tls, http and https: to the server's own address, or to the services' addresses as clients' packets go (modes dsr and tunnel only).",
                ),
            ),
        ),
        (
            "probe-source",
            text(
                ADDRESS,
                "With service-path: the address of this node to ask from. Default: the one towards the server.",
            ),
        ),
    ]
}

/// What the types ask; `expect` has a table of its own.
fn asking() -> Vec<(&'static str, Value)> {
    let header = json!({ "type": "string", "pattern": "^[^:]+:" });
    let headers = json!({
        "anyOf": [header, { "type": "array", "items": header, "maxItems": 32 }],
        "description": "With http and https: \"NAME: VALUE\", or a list of them, sent besides.",
    });
    let query = format!("^[^ ]* ({})$", DnsProbe::TYPES.join("|"));
    vec![
        ("request", text("^[^ ]+ /", "With http and https: \"METHOD /PATH\". Default: \"GET /\".")),
        (
            "host",
            some_text("With http and https: the Host that is asked for. Default: the server's address."),
        ),
        ("headers", headers),
        (
            "ca",
            text(PATH, "With tls and https: a PEM file of whom to trust. Default: any certificate will do."),
        ),
        ("sni", some_text("With tls and https: the name that is asked for.")),
        ("send", some_text("With udp and agent: what is sent. Default: an empty datagram, or nothing.")),
        ("query", text(&query, "With dns: \"NAME TYPE\".")),
        (
            "unreported",
            choice(
                &["up", "down"],
                "With report: what servers are taken for that nobody reports on. Default: up.",
            ),
        ),
    ]
}

pub(super) fn passive() -> Vec<(&'static str, Value)> {
    vec![
        (
            "errors",
            with(
                10,
                integer(1, 1_000_000, "So many connections that fail within the window take a server down."),
            ),
        ),
        ("window", with("10s", text(DURATION, "1s to 10m: what is looked back on."))),
    ]
}

pub(super) fn expect() -> Vec<(&'static str, Value)> {
    vec![
        (
            "status",
            text(
                "[1-5][0-9][0-9]",
                "With http and https: statuses and ranges of them. Default: \"200-299\".",
            ),
        ),
        ("body-contains", some_text("With http and https: what the body must have.")),
        ("reply", some_text("With udp: what the reply must have.")),
        ("rcode", choice(&DnsProbe::RCODES, "With dns: the response code. Default: NOERROR.")),
        ("answer", some_text("With dns: the data that a record of the answer must have.")),
    ]
}
