//! End-to-end tests, one idea a file. They share the machine's two cores: run them with `--test-threads=1`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests report by panicking")]

mod lab;
