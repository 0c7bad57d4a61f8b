//! The table of both families, as the packet path sees it.

use std::fmt;

use ahash::RandomState;
use ringlead_wire::TcpFlags;

use crate::account::Account;
use crate::flow::{EntryRef, Flow, FlowSpec, Gone, Inserted, ServerId, Side};
use crate::hit::Hit;
use crate::key::{Key, V4, V6};
use crate::link::Link;
use crate::packed::Packed;
use crate::slot::{INDEX_BITS, Spot};
use crate::state::{Outcome, State};
use crate::table::{BURST, Candidates, Table};
use crate::tick::Tick;
use crate::tuple::Tuple;

/// How large a table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Flows of each family, 1 to 2^30 - 1. A flow with a tuple of each counts as an IPv6 one.
    pub flows_max: usize,
    /// Workers that use the table; at least 1.
    pub workers: usize,
    /// The hash's key: random, so that nobody can aim at one bucket.
    pub seed: [u64; 4],
}

/// Why there is no table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableError {
    /// `flows_max` is 0 or above 2^30 - 1.
    Flows(usize),
    /// `workers` is 0.
    NoWorkers,
    /// The system did not give that many bytes; with its error number.
    Memory {
        /// Bytes asked for.
        bytes: usize,
        /// `errno`.
        errno: i32,
    },
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flows(flows) => write!(f, "a flow table holds 1 to 2^30 - 1 flows, not {flows}"),
            Self::NoWorkers => write!(f, "a flow table needs at least one worker"),
            Self::Memory { bytes, errno } => {
                write!(f, "no {bytes} bytes of memory for the flow table (error {errno})")
            }
        }
    }
}

impl std::error::Error for TableError {}

/// How many flows of each family there are, roughly: workers count while others insert and remove.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// IPv4 flows.
    pub v4: usize,
    /// IPv6 flows, and those with a tuple of each family.
    pub v6: usize,
}

/// The flow table: shared by all workers, lock-free, of fixed size.
///
/// Every function may be called by any thread at any time; none waits for another thread, allocates, makes a system
/// call or reads a clock.
#[derive(Debug)]
pub struct FlowTable {
    pub(crate) v4: Table<V4>,
    pub(crate) v6: Table<V6>,
}

impl FlowTable {
    /// Most flows of a family.
    pub const FLOWS_MAX: usize = (1 << INDEX_BITS) - 1;
    /// Shards of each family for one worker: enough that inserts by different workers rarely meet in a free list.
    const SHARDS_PER_WORKER: usize = 4;
    const SHARDS_MAX: usize = 64;

    /// Maps and pre-faults the memory.
    ///
    /// # Errors
    /// When the sizes are out of range or the system has not enough memory.
    pub fn new(sizes: &Sizes) -> Result<Self, TableError> {
        let size = size(sizes.flows_max).ok_or(TableError::Flows(sizes.flows_max))?;
        if sizes.workers == 0 {
            return Err(TableError::NoWorkers);
        }
        let shards = sizes.workers.saturating_mul(Self::SHARDS_PER_WORKER).min(Self::SHARDS_MAX);
        let shards = u32::try_from(shards).unwrap_or(1).min(size);
        let [k0, k1, k2, k3] = sizes.seed;
        let hasher = RandomState::with_seeds(k0, k1, k2, k3);
        let memory = |(bytes, errno)| TableError::Memory { bytes, errno };
        let v4 = Table::new(size, shards, hasher.clone()).map_err(memory)?;
        let v6 = Table::new(size, shards, hasher).map_err(memory)?;
        Ok(Self { v4, v6 })
    }

    /// Bytes of memory that a table of `flows_max` flows of each family takes.
    #[must_use]
    pub fn bytes_for(flows_max: usize) -> usize {
        size(flows_max).map_or(usize::MAX, |size| Table::<V4>::bytes_for(size) + Table::<V6>::bytes_for(size))
    }

    /// Makes room for the accounts of flows, all of it at once, if there is none yet: from now on a flow has one whose
    /// [`FlowSpec::account`] asks for it. For control: unlike all else here it makes system calls.
    ///
    /// # Errors
    /// [`TableError::Memory`].
    pub fn keep_accounts(&self) -> Result<(), TableError> {
        let memory = |(bytes, errno)| TableError::Memory { bytes, errno };
        self.v4.keep_accounts().and_then(|()| self.v6.keep_accounts()).map_err(memory)
    }

