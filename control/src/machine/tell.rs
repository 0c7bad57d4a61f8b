//! Findings in the log, and so in the events.

use crate::config::{Diagnostics, Severity};

/// Logs each finding, in the words that the check prints.
pub fn tell(found: &Diagnostics) {
    for entry in found.entries() {
        match entry.severity {
            Severity::Error => tracing::error!(event = "config", code = entry.code, "{entry}"),
            Severity::Warning => tracing::warn!(event = "config", code = entry.code, "{entry}"),
        }
    }
    if found.not_shown() > 0 {
        tracing::warn!(event = "config", findings = found.not_shown(), "so many more");
    }
}
