//! Each type of check against real servers that fail in each way they can.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "probes/agent.rs"]
mod agent;
#[path = "probes/asked.rs"]
mod asked;
#[path = "probes/datagrams.rs"]
mod datagrams;
#[path = "probes/half.rs"]
mod half;
#[path = "probes/http.rs"]
mod http;
mod lab;
#[path = "probes/tls.rs"]
mod tls;
#[path = "probes/vlan.rs"]
mod vlan;
