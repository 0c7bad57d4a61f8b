//! Where `tracing` hands over.

use super::entry::Entry;
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