    /// Whether there is room for accounts.
    #[must_use]
    pub fn has_accounts(&self) -> bool {
        self.v4.accounts.get().is_some() && self.v6.accounts.get().is_some()
    }

    /// Bytes that the accounts of all flows take in a table of `flows_max` flows of each family.
    #[must_use]
    pub fn account_bytes_for(flows_max: usize) -> usize {
        let tables = |size| 2 * Table::<V4>::account_bytes_for(size);
        size(flows_max).map_or(usize::MAX, tables)
    }

    /// Adds a packet of `bytes` bytes that came at `at_us` (microseconds of the monotonic clock), sent by `hit`'s side, to its
    /// flow's account: for flows of which [`State::is_accounted`] says that there is one. A flow that has ended is left
    /// alone.
    #[cold]
    pub fn add_to_account(&self, hit: &Hit, bytes: usize, at_us: u64) {
        let EntryRef { index, generation, v4 } = hit.entry;
        let line = if v4 { self.v4.account(index) } else { self.v6.account(index) };
        if let Some(line) = line {
            line.add(generation, hit.side, bytes as u64, at_us);
        }
    }

    /// What a flow has carried so far, if its account is kept: until another flow has its place.
    #[must_use]
    pub fn account(&self, flow: &Flow) -> Option<Account> {
        let EntryRef { index, v4, .. } = flow.entry;
        if v4 { self.v4.account_of(index, flow) } else { self.v6.account_of(index, flow) }
    }

    /// Looks up to 64 tuples up, side by side, so that their cache misses overlap: 32 to 64 at once are fastest. Bit `i` of
    /// what is returned says that `hits[i]` is the flow of `tuples[i]`; other hits are worth nothing. What of either slice
    /// is longer than the other, or than 64, is left alone.
    #[must_use]
    pub fn lookup_burst(&self, tuples: &[Packed], hits: &mut [Hit], now: Tick) -> u64 {
        let mut spots = [Spot::default(); BURST];
        let mut candidates = [Candidates::NONE; BURST];
        for (tuple, spot) in tuples.iter().zip(&mut spots) {
            *spot = if tuple.v4 { self.v4.aim(tuple) } else { self.v6.aim(tuple) };
        }
        for ((tuple, spot), slots) in tuples.iter().zip(&spots).zip(&mut candidates) {
            *slots = if tuple.v4 { self.v4.candidates(spot) } else { self.v6.candidates(spot) };
        }
        let mut found = 0;
        for (i, (((tuple, hit), spot), slots)) in
            tuples.iter().zip(hits).zip(&spots).zip(&candidates).enumerate()
        {
            let hit = if tuple.v4 {
                self.v4.settle(V4::of(tuple), spot, slots, now, hit)
            } else {
                self.v6.settle(V6::of(tuple), spot, slots, now, hit)
            };
            found |= u64::from(hit) << i;
        }
        found
    }

    /// The flow of a tuple that no flow of its family has: one whose other tuple is of the other family. Only an IPv4 tuple
    /// needs this second look-up, for such flows are kept among the IPv6 ones.
    #[cold]
    #[must_use]
    pub fn lookup_widened(&self, tuple: &Packed, now: Tick) -> Option<Hit> {
        let wide = tuple.widened()?;
        let (spot, mut hit) = (self.v6.aim(&wide), Hit::NONE);
        let candidates = self.v6.candidates(&spot);
        self.v6.settle(V6::of(&wide), &spot, &candidates, now, &mut hit).then_some(hit)
    }

    /// The flow that a tuple belongs to, whichever end sends it. An expired flow is none. For an IPv4 tuple of a flow whose
    /// other tuple is an IPv6 one see [`lookup_widened`](Self::lookup_widened).
    #[must_use]
    pub fn lookup(&self, tuple: &Tuple, now: Tick) -> Option<Flow> {
        if tuple.is_v4() { self.v4.lookup(tuple, now) } else { self.v6.lookup(tuple, now) }
    }

