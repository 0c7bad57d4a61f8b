//! The commands, a file each.

pub mod compare;
pub mod core;
pub mod http;
pub mod load;
pub mod rr;
pub mod search;
pub mod send;
pub mod soak;
pub mod tcp;
pub mod traffic;
pub mod verify;
