//! What this version knows, and what it refuses by name because a later one will.

/// A key of a table.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// What its value is, in words.
    pub(super) expects: &'static str,
    /// TOML types that a later version will accept besides.
    pub(super) types_later: &'static [&'static str],
}

/// A table: its keys, and keys of later versions.
pub(super) struct Table {
    /// As in a header: `[service.NAME]`; empty for the file's own level.
    pub(super) header: &'static str,
    pub(super) keys: &'static [Key],
    pub(super) later: &'static [&'static str],
}

impl Table {
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|k| k.name == name)
    }
}

const fn key(name: &'static str, expects: &'static str) -> Key {
    Key { name, expects, types_later: &[] }
}

/// All but [`ROOT`].
pub(super) const TABLES: [&Table; 16] = [
    &NODE,
    &DATAPLANE,
    &PORT,
    &SERVICE,
    &POOL,
    &PANIC,
    &SERVER,
    &TUNNEL,
    &SNAT,
    &PERSISTENCE,
    &HEALTH,
    &EXPECT,
    &PASSIVE,
    &OBSERVE,
    &LOG,
    &FLOW_LOG,
];

/// The tables below the root, by the first word of their headers, in the root's order.
pub(super) const TABLES_BY_KIND: [(&str, &Table); 10] = [
    ("node", &NODE),
    ("dataplane", &DATAPLANE),
    ("port", &PORT),
    ("service", &SERVICE),
    ("pool", &POOL),
    ("tunnel", &TUNNEL),
    ("snat", &SNAT),
    ("persistence", &PERSISTENCE),
    ("health", &HEALTH),
    ("observe", &OBSERVE),
];

/// The root's keys that are no tables.
pub(super) const PLAIN: [&str; 2] = ["version", "include"];

pub(super) const ROOT: Table = Table {
    header: "",
    keys: &[
        key("version", "an integer"),
        key("include", "a path as a string, or a list of them"),
        key("node", "a table"),
        key("dataplane", "a table"),
        key("port", "a set of tables [port.NAME]"),
        key("service", "a set of tables [service.NAME]"),
        key("pool", "a set of tables [pool.NAME]"),
        key("tunnel", "a set of tables [tunnel.NAME]"),
        key("snat", "a set of tables [snat.NAME]"),
        key("persistence", "a set of tables [persistence.NAME]"),
        key("health", "a set of tables [health.NAME]"),
        key("observe", "a table"),
    ],
    later: &["l7", "peer", "announce"],
};

pub(super) const NODE: Table = Table {
    header: "[node]",
    keys: &[
        key("name", "a string"),
        key("state-dir", "a path as a string"),
        key("control", "a string \"unix:/PATH\""),
        key("bpf-dir", "a path as a string"),
    ],
    later: &[],
};

pub(super) const DATAPLANE: Table = Table {
    header: "[dataplane]",
    keys: &[
        key("driver", "a string"),
        key("cores", "a list of integers"),
        key("control-core", "an integer"),
        key("idle", "a string"),
        key("max-flows", "an integer"),
        key("hash-key", "a string of 32 hexadecimal digits"),
        key("frames", "an integer"),
    ],
    later: &[],
};

pub(super) const PORT: Table = Table {
    header: "[port.NAME]",
    keys: &[
        key("device", "a string"),
        key("queues", "\"auto\" or a list of integers"),
        key("zero-copy", "a string"),
        key("attach", "a string"),
        key("rx-checksum", "a string"),
        key("faces", "a string"),
    ],
    later: &[],
};

pub(super) const SERVICE: Table = Table {
    header: "[service.NAME]",
    keys: &[
        key("listen", "a string \"ADDRESS:PORT\" or a list of them"),
        key("protocol", "a string"),
        key("layer", "a string"),
        key("nodes", "the name of a pool as a string"),
        key("hand-off", "a string"),
        key("mode", "a string"),
        key("pool", "the name of a pool as a string"),
        key("snat", "the name of a pool of source addresses as a string"),
        key("tunnel", "\"gue\", \"ipip\" or the name of a tunnel as a string"),
        key("on-no-server", "a string"),
        key("persistence", "the name of a persistence table as a string"),
        key("addresses", "a string"),
        key("mss-clamp", "an integer"),
        Key { name: "timeouts", expects: "a string", types_later: &["table"] },
    ],
    later: &["l7", "announce", "mirror", "limits", "udp"],
};

