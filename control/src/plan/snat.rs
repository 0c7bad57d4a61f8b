//! Source ports for snat: one space of ports an address, kept over reloads; what pools no longer have stays until no flow
//! holds one of its ports.

use super::Plan;
use crate::config::{Config, SnatConfig};
use ahash::AHashMap;
use ringlead_flow::snat::{PortSpace, SnatError, SnatPool, Usage};
use ringlead_io::steer::SnatRange;
use ringlead_wire::Ip;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A pool and what it was made of.
#[derive(Clone, Debug)]
struct Made {
    config: SnatConfig,
    pool: Arc<SnatPool>,
}

/// Ports of one address that a pool which is gone had, while flows may hold some.
#[derive(Clone, Debug)]
struct Past {
    ip: Ip,
    ports: RangeInclusive<u16>,
    space: Arc<PortSpace>,
    /// Takes them back.
    pool: Arc<SnatPool>,
}

/// Every pool of source ports that is, and what still has flows.
#[derive(Clone, Debug, Default)]
pub(super) struct SnatPools {
    spaces: BTreeMap<Ip, Arc<PortSpace>>,
    /// In the configuration's order.
    now: Vec<Made>,
    past: Vec<Past>,
    mixed: bool,
}

impl SnatPools {
    /// Takes a configuration's pools over; those that are the same stay.
    pub(super) fn adopt(&mut self, config: &Config) -> Result<(), SnatError> {
        let workers = config.dataplane.cores.len();
        let mut now = Vec::with_capacity(config.snats.len());
        for wanted in &config.snats {
            let same =
                |made: &&Made| made.config.addresses == wanted.addresses && made.config.ports == wanted.ports;
            let pool = match self.now.iter().find(same) {
                Some(made) => Arc::clone(&made.pool),
                None => {
                    let space = |ip: &Ip| {
                        Arc::clone(self.spaces.entry(*ip).or_insert_with(|| Arc::new(PortSpace::new(*ip))))
                    };
                    let spaces = wanted.addresses.iter().map(space).collect();
                    Arc::new(SnatPool::new(spaces, wanted.ports.clone(), workers)?)
                }
            };
            now.push(Made { config: wanted.clone(), pool });
        }
        let kept = |made: &Made| now.iter().any(|new: &Made| Arc::ptr_eq(&new.pool, &made.pool));
        for gone in std::mem::take(&mut self.now).into_iter().filter(|made| !kept(made)) {
            self.remember(&gone);
        }
        self.now = now;
        Ok(())
    }

    fn remember(&mut self, gone: &Made) {
        for &ip in &gone.config.addresses {
            let known = |past: &Past| past.ip == ip && past.ports == gone.config.ports;
            if let Some(space) = self.spaces.get(&ip).filter(|_| !self.past.iter().any(known)) {
                let (ports, space) = (gone.config.ports.clone(), Arc::clone(space));
                self.past.push(Past { ip, ports, space, pool: Arc::clone(&gone.pool) });
            }
        }
    }

    /// Whether flows may have a server of the other IP family than their client: from the first snapshot on where a service
    /// has such servers (`mixed`), because its flows outlive its configuration.
    pub(super) const fn note_mixed(&mut self, mixed: bool) -> bool {
        self.mixed |= mixed;
        self.mixed
    }

    /// The pool of `[snat.NAME]` number `index`.
    pub(super) fn pool(&self, index: usize) -> Option<Arc<SnatPool>> {
        self.now.get(index).map(|made| Arc::clone(&made.pool))
    }

    /// Each pool in use.
    pub(super) fn pools(&self) -> Arc<[Arc<SnatPool>]> {
        self.now.iter().map(|made| Arc::clone(&made.pool)).collect()
    }

