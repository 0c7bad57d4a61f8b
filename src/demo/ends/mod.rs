//! The ends of the demo's traffic: processes inside the lab's namespaces, with the kernel's own sockets.

mod job;
mod listeners;
mod pattern;
mod probes;
mod server;
mod tcp;
mod traffic;
mod udp;

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

pub(super) use job::{Job, Outcome, Probed, Probes, Said, Tally, Traffic, Unwrapped};

/// Does a job to its end.
pub(super) fn work(job: &str) -> ExitCode {
    let job = match serde_json::from_str(job) {
        Ok(job) => job,
        Err(error) => {
            let _ = writeln!(io::stderr(), "demo-end: this is no job: {error}");
            return ExitCode::from(2);
        }
    };
    let told = Told::listen();
    let done = match job {
        Job::Server { number } => server::serve(number, &told),
        Job::Listeners { count, key } => listeners::serve(count, key, &told),
        Job::Traffic(traffic) => traffic::make(&traffic, &told),
        Job::Probes(probes) => probes::ask(&probes, &told),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "demo-end: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the demo told this process to end, or ended itself: both end its standard input.
#[derive(Debug, Clone)]
struct Told(Arc<AtomicBool>);

impl Told {
    fn listen() -> Self {
        let told = Self(Arc::new(AtomicBool::new(false)));
        let mark = told.clone();
        thread::spawn(move || {
            let mut byte = [0];
            while io::stdin().read(&mut byte).is_ok_and(|got| got > 0) {}
            mark.0.store(true, Ordering::Relaxed);
        });
        told
    }

    fn to_end(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Rests, a little shorter when told to end.
    fn rest(&self, time: Duration) {
        if !time.is_zero() && !self.to_end() {
            thread::sleep(time);
        }
    }
}

/// Writes one line to the demo. A demo that no longer listens has ended, and standard input says so too.
fn say(said: &Said) {
    if let Ok(mut line) = serde_json::to_vec(said) {
        line.push(b'\n');
        let _ = io::stdout().lock().write_all(&line);
    }
}

/// Microseconds of `CLOCK_MONOTONIC`, the same in every process.
pub(super) fn now_us() -> u64 {
    let now =
        clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(std::time::Duration::ZERO, std::time::Duration::from);
    now.as_secs() * 1_000_000 + u64::from(now.subsec_micros())
}
