//! Reports of servers' health over HTTP, from a monitoring system that has a token.
//!
//! ```text
//! reporter ── door ── token? path? body? ── ReportCall ──> control loop: all of its reports, or none
//!                                                │
//!          200, or which status and why <────────┘
//! ```
//!
//! What is reported takes the way of the control socket's command `report`: see
//! [`reported`](crate::engine::requests::reported).

mod body;
mod counts;
mod door;
mod tokens;

pub use body::REPORTS_MAX;
pub use counts::{ReportCounts, STATUSES, UNANSWERED};
pub use door::{Door, ReportCall, Reporter};
pub use tokens::{TokenLine, Tokens};
