//! The layer-4 packet path: a worker, its `turn`, one file a stage. See README.md and ../README.md.
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

pub mod adopt;
pub mod attempts;
pub mod chosen;
pub mod counters;
pub mod drops;
pub mod ends;
pub mod foresee;
pub mod latency;
pub mod neighbours;
pub mod shared;
pub mod tables;
pub mod verdict;
pub mod worker;

mod answer;
mod burst;
mod choose;
mod classify;
mod emit;
mod ending;
mod hold;
mod ids;
mod lookup;
mod parse;
mod removed;
mod rewrite;
mod run;
mod schedule;
mod settle;
mod snat;
#[cfg(test)]
#[path = "../tests/support/flow.rs"]
mod test_flow;
mod tick;
mod translate;
mod tries;
mod tunnel;
mod turn;
mod wide;

pub use shared::Shared;
pub use verdict::Verdict;
pub use worker::{Worker, WorkerConfig};
