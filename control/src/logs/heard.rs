//! What code says while a test listens.

use super::entry::Entry;
use std::sync::{Arc, Mutex};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Entry>>>);

impl<S: Subscriber> Layer<S> for Kept {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.lock().unwrap().push(Entry::of(event));
    }
}

/// What `said` says, as entries of the log.
pub(crate) fn entries(said: impl FnOnce()) -> Vec<Entry> {
    let kept = Kept::default();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(kept.clone()), said);
    std::mem::take(&mut kept.0.lock().unwrap())
}
