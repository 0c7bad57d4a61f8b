//! The packet path in memory: `ringlead bench core`. See ../../README.md.

pub mod cell;
pub mod clock;
pub mod maglev;
pub mod measure;
pub mod plan;
pub mod round;
pub mod tables;
pub mod world;

mod stages;
