//! TCP, UDP and HTTP load through the kernel's stack, measured honestly. See README.md.
//!
//! A run is a spec ([`tcp::Spec`], [`http::Spec`], [`rr::Spec`]) given to that module's `run`, which returns an
//! [`Outcome`]: every request that was planned is in it, as answered, failed by a named class, or not started.
#![forbid(unsafe_code)]

pub mod error;
pub mod http;
pub mod latency;
pub mod outcome;
pub mod pace;
pub mod rr;
pub mod settings;
pub mod tcp;

mod crew;
mod desk;
mod dial;
mod meter;
mod pattern;
mod report;
mod timer;

pub use error::{ErrorClass, LoadError};
pub use latency::Latency;
pub use outcome::{Invalid, Outcome, Sample};
pub use pace::{Pace, Rate};
pub use settings::{Close, Settings};
