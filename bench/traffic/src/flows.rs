//! Which flow a frame belongs to, and which addresses and ports a flow has.

use crate::setup::{Prefix, Service, Setup};
use crate::spec::{FLOWS_MAX, Plan};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Zipf};
use std::net::IpAddr;

/// The first source port: those below are other people's.
const PORT_FIRST: u32 = 1024;
/// How many source ports an address has.
const PORTS: u32 = 65_536 - PORT_FIRST;
/// Spreads the flows of neighbouring addresses over the ports; prime, so that every port is used.
const PORT_STEP: u32 = 7919;

/// The addresses of all flows: flow number -> client and service. Nothing is stored by flow.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    services: Vec<Service>,
    clients: [Prefix; 2],
    hosts: [u32; 2],
    /// Flows from here on are new in each trial: their addresses are `offset` flows further on.
    young_from: u32,
    offset: u32,
    /// See [`room`](Self::room).
    room: u64,
}

/// One flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tuple {
    /// The client's address.
    pub(crate) client: IpAddr,
    /// The client's port.
    pub(crate) port: u16,
    /// Which of the services it is for.
    pub(crate) service: usize,
}

impl Space {
    pub(crate) fn new(setup: &Setup) -> Self {
        let clients = [setup.clients_v4, setup.clients_v6];
        let hosts = clients.map(|prefix| prefix.hosts());
        let services = setup.services.clone();
        let mut space = Self { services, clients, hosts, young_from: u32::MAX, offset: 0, room: 0 };
        space.room = space.count_room();
        space
    }

    /// The same, flows from `young_from` on having the addresses of flows `offset` further on.
    pub(crate) fn with_young(mut self, young_from: u32, offset: u32) -> Self {
        (self.young_from, self.offset) = (young_from, offset);
        self
    }

    /// How many flows there can be at most with these prefixes, when all have addresses of their own.
    pub(crate) const fn room(&self) -> u64 {
        self.room
    }

    fn count_room(&self) -> u64 {
        let family = |v4: bool| self.services.iter().any(|service| service.address.is_ipv4() == v4);
        let smallest = [(0, true), (1, false)].into_iter().filter(|(_, v4)| family(*v4));
        smallest.map(|(n, _)| u64::from(self.hosts[n]) * u64::from(PORTS)).min().unwrap_or(0)
    }

    /// The flow's client and service. Flows below [`room`](Self::room) differ in their client.
    #[inline]
    pub(crate) fn tuple(&self, flow: u32) -> Tuple {
        let count = u32::try_from(self.services.len()).unwrap_or(u32::MAX).max(1);
        let service = (flow % count) as usize;
        let v4 = self.services.get(service).is_none_or(|service| service.address.is_ipv4());
        let (prefix, hosts) =
            if v4 { (&self.clients[0], self.hosts[0]) } else { (&self.clients[1], self.hosts[1]) };
        let number = if flow >= self.young_from { self.young(flow) } else { flow };
        let host = number % hosts;
        let port = PORT_FIRST + (number / hosts + host.wrapping_mul(PORT_STEP) % PORTS) % PORTS;
        #[allow(clippy::cast_possible_truncation, reason = "below 65536")]
        Tuple { client: prefix.host(host), port: port as u16, service }
    }

    /// Whose addresses a young flow has. Behind the last ones come the first again, but never those of flows that stay.
    #[inline]
    fn young(&self, flow: u32) -> u32 {
        let (number, from) = (u64::from(flow) + u64::from(self.offset), u64::from(self.young_from));
        let last = self.room.min(u64::from(u32::MAX));
        let number =
            if number < last { number } else { from + (number - from) % last.saturating_sub(from).max(1) };
        #[allow(clippy::cast_possible_truncation, reason = "below `last`")]
        {
            number as u32
        }
    }

    pub(crate) fn services(&self) -> &[Service] {
        &self.services
    }
}

/// The order in which flows send.
#[derive(Debug)]
pub(crate) struct Picker {
    flows: u32,
    cursor: u32,
    zipf: Option<(Zipf<f64>, SmallRng)>,
    /// The flow in each place, where flows come and go.
    places: Option<Vec<u32>>,
    born: u32,
    new_per_ns: f64,
    replaced: u32,
    flood: bool,
}

impl Picker {
    /// The order of a plan's flows; always the same for the same plan.
    pub(crate) fn new(plan: &Plan) -> Self {
        let zipf = plan.zipf.and_then(|exponent| Zipf::new(f64::from(plan.flows), exponent).ok());
        let places = (plan.new_flows_per_s > 0).then(|| (0..plan.flows).collect());
        Self {
            flows: plan.flows,
            cursor: 0,
            zipf: zipf.map(|zipf| (zipf, SmallRng::seed_from_u64(0x7269_6e67))),
            places,
            born: plan.flows,
            new_per_ns: f64::from(plan.new_flows_per_s) / 1e9,
            replaced: 0,
            flood: plan.syn_flood,
        }
    }

