//! Flows that ended, for the flow log: a bounded queue from the workers to whoever writes it down.
//!
//! Only a flow's end looks here, so a turn costs the same with the log on or off. A queue that is full loses the flow's line and
//! counts it. A worker waits for nobody: writers of one moment try again when another was faster, which then has got on; and nobody
//! writes where the reader may still be reading, for there the queue would spin until it has.

use crate::chosen::Chosen;
use crate::tables::{Ends, Tables};
use crossbeam::queue::ArrayQueue;
use ringlead_flow::{Account, Gone, Phase, Tuple};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Ends that wait to be written.
const QUEUE_MAX: usize = 8_192;
/// Places that stay free, so that the one which is being read is never the next to be written: more than there can be writers
/// between a look at the length and the write.
const SPARE: usize = 1_024;

/// How a flow ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum Why {
    /// Both ends closed it (of dsr and tunnel flows, the client).
    Fin = 1,
    /// Its last segment was a RST.
    Reset = 2,
    /// It was silent for longer than its timer.
    Idle = 4,
    /// Its client chose again: its server is down, or takes no new flows and the old one had ended.
    ChosenAgain = 8,
    /// Its service was removed.
    ServiceRemoved = 16,
    /// It was reset because its server is down or was closed by an operator.
    ServerEnded = 32,
    /// An operator ended it.
    Killed = 64,
}

impl Why {
    /// Every one with its name in files.
    pub const ALL: [(&str, Self); 7] = [
        ("fin", Self::Fin),
        ("reset", Self::Reset),
        ("idle", Self::Idle),
        ("chosen-again", Self::ChosenAgain),
        ("service-removed", Self::ServiceRemoved),
        ("server-ended", Self::ServerEnded),
        ("killed", Self::Killed),
    ];

    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, why)| *why == self).map_or("", |(name, _)| name)
    }
}

/// A flow and how it ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// As it was.
    pub gone: Gone,
    /// How it ended.
    pub why: Why,
}

/// Of which flows an account is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Accounts {
    /// Of those that the sample takes.
    #[default]
    Sampled,
    /// Of all, while any is taken at its end.
    All,
}

/// The queue, and what is put there. Any thread writes; one reads.
#[derive(Debug)]
pub struct EndQueue {
    queue: ArrayQueue<Ended>,
    /// Flows whose hash's upper half is below this.
    sample: AtomicU64,
    /// Besides, all that end so: bits of [`Why`].
    always: AtomicU32,
    /// Flows whose hash's upper half is below this get an account when they are made.
    accounted: AtomicU64,
    lost: AtomicU64,
}

impl Default for EndQueue {
    fn default() -> Self {
        Self {
            queue: ArrayQueue::new(QUEUE_MAX + SPARE),
            sample: AtomicU64::new(0),
            always: AtomicU32::new(0),
            accounted: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }
}

impl EndQueue {
    /// Takes one flow in `one_in`, by the front's hash of its client's tuple, so that all nodes take the same; 0: none. Those that
    /// end in one of the ways of `always` are taken besides. From now on an account is kept of every flow that is made, or only of
    /// those of the sample: the caller has made room for it ([`keep_accounts`](ringlead_flow::FlowTable::keep_accounts)).
    pub fn take(&self, one_in: u32, always: &[Why], accounts: Accounts) {
        let below = (1_u64 << 32).checked_div(u64::from(one_in)).unwrap_or(0);
        let accounted = match accounts {
            Accounts::Sampled => below,
            Accounts::All if one_in == 0 && always.is_empty() => 0,
            Accounts::All => 1 << 32,
        };
        self.accounted.store(accounted, Ordering::Relaxed);
        self.sample.store(below, Ordering::Relaxed);
        self.always.store(always.iter().fold(0, |bits, why| bits | *why as u32), Ordering::Relaxed);
    }

    /// The next one, in the order of their ends. One thread at a time asks; it waits for a writer that is not done.
    #[must_use]
    pub fn next(&self) -> Option<Ended> {
        self.queue.pop()
    }

    /// How many did not fit, since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Notes a flow that the sweep ended.
    pub(crate) fn swept(&self, tables: &Tables, gone: &Gone) {
        let flow = &gone.flow;
        let phase = match flow.state.phase() {
            Phase::Closed => Why::Fin,
            Phase::Reset if tables.server(flow.server_id).is_some_and(|s| s.ends != Ends::Keep) => {
                Why::ServerEnded
            }
            Phase::Reset => Why::Reset,
            Phase::Opening | Phase::Established | Phase::HalfClosed | Phase::Datagram => Why::Idle,
        };
        let why = if tables.has_service(flow.service) { phase } else { Why::ServiceRemoved };
        self.note(tables, gone, why);
    }

