//! One task a check: when to start, when to tell, when to stop.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::probe::path::PATH_CLOSES_MAX;
use super::probe::{self, Outcome};
use super::recent::{Recent, RecentTimes};
use super::times::{CheckTimes, CheckTimesShown};
use super::trust::Trust;
use super::{AgentReply, CheckSpec, CheckStatus, FlapRule, Flaps, HealthEvent, LastResult, Machine, State};

/// Sockets of attempts under way at one time, over all checks: one an attempt, and one a service of those by the services' own
/// path, up to 16 at a time. With `n` sockets that all time out, detection stays within its bound while
/// `n * timeout / interval` is less than this.
pub const CONNECTS_MAX: usize = 512;
/// Sockets of all checks at one time: those of attempts, and those that close, over the kernel's connections and by the
/// services' own path.
pub const SOCKETS_MAX: usize = CONNECTS_MAX + CLOSES_MAX + PATH_CLOSES_MAX;
/// Passed checks whose connections wait for the servers' side of the close, over all checks; those beyond close at once.
const CLOSES_MAX: usize = 512;
/// The first check of a server starts within this, or its interval when that is less.
const FIRST_START_MAX: Duration = Duration::from_millis(500);
/// An interval of zero would be a loop without a pause.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// How long a passed check waits for the server's side of the close.
const CLOSE_MAX: Duration = Duration::from_millis(250);

/// Runs checks on the current tokio runtime. Dropping it stops them all.
#[derive(Debug)]
pub struct Checker {
    checks: BTreeMap<u32, Check>,
    events: mpsc::Sender<HealthEvent>,
    connects: Arc<Semaphore>,
    closes: Arc<Semaphore>,
    trust: Arc<Trust>,
    times: CheckTimes,
    recent: RecentTimes,
}

/// What [`Checker::reconcile`] did, in numbers of checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// New ones, and those whose target changed.
    pub started: usize,
    /// Those that go on with their history, perhaps with another interval, timeout, rise or fall.
    pub kept: usize,
    /// Those that are gone, and the former selves of those whose target changed.
    pub stopped: usize,
}

/// What [`Checker::fall`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallen {
    /// For how long the server is held down, because it has gone down too often.
    pub held: Option<Duration>,
}

#[derive(Debug)]
struct Check {
    spec: watch::Sender<CheckSpec>,
    progress: Arc<Mutex<Progress>>,
    recent: Recent,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Progress {
    machine: Machine,
    flaps: Flaps,
    since: Option<std::time::Instant>,
    last: Option<LastResult>,
    /// What an agent last said, or why it said nothing.
    told: Option<Result<AgentReply, String>>,
}

impl Progress {
    /// What a result changes, and for how long the server is held down by it.
    fn decide(
        &mut self,
        spec: &CheckSpec,
        result: Option<bool>,
        now: std::time::Instant,
    ) -> (Option<State>, Option<Duration>) {
        let held = self.flaps.held(now, &spec.flaps).is_some();
        // No row is so long.
        let rise = if held { u32::MAX } else { spec.rise };
        let before = self.machine.state();
        let change = result.and_then(|passed| self.machine.record(passed, rise, spec.fall));
        if change.is_some() {
            self.since = Some(now);
        }
        let hold = match change {
            Some(State::Down) if before == State::Up => self.flaps.went_down(now, &spec.flaps),
            Some(State::Up) => {
                self.flaps.went_up(now);
                None
            }
            _ => None,
        };
        (change, hold)
    }

    /// Takes the server down, whatever the results say; tells for how long it is held down by that. Who is down already, its
    /// news perhaps still on the way, does not go down again.
    fn fall(&mut self, rises: u32, rule: &FlapRule, now: std::time::Instant) -> Option<Duration> {
        let was_up = self.machine.state() == State::Up;
        self.machine.fall(rises);
        self.since = Some(now);
        if was_up { self.flaps.went_down(now, rule) } else { None }
    }
}

impl Checker {
    /// A checker without checks, which tells every change of state to `events`. When that channel is full, the
    /// checks with something to tell wait; the others go on.
    #[must_use]
    pub fn new(events: mpsc::Sender<HealthEvent>) -> Self {
        let connects = Arc::new(Semaphore::new(CONNECTS_MAX));
        let closes = Arc::new(Semaphore::new(CLOSES_MAX));
        Self {
            checks: BTreeMap::new(),
            events,
            connects,
            closes,
            trust: Arc::default(),
            times: CheckTimes::default(),
            recent: RecentTimes::default(),
        }
    }

