//! `[tunnel.NAME]`, `[snat.NAME]` and `[persistence.NAME]`: addresses that servers see, and clients that come back.

use serde_json::{Value, json};

use super::{DURATION, choice, integer, one_or_many, text, with};

pub(super) fn tunnel() -> Vec<(&'static str, Value)> {
    vec![
        ("type", choice(&["ipip", "gue"], "The encapsulation.")),
        ("variant", integer(0, 1, "With gue: 0 with a GUE header, 1 without. Default: 1.")),
        ("port", integer(1, 65_535, "With gue: the servers' UDP port. Default: 6080.")),
        (
            "source",
            json!({
                "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "maxItems": 2 }],
                "default": ["172.16.0.0/16", "100::/64"],
                "description": "Outer sources, one prefix a family; one address of it a flow.",
            }),
        ),
    ]
}

pub(super) fn snat() -> Vec<(&'static str, Value)> {
    let addresses = "\"10.0.0.200\" or \"10.0.0.200-10.0.0.207\", or a list of them: this node's alone, in the servers' network.";
    vec![
        ("addresses", one_or_many("^[0-9a-fA-F:.]+( *- *[0-9a-fA-F:.]+)?$", 4_096, addresses)),
        (
            "ports",
            with("1024-65535", text("^[0-9]+ *- *[0-9]+$", "The source ports; each worker needs a share.")),
        ),
    ]
}

pub(super) fn persistence() -> Vec<(&'static str, Value)> {
    vec![
        ("type", choice(&["source"], "What a client is known by.")),
        ("mask", with(32, integer(1, 32, "The bits of an IPv4 source that count."))),
        ("mask6", with(64, integer(1, 128, "The bits of an IPv6 source that count."))),
        ("timeout", with("10m", text(DURATION, "1s to 168h: who begins no flow for so long is forgotten."))),
        ("size", with(131_072, integer(8, 1 << 24, "Clients remembered at once, 32 bytes each."))),
    ]
}