    /// Notes a flow that a packet of its client ended.
    pub(crate) fn left(&self, tables: &Tables, gone: &Gone) {
        let known = tables.has_service(gone.flow.service);
        self.note(tables, gone, if known { Why::ChosenAgain } else { Why::ServiceRemoved });
    }

    /// Notes a flow that an operator ended.
    pub(crate) fn killed(&self, tables: &Tables, gone: &Gone) {
        self.note(tables, gone, Why::Killed);
    }

    /// What the account of a new flow begins with, if it gets one: `why` is asked only then.
    #[inline]
    pub(crate) fn account(
        &self,
        tables: &Tables,
        client: &Tuple,
        now_us: u64,
        why: impl FnOnce() -> Chosen,
    ) -> Option<Account> {
        let below = self.accounted.load(Ordering::Relaxed);
        if below == 0 || half_hash(tables, client) >= below {
            return None;
        }
        Some(Account { why: why().to_mark(), began_us: now_us, last_us: now_us, ..Account::default() })
    }

    fn note(&self, tables: &Tables, gone: &Gone, why: Why) {
        let (sample, always) = (self.sample.load(Ordering::Relaxed), self.always.load(Ordering::Relaxed));
        if sample == 0 && always == 0 {
            return;
        }
        let taken = always & why as u32 != 0 || half_hash(tables, &gone.flow.client) < sample;
        if !taken {
            return;
        }
        let has_room = self.queue.len() < QUEUE_MAX;
        if !has_room || self.queue.push(Ended { gone: *gone, why }).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The upper half of the front's hash: every node takes a flow alike.
fn half_hash(tables: &Tables, at: &Tuple) -> u64 {
    tables.hash.flow(at.src, at.dst, at.sport, at.dport, at.proto) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_flow::datagram;
    use ringlead_flow::{FlowTable, Inserted, Sizes, Tick};
    use ringlead_pick::FrontHash;

    fn gone(sport: u16) -> Gone {
        let flows = FlowTable::new(&Sizes { flows_max: 10, workers: 1, seed: [1; 4] }).unwrap();
        let Inserted::New(flow) = flows.insert(&datagram(sport), Tick::from_nanos(1_000_000_000)) else {
            panic!("an empty table takes a flow");
        };
        Gone { flow, account: None }
    }

    fn taken(ends: &EndQueue) -> Vec<(u16, Why)> {
        std::iter::from_fn(|| ends.next()).map(|ended| (ended.gone.flow.client.sport, ended.why)).collect()
    }

    #[test]
    fn nothing_is_noted_until_it_is_asked_for() {
        let (ends, tables) = (EndQueue::default(), Tables::empty(FrontHash::new([7; 16])));
        ends.left(&tables, &gone(1));
        assert_eq!(taken(&ends), []);
        ends.take(1, &[], Accounts::Sampled);
        ends.left(&tables, &gone(1));
        assert_eq!(taken(&ends), [(1, Why::ServiceRemoved)]);
        ends.take(0, &[Why::Reset], Accounts::Sampled);
        ends.note(&tables, &gone(2), Why::Reset);
        ends.note(&tables, &gone(3), Why::Fin);
        assert_eq!(taken(&ends), [(2, Why::Reset)]);
    }

    #[test]
    fn a_sample_is_the_same_flows_every_time_and_about_as_many() {
        let (ends, tables) = (EndQueue::default(), Tables::empty(FrontHash::new([7; 16])));
        ends.take(4, &[], Accounts::Sampled);
        let sample = || {
            (0..400).for_each(|sport| ends.note(&tables, &gone(sport), Why::Idle));
            taken(&ends)
        };
        let first = sample();
        assert!((60..140).contains(&first.len()), "{}", first.len());
        assert_eq!(sample(), first);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let (ends, tables, gone) = (EndQueue::default(), Tables::empty(FrontHash::new([7; 16])), gone(1));
        ends.take(1, &[], Accounts::Sampled);
        (0..QUEUE_MAX + 5).for_each(|_| ends.note(&tables, &gone, Why::Fin));
        assert_eq!((ends.lost(), taken(&ends).len()), (5, QUEUE_MAX));
    }
}
