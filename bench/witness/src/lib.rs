//! The independent judge of what came back: the stamp in each test packet, the checks of each returned frame, the
//! account of what is missing, and latency. See README.md.
//!
//! Nothing here is shared with the packet path: parsing is etherparse's, checksums are summed anew.
#![forbid(unsafe_code)]

pub mod parsed;
pub mod stamp;
pub mod sum;

pub use parsed::{Parsed, Transport, Unparsed};
pub use stamp::{Layout, Stamp, TooShort, Unread};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
