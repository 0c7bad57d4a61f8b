//! What a run measured, where, and how it is shown. See README.md.
#![forbid(unsafe_code)]

mod compare;
mod csv;
mod environment;
mod format;
mod grid;
mod hgrm;
mod histogram;
mod html;
mod metric;
mod output;
mod record;
mod terminal;

pub use compare::{Change, Comparison, Difference, Verdict, differences};
pub use environment::{Environment, PortFacts};
pub use histogram::{Histogram, Percentile};
pub use metric::{Better, Metric, Unit};
pub use output::{OutputArgs, OutputError};
pub use record::{Examples, Line, Loss, Mark, Place, Report, Row, SCHEMA, Series};
