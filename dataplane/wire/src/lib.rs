//! Bytes and their meaning: parsing into [`Meta`], checksums, rewrites and packet builders.
//!
//! Nothing here allocates on the packet path, and nothing is unsafe. See README.md for the map.
#![forbid(unsafe_code)]

pub mod ip;
pub mod meta;

pub use ip::{Endpoint, Ip, Protocol};
pub use meta::{Kind, Meta, TcpFlags};