pub(super) const POOL: Table = Table {
    header: "[pool.NAME]",
    keys: &[
        key("algorithm", "a string"),
        key("hash", "a string"),
        key("table-size", "an integer"),
        key("slow-start", "a duration as a string"),
        key("min-servers", "an integer"),
        key("on-server-down", "a string"),
        key("health", "the name of a health check as a string"),
        key("agent", "the name of a health check of type agent as a string"),
        key("panic", "a table"),
        key("server", "a list of tables"),
    ],
    later: &[],
};

pub(super) const PANIC: Table = Table {
    header: "panic of [pool.NAME]",
    keys: &[key("below", "an integer"), key("then", "a string")],
    later: &[],
};

pub(super) const SERVER: Table = Table {
    header: "a server of [pool.NAME]",
    keys: &[
        key("name", "a string"),
        key("address", "a string \"ADDRESS:PORT\""),
        key("weight", "an integer"),
        key("state", "a string"),
        key("max-flows", "an integer"),
        key("backup", "true or false"),
    ],
    later: &[],
};

pub(super) const TUNNEL: Table = Table {
    header: "[tunnel.NAME]",
    keys: &[
        key("type", "a string"),
        key("variant", "an integer"),
        key("port", "an integer"),
        key("source", "a string \"PREFIX/BITS\" or a list of them"),
    ],
    later: &[],
};

pub(super) const PERSISTENCE: Table = Table {
    header: "[persistence.NAME]",
    keys: &[
        key("type", "a string"),
        key("mask", "an integer"),
        key("mask6", "an integer"),
        key("timeout", "a duration as a string"),
        key("size", "an integer"),
    ],
    later: &["replicate", "name", "how"],
};

pub(super) const SNAT: Table = Table {
    header: "[snat.NAME]",
    keys: &[
        key("addresses", "a string \"ADDRESS\" or \"FIRST-LAST\", or a list of them"),
        key("ports", "a range \"FIRST-LAST\" as a string"),
    ],
    later: &[],
};

pub(super) const HEALTH: Table = Table {
    header: "[health.NAME]",
    keys: &[
        key("type", "a string"),
        key("interval", "a duration as a string"),
        key("interval-changing", "a duration as a string"),
        key("timeout", "a duration as a string"),
        key("rise", "an integer"),
        key("fall", "an integer"),
        key("flaps", "an integer"),
        key("flap-window", "a duration as a string"),
        key("flap-hold", "a duration as a string"),
        key("flap-hold-max", "a duration as a string"),
        key("port", "an integer"),
        key("request", "a string \"METHOD /PATH\""),
        key("host", "a string"),
        key("headers", "a string \"NAME: VALUE\", or a list of them"),
        key("ca", "a path as a string"),
        key("sni", "a name as a string"),
        key("send", "a string"),
        key("query", "a string \"NAME TYPE\""),
        key("expect", "a table"),
        key("passive", "a table"),
        key("unreported", "a string"),
        key("via", "a string"),
        key("probe-source", "an address as a string"),
    ],
    later: &[],
};

pub(super) const PASSIVE: Table = Table {
    header: "passive of [health.NAME]",
    keys: &[key("errors", "an integer"), key("window", "a duration as a string")],
    later: &[],
};

pub(super) const EXPECT: Table = Table {
    header: "expect of [health.NAME]",
    keys: &[
        key("status", "a string such as \"200-299\""),
        key("body-contains", "a string"),
        key("reply", "a string"),
        key("rcode", "a string"),
        key("answer", "a string"),
    ],
    later: &[],
};

pub(super) const OBSERVE: Table = Table {
    header: "[observe]",
    keys: &[
        key("metrics", "a string \"ADDRESS:PORT\""),
        key("report", "a string \"ADDRESS:PORT\""),
        key("report-token-file", "a path as a string"),
        key("log", "a table"),
        key("flow-log", "a table"),
    ],
    later: &["status-page", "access-log", "capture-ring"],
};

pub(super) const LOG: Table = Table {
    header: "log of [observe]",
    keys: &[
        key("to", "\"stderr\", \"journal\" or a path, as a string"),
        key("format", "a string"),
        key("level", "a string"),
    ],
    later: &[],
};

pub(super) const FLOW_LOG: Table = Table {
    header: "flow-log of [observe]",
    keys: &[
        key("to", "\"stderr\", \"journal\" or a path, as a string"),
        key("format", "a string"),
        key("sample", "a string \"1/N\""),
        key("always", "a list of strings"),
        key("count", "a string"),
    ],
    later: &[],
};
