//! The configuration: what is accepted means what it says, what is refused says why and where.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "config/accepted.rs"]
mod accepted;
#[path = "config/any_text.rs"]
mod any_text;
#[path = "config/classic.rs"]
mod classic;
#[path = "config/diff.rs"]
mod diff;
#[path = "config/diff_flows.rs"]
mod diff_flows;
#[path = "config/edited.rs"]
mod edited;
#[path = "config/included.rs"]
mod included;
#[path = "config/limits.rs"]
mod limits;
#[path = "config/refused.rs"]
mod refused;
#[path = "config/written.rs"]
mod written;

use std::path::{Path, PathBuf};

/// Where the files of these tests are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}