    /// Who takes a port of an address back.
    pub(super) fn by_address(&self) -> AHashMap<Ip, Arc<SnatPool>> {
        let past = self.past.iter().map(|past| (past.ip, Arc::clone(&past.pool)));
        let of = |made: &'_ Made| {
            let pool = Arc::clone(&made.pool);
            made.config.addresses.iter().map(move |ip| (*ip, Arc::clone(&pool))).collect::<Vec<_>>()
        };
        // In this order, so that an address which is still in use belongs to the pool that uses it.
        past.chain(self.now.iter().flat_map(of)).collect()
    }

    /// Every address that a flow may be known by.
    pub(super) fn addresses(&self) -> BTreeSet<IpAddr> {
        let now = self.now.iter().flat_map(|made| made.config.addresses.iter().copied());
        now.chain(self.past.iter().map(|past| past.ip)).map(IpAddr::from).collect()
    }

    /// What the front steers to us for them.
    pub(super) fn ranges(&self) -> Vec<SnatRange> {
        let range = |ip: Ip, ports: &RangeInclusive<u16>| SnatRange {
            ip,
            protocol: None,
            first: *ports.start(),
            last: *ports.end(),
        };
        let now = self
            .now
            .iter()
            .flat_map(|made| made.config.addresses.iter().map(|&ip| range(ip, &made.config.ports)));
        let ranges: BTreeSet<SnatRange> =
            now.chain(self.past.iter().map(|past| range(past.ip, &past.ports))).collect();
        ranges.into_iter().collect()
    }

    /// Forgets past ports that no flow holds, or that a pool has again; returns whether there were any.
    fn forget_unused(&mut self) -> bool {
        let before = self.past.len();
        let ports = |made: &'_ Made| {
            let ports = made.config.ports.clone();
            made.config.addresses.iter().map(move |ip| (*ip, ports.clone())).collect::<Vec<_>>()
        };
        let now: BTreeMap<Ip, RangeInclusive<u16>> = self.now.iter().flat_map(ports).collect();
        self.past.retain(|past| match now.get(&past.ip) {
            None => past.space.is_held(&past.ports),
            // Whoever holds a port that a pool has now is no reason to keep what is gone.
            Some(now) => beside(&past.ports, now).iter().any(|ports| past.space.is_held(ports)),
        });
        let used = self.addresses();
        // The space of an address that nobody uses is dropped with its quarantines: its ports come back from other hosts' view
        // as new as the address does.
        self.spaces.retain(|ip, _| used.contains(&IpAddr::from(*ip)));
        before != self.past.len()
    }
}

/// The ports of a range below and above another one's; none of both may be 0.
fn beside(ports: &RangeInclusive<u16>, other: &RangeInclusive<u16>) -> [RangeInclusive<u16>; 2] {
    let below = *ports.start()..=(*ports.end()).min(other.start().saturating_sub(1));
    let above = match other.end().checked_add(1) {
        Some(next) => next.max(*ports.start())..=*ports.end(),
        None => RangeInclusive::new(1, 0),
    };
    [below, above]
}

impl Plan {
    /// How full each pool of source ports is, with its name, addresses and range, in the configuration's order.
    pub fn snat_usage(&self) -> impl Iterator<Item = (&SnatConfig, Usage)> {
        self.snat.now.iter().map(|made| (&made.config, made.pool.usage()))
    }

    /// The source addresses that this node must have, those of past pools included.
    #[must_use]
    pub fn snat_addresses(&self) -> BTreeSet<IpAddr> {
        self.snat.addresses()
    }

    /// Whether there are source ports that pools no longer have, and flows may.
    #[must_use]
    pub fn has_past_snat(&self) -> bool {
        !self.snat.past.is_empty()
    }

    /// Forgets source ports that pools no longer have and no flow holds; returns whether there were any. Once every worker
    /// uses the snapshot without them.
    pub fn forget_snat(&mut self) -> bool {
        self.snat.forget_unused()
    }
}

/// A source address that the node itself uses, whose ports its own sockets take too.
#[must_use]
pub fn clash<'c>(
    config: &'c Config,
    own: &BTreeSet<IpAddr>,
    ephemeral: &RangeInclusive<u16>,
) -> Option<(&'c SnatConfig, IpAddr)> {
    let meets =
        |snat: &SnatConfig| snat.ports.start() <= ephemeral.end() && ephemeral.start() <= snat.ports.end();
    let pools = config.snats.iter().filter(|snat| meets(snat));
    let mut clashes = pools.flat_map(|snat| snat.addresses.iter().map(move |&ip| (snat, IpAddr::from(ip))));
    clashes.find(|(_, ip)| own.contains(ip))
}
