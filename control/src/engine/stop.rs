//! Stopping: addresses → maps → workers, so that the kernel never sees a service's frames without the address gone.

use super::Engine;
use ringlead_io::steer::{Rules, Steering};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What is in the rings when the maps are empty still leaves.
const LAST_FRAMES: Duration = Duration::from_millis(20);

impl Engine {
    /// Stops serving; the workers end on their own after this.
    pub(super) async fn stop(mut self) -> Option<Steering> {
        self.reporting.refuse();
        self.checker.reconcile(Vec::new());
        self.remove_addresses(&BTreeSet::new()).await;
        if let Some(steering) = &mut self.node.steering
            && let Err(error) = steering.reconcile(&Rules::default())
        {
            tracing::error!(event = "stop", %error, "cannot empty the steering maps");
        }
        // Whoever waits for a report's answer gets it meanwhile.
        tokio::time::sleep(LAST_FRAMES).await;
        self.node.stop.store(true, Ordering::Relaxed);
        self.unmanage(self.plan.hops().map(|(hop, _)| hop)).await;
        self.node.steering
    }
}
