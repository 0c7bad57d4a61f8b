#![forbid(unsafe_code)]

pub mod admin;
pub mod config;
pub mod health;
pub mod lock;
pub mod net;
