//! The way back from a reload: at once, or by itself unless the reload is confirmed in time.
//!
//! The time runs here, not in the client: an operator who has cut off the own session need do nothing. While a reload waits, every
//! other one is refused, so that there is never a doubt to what `undo` returns.

use super::Engine;
use super::replace::{Lasting, replace};
use crate::config::{Config, Origin};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

/// The longest that a reload may wait for its confirmation, in seconds.
pub const CONFIRM_S_MAX: u64 = 3_600;
/// Bytes of the configuration in one answer, or a few less: a page ends with a whole character.
const PAGE: usize = 1 << 20;

/// In the state directory while a reload waits for its confirmation.
const ON_TRIAL: &str = "reload-on-trial";

/// A configuration that was in force.
#[derive(Debug, Clone)]
struct Kept {
    config: Config,
    text: Written,
}

/// A configuration's texts.
#[derive(Debug, Clone)]
pub(super) struct Written {
    /// In its effective form.
    pub effective: Arc<str>,
    /// As it was read.
    pub origin: Origin,
}

/// What is in force as text, and what was before.
#[derive(Debug)]
pub(super) struct Undo {
    /// In force.
    pub(super) running: Written,
    /// Counts what was in force so far.
    generation: u64,
    /// In force before the last good reload, or before its undoing.
    previous: Option<Kept>,
    /// When the last reload is undone.
    deadline: Option<Instant>,
    /// Whether the last reload changed something: else there is nothing about it to undo.
    changed: bool,
}

impl Undo {
    pub(super) fn new(running: Written) -> Self {
        Self { running, generation: 1, previous: None, deadline: None, changed: false }
    }

    /// Notes what another configuration has taken the place of, if it differs: what a reload that changes nothing meets stays the way
    /// back, as often as it comes.
    fn note(&mut self, last: Kept) {
        self.changed = last.text.effective != self.running.effective;
        if self.changed {
            self.generation += 1;
            self.previous = Some(last);
        }
    }

    /// What the configuration in force was read from.
    pub(super) fn origin(&self) -> Origin {
        self.running.origin.clone()
    }

    /// Whole seconds until the last reload is undone, begun ones counted; `None`: it does not wait.
    pub(super) fn waits_s(&self, now: Instant) -> Option<u64> {
        let left = self.deadline?.saturating_duration_since(now);
        Some(left.as_secs() + u64::from(left.subsec_nanos() > 0))
    }

    fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// The text from a byte on, as much as fits into an answer, with the file that a reload reads (none where its path is no text).
    pub(super) fn page(&self, offset: usize, file: &Path) -> Result<Value, String> {
        let rest =
            self.running.effective.get(offset..).ok_or("`offset` is not a place in the configuration")?;
        let mut end = rest.len().min(PAGE);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let next = (end < rest.len()).then_some(offset + end);
        let (waits_s, file) = (self.waits_s(Instant::now()), std::path::absolute(file).ok());
        let file = file.as_deref().and_then(Path::to_str);
        let (generation, text) = (self.generation, rest.get(..end));
        Ok(json!({ "generation": generation, "text": text, "next": next, "file": file, "waits_s": waits_s }))
    }
}

impl Engine {
    /// Takes a configuration over and keeps the last one for [`undo`](Self::undo).
    pub(super) async fn adopt(&mut self, config: Config, text: Written) -> Result<(), String> {
        let last = Kept { config: self.plan.config().clone(), text: self.undo.running.clone() };
        self.take_over(config, text).await?;
        self.undo.note(last);
        Ok(())
    }

    /// Whether another configuration may come now.
    pub(super) fn nothing_waits(&self) -> Result<(), String> {
        match self.undo.waits_s(Instant::now()) {
            None => Ok(()),
            Some(left) => {
                Err(format!("the last reload waits for confirm, {left} s left: confirm or undo it first"))
            }
        }
    }

    /// Keeps in the state directory that a reload waits for its confirmation, or forgets it: who starts after this process was
    /// killed reads the file again, which nobody has confirmed, and is told.
    pub(super) async fn note_trial(&self, waits: bool) {
        let file = self.plan.config().node.state_dir.join(ON_TRIAL);
        let kept = tokio::task::spawn_blocking(move || match waits {
            true => replace(&file, b"a reload waits for its confirmation\n", Lasting::AtOnce),
            false => forget(&file).map(drop),
        });
        if let Ok(Err(error)) = kept.await {
            tracing::warn!(event = "reload", %error, "a restart will not know whether a reload waits for its confirmation");
        }
    }

