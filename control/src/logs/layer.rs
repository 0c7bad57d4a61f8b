//! Where `tracing` hands over.

use super::entry::Entry;
use super::ring::Ring;
use crossbeam::channel::Sender;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Queues every event for the writer.
pub(super) struct Lines {
    queue: Sender<Arc<Entry>>,
    lost: &'static AtomicU64,
}

impl Lines {
    pub(super) fn new(queue: Sender<Arc<Entry>>, lost: &'static AtomicU64) -> Self {
        Self { queue, lost }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if self.queue.try_send(Arc::new(Entry::of(event))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Keeps the events that have a name, whatever the log's level is.
pub(super) struct Events {
    ring: &'static Ring,
}

impl Events {
    pub(super) fn new(ring: &'static Ring) -> Self {
        Self { ring }
    }
}

impl<S: Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().fields().field("event").is_some() {
            self.ring.push(Arc::new(Entry::of(event)));
        }
    }
}
