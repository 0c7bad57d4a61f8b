//! The packet path in memory: `ringlead bench core`. See ../../README.md.

pub mod cell;
pub mod clock;
pub mod control;
pub mod instructions;
pub mod maglev;
pub mod measure;
pub mod outcome;
pub mod plan;
pub mod round;
pub mod show;
pub mod tables;
pub mod world;

mod run;
mod stages;

pub use run::run;
