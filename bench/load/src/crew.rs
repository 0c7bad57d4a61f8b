//! The threads of a run: each in the namespace, with a runtime and a share of the load; their counts put together.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime;
use tokio::task::LocalSet;

use crate::desk::{Client, Open, Times, closed, open};
use crate::dial::Dialer;
use crate::meter::{Interval, Meter, News};
use crate::outcome::{Outcome, Sample};
use crate::timer::Timer;
use crate::{LoadError, Pace, Settings};

mod merge;

/// How far ahead the begin is set, so that all threads are there.
const HEAD_START: Duration = Duration::from_millis(20);

/// Files that the program needs besides the load's sockets.
const OTHER_FILES: u64 = 64;

/// What a client is made of.
pub(crate) struct Kit {
    pub(crate) dialer: Rc<Dialer>,
    pub(crate) meter: Rc<Meter>,
    /// When no more requests are begun.
    pub(crate) end: Instant,
}

/// Runs the load of `settings` with clients that `make` makes, and sees every second as it ends.
pub(crate) fn run<C: Client>(
    kind: &str,
    settings: &Settings,
    make: impl Fn(&Kit) -> C + Sync,
    seen: &mut dyn FnMut(&Sample),
) -> Result<Outcome, LoadError> {
    settings.check()?;
    allow_files(settings)?;
    let (news, told) = channel();
    thread::scope(|scope| {
        let mut begins = Vec::new();
        let (ready, readies) = channel();
        for number in 0..settings.threads {
            let (begin, begun) = channel();
            begins.push(begin);
            let (ready, news, make) = (ready.clone(), news.clone(), &make);
            thread::Builder::new()
                .name(format!("load-{number}"))
                .spawn_scoped(scope, move || work(number, settings, &ready, &begun, news, make))
                .map_err(LoadError::Thread)?;
        }
        drop((ready, news));
        for _ in 0..settings.threads {
            // A thread that is gone has told why, or panicked, which the scope passes on.
            readies.recv().map_err(|_| LoadError::Thread(std::io::ErrorKind::BrokenPipe.into()))??;
        }
        let begin = Instant::now() + HEAD_START;
        for thread in begins {
            let _ = thread.send(begin);
        }
        merge::outcome(kind, settings, &told, seen)
    })
}

fn work<C: Client>(
    number: u16,
    settings: &Settings,
    ready: &Sender<Result<(), LoadError>>,
    begun: &Receiver<Instant>,
    news: Sender<News>,
    make: &(impl Fn(&Kit) -> C + Sync),
) {
    let made = enter(settings).and_then(|()| {
        try_sources(settings)?;
        runtime::Builder::new_current_thread().enable_all().build().map_err(LoadError::Thread)
    });
    let runtime = match made {
        Ok(runtime) => runtime,
        Err(why) => return drop(ready.send(Err(why))),
    };
    let _ = ready.send(Ok(()));
    // Without a begin, another thread failed.
    let Ok(begin) = begun.recv() else { return };
    let times = Times { begin, end: begin + settings.duration, patience: settings.timeout };
    let meter = Rc::new(Meter::new(begin, times.end, news));
    let kit =
        Kit { dialer: Rc::new(Dialer::new(settings, number)), meter: Rc::clone(&meter), end: times.end };
    LocalSet::new().block_on(&runtime, async {
        let rolls = tokio::task::spawn_local(roll(Rc::clone(&meter), times));
        share(number, settings, times, &meter, || make(&kit)).await;
        rolls.abort();
    });
    meter.finish();
}

