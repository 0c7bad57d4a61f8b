//! A thread's counting: second by second, sent to whoever started the run, and distributions kept to the end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::ErrorClass;
use crate::latency::histogram;
use crate::outcome::Strays;

/// What a thread tells of its run.
pub(crate) enum News {
    /// A second that is over for this thread.
    Second(Box<Interval>),
    /// The thread's last word.
    End(Box<Totals>),
}

/// Counts of one second in one thread.
#[derive(Debug, Default)]
pub(crate) struct Interval {
    pub(crate) second: u64,
    pub(crate) planned: u64,
    pub(crate) started: u64,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) at_cap: u64,
    pub(crate) too_late: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// What of `started`, `ok`, `sent` and `received` came when the run was over.
    pub(crate) after: After,
    /// None while nothing ended well.
    pub(crate) latency: Option<Histogram<u64>>,
}

/// Counts that belong to no rate: the run's time was over.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct After {
    pub(crate) started: u64,
    pub(crate) ok: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

/// What a thread keeps to the end.
#[derive(Debug)]
pub(crate) struct Totals {
    pub(crate) service: Histogram<u64>,
    pub(crate) connect: Histogram<u64>,
    pub(crate) lag: Histogram<u64>,
    pub(crate) errors: BTreeMap<ErrorClass, u64>,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) connections: u64,
    pub(crate) strays: Strays,
    /// When the last request ended.
    pub(crate) last: Duration,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            service: histogram(),
            connect: histogram(),
            lag: histogram(),
            errors: BTreeMap::new(),
            statuses: BTreeMap::new(),
            connections: 0,
            strays: Strays::default(),
            last: Duration::ZERO,
        }
    }
}

/// Most different HTTP statuses: all that three digits can say.
const STATUSES_MAX: usize = 1000;

/// The counters of one thread. Times become seconds of the run by the run's begin.
pub(crate) struct Meter {
    begin: Instant,
    end: Instant,
    /// Whether the end has passed: 1 or 0, to be added.
    over: Cell<u64>,
    news: Sender<News>,
    interval: RefCell<Interval>,
    totals: RefCell<Totals>,
}

impl Meter {
    /// Counts a run from `begin` to `end` and tells `news`: one message a second, so its queue stays short.
    pub(crate) fn new(begin: Instant, end: Instant, news: Sender<News>) -> Self {
        Self {
            begin,
            end,
            over: Cell::new(0),
            news,
            interval: RefCell::default(),
            totals: RefCell::default(),
        }
    }

    /// Ends the seconds that are over. Must be called once a second and at the end when nothing else happens.
    pub(crate) fn roll(&self, now: Instant) {
        self.over.set(u64::from(now >= self.end));
        let second = now.saturating_duration_since(self.begin).as_secs();
        let mut interval = self.interval.borrow_mut();
        while interval.second < second {
            let next = Interval { second: interval.second + 1, ..Interval::default() };
            self.tell(News::Second(Box::new(std::mem::replace(&mut interval, next))));
        }
    }

    /// A request is due.
    pub(crate) fn planned(&self) {
        self.interval.borrow_mut().planned += 1;
    }

    /// A request that was due was started, `lag` after its time if it had one.
    pub(crate) fn started(&self, lag: Option<Duration>) {
        let mut interval = self.interval.borrow_mut();
        interval.started += 1;
        interval.after.started += self.over.get();
        drop(interval);
        if let Some(lag) = lag {
            self.totals.borrow_mut().lag.saturating_record(nanos(lag));
        }
    }

    /// A request that was due was not started: the client is at its cap.
    pub(crate) fn at_cap(&self) {
        self.interval.borrow_mut().at_cap += 1;
    }

    /// So many requests were due and not started: the run was over before the client came to them.
    pub(crate) fn too_late(&self, requests: u64) {
        let mut interval = self.interval.borrow_mut();
        interval.planned += requests;
        interval.too_late += requests;
    }

    /// A request counted from `from` and really begun at `start` was answered as expected at `end`.
    pub(crate) fn ok(&self, from: Instant, start: Instant, end: Instant) {
        self.roll(end);
        let mut interval = self.interval.borrow_mut();
        interval.ok += 1;
        interval.after.ok += self.over.get();
        let latency = nanos(end.saturating_duration_since(from));
        interval.latency.get_or_insert_with(histogram).saturating_record(latency);
        drop(interval);
        let mut totals = self.totals.borrow_mut();
        totals.service.saturating_record(nanos(end.saturating_duration_since(start)));
        totals.last = end.saturating_duration_since(self.begin);
    }

    /// A request failed.
    pub(crate) fn failed(&self, class: ErrorClass, end: Instant) {
        self.roll(end);
        self.interval.borrow_mut().failed += 1;
        let mut totals = self.totals.borrow_mut();
        *totals.errors.entry(class).or_default() += 1;
        totals.last = end.saturating_duration_since(self.begin);
    }

    /// A connection was made, in this time.
    pub(crate) fn connected(&self, time: Duration) {
        let mut totals = self.totals.borrow_mut();
        totals.connections += 1;
        totals.connect.saturating_record(nanos(time));
    }

    /// A socket that needs no connecting was opened.
    pub(crate) fn opened(&self) {
        self.totals.borrow_mut().connections += 1;
    }

    /// An answer of this HTTP status came.
    pub(crate) fn status(&self, status: u16) {
        let statuses = &mut self.totals.borrow_mut().statuses;
        if statuses.len() < STATUSES_MAX || statuses.contains_key(&status) {
            *statuses.entry(status).or_default() += 1;
        }
    }

    /// Payload was written.
    pub(crate) fn sent(&self, bytes: usize) {
        let mut interval = self.interval.borrow_mut();
        interval.sent += bytes as u64;
        interval.after.sent += bytes as u64 * self.over.get();
    }

    /// Payload was read.
    pub(crate) fn received(&self, bytes: usize) {
        let mut interval = self.interval.borrow_mut();
        interval.received += bytes as u64;
        interval.after.received += bytes as u64 * self.over.get();
    }

    /// Answers that nobody waits for.
    pub(crate) fn stray(&self, count: impl FnOnce(&mut Strays)) {
        count(&mut self.totals.borrow_mut().strays);
    }

    /// Tells the second that is not over, and the totals.
    pub(crate) fn finish(&self) {
        self.tell(News::Second(Box::new(self.interval.take())));
        self.tell(News::End(Box::new(self.totals.take())));
    }

    fn tell(&self, news: News) {
        // Nobody listens only when the run was given up.
        let _ = self.news.send(news);
    }
}

/// Nanoseconds of a duration; whatever is beyond 584 years is that.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
