//! The last events, for `ringlead events`.

use super::entry::Entry;
use super::kinds::KINDS;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// Events that are kept.
pub(super) const EVENTS_MAX: usize = 4_096;
/// Bytes that they take at most, about.
const BYTES_MAX: usize = 8 << 20;
/// Events of one answer.
const PAGE_MAX: usize = 256;
/// Askers that may wait for the next event at a time: the socket's other places are for who wants an answer now.
const FOLLOWERS_MAX: usize = 8;
/// The longest that one question waits.
pub const WAIT_MAX: Duration = Duration::from_secs(20);

/// What `events` asks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsRequest {
    /// Events after this number; 0: all that are kept.
    #[serde(default)]
    pub since: u64,
    /// These kinds only; none: all.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// How long to wait for the first one if there is none, in milliseconds; [`WAIT_MAX`] at most.
    #[serde(default)]
    pub wait_ms: u64,
}

/// What is answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventsAnswer {
    /// When the daemon began to count: another value is another daemon, whose numbers begin anew.
    pub started: String,
    /// The number to ask after next time.
    pub next: u64,
    /// Whether there are more now.
    pub more: bool,
    /// Events after the asked number that are kept no more.
    pub lost: u64,
    /// Lines of the log that were lost since the start.
    pub log_lines_lost: u64,
    /// `seq`, `time`, `level`, `event`, `message`, `fields` of each.
    pub events: Vec<Value>,
}

/// A bounded list; the oldest goes.
#[derive(Debug)]
pub struct Ring {
    kept: Mutex<Kept>,
    /// The last number, for who waits.
    last: watch::Sender<u64>,
    started: SystemTime,
    followers: AtomicUsize,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// The number of the last one.
    last: u64,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            last: watch::Sender::new(0),
            started: SystemTime::now(),
            followers: AtomicUsize::new(0),
        }
    }
}

impl Ring {
    /// Appends an event.
    pub(super) fn push(&self, entry: Arc<Entry>) {
        let Ok(mut kept) = self.kept.lock() else { return };
        kept.last += 1;
        kept.bytes += entry.size();
        kept.entries.push_back(entry);
        while kept.entries.len() > EVENTS_MAX || kept.bytes > BYTES_MAX {
            let Some(oldest) = kept.entries.pop_front() else { break };
            kept.bytes -= oldest.size();
        }
        self.last.send_replace(kept.last);
    }

    /// One page. Bounded: a copy of [`PAGE_MAX`] references under the lock, and the text of them outside.
    fn page(&self, request: &EventsRequest) -> EventsAnswer {
        let (first, entries) = match self.kept.lock() {
            Ok(kept) => {
                let oldest = kept.last - kept.entries.len() as u64;
                // Asked after a number of another daemon: from the start.
                let since = if request.since > kept.last { 0 } else { request.since };
                let skipped = usize::try_from(since.saturating_sub(oldest)).unwrap_or(usize::MAX);
                let entries: Vec<_> = kept.entries.iter().skip(skipped).take(PAGE_MAX).cloned().collect();
                let last = kept.last;
                ((oldest.max(since), oldest.saturating_sub(since), last), entries)
            }
            Err(_) => ((0, 0, 0), Vec::new()),
        };
        let (before, lost, last) = first;
        let next = before + entries.len() as u64;
        let numbered = entries.iter().zip(before + 1..);
        let wanted = numbered.filter(|(entry, _)| {
            request.kinds.is_empty() || entry.event.as_ref().is_some_and(|kind| request.kinds.contains(kind))
        });
        let events = wanted.map(|(entry, seq)| {
            let mut json = entry.to_json();
            json.insert("seq".to_owned(), seq.into());
            Value::Object(json)
        });
        EventsAnswer {
            started: humantime::format_rfc3339_micros(self.started).to_string(),
            next,
            more: next < last,
            lost,
            log_lines_lost: super::lines_lost(),
            events: events.collect(),
        }
    }

    /// Answers a request; waits as long as it asks for when there is nothing new.
    ///
    /// # Errors
    /// A kind that does not exist, or too many askers that wait.
    pub async fn ask(&self, mut request: EventsRequest) -> Result<EventsAnswer, String> {
        if let Some(unknown) = request.kinds.iter().find(|kind| !KINDS.iter().any(|(name, _)| name == kind)) {
            let known: Vec<_> = KINDS.iter().map(|(name, _)| *name).collect();
            return Err(format!("no event is of the kind `{unknown}`; there are {}", known.join(", ")));
        }
        let mut answer = self.page(&request);
        if request.wait_ms == 0 || !answer.events.is_empty() || answer.more {
            return Ok(answer);
        }
        let _place = Place::take(&self.followers)?;
        let mut last = self.last.subscribe();
        let wait = Duration::from_millis(request.wait_ms).min(WAIT_MAX);
        let until = tokio::time::Instant::now() + wait;
        while answer.events.is_empty() && !answer.more {
            // Those of other kinds have been looked at.
            (request.since, answer.lost) = (answer.next, 0);
            let seen = answer.next;
            if !matches!(tokio::time::timeout_at(until, last.wait_for(|last| *last != seen)).await, Ok(Ok(_)))
            {
                break;
            }
            answer = self.page(&request);
        }
        Ok(answer)
    }
}

