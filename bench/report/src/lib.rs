//! What a run measured, where, and how it is shown. See README.md.
#![forbid(unsafe_code)]

mod environment;
mod histogram;
mod metric;
mod output;
mod record;

pub use environment::{Environment, PortFacts};
pub use histogram::{Histogram, Percentile};
pub use metric::{Better, Metric, Unit};
pub use output::{OutputArgs, OutputError};
pub use record::{Examples, Line, Loss, Mark, Place, Report, Row, SCHEMA, Series};
