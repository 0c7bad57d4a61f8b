//! The front: which frames are ours, and which stay with the kernel.
//!
//! It exists twice: an XDP program (`bpf/steer.c`) for AF_XDP, and [`front`] over bytes for every other driver. Both take
//! their orders from the same [`Rules`]. [`Steering`] loads, pins and feeds the program. See STEERING.md.

pub mod front;
pub mod rules;
mod walk;

pub use front::{RuleSet, Verdict, verdict};
pub use rules::{Rule, Rules, SnatRange};
