//! The wire crate as its users see it: frames in, frames out, judged by etherparse and not by our own code.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test stops at the first surprise"
)]

mod addresses;
mod builders;
mod checksums;
mod extensions;
mod fragments;
mod full;
mod headers;
mod icmp;
mod icmp_made;
mod judge;
mod mss;
mod mutations;
mod rewrites;
mod tcp_reset;
mod translate;
mod tunnel;
