//! Addresses and a range of ports that workers take source ports from.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use crossbeam::utils::CachePadded;
use ringlead_wire::{Ip, Protocol};

use crate::processor::prefetch;
use crate::snat::group::{GROUP, Group};
use crate::snat::ports::{Ports, Share};
use crate::snat::worker::{Note, Worker};
use crate::snat::{PortSpace, PortUsage, SnatError, SnatRandom, Usage};
use crate::step::step;
use crate::sync::Relaxed;
use crate::tick::Tick;

/// Random places to try before a search goes through all.
const PROBES: usize = 16;
/// Places that one search looks at, at most, so that no packet waits longer than some tens of microseconds for a port; the
/// next search goes on where it stopped. All that one worker has of 16 addresses.
const SEARCH_MAX: u32 = 16_384;

/// A source address and port that one flow holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mapping {
    /// The address.
    pub ip: Ip,
    /// The port, host order.
    pub port: u16,
}

/// A port of a worker's share that may be free: [`SnatPool::take_drawn`] tries it first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Draw {
    place: u32,
    first: u32,
}

/// Addresses of one family or both, with one range of ports, in shares of which each is one worker's.
///
/// Every function may be called by any thread at any time; none waits, allocates, makes a system call or reads a clock.
#[derive(Debug)]
pub struct SnatPool {
    /// IPv4 first, each family in the order of addresses.
    pub(super) spaces: Box<[Arc<PortSpace>]>,
    ports: Ports,
    shares: Box<[(Share, CachePadded<Worker>)]>,
    /// How many of the spaces are IPv4.
    v4s: u32,
}

/// The part of a worker's places that are of one transport and family.
struct Class<'a> {
    places: Range<u32>,
    note: &'a Note,
}

impl Class<'_> {
    /// Any of its ports, all alike, and of a group at the end of the range also some that are not in it.
    #[inline]
    fn draw(&self, random: &mut SnatRandom) -> Draw {
        let chosen = random.below((self.places.end - self.places.start) * u32::from(GROUP));
        Draw { place: self.places.start + chosen / u32::from(GROUP), first: chosen % u32::from(GROUP) }
    }
}

impl SnatPool {
    /// Most addresses of a pool.
    pub const ADDRESSES_MAX: usize = 4096;
    /// A worker has at least that many ports of each address.
    pub const SHARE_MIN: u32 = if cfg!(loom) { 1 } else { GROUP as u32 };
    /// Ticks (60 s) for which a port that was given back stays untaken, at least. It is free again after no more than
    /// twice that and a quarter, if [`tick`](Self::tick) is called often enough to come round in a few seconds.
    pub const QUARANTINE: u32 = Group::QUARANTINE;

    /// A pool of the addresses' ports in that range, dealt to so many workers. Ports that are held in the spaces stay so.
    ///
    /// # Errors
    /// When there is no address, too many or one twice; when the range is no range within 1 to 65535, or gives some worker
    /// fewer than [`SHARE_MIN`](Self::SHARE_MIN) ports of an address.
    pub fn new(
        mut spaces: Vec<Arc<PortSpace>>,
        ports: RangeInclusive<u16>,
        workers: usize,
    ) -> Result<Self, SnatError> {
        if spaces.is_empty() || spaces.len() > Self::ADDRESSES_MAX {
            return Err(SnatError::Addresses(spaces.len()));
        }
        spaces.sort_by_key(|space| order(space.ip()));
        if let Some((twice, _)) = spaces.iter().zip(&spaces[1..]).find(|(a, b)| a.ip() == b.ip()) {
            return Err(SnatError::Twice(twice.ip()));
        }
        let ports = Ports::new(ports, workers)?;
        let shares = (0..ports.workers).map(|worker| (ports.share(worker), CachePadded::new(Worker::new())));
        let shares = shares.collect();
        let v4s = number(spaces.iter().filter(|space| space.ip().is_v4()).count());
        Ok(Self { spaces: spaces.into(), ports, shares, v4s })
    }

    /// A random free port of a random address, out of a worker's share: from now on the caller's, who gives it back by
    /// [`give_back`](Self::give_back) or [`never_used`](Self::never_used), once. `None` when the share has no free port of
    /// that transport and family (or no such address, or there is no such worker), and, where the share is larger than what
    /// is searched for one packet, also when it has so few that none was found there.
    pub fn take(
        &self,
        worker: usize,
        protocol: Protocol,
        v4: bool,
        random: &mut SnatRandom,
    ) -> Option<Mapping> {
        self.take_drawn(worker, protocol, v4, None, random)
    }

