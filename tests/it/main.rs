//! End-to-end tests, one idea a file. They share the machine's two cores: run them with `--test-threads=1`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests report by panicking")]

mod alerts;
mod any_port;
mod bench;
mod bench_load;
mod bench_search;
mod bench_send;
mod bench_soak;
mod bench_verify;
mod carries;
mod checksums;
mod choosers;
mod demo;
mod disruption;
mod dsr;
mod generic;
mod health;
mod health_types;
mod kernel_traffic;
mod l7;
mod l7_guests;
mod lab;
mod logs;
mod many_services;
mod metrics;
mod misfits;
mod nat;
mod neighbour;
mod nexthop;
mod one_port;
mod programs;
mod refusals;
mod reload;
mod service_path;
mod snat;
mod snat_exhausted;
mod states;
mod states_flows;
mod status;
mod stop;
mod takeover;
mod tunnel;
mod two_workers;
mod undo;
mod upgrade;
