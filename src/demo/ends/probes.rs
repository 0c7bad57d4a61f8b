//! A client of small questions: each a new flow, from a source port that was never used before.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use super::super::service::{Family, Protocol, client_address};
use super::job::{Outcome, Probed, Probes, Said};
use super::tcp::Connection;
use super::udp::Asker;
use super::{Told, now_us, say};

/// Questions under way at the same time: one that waits for a dead server must not hold up the others.
const THREADS: u16 = 4;

/// Bytes that a question sends by TCP.
const TCP_BYTES: u64 = 2000;

/// Asks until told to end, or until there is no port left, and says what came of each question.
///
/// # Errors
/// When a thread cannot be started.
pub(super) fn ask(probes: &Probes, told: &Told) -> io::Result<()> {
    let next = AtomicU16::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            thread::Builder::new().spawn_scoped(scope, || {
                while !told.to_end() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= probes.ports {
                        return;
                    }
                    let at_us = now_us();
                    let outcome = one(probes, number, told);
                    say(&Said::Probed(Probed { at_us, outcome }));
                    told.rest(Duration::from_millis(probes.rest_ms));
                }
            })?;
        }
        Ok(())
    })
}

fn one(probes: &Probes, number: u16, told: &Told) -> Outcome {
    // One address, because the ports already tell the questions apart.
    let from = (client_address(Family::of(probes.to), 0), probes.port_first + number);
    let timeout = Duration::from_millis(probes.timeout_ms);
    match probes.protocol {
        Protocol::Tcp => {
            let (seed, amount) = (u64::from(number), Some(TCP_BYTES));
            Connection { to: probes.to, from, amount, seed, timeout, rest: Duration::ZERO, told }.make(|| ())
        }
        Protocol::Udp => match Asker::new(probes.to, from, timeout) {
            Ok(asker) => asker.ask(u64::from(number)),
            Err(error) => Outcome::Lost(format!("a socket for {}: {error}", probes.to)),
        },
    }
}
