//! The packet path on the in-memory port: the same `Worker` that runs on AF_XDP.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests report by panicking, and count small numbers"
)]

mod accounts;
mod answers;
mod attempts;
mod choose;
mod drops;
mod dsr;
mod ending;
mod flows;
mod foresee;
mod hold;
mod icmp;
mod mixed;
mod mss;
mod nat;
mod nat64;
mod nodes;
mod rig;
mod snapshot;
mod snat;
mod sticky;
mod tunnel;
mod vlan;
