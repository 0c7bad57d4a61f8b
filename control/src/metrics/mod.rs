//! What monitoring reads over HTTP: `/metrics`, `/healthz`, `/readyz`.
//!
//! ```text
//! scraper ── server ── asks the control loop ──> what figures are made of (a few clones)
//!              │                                          │
//!              └── a blocking thread: figures ─ families ─┴─> text
//! ```
//!
//! The control loop does no more than hand out what figures are made of; `/healthz` does not even need that.

mod exposition;
mod figures;
mod node;
mod plain;
mod ready;
mod server;
mod servers;
mod services;
mod workers;

pub mod pulse;

pub use exposition::{Format, render};
pub use figures::{Figures, ServiceDrops, WorkerFigures};
pub use pulse::Pulse;
pub use ready::unready;
pub use server::{Ask, Door, Make};
