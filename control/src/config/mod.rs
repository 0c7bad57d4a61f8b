//! The configuration file: TOML text -> raw -> model.

pub mod model;

pub use model::*;
