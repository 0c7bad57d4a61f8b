//! The search for the highest load without loss, and with little loss (MLRsearch).
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod classify;
mod goal;
mod outcome;
mod repeat;
mod search;
mod trials;

pub use goal::{Goal, GoalError};
pub use outcome::{Bound, End, Outcome};
pub use repeat::{Repeats, SPREAD_WARN_PERCENT};
pub use search::{INVALID_TRIES, LoadRange, Search, SearchError, Step};
pub use trials::TrialResult;
