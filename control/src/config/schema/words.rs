//! What an editor says of each key: type, range, words, default, meaning. Held against the checks by a test that tries them.

mod health;

use serde_json::{Value, json};

use super::super::vocabulary as v;

/// What names are made of.
pub(super) const NAME: &str = "^[a-z0-9._-]{1,64}$";
const DURATION: &str = "^[0-9]+(ms|s|m|h)$";
const ENDPOINT: &str = "^([0-9.]+|\\[[0-9a-fA-F:.]+\\]):[0-9]{1,5}$";
const PATH: &str = "^/";
const ADDRESS: &str = "^[0-9a-fA-F.:]+$";

/// What a table is for.
pub(super) fn about(header: &str) -> &'static str {
    match header {
        "" => "A configuration of ringlead.",
        h if h == v::NODE.header => "This machine.",
        h if h == v::DATAPLANE.header => "The workers.",
        h if h == v::PORT.header => "A network interface.",
        h if h == v::SERVICE.header => "What clients connect to.",
        h if h == v::POOL.header => "Servers, and how one is chosen.",
        h if h == v::SERVER.header => "A server.",
        h if h == v::TUNNEL.header => "What stands in front of a packet on its way to a server.",
        h if h == v::SNAT.header => "Addresses and ports that servers see in place of clients'.",
        h if h == v::PERSISTENCE.header => "Who comes back to the same server.",
        h if h == v::HEALTH.header => "A health check.",
        h if h == v::EXPECT.header => "The answer that a check wants.",
        h if h == v::PASSIVE.header => "What clients' connections show of a server, besides checks.",
        h if h == v::PANIC.header => "What a pool does when most of its servers look dead.",
        h if h == v::OBSERVE.header => "What is told of what happens, and where.",
        h if h == v::LOG.header => "The daemon's own log.",
        h if h == v::FLOW_LOG.header => "A line at a flow's end.",
        _ => "",
    }
}

/// The keys that must be there.
pub(super) fn required(header: &str) -> &'static [&'static str] {
    match header {
        "" => &["version", "dataplane", "port"],
        h if h == v::DATAPLANE.header => &["cores"],
        h if h == v::FLOW_LOG.header => &["to"],
        h if h == v::PORT.header => &["device"],
        h if h == v::SERVICE.header => &["listen", "protocol"],
        h if h == v::POOL.header => &["algorithm", "server"],
        h if h == v::SERVER.header => &["name", "address"],
        h if h == v::PANIC.header => &["then"],
        h if h == v::SNAT.header => &["addresses"],
        h if [v::TUNNEL.header, v::PERSISTENCE.header, v::HEALTH.header].contains(&h) => &["type"],
        _ => &[],
    }
}

/// Every key of a table.
pub(super) fn of(header: &str) -> Vec<(&'static str, Value)> {
    match header {
        "" => vec![
            ("version", json!({ "const": 1, "description": "The format: 1, the first line." })),
            (
                "include",
                one_or_many(
                    ".",
                    1_000,
                    "Files whose tables belong here too, beside this one; * stands for any part of a name. They include no others.",
                ),
            ),
        ],
        h if h == v::NODE.header => node(),
        h if h == v::DATAPLANE.header => dataplane(),
        h if h == v::PORT.header => port(),
        h if h == v::SERVICE.header => service(),
        h if h == v::POOL.header => pool(),
        h if h == v::SERVER.header => server(),
        h if h == v::TUNNEL.header => tunnel(),
        h if h == v::SNAT.header => snat(),
        h if h == v::PERSISTENCE.header => persistence(),
        h if h == v::HEALTH.header => health::health(),
        h if h == v::EXPECT.header => health::expect(),
        h if h == v::PASSIVE.header => health::passive(),
        h if h == v::PANIC.header => panic(),
        h if h == v::OBSERVE.header => observe(),
        h if h == v::LOG.header => log(),
        h if h == v::FLOW_LOG.header => flow_log(),
        _ => Vec::new(),
    }
}

fn node() -> Vec<(&'static str, Value)> {
    vec![
        ("name", text(NAME, "This node's name. Default: the host's.")),
        (
            "state-dir",
            with(
                "/var/lib/ringlead",
                text(PATH, "What is kept over a restart, and the lock: one ringlead a node."),
            ),
        ),
        (
            "control",
            with(
                "unix:/run/ringlead/control.sock",
                text("^unix:/", "The socket of the command line; NAME-ro.sock beside it changes nothing."),
            ),
        ),
        ("bpf-dir", with("/sys/fs/bpf/ringlead", text(PATH, "Pinned links and maps, in a bpffs."))),
    ]
}

fn dataplane() -> Vec<(&'static str, Value)> {
    let core = integer(0, 4_095, "A core.");
    vec![
        ("driver", with("af-xdp", choice(&["af-xdp"], "How frames come in and go out."))),
        (
            "cores",
            json!({ "type": "array", "items": core, "minItems": 1, "maxItems": 64, "uniqueItems": true, "description": "One worker each." }),
        ),
        (
            "control-core",
            integer(
                0,
                4_095,
                "Where everything else runs, better none of `cores`. Default: wherever the kernel likes.",
            ),
        ),
        (
            "idle",
            with(
                "adaptive",
                choice(
                    &["busy", "adaptive", "sleep"],
                    "What a worker does when no frame comes: poll; poll, then pause, then sleep; sleep.",
                ),
            ),
        ),
        ("max-flows", with(1_000_000, integer(1_024, 100_000_000, "Tracked flows of each IP family."))),
        (
            "hash-key",
            with(
                "72696e676c6561642d64656661756c74",
                text(
                    "^[0-9a-fA-F]{32}$",
                    "Key of the front's hash, the same on all nodes that share services: openssl rand -hex 16.",
                ),
            ),
        ),
        ("frames", with(16_384, integer(2_048, 1_048_576, "Frames of each worker, 2 KiB each."))),
    ]
}