    /// Chooses a port as [`take`](Self::take) does, and asks for the memory that says whether it is free: for a `take_drawn`
    /// of the same worker, transport and family a few packets later. `None` when that would find none either.
    #[inline]
    pub fn draw(&self, worker: usize, protocol: Protocol, v4: bool, random: &mut SnatRandom) -> Option<Draw> {
        let (share, state) = self.shares.get(worker)?;
        let class = self.class(share, state, protocol, v4);
        if class.places.is_empty() || class.note.is_dry() {
            return None;
        }
        let drawn = class.draw(random);
        let (space, protocol, group, _) = self.locate(share, drawn.place);
        space.groups(protocol).get(usize::from(group)).inspect(|group| prefetch(*group));
        Some(drawn)
    }

    /// As [`take`](Self::take), and the port that was drawn if that is free.
    pub fn take_drawn(
        &self,
        worker: usize,
        protocol: Protocol,
        v4: bool,
        drawn: Option<Draw>,
        random: &mut SnatRandom,
    ) -> Option<Mapping> {
        let (share, state) = self.shares.get(worker)?;
        let class = self.class(share, state, protocol, v4);
        if class.places.is_empty() || class.note.is_dry() {
            return None;
        }
        let drawn = drawn.filter(|drawn| class.places.contains(&drawn.place));
        let found = drawn
            .and_then(|drawn| self.try_draw(share, drawn))
            .or_else(|| self.probe(share, &class, random))
            .or_else(|| self.search(share, &class, random));
        if found.is_some() {
            class.note.count_taken();
        }
        found
    }

    /// Tries random places: as long as one port in a hundred is free, that is nearly always enough.
    #[inline]
    fn probe(&self, share: &Share, class: &Class<'_>, random: &mut SnatRandom) -> Option<Mapping> {
        (0..PROBES).find_map(|_| self.try_draw(share, class.draw(random)))
    }

    #[inline]
    fn try_draw(&self, share: &Share, Draw { place, first }: Draw) -> Option<Mapping> {
        // A group at the end of the range has a few ports: none of them shall be likelier than others.
        let (.., mask) = self.locate(share, place);
        if mask >> first & 1 == 0 { None } else { self.take_at(share, place, first) }
    }

    /// Looks at every place once, or at as many as one search may, starting where a port was last seen free and from there
    /// against the sweep's direction: so what the sweep has just freed comes first.
    #[cold]
    fn search(&self, share: &Share, class: &Class<'_>, random: &mut SnatRandom) -> Option<Mapping> {
        let Range { start, end } = class.places;
        let lead = class.note.lead.load(Relaxed).clamp(start, end - 1);
        let (all, before) = (end - start, lead - start);
        let looks = all.min(SEARCH_MAX);
        let first = random.below(u32::from(GROUP));
        let mut places = (start..=lead).rev().chain((lead + 1..end).rev()).take(looks as usize);
        let found = places.find_map(|place| {
            let mapping = self.take_at(share, place, first)?;
            class.note.lead.store(place, Relaxed);
            Some(mapping)
        });
        if found.is_none() {
            let next = if looks <= before { lead - looks } else { end - (looks - before) };
            class.note.count_in_vain(looks, all, next);
        }
        found
    }

    /// Takes a port of one place, if one is free: that one or the next.
    #[inline]
    fn take_at(&self, share: &Share, place: u32, first: u32) -> Option<Mapping> {
        step();
        let (space, protocol, group, mask) = self.locate(share, place);
        let at = space.groups(protocol).get(usize::from(group))?.take(mask, first)?;
        #[allow(clippy::cast_possible_truncation, reason = "below 64")]
        let port = group * GROUP + at as u16;
        Some(Mapping { ip: space.ip(), port })
    }

    /// Takes exactly that port for a flow that has it from elsewhere; from now on it is held as if [`take`](Self::take) had
    /// given it out. `false` when somebody has it or it rests, and when the address or the port is not this pool's.
    #[must_use]
    pub fn claim(&self, ip: Ip, port: u16, protocol: Protocol) -> bool {
        self.ports.mask(port / GROUP) >> (port % GROUP) & 1 != 0
            && self.space(ip).is_some_and(|space| space.claim(port, protocol))
    }

    /// The ports of one of the pool's addresses.
    #[must_use]
    pub fn space(&self, ip: Ip) -> Option<&PortSpace> {
        self.spaces.get(self.find(ip)?).map(|space| &**space)
    }

    /// Ends a flow's hold on a port, whichever worker took it; call it once the flow is out of the table. The port goes into
    /// quarantine. One that is not held, or of an address that is not this pool's, is left alone; the range of ports does
    /// not matter, for it may have been another one when the port was taken.
    pub fn give_back(&self, ip: Ip, port: u16, protocol: Protocol) {
        if let Some(at) = self.find(ip) {
            self.spaces[at].give_back(port, protocol);
        }
    }

    /// Frees a port at once: no packet was sent from it, because the flow table had its tuple already.
    pub fn never_used(&self, ip: Ip, port: u16, protocol: Protocol) {
        let Some(at) = self.find(ip) else { return };
        if self.spaces[at].never_used(port, protocol) {
            let group = port / GROUP;
            let worker = group % self.ports.workers;
            let (share, state) = &self.shares[usize::from(worker)];
            if self.ports.mask(group) >> (port % GROUP) & 1 != 0 {
                let row = self.row(at, protocol);
                let place = row * share.count + share.index(group);
                self.note(state, row).count_freed(1, place);
            }
        }
    }

