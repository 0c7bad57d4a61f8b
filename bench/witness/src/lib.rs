//! The independent judge of what came back: the stamp in each test packet, the checks of each returned frame, the
//! account of what is missing, and latency. See README.md.
//!
//! Nothing here is shared with the packet path: parsing is etherparse's, checksums are summed anew.
#![forbid(unsafe_code)]

pub mod arrival;
pub mod expect;
pub mod findings;
pub mod kind;
pub mod latency;
pub mod net;
pub mod parsed;
pub mod stamp;
pub mod sum;
pub mod tunnel;
pub mod witness;

mod checks;
mod encapsulated;
mod ends;
mod fragments;
mod gaps;
mod loss;
mod mappings;
mod outers;
mod record;
mod spread;
mod track;
mod translation;

pub use arrival::{Arrival, End, Limits, Look};
pub use expect::{Checksum, Expectation, Impossible, Mode, Sender, Sent, Server, Service, Snat};
pub use findings::{Direction, Example, Findings, Missing, Move, Moves, Pair, Spread, Tally};
pub use gaps::Gap;
pub use kind::Kind;
pub use latency::{IntervalLog, Latency, Summary};
pub use mappings::LIVE_NS;
pub use net::Net;
pub use parsed::{Parsed, Transport, Unparsed};
pub use stamp::{Layout, Stamp, TooShort, Unread};
pub use translation::FRAGMENTABLE_MAX;
pub use tunnel::{Encapsulation, GUE_PORT, Outer, Tunnel};
pub use witness::Witness;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
