//! All that is shown, as of one moment.

use crate::engine::status::Status;
use crate::health::CheckTimesShown;
use ringlead_l4::drops::OF_SERVICE;
use ringlead_l4::latency::LatencyCounts;
use std::time::Duration;

/// What a scrape is made of: the status, and what only graphs need.
#[derive(Debug)]
pub struct Figures {
    /// What `ringlead status` shows.
    pub status: Status,
    /// When the daemon started, in seconds since 1970.
    pub started_at_s: f64,
    /// By worker.
    pub workers: Vec<WorkerFigures>,
    /// Frames dropped for services.
    pub service_drops: Vec<ServiceDrops>,
    /// Frames dropped that are no service's, or whose service is not known: every reason.
    pub other_drops: Vec<(&'static str, u64)>,
    /// Next hops whose Ethernet address is known, and those whose is not.
    pub next_hops: [u64; 2],
    /// How long checks took.
    pub checks: CheckTimesShown,
    /// Calls that reported health over HTTP, by status.
    pub reports: Vec<(String, u64)>,
    /// For how long the control loop was kept for this scrape.
    pub control: Duration,
}

/// One worker's time.
#[derive(Debug)]
pub struct WorkerFigures {
    /// Its core.
    pub core: usize,
    /// Spent in turns that moved frames.
    pub busy: Duration,
    /// Spent otherwise.
    pub idle: Duration,
    /// How long frames took.
    pub latency: LatencyCounts,
}

/// One service's dropped frames.
#[derive(Debug)]
pub struct ServiceDrops {
    /// Its name.
    pub service: String,
    /// By place in [`OF_SERVICE`].
    pub counts: [u64; OF_SERVICE.len()],
}