    /// Asks for the memory that an insert with this key will look at, for a few packets later.
    #[inline]
    pub fn prefetch(&self, key: &Packed) {
        if key.v4 {
            self.v4.aim(key);
        } else {
            self.v6.aim(key);
        }
    }

    /// Stores a flow, unless its client tuple has one.
    ///
    /// A server tuple equal to the client's counts as taken. Tuples of different families are both kept in the IPv6 table,
    /// where another worker that inserts the IPv4 one at this very moment into the IPv4 table does not see it: then that
    /// other flow is the one that look-ups find, and this one expires.
    pub fn insert(&self, spec: &FlowSpec, now: Tick) -> Inserted {
        if spec.server == Some(spec.client) {
            return Inserted::TupleTaken;
        }
        let mixed = spec.is_mixed();
        if mixed && let Some(rival) = self.narrow_rival(spec, now) {
            return rival;
        }
        if spec.client.is_v4() && !mixed { self.v4.insert(spec, now) } else { self.v6.insert(spec, now) }
    }

    /// What an IPv4 flow that has the IPv4 tuple of a mixed one means for its insert.
    #[cold]
    fn narrow_rival(&self, spec: &FlowSpec, now: Tick) -> Option<Inserted> {
        if spec.client.is_v4() {
            return self.lookup(&spec.client, now).map(Inserted::Existing);
        }
        self.lookup(&spec.server?, now).map(|_| Inserted::TupleTaken)
    }

    /// Stores a flow that another table had: as [`insert`](Self::insert), then with the marks that [`State::marks`] gave there
    /// and as if its last packet had come `idle` ticks ago. One that is silent for too long already is stored all the same,
    /// for the sweep to end it as every other.
    ///
    /// [`State::marks`]: crate::State::marks
    pub fn restore(&self, spec: &FlowSpec, marks: u8, idle: u32, now: Tick) -> Inserted {
        let inserted = self.insert(spec, now);
        if let Inserted::New(flow) = &inserted {
            let (entry, last_seen) = (flow.entry, now.minus(idle));
            if entry.v4 {
                self.v4.restore(entry, marks, last_seen);
            } else {
                self.v6.restore(entry, marks, last_seen);
            }
        }
        inserted
    }

    /// Counts a packet of `flow`, sent by `flow.side`: refreshes last-seen and the TCP state (`flags` mean nothing for
    /// other transports). Whether the flow still lives; one that ended, or whose entry is another flow's by now, is
    /// left alone.
    pub fn touch(&self, flow: &Flow, flags: TcpFlags, now: Tick) -> bool {
        self.touch_entry(flow.entry, flow.side, flags, now).0
    }

    /// As [`touch`](Self::touch), for one packet of a burst that was looked up together: nothing is read or written when the
    /// packet leaves the flow as it was at the look-up.
    ///
    /// `changed` is the burst's own note, `false` at first: whether a packet of it changed more about its flow than when it
    /// was last seen. From then on what the look-up read may be out of date, and is not relied on.
    ///
    /// `tell` hears what the packet shows of the flow's server, once for each attempt of a client and each way to fail or not.
    #[inline]
    pub fn touch_hit(
        &self,
        hit: &Hit,
        flags: TcpFlags,
        now: Tick,
        changed: &mut bool,
        tell: &mut impl FnMut(ServerId, Outcome),
    ) {
        if *changed || !hit.state.is_settled(hit.side, flags, now) {
            *changed |= self.touch_changing(hit, flags, now, tell);
        }
    }

    /// Touches, and says whether that may have changed more than when the flow was last seen.
    #[inline(never)]
    fn touch_changing(
        &self,
        hit: &Hit,
        flags: TcpFlags,
        now: Tick,
        tell: &mut impl FnMut(ServerId, Outcome),
    ) -> bool {
        if let (_, Some(outcome)) = self.touch_entry(hit.entry, hit.side, flags, now) {
            tell(hit.server_id(), outcome);
        }
        !hit.state.after(hit.side, flags, now).is_seen_as(hit.state)
    }

    fn touch_entry(
        &self,
        entry: EntryRef,
        side: Side,
        flags: TcpFlags,
        now: Tick,
    ) -> (bool, Option<Outcome>) {
        if entry.v4 { self.v4.touch(entry, side, flags, now) } else { self.v6.touch(entry, side, flags, now) }
    }

