//! `[node]`, `[dataplane]` and `[port.NAME]`.

use serde_json::{Value, json};

use super::{NAME, PATH, choice, integer, text, with};

pub(super) fn node() -> Vec<(&'static str, Value)> {
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

pub(super) fn dataplane() -> Vec<(&'static str, Value)> {
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

pub(super) fn port() -> Vec<(&'static str, Value)> {
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
