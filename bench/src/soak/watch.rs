//! Keeps the schedule while a trial runs: events are done in a thread of their own, one at a time, in their order.

use super::act::Actor;
use super::counters::Counters;
use super::schedule::{Event, When};
use crate::commands::traffic::Progress;
use ringlead_traffic::{Interval, Observer, Tick};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// An event that was done or tried.
#[derive(Clone, PartialEq, Debug)]
pub struct Done {
    /// Which one of the schedule.
    pub event: usize,
    /// When it was begun, from the trial's start.
    pub begun: Duration,
    /// How long it took.
    pub took: Duration,
    /// Why it failed.
    pub failed: Option<String>,
    /// The balancer's counters before it; `None` where they are not known.
    pub before: Option<Counters>,
}

struct Job {
    event: usize,
    /// When the trial began.
    start: Instant,
}

/// Watches a trial and does to the balancer what the schedule says.
pub struct Watch {
    events: Vec<Event>,
    /// How often each was handed to the actor.
    begun: Vec<u32>,
    /// Whether the actor still has it.
    pending: Vec<bool>,
    /// How often each was due while it was still being done.
    skipped: Vec<u64>,
    jobs: Option<Sender<Job>>,
    results: Receiver<Done>,
    actor: Option<JoinHandle<()>>,
    done: Vec<Done>,
    progress: Progress,
}

impl Watch {
    /// A watch over `events`, done by `actor`.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn new(events: Vec<Event>, actor: Actor, progress: Progress) -> std::io::Result<Self> {
        // At most one job an event is on its way: the queues are short.
        let ((jobs, due), (told, results)) = (channel(), channel());
        let list = events.clone();
        let work = move || work(&list, &actor, &due, &told);
        let thread = thread::Builder::new().name("soak-events".to_owned()).spawn(work)?;
        Ok(Self {
            begun: vec![0; events.len()],
            pending: vec![false; events.len()],
            skipped: vec![0; events.len()],
            events,
            jobs: Some(jobs),
            results,
            actor: Some(thread),
            done: Vec::new(),
            progress,
        })
    }

    /// Waits for what is still being done. Everything that was done, in order, and how often each event was skipped.
    #[must_use]
    pub fn finish(mut self) -> (Vec<Done>, Vec<u64>) {
        self.progress.clear();
        self.jobs = None;
        if let Some(actor) = self.actor.take() {
            let _ = actor.join();
        }
        self.collect();
        (self.done, self.skipped)
    }

    /// Takes in what was done, and returns it as marks. Of repeated events the first is one, and each that failed.
    fn collect(&mut self) -> Vec<String> {
        let mut marks = Vec::new();
        while let Ok(done) = self.results.try_recv() {
            let event = &self.events[done.event];
            let first = !self.done.iter().any(|other| other.event == done.event);
            match &done.failed {
                Some(why) => marks.push(format!("{}: FAILED: {why}", event.text)),
                None if first => marks.push(event.text.clone()),
                None => {}
            }
            self.pending[done.event] = false;
            self.done.push(done);
        }
        marks
    }

    fn hand_out(&mut self, elapsed: Duration) {
        for number in 0..self.events.len() {
            let event = &self.events[number];
            let Some(due) = event.due(self.begun[number]) else { continue };
            if due > elapsed {
                continue;
            }
            if self.pending[number] {
                // Time after which another is due has passed: one is left out, and counted.
                self.begun[number] += 1;
                self.skipped[number] += 1;
                continue;
            }
            self.begun[number] = match event.when {
                When::At(_) => 1,
                When::Every(_) => self.begun[number] + 1,
            };
            self.pending[number] = true;
            if let (Some(jobs), Some(start)) = (&self.jobs, Instant::now().checked_sub(elapsed)) {
                let _ = jobs.send(Job { event: number, start });
            }
        }
    }
}

fn work(events: &[Event], actor: &Actor, due: &Receiver<Job>, told: &Sender<Done>) {
    while let Ok(Job { event, start }) = due.recv() {
        // Asked first, so that what the event costs is not in it.
        let before = actor.control.as_deref().and_then(|socket| Counters::ask(socket).ok());
        let begin = Instant::now();
        let failed = actor.act(&events[event].action).err();
        let begun = begin.saturating_duration_since(start);
        if told.send(Done { event, begun, took: begin.elapsed(), failed, before }).is_err() {
            return;
        }
    }
}

impl Observer for Watch {
    fn tick(&mut self, elapsed: Duration) -> Tick {
        let marks = self.collect();
        self.hand_out(elapsed);
        Tick { marks, stop: false }
    }

    fn interval(&mut self, interval: &Interval) {
        self.progress.interval(interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(lines: &[&str]) -> Watch {
        let events = lines.iter().map(|line| line.parse().unwrap()).collect();
        Watch::new(events, Actor { control: None }, Progress::default()).unwrap()
    }

    /// Lets the actor do what it was given.
    fn settle(watch: &mut Watch) -> Vec<String> {
        let mut marks = Vec::new();
        for _ in 0..6000 {
            marks.extend(watch.collect());
            if !watch.pending.contains(&true) {
                return marks;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("the actor does not come to an end");
    }

    #[test]
    fn events_are_done_when_due_and_marked() {
        let mut watch = watch(&["50ms exec true", "every 20ms exec exit 1"]);
        let ms = Duration::from_millis;
        assert_eq!(watch.tick(ms(10)), Tick::default());
        assert!(settle(&mut watch).is_empty() && watch.done.is_empty(), "nothing is due at 10 ms");
        let _ = watch.tick(ms(20));
        assert_eq!(settle(&mut watch).len(), 1);
        let _ = watch.tick(ms(55));
        let marks = settle(&mut watch);
        assert_eq!((marks.len(), &marks[0]), (2, &"50ms exec true".to_owned()));
        assert!(marks[1].contains("FAILED"), "{marks:?}");
        let (done, skipped) = watch.finish();
        let events: Vec<(usize, bool)> =
            done.iter().map(|done| (done.event, done.failed.is_some())).collect();
        assert_eq!(events, [(1, true), (0, false), (1, true)]);
        assert_eq!(skipped, [0, 0]);
        assert!(done.iter().all(|done| done.before.is_none()));
    }

    #[test]
    fn an_event_that_is_still_being_done_is_left_out_and_counted() {
        let mut watch = watch(&["every 10ms exec sleep 0.3"]);
        for ms in [10, 20, 30] {
            let _ = watch.tick(Duration::from_millis(ms));
        }
        let (done, skipped) = watch.finish();
        assert_eq!((done.len(), skipped), (1, vec![2]));
    }
}
