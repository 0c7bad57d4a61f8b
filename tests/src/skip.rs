//! Leaving out a test that the machine cannot run: said aloud, and a failure where everything must run.

use std::io::Write;

/// Says that a test is left out and why.
///
/// # Panics
/// When `RINGLEAD_NO_SKIP` is set, as `tools/check` does: there a test left out is a test failed.
pub fn skip(why: &str) {
    assert!(std::env::var_os("RINGLEAD_NO_SKIP").is_none(), "a test may not be left out here: {why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}"); // not eprintln!, which the test harness swallows
}

/// Returns from the calling test, after [`skip`], unless the condition holds.
#[macro_export]
macro_rules! skip_unless {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            $crate::skip(&format!($($why)+));
            return;
        }
    };
}

/// Returns from the calling test unless it runs as root, which namespaces need.
#[macro_export]
macro_rules! needs_root {
    () => {
        $crate::skip_unless!($crate::Lab::possible(), "root is needed to make network namespaces");
    };
}

/// Returns from the calling test unless it runs as root and there is a `ringlead` to start.
#[macro_export]
macro_rules! needs_ringlead {
    () => {
        $crate::needs_root!();
        $crate::skip_unless!(
            $crate::ringlead_binary().is_some(),
            "no ringlead binary: `cargo build --release`, or set RINGLEAD_BIN"
        );
    };
}
