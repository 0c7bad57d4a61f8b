//! Which server each flow came to, kept in a file, and what is different from an earlier run's.

mod compare;
mod file;

pub use compare::{Comparison, ServerFlows, add, compare};
pub use file::{Before, read, write};
