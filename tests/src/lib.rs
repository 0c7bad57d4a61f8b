//! The harness of ringlead's end-to-end tests: network namespaces, servers and clients with traffic that is checked
//! byte by byte, and the daemon itself.
//!
//! A test builds a [`Lab`], starts servers ([`BlobServer`], [`EchoServer`]) and a [`Ringlead`], and speaks to the
//! services as a client ([`Transfer`], [`Exchange`]). Everything is a guard: dropping it ends it.
//! The harness panics where something that a test relies on fails; that is its way to report.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test harness reports by panicking and printing"
)]

mod binary;
mod blob;
mod config;
mod echo;
mod exchange;
mod farm;
mod lab;
mod many;
mod namespace;
mod openmetrics;
mod pattern;
pub mod pcap_cases;
mod ping;
mod process;
mod ringlead;
mod skip;
pub mod tidy;
mod transfer;
mod tunnels;
mod wait;

pub use binary::{ringlead_binary, workspace_root};
pub use blob::BlobServer;
pub use config::{Config, Family, Mode, Protocol, Service, config};
pub use echo::EchoServer;
pub use exchange::{Exchange, Stats, udp_exchange};
pub use farm::Farm;
pub use lab::{CLIENT_SOURCES, Lab, Network, Node, SERVERS};
pub use many::ManyServices;
pub use namespace::in_namespace;
pub use openmetrics::{Labels, Scrape};
pub use pattern::{Digest, Pattern};
pub use ping::ping;
pub use process::Process;
pub use ringlead::{Refusal, Ringlead};
pub use skip::skip;
pub use transfer::{Held, Transfer, Transferred, tcp_transfer, tcp_transfers};
pub use tunnels::Tunnels;
pub use wait::wait_until;
