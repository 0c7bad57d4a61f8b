#![forbid(unsafe_code)]

pub mod config;
pub mod health;
pub mod net;