/// One thread's share of the load, to its end.
async fn share<C: Client>(
    number: u16,
    settings: &Settings,
    times: Times,
    meter: &Rc<Meter>,
    make: impl Fn() -> C,
) {
    let total = settings.total.unwrap_or(u64::MAX);
    match settings.pace {
        Pace::Closed { concurrency } => {
            tokio::time::sleep_until(times.begin.into()).await;
            let quota = part(total, number, settings.threads);
            let loops = u32::try_from(part(concurrency.into(), number, settings.threads)).unwrap_or(u32::MAX);
            closed(loops, quota, times, meter, make).await;
        }
        Pace::Open { rate, in_flight_max, lag_max } => {
            let connections = settings.connections_max.unwrap_or(in_flight_max);
            let share =
                |all: u32| u32::try_from(part(all.into(), number, settings.threads)).unwrap_or(u32::MAX);
            let plan = Open {
                rate,
                first: number.into(),
                step: settings.threads.into(),
                count: rate.within(settings.duration).min(total),
                in_flight_max: share(in_flight_max),
                connections_max: share(connections),
                lag_max,
            };
            let run = async { open(&plan, times, &Timer::new()?, meter, make).await };
            if run.await.is_err() {
                // Without its timer a thread cannot hold its plan: all of it counts as not done.
                meter.too_late(plan.count.saturating_sub(plan.first).div_ceil(plan.step));
            }
        }
    }
}

/// Ends seconds in which nothing happens.
async fn roll(meter: Rc<Meter>, times: Times) {
    let mut ends_at = times.end;
    for second in 1.. {
        let next = times.begin + Duration::from_secs(second);
        if ends_at <= next {
            tokio::time::sleep_until(ends_at.into()).await;
            meter.roll(Instant::now());
            ends_at = next + Duration::from_secs(u32::MAX.into()); // once is enough
        }
        tokio::time::sleep_until(next.into()).await;
        meter.roll(Instant::now());
    }
}

/// What of `all` is thread `number`'s: as even as whole numbers can be.
fn part(all: u64, number: u16, threads: u16) -> u64 {
    let (all, number, threads) = (all, u64::from(number), u64::from(threads));
    all / threads + u64::from(number < all % threads)
}

fn enter(settings: &Settings) -> Result<(), LoadError> {
    let Some(name) = &settings.netns else { return Ok(()) };
    let path = if name.contains('/') { name.clone() } else { format!("/run/netns/{name}") };
    let entered = File::open(&path).and_then(|file| Ok(setns(file, CloneFlags::CLONE_NEWNET)?));
    entered.map_err(|why| LoadError::Namespace(name.clone(), why))
}

/// A source address that is not here would fail every request: better said before.
fn try_sources(settings: &Settings) -> Result<(), LoadError> {
    for source in &settings.bind {
        UdpSocket::bind(SocketAddr::new(*source, 0)).map_err(|why| LoadError::Source(*source, why))?;
    }
    Ok(())
}

/// Raises this process's limit of open files to what it may have, and refuses a load that needs more.
fn allow_files(settings: &Settings) -> Result<(), LoadError> {
    let limit = |errno: nix::Error| LoadError::Thread(errno.into());
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(limit)?;
    let needed = u64::from(settings.sockets()) + u64::from(settings.threads) * 4 + OTHER_FILES;
    if needed > hard {
        let sockets = settings.sockets();
        return Err(LoadError::Spec(format!(
            "{sockets} sockets at once need {needed} open files and this process may have {hard} (ulimit -Hn)"
        )));
    }
    if soft < needed {
        setrlimit(Resource::RLIMIT_NOFILE, needed, hard).map_err(limit)?;
    }
    Ok(())
}

/// Adds one thread's second to what the others told of it.
fn add(sum: &mut Interval, one: &Interval) {
    sum.planned += one.planned;
    sum.started += one.started;
    sum.ok += one.ok;
    sum.failed += one.failed;
    sum.at_cap += one.at_cap;
    sum.too_late += one.too_late;
    sum.sent += one.sent;
    sum.received += one.received;
    sum.after.started += one.after.started;
    sum.after.ok += one.after.ok;
    sum.after.sent += one.after.sent;
    sum.after.received += one.after.received;
    if let Some(latency) = &one.latency {
        merge::join(sum.latency.get_or_insert_with(crate::latency::histogram), latency);
    }
}

type Seconds = BTreeMap<u64, (u16, Interval)>;

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn parts_are_even_and_make_the_whole() {
        for (all, threads) in [(10, 3), (3, 3), (2, 3), (0, 2), (u64::MAX, 7)] {
            let parts: Vec<u64> = (0..threads).map(|number| part(all, number, threads)).collect();
            assert_eq!(parts.iter().map(|p| u128::from(*p)).sum::<u128>(), u128::from(all));
            assert!(parts[0] - parts[parts.len() - 1] <= 1, "{parts:?}");
        }
    }
}