/// One of [`FOLLOWERS_MAX`].
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(places: &'a AtomicUsize) -> Result<Self, String> {
        let taken = places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            (taken < FOLLOWERS_MAX).then_some(taken + 1)
        });
        taken
            .map(|_| Self(places))
            .map_err(|_| format!("more than {FOLLOWERS_MAX} wait for events: try again"))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    fn entry(kind: &str, message: &str) -> Arc<Entry> {
        let (event, message) = (Some(kind.to_owned()), message.to_owned());
        Arc::new(Entry { at: SystemTime::now(), level: Level::INFO, event, message, fields: Vec::new() })
    }

    fn since(since: u64) -> EventsRequest {
        EventsRequest { since, ..EventsRequest::default() }
    }

    fn seqs(answer: &EventsAnswer) -> Vec<u64> {
        answer.events.iter().map(|event| event["seq"].as_u64().unwrap()).collect()
    }

    #[test]
    fn pages_follow_each_other_and_losses_are_told() {
        let ring = Ring::default();
        (0..EVENTS_MAX + 10).for_each(|_| ring.push(entry("health", "x")));
        let first = ring.page(&since(0));
        assert_eq!((first.lost, first.more, first.events.len()), (10, true, PAGE_MAX));
        assert_eq!(seqs(&first)[0], 11);
        let (mut at, mut count) = (first.next, first.events.len());
        loop {
            let page = ring.page(&since(at));
            assert_eq!((page.lost, seqs(&page).first()), (0, Some(&(at + 1))));
            (at, count) = (page.next, count + page.events.len());
            if !page.more {
                break;
            }
        }
        assert_eq!((at, count), (EVENTS_MAX as u64 + 10, EVENTS_MAX));
        assert_eq!(ring.page(&since(at)).events.len(), 0);
        assert_eq!(seqs(&ring.page(&since(1 << 40)))[0], 11, "a number of another daemon");
    }

    #[test]
    fn large_events_leave_room_for_fewer() {
        let ring = Ring::default();
        let large = "x".repeat(8 << 10);
        (0..EVENTS_MAX).for_each(|_| ring.push(entry("reload", &large)));
        let kept = ring.kept.lock().unwrap();
        assert!(kept.bytes <= BYTES_MAX && kept.entries.len() < 1_024, "{}", kept.entries.len());
        assert_eq!(kept.bytes, kept.entries.iter().map(|e| e.size()).sum::<usize>());
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_the_kind_that_it_wants_or_by_the_time() {
        let ring = Arc::new(Ring::default());
        let request = EventsRequest { kinds: vec!["port".to_owned()], wait_ms: 5_000, ..since(0) };
        let answer = ring.ask(EventsRequest { wait_ms: 20, ..request.clone() }).await.unwrap();
        assert_eq!((answer.events.len(), answer.next), (0, 0), "nothing came");
        let asked = tokio::spawn({
            let (ring, request) = (Arc::clone(&ring), request.clone());
            async move { ring.ask(request).await }
        });
        tokio::task::yield_now().await;
        ring.push(entry("health", "not that"));
        tokio::task::yield_now().await;
        assert!(!asked.is_finished());
        ring.push(entry("port", "that"));
        let answer = asked.await.unwrap().unwrap();
        assert_eq!((seqs(&answer), answer.next), (vec![2], 2));
        let unknown = ring.ask(EventsRequest { kinds: vec!["helth".to_owned()], ..request }).await;
        assert!(unknown.unwrap_err().contains("there are "));
    }

    #[tokio::test]
    async fn only_some_may_wait() {
        let ring = Arc::new(Ring::default());
        let ask = || {
            let ring = Arc::clone(&ring);
            tokio::spawn(async move { ring.ask(EventsRequest { wait_ms: 5_000, ..since(0) }).await })
        };
        let waiting: Vec<_> = (0..FOLLOWERS_MAX).map(|_| ask()).collect();
        tokio::task::yield_now().await;
        assert!(ask().await.unwrap().unwrap_err().contains("try again"));
        ring.push(entry("health", "x"));
        for each in waiting {
            assert_eq!(each.await.unwrap().unwrap().events.len(), 1);
        }
        assert!(ask().await.unwrap().is_ok(), "the places are free again");
    }
}