    /// The flow of the next frame, which is due `planned_ns` after the trial's start.
    #[inline]
    pub(crate) fn next(&mut self, planned_ns: u64) -> u32 {
        if self.flood {
            self.cursor = if self.cursor + 1 < FLOWS_MAX { self.cursor + 1 } else { 0 };
            return self.cursor;
        }
        if self.places.is_some() {
            self.replace(planned_ns);
        }
        let place = if let Some((zipf, rng)) = &mut self.zipf {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to `flows`")]
            let rank = zipf.sample(rng) as u32;
            rank.clamp(1, self.flows) - 1
        } else {
            let place = self.cursor;
            self.cursor = if place + 1 < self.flows { place + 1 } else { 0 };
            place
        };
        self.places.as_ref().and_then(|places| places.get(place as usize)).copied().unwrap_or(place)
    }

    /// Ends as many flows as are due by `planned_ns`, in turn, and begins others in their places.
    #[inline]
    fn replace(&mut self, planned_ns: u64) {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most FLOWS_MAX flows, checked before the trial"
        )]
        let due = (planned_ns as f64 * self.new_per_ns) as u32;
        while self.replaced < due {
            let place = (self.replaced % self.flows) as usize;
            if let Some(flow) = self.places.as_mut().and_then(|places| places.get_mut(place)) {
                *flow = self.born;
            }
            self.born += 1;
            self.replaced += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mode::Mode;
    use ringlead_wire::Protocol;
    use std::collections::{BTreeMap, HashSet};

    fn space() -> Space {
        let mut setup = Setup::new(Mode::Nat);
        let service = |text: &str| Service { address: text.parse().unwrap(), protocol: Protocol::Udp };
        setup.services = vec![service("10.9.0.1:80"), service("[fd09::1]:80"), service("10.9.0.1:81")];
        setup.clients_v4 = "198.18.0.0/28".parse().unwrap();
        setup.clients_v6 = "2001:2:0:1::/124".parse().unwrap();
        Space::new(&setup)
    }

    #[test]
    fn flows_are_dealt_to_services_and_have_addresses_of_their_own() {
        let space = space();
        assert_eq!(space.room(), 14 * 64_512);
        let mut seen = HashSet::new();
        for flow in 0..900_000 {
            let tuple = space.tuple(flow);
            assert_eq!(tuple.service, flow as usize % 3);
            assert_eq!(tuple.client.is_ipv4(), tuple.service != 1);
            assert!(tuple.port >= 1024);
            assert!(
                seen.insert((tuple.client, tuple.port)),
                "flow {flow} has another's addresses: {tuple:?}"
            );
        }
    }

    #[test]
    fn young_flows_of_another_trial_have_other_addresses() {
        let (first, second) = (space().with_young(100, 0), space().with_young(100, 5001));
        assert_eq!(first.tuple(99), second.tuple(99));
        assert_eq!(second.tuple(100).service, first.tuple(100).service);
        assert_eq!(second.tuple(100).port, first.tuple(5101).port);
        assert_ne!(second.tuple(100), first.tuple(100));
    }

    #[test]
    fn young_flows_never_have_the_addresses_of_flows_that_stay() {
        let space = space();
        let room = u32::try_from(space.room()).unwrap();
        // The young ones of some former trials have used up all but a few addresses.
        let space = space.with_young(100, room - 150);
        let client = |flow| (space.tuple(flow).client, space.tuple(flow).port);
        // Flow numbers of one service.
        let seen: HashSet<_> = (0..400).step_by(3).map(client).collect();
        assert_eq!(seen.len(), 134);
    }

    #[test]
    fn flows_take_turns() {
        let mut picker = Picker::new(&Plan { flows: 3, ..Plan::default() });
        let order: Vec<u32> = (0..7).map(|n| picker.next(n)).collect();
        assert_eq!(order, [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn new_flows_take_the_places_of_old_ones_in_time() {
        let mut picker = Picker::new(&Plan { flows: 4, new_flows_per_s: 1000, ..Plan::default() });
        // A frame each tenth of a millisecond: a new flow for every ten frames.
        let order: Vec<u32> = (0..44).map(|n| picker.next(n * 100_000)).collect();
        assert_eq!(order[..4], [0, 1, 2, 3]);
        let born: HashSet<u32> = order.iter().copied().filter(|flow| *flow >= 4).collect();
        assert_eq!(born, HashSet::from([4, 5, 6, 7]));
        assert_eq!(order[40..], [4, 5, 6, 7]);
    }

    #[test]
    fn popular_flows_follow_zipfs_law() {
        let mut picker = Picker::new(&Plan { flows: 1000, zipf: Some(1.0), ..Plan::default() });
        let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
        (0..100_000).for_each(|n| *counts.entry(picker.next(n)).or_default() += 1);
        // The harmonic number of 1000 is 7.485: the first flow gets 13.4 %, the tenth a tenth of that.
        assert!((12_800..14_000).contains(&counts[&0]), "{}", counts[&0]);
        assert!((1150..1550).contains(&counts[&9]), "{}", counts[&9]);
    }

    #[test]
    fn in_a_flood_every_frame_is_another_flow() {
        let mut picker = Picker::new(&Plan { syn_flood: true, ..Plan::default() });
        let flows: HashSet<u32> = (0..10_000).map(|n| picker.next(n)).collect();
        assert_eq!(flows.len(), 10_000);
    }
}
