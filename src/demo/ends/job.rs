//! What the demo asks of an end, and what an end says: both JSON, one line each.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ringlead_decap::{Counters, Taken};
use serde::{Deserialize, Serialize};

use super::super::service::Protocol;

/// What an end is to be, the argument of `ringlead demo-end`. Whatever it is, it ends when its standard input ends, so
/// that none outlives the demo, however the demo ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in super::super) enum Job {
    /// A server of all services: says back what it is told, with its number.
    Server {
        /// 1 for `s1`.
        number: u8,
    },
    /// Listeners of the services of layer l7, on the balancer: say back what they are told, with their number, as servers do.
    Listeners {
        /// How many an address has.
        count: u8,
        /// The key of the hash that chooses one.
        key: [u8; 16],
    },
    /// A client with a fixed amount of traffic, or with traffic until it is told to end.
    Traffic(Traffic),
    /// A client of small questions, each by a new flow, until it is told to end.
    Probes(Probes),
}

/// Traffic of a client. Standard input's end finishes every stream in good order, before its amount too.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct Traffic {
    /// Where to.
    pub(in super::super) to: SocketAddr,
    /// The address to come from; none: all of the client's that face the balancer, in turn.
    pub(in super::super) from: Option<IpAddr>,
    /// TCP: a stream is a connection that sends while it receives. UDP: a socket with one request under way at a time.
    pub(in super::super) protocol: Protocol,
    /// How many at the same time.
    pub(in super::super) streams: u16,
    /// Bytes (TCP) or requests (UDP) a stream; none: until told to end.
    pub(in super::super) amount: Option<u64>,
    /// The longest wait for an answer, in milliseconds.
    pub(in super::super) timeout_ms: u64,
    /// The rest after each chunk or request, in milliseconds.
    pub(in super::super) rest_ms: u64,
}

/// Questions of a client: a new connection or a new UDP socket each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct Probes {
    /// Where to.
    pub(in super::super) to: SocketAddr,
    /// By which protocol.
    pub(in super::super) protocol: Protocol,
    /// Source ports are counted up from here and never used twice, so that each question is a new flow.
    pub(in super::super) port_first: u16,
    /// How many ports there are from there on. When all are used up the client ends.
    pub(in super::super) ports: u16,
    /// The longest wait for an answer, in milliseconds.
    pub(in super::super) timeout_ms: u64,
    /// The rest after each question of a thread, in milliseconds.
    pub(in super::super) rest_ms: u64,
}

/// A line of an end's standard output.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in super::super) enum Said {
    /// The server listens.
    Ready,
    /// The server was told to end: what it took out of tunnels.
    Unwrapped(Unwrapped),
    /// Every stream has got its first answer.
    Begun,
    /// One question and what came of it.
    Probed(Probed),
    /// All traffic has ended.
    Done(Tally),
}

/// Packets that servers took out of tunnels, by the outer and the inner family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Unwrapped {
    /// By IPIP.
    pub(in super::super) ipip: Families,
    /// By GUE.
    pub(in super::super) gue: Families,
}

/// Packets by the families of both headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Families {
    /// IPv4 in IPv4.
    pub(in super::super) v4_in_v4: u64,
    /// IPv6 in IPv4.
    pub(in super::super) v6_in_v4: u64,
    /// IPv4 in IPv6.
    pub(in super::super) v4_in_v6: u64,
    /// IPv6 in IPv6.
    pub(in super::super) v6_in_v6: u64,
}

impl Unwrapped {
    /// Counts all of another server's too.
    pub(in super::super) fn add(&mut self, other: &Self) {
        self.ipip.add(&other.ipip);
        self.gue.add(&other.gue);
    }
}

impl Families {
    /// All four.
    pub(in super::super) fn all(&self) -> u64 {
        self.v4_in_v4 + self.v6_in_v4 + self.v4_in_v6 + self.v6_in_v6
    }

    fn add(&mut self, other: &Self) {
        self.v4_in_v4 += other.v4_in_v4;
        self.v6_in_v4 += other.v6_in_v4;
        self.v4_in_v6 += other.v4_in_v6;
        self.v6_in_v6 += other.v6_in_v6;
    }
}

impl From<Taken> for Families {
    fn from(taken: Taken) -> Self {
        let Taken { v4_in_v4, v6_in_v4, v4_in_v6, v6_in_v6 } = taken;
        Self { v4_in_v4, v6_in_v4, v4_in_v6, v6_in_v6 }
    }
}

impl From<Counters> for Unwrapped {
    fn from(counters: Counters) -> Self {
        let mut gue = Families::from(counters.gue0);
        gue.add(&counters.gue1.into());
        Self { ipip: counters.ipip.into(), gue }
    }
}

/// What came of one question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct Probed {
    /// When it was asked: microseconds of `CLOCK_MONOTONIC`, which all processes share.
    pub(in super::super) at_us: u64,
    /// What came of it.
    pub(in super::super) outcome: Outcome,
}

/// What came of a stream or a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in super::super) enum Outcome {
    /// Answered, every byte as sent.
    Answered {
        /// The server's number.
        server: u8,
        /// Bytes both ways.
        bytes: u64,
    },
    /// No answer at all.
    Lost(String),
    /// Answered, and then it broke, or bytes differ.
    Broken(String),
}

/// Outcomes counted. What is counted are connections (TCP) and requests (UDP).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Tally {
    /// Begun.
    pub(in super::super) sent: u64,
    /// Answered, every byte as sent.
    pub(in super::super) answered: u64,
    /// Bytes of what was answered, both ways.
    pub(in super::super) bytes: u64,
    /// Not answered at all.
    pub(in super::super) lost: u64,
    /// Answered and then broken, or not as sent.
    pub(in super::super) broken: u64,
    /// Who answered how many.
    pub(in super::super) servers: BTreeMap<u8, u64>,
    /// What went wrong, the first few.
    pub(in super::super) errors: Vec<String>,
}

/// How many errors a tally keeps.
const ERRORS_MAX: usize = 3;

impl Tally {
    /// Counts one more.
    pub(in super::super) fn count(&mut self, outcome: &Outcome) {
        self.sent += 1;
        match outcome {
            Outcome::Answered { server, bytes } => {
                self.answered += 1;
                self.bytes += bytes;
                *self.servers.entry(*server).or_default() += 1;
            }
            Outcome::Lost(why) => {
                self.lost += 1;
                self.errors.push(why.clone());
            }
            Outcome::Broken(why) => {
                self.broken += 1;
                self.errors.push(why.clone());
            }
        }
        self.errors.truncate(ERRORS_MAX);
    }

    /// Counts all of another one too.
    pub(in super::super) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.broken += other.broken;
        for (server, answers) in &other.servers {
            *self.servers.entry(*server).or_default() += answers;
        }
        self.errors.extend(other.errors.iter().cloned());
        self.errors.truncate(ERRORS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_counted_once() {
        let mut tally = Tally::default();
        tally.count(&Outcome::Answered { server: 2, bytes: 10 });
        tally.count(&Outcome::Lost("a".to_owned()));
        tally.count(&Outcome::Broken("b".to_owned()));
        let mut sum = tally.clone();
        sum.add(&tally);
        assert_eq!((sum.sent, sum.answered, sum.lost, sum.broken, sum.bytes), (6, 2, 2, 2, 20));
        assert_eq!(sum.servers, BTreeMap::from([(2, 2)]));
        assert_eq!(sum.errors.len(), ERRORS_MAX);
    }
}
