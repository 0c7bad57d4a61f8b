//! What all kinds of load have in common.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::{LoadError, Pace};

/// Where to, from where, how fast and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The service.
    pub target: SocketAddr,
    /// Source addresses, used in turn. None: the kernel chooses. One address has about 28 000 ports towards a service.
    pub bind: Vec<IpAddr>,
    /// The network namespace to be in: a name in /run/netns, or a path.
    pub netns: Option<String>,
    /// Threads, each with a runtime and its share of the load: 1 to 256.
    pub threads: u16,
    /// How requests follow each other.
    pub pace: Pace,
    /// Most connections open at once in an open loop; requests wait for one, and their latency counts on. None: as many
    /// as requests are in flight.
    pub connections_max: Option<u32>,
    /// Most requests. None: as many as the duration has room for.
    pub total: Option<u64>,
    /// How long requests are started: up to 7 days.
    pub duration: Duration,
    /// How long a request may take: from its planned time in an open loop, from its start in a closed one.
    pub timeout: Duration,
    /// How this side ends TCP connections.
    pub close: Close,
}

/// How the client ends a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Close {
    /// FIN. The side that closes first keeps its port in TIME_WAIT for a minute (RFC 9293 section 3.6.1).
    #[default]
    Fin,
    /// RST, which leaves no TIME_WAIT behind.
    Reset,
}

/// The longest run.
const DURATION_MAX: Duration = Duration::from_secs(7 * 86_400);
const THREADS_MAX: u16 = 256;
/// Most requests or loops at once: a limit of memory, not of ambition.
const AT_ONCE_MAX: u32 = 1_000_000;

impl Settings {
    /// Towards `target` for ten seconds at this pace: one thread, ten seconds of patience.
    #[must_use]
    pub fn new(target: SocketAddr, pace: Pace) -> Self {
        Self {
            target,
            bind: Vec::new(),
            netns: None,
            threads: 1,
            pace,
            connections_max: None,
            total: None,
            duration: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
            close: Close::Fin,
        }
    }

    /// Most requests that can be on their way at once.
    #[must_use]
    pub fn at_once(&self) -> u32 {
        match self.pace {
            Pace::Open { in_flight_max, .. } => in_flight_max,
            Pace::Closed { concurrency } => concurrency,
        }
    }

    /// Most sockets open at once.
    #[must_use]
    pub fn sockets(&self) -> u32 {
        match self.pace {
            Pace::Open { in_flight_max, .. } => {
                self.connections_max.map_or(in_flight_max, |max| max.min(in_flight_max))
            }
            Pace::Closed { concurrency } => concurrency,
        }
    }

    pub(crate) fn check(&self) -> Result<(), LoadError> {
        let threads = u32::from(self.threads);
        let too_few =
            |what: &str, number: u32| format!("{what} {number}: at least one for each of {threads} threads");
        let wrong = if self.threads == 0 || self.threads > THREADS_MAX {
            format!("threads {}: 1 to {THREADS_MAX}", self.threads)
        } else if self.at_once() < threads {
            too_few("requests at once", self.at_once())
        } else if self.sockets() < threads {
            too_few("connections", self.sockets())
        } else if self.at_once() > AT_ONCE_MAX {
            format!("requests at once {}: at most {AT_ONCE_MAX}", self.at_once())
        } else if self.duration.is_zero() || self.duration > DURATION_MAX {
            format!("duration {:?}: more than nothing and at most 7 days", self.duration)
        } else if self.timeout.is_zero() {
            "a timeout of nothing".to_owned()
        } else if self.timeout > DURATION_MAX {
            format!("timeout {:?}: at most 7 days", self.timeout)
        } else if matches!(self.pace, Pace::Open { lag_max, .. } if lag_max > DURATION_MAX) {
            "a lag of more than 7 days".to_owned()
        } else if self.total == Some(0) {
            "no requests at all".to_owned()
        } else if let Some(other) = self.bind.iter().find(|source| source.is_ipv4() != self.target.is_ipv4())
        {
            format!("source address {other} is of another family than {}", self.target)
        } else {
            return Ok(());
        };
        Err(LoadError::Spec(wrong))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        let good = Settings::new("[::1]:80".parse().unwrap(), Pace::Closed { concurrency: 2 });
        assert!(good.check().is_ok());
        let refused = |change: fn(&mut Settings), word: &str| {
            let mut bad = good.clone();
            change(&mut bad);
            let why = bad.check().unwrap_err().to_string();
            assert!(why.contains(word), "{why}");
        };
        refused(|s| s.threads = 0, "threads 0");
        refused(|s| s.threads = 3, "at least one for each of 3");
        refused(|s| s.pace = Pace::Closed { concurrency: 2_000_000 }, "at most 1000000");
        refused(|s| s.duration = Duration::ZERO, "duration");
        refused(|s| s.duration = Duration::from_secs(8 * 86_400), "7 days");
        refused(|s| s.timeout = Duration::ZERO, "timeout");
        refused(|s| s.timeout = Duration::MAX, "7 days");
        refused(|s| s.total = Some(0), "no requests");
        refused(|s| s.bind = vec!["10.0.0.1".parse().unwrap()], "10.0.0.1 is of another family");
    }
}
