//! What the commands that send packets share: their options, their live progress, and their reports.

mod args;
mod progress;
mod report;

pub use args::TrafficArgs;
pub use progress::Progress;
pub use report::{add_findings, add_trial, environment, validity};
