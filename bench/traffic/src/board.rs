//! What the ends' threads and the trial's own thread tell each other while traffic runs.

use crossbeam::utils::CachePadded;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counters that one thread adds to, a burst at a time, and another reads now and then.
#[derive(Debug, Default)]
pub(crate) struct Board {
    sending: CachePadded<Sending>,
    hearing: [CachePadded<AtomicU64>; 2],
    /// Frames of any kind that came in at either end.
    heard: CachePadded<AtomicU64>,
    sent_all: AtomicBool,
    stop: AtomicBool,
    abandon: AtomicBool,
}

#[derive(Debug, Default)]
struct Sending {
    sent: AtomicU64,
    lag_max_ns: AtomicU64,
}

/// Which end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// Frames that arrive at servers.
    Servers = 0,
    /// Replies that arrive at clients.
    Clients = 1,
}

impl Board {
    #[inline]
    pub(crate) fn sent(&self, frames: u64, lag_ns: u64) {
        self.sending.sent.fetch_add(frames, Ordering::Relaxed);
        self.sending.lag_max_ns.fetch_max(lag_ns, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn heard(&self, end: End, frames: u64, counted: u64) {
        self.hearing[end as usize].fetch_add(counted, Ordering::Relaxed);
        self.heard.fetch_add(frames, Ordering::Relaxed);
    }

    /// Frames sent.
    pub(crate) fn sent_so_far(&self) -> u64 {
        self.sending.sent.load(Ordering::Relaxed)
    }

    /// The trial's frames that came in at an end.
    pub(crate) fn counted_so_far(&self, end: End) -> u64 {
        self.hearing[end as usize].load(Ordering::Relaxed)
    }

    /// Frames of any kind that came in.
    pub(crate) fn heard_so_far(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// The greatest lag since this was last asked.
    pub(crate) fn take_lag_max_ns(&self) -> u64 {
        self.sending.lag_max_ns.swap(0, Ordering::Relaxed)
    }

    /// The sender says that it is done.
    pub(crate) fn set_sent_all(&self) {
        self.sent_all.store(true, Ordering::Release);
    }

    pub(crate) fn sent_all(&self) -> bool {
        self.sent_all.load(Ordering::Acquire)
    }

    /// Nothing more will be listened to.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    #[inline]
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The sender is to end before its plan does.
    pub(crate) fn abandon(&self) {
        self.abandon.store(true, Ordering::Release);
    }

    #[inline]
    pub(crate) fn abandoned(&self) -> bool {
        self.abandon.load(Ordering::Relaxed)
    }
}
