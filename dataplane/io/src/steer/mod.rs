//! The front: which frames are ours, and which stay with the kernel.
//!
//! It exists twice: an XDP program (`bpf/steer.c`) for AF_XDP, and [`front`] over bytes for every other driver. Both take
//! their orders from the same [`Rules`]. [`Steering`] loads, pins and feeds the program. See STEERING.md.

mod attach;
mod bpffs;
mod counters;
mod error;
pub mod front;
mod keys;
mod loader;
mod netlink;
mod node_maps;
mod nodes;
mod object;
pub mod rules;
mod sys;
mod tables;
mod walk;

pub use attach::{Attach, Mode, SteerPort};
pub use bpffs::cleanup;
pub use counters::Counters;
pub use error::SteerError;
pub use front::{RuleSet, Verdict, verdict};
pub use loader::{Loaded, PortMode, Steering};
pub use nodes::{NODE_SLOTS_MAX, NodeTable, Nodes, Whose};
pub use rules::{Rule, Rules, SnatRange};
pub use tables::Changes;
