//! The packet path on the in-memory port: the same `Worker` that runs on AF_XDP.

mod drops;
mod dsr;
mod flows;
mod hold;
mod icmp;
mod nat;
mod rig;
mod snapshot;
mod vlan;
