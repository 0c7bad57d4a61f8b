//! Which server: the front's stable hash, Maglev tables, weighted round-robin, least flows, two random choices, and
//! source persistence, shared by every layer.
//!
//! Choosers are built by control and only read by workers; live counts and persistence are shared atomics. Time and
//! loads are parameters. See README.md.
#![forbid(unsafe_code)]

pub mod cursor;
pub mod hash;
pub mod least_flows;
pub mod loads;
pub mod maglev;
pub mod random_two;
pub mod round_robin;
pub mod slow_start;
pub mod sticky;
mod sync;

pub use cursor::Cursor;
pub use hash::{FrontHash, HashBy};
pub use least_flows::LeastFlows;
pub use loads::Loads;
pub use maglev::{Maglev, Member, SIZES, default_size, slot_of};
pub use random_two::RandomTwo;
pub use round_robin::RoundRobin;
pub use slow_start::slow_start;
pub use sticky::{Sticky, StickyEntry, StickyError, StickyKey, StickySpec};
