//! The traffic generator: flows, frames, AF_XDP ports at both ends, and trials that are accounted for honestly. See README.md.

mod account;
mod assignments;
mod board;
mod book;
mod capture;
mod clock;
mod ear;
mod engine;
mod flows;
mod frame;
mod netns;
mod nexthop;
mod pacer;
mod phase;
mod receiver;
mod sender;
mod split;
mod station;
mod supply;
mod tap;
#[cfg(test)]
mod tests;
mod trial;

pub mod error;
pub mod generator;
pub mod mode;
pub mod observer;
pub mod outcome;
pub mod rate;
pub mod setup;
pub mod size;
pub mod spec;

pub use assignments::{Assignment, Assignments};
pub use error::TrafficError;
pub use generator::Generator;
pub use mode::Mode;
pub use observer::{Observer, Tick};
pub use outcome::{Interval, Invalid, Lag, LossSplit, Odd, Outcome, Replies};
pub use rate::{Rate, Short};
pub use ringlead_witness::{Encapsulation, Findings, Latency, Net, Snat, Spread, Summary, Tunnel};
pub use setup::{PortRef, Prefix, Server, Service, Setup};
pub use size::Sizes;
pub use spec::{Check, Plan, TrialSpec};
pub use station::PortInfo;
