//! Which server: the front's stable hash, Maglev tables and weighted round-robin, shared by every layer.
//!
//! Tables are built by control and only read by workers. See README.md.
#![forbid(unsafe_code)]

pub mod hash;
pub mod maglev;
pub mod round_robin;

pub use hash::FrontHash;
pub use maglev::{Maglev, Member, SIZES, default_size};
pub use round_robin::{Cursor, RoundRobin};
