//! A client with many streams at the same time.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use super::super::service::{Family, Protocol, client_address};
use super::job::{Outcome, Said, Tally, Traffic};
use super::tcp::Connection;
use super::udp::Asker;
use super::{Told, say};

/// Makes the traffic and says what came of it.
///
/// # Errors
/// When a thread cannot be started.
pub(super) fn make(traffic: &Traffic, told: &Told) -> io::Result<()> {
    let begun = Begun { streams: traffic.streams, count: AtomicU16::new(0) };
    let (outcomes, counted) = channel();
    let mut tally = Tally::default();
    thread::scope(|scope| {
        for number in 0..traffic.streams {
            let stream = Stream { traffic, told, begun: &begun, number, outcomes: outcomes.clone() };
            thread::Builder::new().spawn_scoped(scope, move || stream.run())?;
        }
        drop(outcomes); // the last stream's end ends the counting
        for outcome in counted {
            tally.count(&outcome);
        }
        io::Result::Ok(())
    })?;
    say(&Said::Done(tally));
    Ok(())
}

/// Says that it began once every stream has its first answer.
struct Begun {
    streams: u16,
    count: AtomicU16,
}

impl Begun {
    fn one_more(&self) {
        if self.count.fetch_add(1, Ordering::Relaxed) + 1 == self.streams {
            say(&Said::Begun);
        }
    }
}

struct Stream<'a> {
    traffic: &'a Traffic,
    told: &'a Told,
    begun: &'a Begun,
    number: u16,
    outcomes: Sender<Outcome>,
}

impl Stream<'_> {
    fn run(&self) {
        match self.traffic.protocol {
            Protocol::Tcp => self.transfer(),
            Protocol::Udp => self.ask(),
        }
    }

    fn transfer(&self) {
        let connection = Connection {
            to: self.traffic.to,
            from: (self.source(), 0),
            amount: self.traffic.amount,
            seed: u64::from(self.number),
            timeout: self.timeout(),
            rest: self.rest(),
            told: self.told,
        };
        self.count(connection.make(|| self.begun.one_more()));
    }

    /// Asks one request after the other. A stream whose request is lost ends: the answer might come yet and would be
    /// taken for the next one's.
    fn ask(&self) {
        let asker = match Asker::new(self.traffic.to, (self.source(), 0), self.timeout()) {
            Ok(asker) => asker,
            Err(error) => {
                return self.count(Outcome::Lost(format!("a socket for {}: {error}", self.traffic.to)));
            }
        };
        let amount = self.traffic.amount.unwrap_or(u64::MAX);
        for request in 0..amount {
            if self.told.to_end() {
                return;
            }
            let outcome = asker.ask(u64::from(self.number) << 32 | request);
            let good = matches!(outcome, Outcome::Answered { .. });
            if good && request == 0 {
                self.begun.one_more();
            }
            self.count(outcome);
            if !good {
                return;
            }
            self.told.rest(self.rest());
        }
    }

    fn count(&self, outcome: Outcome) {
        let _ = self.outcomes.send(outcome); // the counter waits for the last of us
    }

    fn source(&self) -> IpAddr {
        let family = Family::of(self.traffic.to);
        self.traffic.from.unwrap_or_else(|| client_address(family, self.number))
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.traffic.timeout_ms)
    }

    fn rest(&self) -> Duration {
        Duration::from_millis(self.traffic.rest_ms)
    }
}