    /// Tells that the last process ended while a reload waited, once.
    pub(super) async fn tell_trial(&self) {
        let file = self.plan.config().node.state_dir.join(ON_TRIAL);
        if let Ok(Ok(true)) = tokio::task::spawn_blocking(move || forget(&file)).await {
            let path = self.config_path.display().to_string();
            tracing::warn!(
                event = "reload",
                file = path,
                "the last ringlead ended while a reload waited for confirm: the file as it is now is in force, and nothing will undo it"
            );
        }
    }

    /// The last reload is undone after `patience`.
    pub(super) fn wait_for_confirm(&mut self, patience: Duration) {
        self.undo.deadline = Some(Instant::now() + patience);
        tracing::info!(event = "reload", "undone in {} s unless confirmed", patience.as_secs());
    }

    /// The last reload is right.
    pub(super) async fn confirm(&mut self) -> Result<(), String> {
        self.undo.deadline.take().ok_or("no reload waits for confirm")?;
        self.note_trial(false).await;
        tracing::info!(event = "reload", "confirmed");
        Ok(())
    }

    /// Returns to what was in force before the last good reload. Another one returns to where it was.
    pub(super) async fn undo(&mut self) -> Result<(), String> {
        if self.undo.deadline.take().is_some() {
            self.note_trial(false).await;
            if !self.undo.changed {
                tracing::info!(
                    event = "undo",
                    "the reload on trial had changed nothing, and nothing changes"
                );
                return Ok(());
            }
        }
        let kept = self.undo.previous.clone().ok_or("there is nothing to undo: no reload was taken over")?;
        match self.adopt(kept.config, kept.text).await {
            Ok(()) => {
                tracing::info!(event = "undo", "the configuration before the last reload is in force again");
                Ok(())
            }
            Err(why) => {
                tracing::error!(event = "undo", "the last reload cannot be undone, it stays: {why}");
                Err(why)
            }
        }
    }

    /// Undoes a reload that nobody has confirmed in time.
    pub(super) async fn undo_unconfirmed(&mut self) {
        if self.undo.is_late(Instant::now()) {
            tracing::warn!(event = "undo", "nobody has confirmed the last reload");
            // Logged where it happens; the reload stays then, and no longer waits.
            let _ = self.undo().await;
        }
    }
}

/// Removes a file; returns whether it was there.
fn forget(file: &Path) -> io::Result<bool> {
    match fs::remove_file(file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undo(effective: &str) -> Undo {
        let origin = crate::config::parse_whole("x.toml", crate::config::EXAMPLE).unwrap().origin;
        Undo::new(Written { effective: Arc::from(effective), origin })
    }

    #[test]
    fn the_text_comes_in_pages_of_whole_characters() {
        let text = format!("x{}", "é".repeat(PAGE));
        let undo = undo(&text);
        let (mut got, mut offset, mut pages) = (String::new(), Some(0), 0);
        while let Some(at) = offset {
            let page = undo.page(at, Path::new("/etc/x.toml")).unwrap();
            assert_eq!((&page["file"], &page["waits_s"]), (&json!("/etc/x.toml"), &Value::Null));
            got.push_str(page["text"].as_str().unwrap());
            offset = page["next"].as_u64().map(|next| usize::try_from(next).unwrap());
            pages += 1;
        }
        assert_eq!((got == text, pages), (true, 3));
        let page = |offset| undo.page(offset, Path::new("x.toml"));
        assert!(page(2).is_err() && page(usize::MAX).is_err());
        let file = page(0).unwrap()["file"].as_str().map(std::path::PathBuf::from);
        assert!(file.is_some_and(|file| file.is_absolute() && file.ends_with("x.toml")));
    }

    #[test]
    fn a_reload_that_changes_nothing_leaves_the_way_back() {
        let kept = |undo: &Undo| {
            let config = crate::config::parse("x.toml", crate::config::EXAMPLE).unwrap().0;
            Kept { config, text: undo.running.clone() }
        };
        let mut undo = undo("first");
        for (effective, previous, generation) in
            [("second", "first", 2), ("second", "first", 2), ("third", "second", 3)]
        {
            let last = kept(&undo);
            undo.running.effective = Arc::from(effective);
            undo.note(last);
            assert_eq!(undo.previous.as_ref().map(|kept| &*kept.text.effective), Some(previous));
            assert_eq!(undo.generation, generation, "{effective}");
        }
    }

    #[test]
    fn seconds_left_are_rounded_up_and_end_at_the_deadline() {
        let now = Instant::now();
        let mut undo = undo("");
        assert_eq!((undo.waits_s(now), undo.is_late(now)), (None, false));
        undo.deadline = Some(now + Duration::from_millis(42_001));
        assert_eq!((undo.waits_s(now), undo.is_late(now)), (Some(43), false));
        assert!(undo.is_late(now + Duration::from_millis(42_001)));
    }
}
