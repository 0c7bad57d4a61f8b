//! How calls ended.

use hyper::StatusCode;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every status that a call is answered with.
pub const STATUSES: [StatusCode; 10] = [
    StatusCode::OK,
    StatusCode::BAD_REQUEST,
    StatusCode::UNAUTHORIZED,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNPROCESSABLE_ENTITY,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// Calls that were answered, by place in [`STATUSES`].
#[derive(Debug, Default)]
pub struct ReportCounts([AtomicU64; STATUSES.len()]);

impl ReportCounts {
    pub(super) fn count(&self, status: StatusCode) {
        let counts = STATUSES.iter().zip(&self.0);
        for (_, count) in counts.filter(|(known, _)| **known == status) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Each status in digits, with the number of calls so far.
    #[must_use]
    pub fn get(&self) -> Vec<(String, u64)> {
        let counts = STATUSES.iter().zip(&self.0);
        counts.map(|(status, count)| (status.as_str().to_owned(), count.load(Ordering::Relaxed))).collect()
    }
}
