//! A thread's requests: when they begin, who does them, and that each ends in exactly one count.
//!
//! ```text
//!   plan --due--> queue --> slot: a client with its connection --> ok | failed by class
//!            \--> not started: at the cap
//! ```

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout_at;

use crate::meter::Meter;
use crate::timer::Timer;
use crate::{ErrorClass, Rate};

/// One user of the service: does one request at a time and keeps its connection between them.
pub(crate) trait Client: 'static {
    /// Does one request; after a failure the next one begins anew. May be dropped half-way, before
    /// [`timed_out`](Self::timed_out).
    async fn request(&mut self) -> Result<(), ErrorClass>;

    /// The request took too long and was dropped: what that is called.
    fn timed_out(&mut self) -> ErrorClass;

    /// When a request begun at `start` has taken too long.
    fn deadline(&self, start: Instant, patience: Duration) -> Instant {
        start + patience
    }
}

/// How long a closed loop rests after a failure, so that a dead service is asked and not hammered.
const REST_AFTER_FAILURE: Duration = Duration::from_millis(10);

/// How many due requests are handed out before others may run.
const IN_A_ROW: u32 = 32;

/// One thread's part of an open loop.
pub(crate) struct Open {
    pub(crate) rate: Rate,
    /// This thread's requests are `first`, `first + step`, `first + 2 * step` and so on of the plan.
    pub(crate) first: u64,
    pub(crate) step: u64,
    /// The plan's requests, all threads'.
    pub(crate) count: u64,
    pub(crate) in_flight_max: u32,
    pub(crate) connections_max: u32,
    /// After the end by this much, what is still due is too late.
    pub(crate) lag_max: Duration,
}

/// Begins requests at their times and waits for the last of them.
pub(crate) async fn open<C: Client>(
    plan: &Open,
    times: Times,
    timer: &Timer,
    meter: &Rc<Meter>,
    make: impl Fn() -> C,
) -> std::io::Result<()> {
    let desk = Rc::new(Desk::new(times.patience, Rc::clone(meter)));
    let mut slots = JoinSet::new();
    let mut index = plan.first;
    let mut in_a_row = 0;
    while index < plan.count {
        let due = times.begin + plan.rate.due(index);
        timer.until(due).await?;
        let now = Instant::now();
        if now > times.end + plan.lag_max {
            meter.too_late((plan.count - index).div_ceil(plan.step));
            break;
        }
        meter.roll(now);
        meter.planned();
        index += plan.step;
        if desk.in_flight.get() >= plan.in_flight_max {
            meter.at_cap();
        } else if desk.hand_out(due, now, plan.connections_max) {
            slots.spawn_local(Rc::clone(&desk).serve(make()));
        }
        in_a_row = if now > due + Duration::from_micros(100) { in_a_row + 1 } else { 0 };
        if in_a_row >= IN_A_ROW {
            in_a_row = 0;
            yield_now().await;
        }
    }
    desk.close();
    while slots.join_next().await.is_some() {}
    Ok(())
}

/// One thread's part of a closed loop: `loops` of them, and `quota` requests together.
pub(crate) async fn closed<C: Client>(
    loops: u32,
    quota: u64,
    times: Times,
    meter: &Rc<Meter>,
    make: impl Fn() -> C,
) {
    let quota = Rc::new(Cell::new(quota));
    let mut slots = JoinSet::new();
    for _ in 0..loops {
        slots.spawn_local(repeat(make(), Rc::clone(&quota), times, Rc::clone(meter)));
    }
    while slots.join_next().await.is_some() {}
}

/// The times of a run.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// When the first request is due.
    pub(crate) begin: Instant,
    /// When no more are begun.
    pub(crate) end: Instant,
    /// How long a request may take.
    pub(crate) patience: Duration,
}

async fn repeat<C: Client>(mut client: C, quota: Rc<Cell<u64>>, times: Times, meter: Rc<Meter>) {
    loop {
        let start = Instant::now();
        let Some(left) = quota.get().checked_sub(1) else { return };
        if start >= times.end {
            return;
        }
        quota.set(left);
        meter.roll(start);
        meter.planned();
        meter.started(None);
        let deadline = client.deadline(start, times.patience);
        if !one(&mut client, &meter, start, start, deadline).await {
            tokio::time::sleep(REST_AFTER_FAILURE).await;
        }
    }
}

/// One request, counted. Whether it went well.
async fn one<C: Client>(
    client: &mut C,
    meter: &Meter,
    from: Instant,
    start: Instant,
    deadline: Instant,
) -> bool {
    let done = timeout_at(deadline.into(), client.request()).await;
    let end = Instant::now();
    match done.unwrap_or_else(|_| Err(client.timed_out())) {
        Ok(()) => meter.ok(from, start, end),
        Err(class) => {
            meter.failed(class, end);
            return false;
        }
    }
    true
}

struct Job {
    due: Instant,
    /// When it was queued for want of a connection: from then on it waits for the service, not for this client.
    queued: Option<Instant>,
}

/// Where due requests meet the slots that do them.
struct Desk {
    jobs: RefCell<VecDeque<Job>>,
    /// Waiting and being done.
    in_flight: Cell<u32>,
    slots: Cell<u32>,
    /// Slots that wait and were not called yet.
    idle: Cell<u32>,
    work: Notify,
    closed: Cell<bool>,
    patience: Duration,
    meter: Rc<Meter>,
}

impl Desk {
    fn new(patience: Duration, meter: Rc<Meter>) -> Self {
        Self {
            jobs: RefCell::default(),
            in_flight: Cell::new(0),
            slots: Cell::new(0),
            idle: Cell::new(0),
            work: Notify::new(),
            closed: Cell::new(false),
            patience,
            meter,
        }
    }

    /// Gives a request to an idle slot, or lets it wait for one. Whether a new slot is to be made for it.
    fn hand_out(&self, due: Instant, now: Instant, slots_max: u32) -> bool {
        self.in_flight.set(self.in_flight.get() + 1);
        let (idle, slots) = (self.idle.get(), self.slots.get());
        let waits = idle == 0 && slots >= slots_max;
        self.jobs.borrow_mut().push_back(Job { due, queued: waits.then_some(now) });
        if idle > 0 {
            self.idle.set(idle - 1);
            self.work.notify_one();
        } else if !waits {
            self.slots.set(slots + 1);
            return true;
        }
        false
    }

    fn close(&self) {
        self.closed.set(true);
        self.work.notify_waiters();
    }

    /// A slot: does requests until there are no more.
    async fn serve<C: Client>(self: Rc<Self>, mut client: C) {
        while let Some(job) = self.next().await {
            let start = Instant::now();
            let begun = job.queued.unwrap_or(start);
            self.meter.started(Some(begun.saturating_duration_since(job.due)));
            let deadline = client.deadline(job.due, self.patience);
            if start < deadline {
                one(&mut client, &self.meter, job.due, start, deadline).await;
            } else {
                self.meter.failed(ErrorClass::Timeout, start); // no connection became free in time
            }
            self.in_flight.set(self.in_flight.get() - 1);
        }
    }

    async fn next(&self) -> Option<Job> {
        loop {
            if let Some(job) = self.jobs.borrow_mut().pop_front() {
                return Some(job);
            }
            if self.closed.get() {
                return None;
            }
            self.idle.set(self.idle.get() + 1);
            self.work.notified().await;
        }
    }
}
