//! Bytes and their meaning: parsing into [`Meta`], checksums, rewrites and packet builders.
//!
//! Nothing here allocates on the packet path, and nothing is unsafe. See README.md for the map.
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

pub mod answer;
pub mod build;
pub mod checksum;
pub mod fragment;
pub mod ip;
pub mod malformed;
pub mod meta;
pub mod mss;
pub mod parse;
pub mod reset;
pub mod rewrite;
pub mod translate;
pub mod tunnel;
pub mod vlan;

mod bytes;

pub use fragment::{Fragment, fragment};
pub use ip::{Endpoint, Ip, Protocol};
pub use malformed::Malformed;
pub use meta::{Kind, Meta, TcpFlags};
pub use parse::{parse, parse_into};
pub use vlan::Vid;