    /// How many groups of 64 ports a worker's share has, of both transports: what a round of [`tick`](Self::tick) looks at.
    #[must_use]
    pub fn groups(&self, worker: usize) -> usize {
        self.shares.get(worker).map_or(0, |(share, _)| 2 * self.spaces.len() * share.count as usize)
    }

    /// Frees ports of a worker's share whose quarantine is over, looking at up to `budget` groups of 64 from where the last
    /// call stopped. A round over all begins every 7.5 s.
    pub fn tick(&self, worker: usize, now: Tick, budget: usize) {
        let Some((share, state)) = self.shares.get(worker) else { return };
        let places = number(self.groups(worker));
        let Some(start) = state.place(places, now) else { return };
        let end = start.saturating_add(number(budget)).min(places);
        for place in start..end {
            let (space, protocol, group, mask) = self.locate(share, place);
            let Some(group) = space.groups(protocol).get(usize::from(group)) else { continue };
            let freed = (group.turn(now) & mask).count_ones();
            if freed != 0 {
                self.note(state, place / share.count).count_freed(freed, place);
            }
        }
        state.cursor.store(end, Relaxed);
    }

    /// Counts ports while workers take them and give them back. Reads all of the pool's groups, so it is for statistics and
    /// not for the packet path.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage { tcp: self.usage_of(Protocol::Tcp), udp: self.usage_of(Protocol::Udp) }
    }

    /// How many workers have a share.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.shares.len()
    }

    /// Whether a worker's share has a free port of one transport and family: without one, [`take`](Self::take) finds none. Reads
    /// the share's groups up to the first with a free port, which may be all, so it is for diagnosis and not for the packet path.
    #[must_use]
    pub fn has_free(&self, worker: usize, protocol: Protocol, v4: bool) -> bool {
        let Some((share, state)) = self.shares.get(worker) else { return false };
        self.class(share, state, protocol, v4).places.any(|place| {
            step();
            let (space, protocol, group, mask) = self.locate(share, place);
            space.groups(protocol).get(usize::from(group)).is_some_and(|group| group.has_free(mask))
        })
    }

    fn usage_of(&self, protocol: Protocol) -> PortUsage {
        let mut usage = PortUsage { total: self.spaces.len() * self.ports.len(), ..PortUsage::default() };
        for space in &self.spaces {
            for group in self.ports.groups() {
                let Some(of) = space.groups(protocol).get(usize::from(group)) else { continue };
                let filling = of.filling(self.ports.mask(group));
                usage.used += filling.held as usize;
                usage.quarantined += filling.quarantined as usize;
            }
        }
        usage
    }

    /// A worker's places are numbered: all its groups of the first row, then of the second; a row is an address and a
    /// transport.
    #[inline]
    fn locate(&self, share: &Share, place: u32) -> (&PortSpace, Protocol, u16, u64) {
        let (at, protocol) = self.of_row(place / share.count);
        let group = share.group(place % share.count);
        (&self.spaces[at as usize], protocol, group, self.ports.mask(group))
    }

    fn class<'a>(&self, share: &Share, state: &'a Worker, protocol: Protocol, v4: bool) -> Class<'a> {
        let spaces = if v4 { 0..self.v4s } else { self.v4s..number(self.spaces.len()) };
        let first = self.row(0, protocol);
        let places = (first + spaces.start) * share.count..(first + spaces.end) * share.count;
        Class { places, note: &state.notes[class_index(protocol, v4)] }
    }

    fn row(&self, at: usize, protocol: Protocol) -> u32 {
        match protocol {
            Protocol::Tcp => number(at),
            Protocol::Udp => number(self.spaces.len() + at),
        }
    }

    #[inline]
    fn of_row(&self, row: u32) -> (u32, Protocol) {
        match row.checked_sub(number(self.spaces.len())) {
            None => (row, Protocol::Tcp),
            Some(at) => (at, Protocol::Udp),
        }
    }

    fn note<'a>(&self, state: &'a Worker, row: u32) -> &'a Note {
        let (at, protocol) = self.of_row(row);
        &state.notes[class_index(protocol, at < self.v4s)]
    }

    fn find(&self, ip: Ip) -> Option<usize> {
        self.spaces.binary_search_by_key(&order(ip), |space| order(space.ip())).ok()
    }
}

const fn class_index(protocol: Protocol, v4: bool) -> usize {
    let udp = matches!(protocol, Protocol::Udp);
    (udp as usize) << 1 | v4 as usize
}

/// IPv4 first.
fn order(ip: Ip) -> (bool, Ip) {
    (!ip.is_v4(), ip)
}

/// Of addresses and groups there are never more; of a budget the rest does not matter.
fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
