//! `[observe]` and its logs.

use serde_json::{Value, json};

use super::{ENDPOINT, choice, text, with};

pub(super) fn observe() -> Vec<(&'static str, Value)> {
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

pub(super) fn log() -> Vec<(&'static str, Value)> {
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

pub(super) fn flow_log() -> Vec<(&'static str, Value)> {
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
        (
            "count",
            with(
                "sampled",
                choice(
                    &["sampled", "all"],
                    "Whose packets, bytes and duration are told: those of the sample, or also of flows that end as always says.",
                ),
            ),
        ),
    ]
}