    /// Make the running checks these ones. Of several with one id the last counts.
    ///
    /// Events of stopped checks may still be in the channel: see [`HealthEvent::target`]. Must be called on a runtime.
    pub fn reconcile(&mut self, specs: Vec<CheckSpec>) -> Reconciled {
        self.trust.forget();
        let wanted: BTreeMap<u32, CheckSpec> = specs.into_iter().map(|spec| (spec.id, spec)).collect();
        let before = self.checks.len();
        let stays: BTreeSet<&Arc<str>> = wanted.values().map(|spec| &spec.pool).collect();
        let pools = self.checks.values().map(|check| Arc::clone(&check.spec.borrow().pool));
        let gone: BTreeSet<Arc<str>> = pools.filter(|pool| !stays.contains(pool)).collect();
        self.checks
            .retain(|id, check| wanted.get(id).is_some_and(|spec| spec.target == check.spec.borrow().target));
        let mut done = Reconciled { stopped: before - self.checks.len(), ..Reconciled::default() };
        for (id, spec) in wanted {
            if let Some(check) = self.checks.get(&id) {
                // Another question's answer is news, though it be the same.
                if check.spec.borrow().probe != spec.probe {
                    lock(&check.progress).told = None;
                    check.recent.forget();
                }
                check.spec.send_if_modified(|present| {
                    let changed = *present != spec;
                    *present = spec;
                    changed
                });
                done.kept += 1;
            } else {
                let check = self.start(spec);
                self.checks.insert(id, check);
                done.started += 1;
            }
        }
        self.times.forget(gone.iter());
        let recent = self.checks.iter().map(|(id, check)| (*id, check.recent.clone()));
        self.recent = RecentTimes::of_all(recent);
        done
    }

    /// How long checks took.
    #[must_use]
    pub fn times(&self) -> CheckTimesShown {
        self.times.shown()
    }

    /// How long the last good checks of each server took, of those that are checked now.
    #[must_use]
    pub fn recent(&self) -> RecentTimes {
        self.recent.clone()
    }

    /// Where every check stands, by id.
    #[must_use]
    pub fn snapshot(&self) -> Vec<CheckStatus> {
        self.checks.values().map(Check::status).collect()
    }

    /// Takes a server down for another reason than a check's result: only the next successes of its check bring it up, `rises`
    /// times as many as `rise` says. One that was up has gone down, as by its check: see [`FlapRule`](super::FlapRule). `None`:
    /// there is no such check, and nothing was done. It sends no event.
    pub fn fall(&mut self, id: u32, rises: u32) -> Option<Fallen> {
        let check = self.checks.get(&id)?;
        let rule = check.spec.borrow().flaps;
        let mut progress = lock(&check.progress);
        Some(Fallen { held: progress.fall(rises, &rule, std::time::Instant::now()) })
    }

