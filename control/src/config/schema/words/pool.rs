//! `[pool.NAME]`, with its servers and what it does in panic.

use serde_json::{Value, json};

use super::{DURATION, ENDPOINT, NAME, choice, integer, text, with};

pub(super) fn pool() -> Vec<(&'static str, Value)> {
    let sizes = json!({ "enum": ringlead_pick::SIZES, "description": "With maglev: the slots of the table. Default: the smallest of at least 100 a server." });
    vec![
        (
            "algorithm",
            choice(
                &["maglev", "round-robin", "least-flows", "random-2"],
                "How a server is chosen; maglev chooses alike on every node.",
            ),
        ),
        (
            "hash",
            choice(
                &["5-tuple", "src", "src+dport"],
                "With maglev: what of a flow decides. Default: 5-tuple.",
            ),
        ),
        ("table-size", sizes),
        (
            "slow-start",
            text(
                DURATION,
                "1s to 1h, not with maglev: how long a server that comes up takes to its full weight. Default: none.",
            ),
        ),
        (
            "min-servers",
            with(
                1,
                json!({ "type": "integer", "minimum": 1, "description": "With fewer of those that are no backups, the backups join." }),
            ),
        ),
        (
            "on-server-down",
            with(
                "keep",
                choice(
                    &["keep", "reset", "reselect"],
                    "What becomes of the flows of a server whose checks fail: they stay, are reset, or choose again.",
                ),
            ),
        ),
        ("health", text(NAME, "A table [health.NAME]. Default: none, servers are always up.")),
        (
            "agent",
            text(
                NAME,
                "A table [health.NAME] of type agent, asked for each server's state and share. Default: none.",
            ),
        ),
    ]
}

pub(super) fn server() -> Vec<(&'static str, Value)> {
    vec![
        ("name", text(NAME, "Its name in the pool.")),
        (
            "address",
            text(
                ENDPOINT,
                "\"10.0.0.1:80\" or \"[2001:db8::1]:80\"; port 0 is the one that the client asked for.",
            ),
        ),
        ("weight", with(1, integer(1, 256, "Its share."))),
        (
            "state",
            with(
                "ready",
                choice(&["ready", "drain", "offline"], "Where it starts when no operator said otherwise."),
            ),
        ),
        (
            "max-flows",
            integer(1, 100_000_000, "Not with maglev: at so many it gets no new flow. Default: any number."),
        ),
        (
            "backup",
            json!({ "type": "boolean", "default": false, "description": "Gets flows only while fewer than `min-servers` others can." }),
        ),
    ]
}

pub(super) fn panic() -> Vec<(&'static str, Value)> {
    vec![
        (
            "below",
            with(50, integer(1, 100, "Percent of the servers that are ready and no backups: with fewer up.")),
        ),
        (
            "then",
            choice(
                &["all", "none", "backup"],
                "Who gets new flows: all of them (the checks are disbelieved), nobody, or the backups alone.",
            ),
        ),
    ]
}
