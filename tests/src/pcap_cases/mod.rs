//! The captures of the replay cases, made from source: what arrives, when, on which port, and what must become of it.
//!
//! One case is one folder of `tests/pcap`. The configuration lies there, the packets are here, so that every byte of
//! `in.pcapng` has a line that says why it is sent. `tests/golden` writes, replays and judges them.

mod choice;
mod forward;
mod icmp;
mod link;
mod malformed;
mod refused;
mod scene;
mod share;
mod snat;
mod time;
mod tunnel;

pub use scene::{Case, Input, Port};

/// All cases, in the order of the files here.
#[must_use]
pub fn all() -> Vec<Case> {
    let files = [
        forward::cases(),
        icmp::cases(),
        link::cases(),
        tunnel::cases(),
        snat::cases(),
        choice::cases(),
        share::cases(),
        time::cases(),
        refused::cases(),
    ];
    let mut cases: Vec<Case> = files.into_iter().flatten().collect();
    cases.push(malformed::case());
    cases
}
