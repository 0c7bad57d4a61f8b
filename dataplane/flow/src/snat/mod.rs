//! Source ports for full NAT: who may send from which port of our own addresses.
//!
//! A (transport, address, port) is held by at most one flow at a time, whatever the remote end is. That is more than
//! RFC 4787 REQ-1 asks for and simple to reason about: no two flows can share a mapping.
//!
//! ```text
//! SnatPool: addresses x one range of ports      PortSpace: all ports of one address
//!   worker 0: groups 0, 2, 4 ... of each          tcp: group 0 (ports 0-63), group 1 (64-127), ... 1023
//!   worker 1: groups 1, 3, 5 ... of each          udp: the same
//!
//! port: free --take--> held --give_back--> fresh --60 s or more--> free
//!         ^              |
//!         +--never_used--+
//! ```

mod error;
mod group;
mod pool;
mod ports;
mod random;
mod space;
mod usage;
mod worker;

pub use error::SnatError;
pub use pool::{Draw, Mapping, SnatPool};
pub use random::SnatRandom;
pub use space::PortSpace;
pub use usage::{PortUsage, Usage};

#[cfg(all(test, not(loom)))]
mod tests;
