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

/// What stands in a status' place where there was no answer: the address had far more connections than it may.
pub const UNANSWERED: &str = "none";

/// Calls that were answered, by place in [`STATUSES`], and connections that were not.
#[derive(Debug, Default)]
pub struct ReportCounts {
    answered: [AtomicU64; STATUSES.len()],
    unanswered: AtomicU64,
}

impl ReportCounts {
    pub(super) fn count(&self, status: StatusCode) {
        let counts = STATUSES.iter().zip(&self.answered);
        for (_, count) in counts.filter(|(known, _)| **known == status) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count_unanswered(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
    }

    /// Each status in digits, and [`UNANSWERED`], with the number of calls so far.
    #[must_use]
    pub fn get(&self) -> Vec<(String, u64)> {
        let counts = STATUSES.iter().zip(&self.answered);
        let counts = counts.map(|(status, count)| (status.as_str(), count));
        let counts = counts.chain([(UNANSWERED, &self.unanswered)]);
        counts.map(|(code, count)| (code.to_owned(), count.load(Ordering::Relaxed))).collect()
    }
}
