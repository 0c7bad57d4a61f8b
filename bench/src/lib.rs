//! The measurements behind `ringlead bench`. See README.md.
#![allow(clippy::expect_used, reason = "a measurement that cannot be made as meant must end at once")]

pub mod assignments;
pub mod cli;
pub mod commands;
pub mod core;
pub mod soak;