    /// Notes that a segment of a TCP flow was answered with a reset instead of being sent on: as if its receiver had sent one,
    /// and besides that `flow.side`, who sent the segment, has been told ([`State::is_reset_to_all`]). A note that runs into
    /// eight others of the same flow is lost.
    ///
    /// [`State::is_reset_to_all`]: crate::State::is_reset_to_all
    pub fn reset(&self, flow: &Flow, now: Tick) {
        let (entry, side) = (flow.entry, flow.side);
        if entry.v4 { self.v4.reset(entry, side, now) } else { self.v6.reset(entry, side, now) }
    }

    /// Notes that the server of a TCP flow cannot be reached, as an ICMP error says. `true`: the flow is one whose client
    /// waits for an answer, and it is the first to hear of it.
    pub fn tell_failure(&self, flow: impl Into<EntryRef>) -> bool {
        let entry = flow.into();
        if entry.v4 { self.v4.tell_failure(entry) } else { self.v6.tell_failure(entry) }
    }

    /// Changes the way back to the client. A change that runs into another one is lost: the next packet of the client
    /// shows the difference again.
    pub fn set_link(&self, flow: impl Into<EntryRef>, link: Link) {
        let entry = flow.into();
        if entry.v4 { self.v4.set_link(entry, link) } else { self.v6.set_link(entry, link) }
    }

    /// Ends a flow, and gives it to the one caller that ended it, who answers for what it held: [`age`](Self::age) will not
    /// report it. `None` when it had ended, or (as good as never) when eight others refreshed it meanwhile.
    pub fn remove(&self, flow: impl Into<EntryRef>) -> Option<Gone> {
        let entry = flow.into();
        if entry.v4 { self.v4.remove(entry) } else { self.v6.remove(entry) }
    }

    /// Sweeps up to `budget` entries of a shard, from where the last sweep of it stopped: frees expired flows and hands
    /// each to `ended`. Of each flow that was inserted, either `age` reports the end, once, or `remove` returned it.
    pub fn age(&self, shard: usize, now: Tick, budget: usize, ended: &mut dyn FnMut(&Gone)) {
        self.sweep(shard, now, budget, &mut |_, _, _| false, ended);
    }

    /// The same, and besides frees the flows that are `gone`, by their server, the word that [`FlowSpec::service`] was, and their
    /// state.
    pub fn sweep(
        &self,
        shard: usize,
        now: Tick,
        budget: usize,
        gone: &mut dyn FnMut(ServerId, u32, State) -> bool,
        ended: &mut dyn FnMut(&Gone),
    ) {
        match shard.checked_sub(self.v4.shards.len()) {
            None => self.v4.sweep(shard, now, budget, gone, ended),
            Some(shard) => self.v6.sweep(shard, now, budget, gone, ended),
        }
    }

    /// Shows up to `budget` entries' flows, for listings: start with `from` 0 and go on with what is returned, until
    /// that is `None`. A flow that lives all the time is shown once; others may come and go.
    pub fn visit(&self, from: usize, budget: usize, now: Tick, show: &mut dyn FnMut(&Flow)) -> Option<usize> {
        let (v4, v6) = (self.v4.size as usize, self.v6.size as usize);
        let next = match from.checked_sub(v4) {
            None => self.v4.visit(from, budget, now, show),
            Some(from) => v4 + self.v6.visit(from, budget, now, show),
        };
        (next < v4 + v6).then_some(next)
    }

    /// Shards of both families, to be aged by worker `shard % workers`.
    #[must_use]
    pub const fn shards(&self) -> usize {
        self.v4.shards.len() + self.v6.shards.len()
    }

    /// Flows of both families, roughly.
    #[must_use]
    pub fn len(&self) -> usize {
        let Count { v4, v6 } = self.count();
        v4 + v6
    }

    /// Whether there is no flow, roughly.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Flows by family, expired ones that the sweep has not come to included.
    #[must_use]
    pub fn count(&self) -> Count {
        Count { v4: self.v4.len(), v6: self.v6.len() }
    }
}

/// A number of flows, if a table can have that size.
fn size(flows_max: usize) -> Option<u32> {
    u32::try_from(flows_max).ok().filter(|size| (1..=FlowTable::FLOWS_MAX).contains(&(*size as usize)))
}