    fn start(&self, spec: CheckSpec) -> Check {
        let progress = Arc::new(Mutex::new(Progress::default()));
        let recent = Recent::default();
        let (sender, receiver) = watch::channel(spec);
        let runner = Runner {
            spec: receiver,
            progress: Arc::clone(&progress),
            events: self.events.clone(),
            connects: Arc::clone(&self.connects),
            closes: Arc::clone(&self.closes),
            trust: Arc::clone(&self.trust),
            times: self.times.clone(),
            recent: recent.clone(),
            random: RandomState::new(),
        };
        Check { spec: sender, progress, recent, task: tokio::spawn(runner.run()) }
    }
}

impl Check {
    fn status(&self) -> CheckStatus {
        let progress = lock(&self.progress);
        CheckStatus {
            spec: self.spec.borrow().clone(),
            state: progress.machine.state(),
            since: progress.since,
            last: progress.last.clone(),
            consecutive: progress.machine.consecutive(),
            passing: progress.machine.passing(),
        }
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Runner {
    spec: watch::Receiver<CheckSpec>,
    progress: Arc<Mutex<Progress>>,
    events: mpsc::Sender<HealthEvent>,
    connects: Arc<Semaphore>,
    closes: Arc<Semaphore>,
    trust: Arc<Trust>,
    times: CheckTimes,
    recent: Recent,
    random: RandomState,
}

impl Runner {
    async fn run(mut self) {
        let spec = self.spec.borrow_and_update().clone();
        let first = spec.interval.min(FIRST_START_MAX).mul_f64(self.fraction(0));
        sleep_until(Instant::now() + first).await;
        for round in 1_u64.. {
            let spec = self.spec.borrow_and_update().clone();
            let due = Instant::now();
            // The semaphore is never closed; without a permit the check goes on rather than stop silently.
            // Its time begins behind this: waiting for others is nothing that the server does.
            let permit = self.connects.acquire_many(spec.probe.sockets()).await.ok();
            let started = Instant::now();
            let outcome = probe::attempt(&spec.probe, spec.target, spec.timeout, &self.trust).await;
            drop(permit);
            let (event, passed) = self.settle(&spec, outcome, due, started);
            if let Some(event) = event
                && self.events.send(event).await.is_err()
            {
                return;
            }
            if let Some(stream) = passed
                && let Ok(_permit) = self.closes.try_acquire()
            {
                let next = due + shortened(self.interval(&spec), self.fraction(round));
                probe::close(stream, next.min(Instant::now() + CLOSE_MAX)).await;
            }
            if self.wait(due, round).await.is_err() {
                return;
            }
        }
    }

    /// Record the outcome. Gives the event to tell, if any, and the connection to close, if any.
    fn settle(
        &self,
        spec: &CheckSpec,
        outcome: Outcome,
        due: Instant,
        started: Instant,
    ) -> (Option<HealthEvent>, Option<tokio::net::TcpStream>) {
        let now = Instant::now();
        let took = now - started;
        let (mut stream, mut certificate_ends, mut told) = (None, None, None);
        let (result, reason) = match outcome {
            Outcome::Told(said) => {
                let reason = said.as_ref().map_or_else(Clone::clone, |_| "answered".to_owned());
                told = Some(said);
                (None, reason)
            }
            Outcome::Passed(passed) => {
                (stream, certificate_ends) = (passed.stream, passed.certificate_ends);
                (Some(true), passed.words)
            }
            Outcome::Failed(reason) => (Some(false), reason),
            Outcome::Inconclusive(reason) => {
                tracing::warn!(target = %spec.target, reason, "health check could not be made");
                (None, reason)
            }
        };
        if let Some(passed) = result {
            self.times.record(&spec.pool, passed, took);
            if passed {
                self.recent.record(took);
            }
        }
        let mut progress = lock(&self.progress);
        let (change, held) = progress.decide(spec, result, now.into_std());
        let last = LastResult {
            at: now.into_std(),
            took,
            waited: started - due,
            reason: reason.clone(),
            certificate_ends,
        };
        progress.last = Some(last);
        let news = told.filter(|said| progress.told.as_ref() != Some(said));
        let up = match &news {
            Some(said) => Some(said.is_ok()),
            None => change.map(|state| state == State::Up),
        };
        progress.told = news.clone().or(progress.told.take());
        let event = up.map(|up| HealthEvent {
            id: spec.id,
            target: spec.target,
            up,
            reason,
            took,
            held,
            agent: news,
        });
        (event, stream)
    }

    /// Wait until the next check is due, by the newest spec. An error when the checker is gone.
    async fn wait(&mut self, due: Instant, round: u64) -> Result<(), watch::error::RecvError> {
        loop {
            let spec = self.spec.borrow_and_update().clone();
            let interval = self.interval(&spec);
            let next = due + shortened(interval, self.fraction(round));
            tokio::select! {
                () = sleep_until(next) => return Ok(()),
                changed = self.spec.changed() => changed?,
            }
        }
    }

    /// From this check to the next: shorter while the state is about to change, so that it does so sooner.
    fn interval(&self, spec: &CheckSpec) -> Duration {
        let progress = lock(&self.progress);
        // While it is held, results that speak for it change nothing soon.
        let held = progress.flaps.held(std::time::Instant::now(), &spec.flaps).is_some();
        let changing = progress.machine.is_changing() && !held;
        spec.interval_changing.filter(|_| changing).unwrap_or(spec.interval)
    }

    /// A number in [0, 1) that differs from check to check and from round to round.
    fn fraction(&self, round: u64) -> f64 {
        let bits = u32::try_from(self.random.hash_one(round) >> 32).unwrap_or_default();
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    }
}

/// Between 90 % and 100 % of the interval.
fn shortened(interval: Duration, fraction: f64) -> Duration {
    interval.max(INTERVAL_MIN).mul_f64(1.0 - 0.1 * fraction)
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    // Nothing can panic between two writes of `settle`, so a poisoned lock holds whole values.
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