fn port() -> Vec<(&'static str, Value)> {
    let queue = integer(0, 1_023, "A receive queue.");
    let list = json!({ "type": "array", "items": queue, "minItems": 1, "uniqueItems": true });
    vec![
        (
            "device",
            json!({ "type": "string", "minLength": 1, "maxLength": 15, "pattern": "^[^/:\\s]+$", "description": "The interface's name, as `ip link` shows it." }),
        ),
        (
            "queues",
            json!({ "anyOf": [{ "enum": ["auto"] }, list], "default": "auto", "description": "Which receive queues the workers own: all (auto), or these." }),
        ),
        (
            "zero-copy",
            with(
                "prefer",
                choice(&["prefer", "require", "off"], "Whether the driver hands its own buffers over."),
            ),
        ),
        (
            "attach",
            with("auto", choice(&["auto", "native", "generic"], "How the steering program is attached.")),
        ),
        (
            "rx-checksum",
            with(
                "auto",
                choice(&["auto", "trust", "fix-partial"], "What to think of a received transport checksum."),
            ),
        ),
        (
            "faces",
            with(
                "both",
                choice(
                    &["clients", "servers", "both"],
                    "Who is behind the port. Service addresses are put on ports that face clients.",
                ),
            ),
        ),
    ]
}

fn service() -> Vec<(&'static str, Value)> {
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

fn pool() -> Vec<(&'static str, Value)> {
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

fn server() -> Vec<(&'static str, Value)> {
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

fn tunnel() -> Vec<(&'static str, Value)> {
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

fn snat() -> Vec<(&'static str, Value)> {
    let addresses = "\"10.0.0.200\" or \"10.0.0.200-10.0.0.207\", or a list of them: this node's alone, in the servers' network.";
    vec![
        ("addresses", one_or_many("^[0-9a-fA-F:.]+( *- *[0-9a-fA-F:.]+)?$", 4_096, addresses)),
        (
            "ports",
            with("1024-65535", text("^[0-9]+ *- *[0-9]+$", "The source ports; each worker needs a share.")),
        ),
    ]
}

fn persistence() -> Vec<(&'static str, Value)> {
    vec![
        ("type", choice(&["source"], "What a client is known by.")),
        ("mask", with(32, integer(1, 32, "The bits of an IPv4 source that count."))),
        ("mask6", with(64, integer(1, 128, "The bits of an IPv6 source that count."))),
        ("timeout", with("10m", text(DURATION, "1s to 168h: who begins no flow for so long is forgotten."))),
        ("size", with(131_072, integer(8, 1 << 24, "Clients remembered at once, 32 bytes each."))),
    ]
}

fn panic() -> Vec<(&'static str, Value)> {
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

fn observe() -> Vec<(&'static str, Value)> {
    vec![
        (
            "metrics",
            text(
                ENDPOINT,
                "Where /metrics (OpenMetrics), /healthz and /readyz are served over HTTP, to whoever may connect. Default: nowhere.",
            ),
        ),
        (
            "report",
            text(
                ENDPOINT,
                "Where a monitoring system may report servers' health over HTTP, with a token of report-token-file. Default: nowhere.",
            ),
        ),
        (
            "report-token-file",
            text(
                "^/",
                "The tokens that are valid, one a line; read at start and by each reload. Not readable by others.",
            ),
        ),
    ]
}

fn log() -> Vec<(&'static str, Value)> {
    vec![
        (
            "to",
            with(
                "stderr",
                text("^(stderr$|journal$|/)", "stderr, journal, or a path: opened anew on SIGUSR1."),
            ),
        ),
        (
            "format",
            with("text", choice(&["text", "json"], "How a line is written; the journal has its own form.")),
        ),
        (
            "level",
            with(
                "info",
                choice(&["error", "warn", "info", "debug", "trace"], "This is written and what is worse."),
            ),
        ),
    ]
}

fn flow_log() -> Vec<(&'static str, Value)> {
    let ends: Vec<_> = ringlead_l4::ends::Why::ALL.iter().map(|(name, _)| *name).collect();
    let always = json!({
        "type": "array",
        "items": { "enum": ends },
        "default": [],
        "description": "Flows that end so have a line whatever the sample is.",
    });
    vec![
        ("to", text("^(stderr$|journal$|/)", "stderr, journal, or a path: opened anew on SIGUSR1.")),
        (
            "format",
            with("text", choice(&["text", "json"], "How a line is written; the journal has its own form.")),
        ),
        ("sample", with("1/1", text("^1/0*[1-9][0-9]*$", "One flow in so many, the same on every node."))),
        ("always", always),
    ]
}

/// As long as checks send or look for.
fn some_text(description: &str) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 1_024, "description": description })
}

fn text(pattern: &str, description: &str) -> Value {
    json!({ "type": "string", "pattern": pattern, "description": description })
}

fn choice(words: &[&str], description: &str) -> Value {
    json!({ "enum": words, "description": description })
}

fn integer(min: i64, max: i64, description: &str) -> Value {
    json!({ "type": "integer", "minimum": min, "maximum": max, "description": description })
}

fn one_or_many(pattern: &str, items_max: usize, description: &str) -> Value {
    let one = json!({ "type": "string", "pattern": pattern });
    let many = json!({ "type": "array", "items": one, "minItems": 1, "maxItems": items_max });
    json!({ "anyOf": [one, many], "description": description })
}

fn with(default: impl Into<Value>, mut schema: Value) -> Value {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("default".to_owned(), default.into());
    }
    schema
}
