//! The packet path measured on the in-memory port: nanoseconds and instructions a packet. See README.md.
//!
//! `cargo bench -p ringlead-bench --bench path` runs it.
#![allow(clippy::expect_used, reason = "a measurement that cannot be made as meant must end at once")]

pub mod args;
pub mod cli;
pub mod clock;
pub mod measure;
pub mod plan;
pub mod report;
pub mod world;
