//! Source ports for snat: one space of ports an address, kept over reloads; pools that are gone stay until no flow holds one
//! of their ports.

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

/// Every pool of source ports that is, or still has flows.
#[derive(Clone, Debug, Default)]
pub(super) struct SnatPools {
    spaces: BTreeMap<Ip, Arc<PortSpace>>,
    /// In the configuration's order.
    now: Vec<Made>,
    past: Vec<Made>,
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
        let gone = std::mem::take(&mut self.now).into_iter().filter(|made| !kept(made));
        self.past.extend(gone);
        self.now = now;
        Ok(())
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
        // In this order, so that an address which is still in use belongs to the pool that uses it.
        let all = self.past.iter().chain(&self.now);
        all.flat_map(|made| made.config.addresses.iter().map(|ip| (*ip, Arc::clone(&made.pool)))).collect()
    }

    /// Every address that a flow may be known by.
    pub(super) fn addresses(&self) -> BTreeSet<IpAddr> {
        let all = self.now.iter().chain(&self.past);
        all.flat_map(|made| made.config.addresses.iter().map(|&ip| ip.into())).collect()
    }

    /// What the front steers to us for them.
    pub(super) fn ranges(&self) -> Vec<SnatRange> {
        let of = |made: &Made| {
            let (first, last) = (*made.config.ports.start(), *made.config.ports.end());
            let range = move |&ip: &Ip| SnatRange { ip, protocol: None, first, last };
            made.config.addresses.iter().map(range).collect::<Vec<_>>()
        };
        let ranges: BTreeSet<SnatRange> = self.now.iter().chain(&self.past).flat_map(of).collect();
        ranges.into_iter().collect()
    }

    /// Forgets the past pools of which no flow holds a port; returns whether there were any.
    fn forget_unused(&mut self) -> bool {
        let before = self.past.len();
        self.past.retain(|made| {
            let usage = made.pool.usage();
            usage.tcp.used + usage.udp.used > 0
        });
        let used = self.addresses();
        // The space of an address that nobody uses is dropped with its quarantines: its ports come back from other hosts' view
        // as new as the address does.
        self.spaces.retain(|ip, _| used.contains(&IpAddr::from(*ip)));
        before != self.past.len()
    }
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

    /// Whether pools that are gone still have flows.
    #[must_use]
    pub fn has_past_snat(&self) -> bool {
        !self.snat.past.is_empty()
    }

    /// Forgets gone pools that have no flow left; returns whether there were any.
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
