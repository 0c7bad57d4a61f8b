//! The traffic generator: flows, frames, AF_XDP ports at both ends, and trials that are accounted for honestly. See README.md.

pub mod error;
pub mod outcome;
pub mod rate;
pub mod setup;
pub mod size;
pub mod spec;

pub use error::TrafficError;
pub use outcome::{Interval, Invalid, Lag, Latency, LossSplit, Odd, Outcome, Replies};
pub use rate::{Rate, Short};
pub use setup::{Mode, PortRef, Prefix, Server, Service, Setup};
pub use size::Sizes;
pub use spec::{Check, Plan, TrialSpec};
