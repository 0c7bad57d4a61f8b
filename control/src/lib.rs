//! Control: configuration, health, reload, the kernel's part, the command line's door. The only place with locks, free
//! allocation and the wall clock. See README.md.
#![forbid(unsafe_code)]

pub mod admin;
pub mod config;
pub mod engine;
pub mod handover;
pub mod health;
pub mod http;
pub mod lock;
pub mod logs;
pub mod machine;
pub mod metrics;
pub mod net;
pub mod notify;
pub mod plan;
pub mod reports;
