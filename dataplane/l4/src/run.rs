//! Frames in a row of one service and direction: they tend to come together, and one addition then counts them all. Those of
//! flows whose account is kept are added there besides.

use crate::counters::Counters;
use crate::tables::ServiceId;
use ringlead_flow::{FlowTable, Hit, Side};

/// What is still to be added to a service's counters.
pub(crate) struct Run<'a> {
    flows: &'a FlowTable,
    now_us: u64,
    service: u32,
    side: Side,
    packets: u64,
    bytes: u64,
}

impl<'a> Run<'a> {
    /// Of frames that came at `now_us`, microseconds of the monotonic clock.
    pub(crate) const fn new(flows: &'a FlowTable, now_us: u64) -> Self {
        Self { flows, now_us, service: 0, side: Side::Client, packets: 0, bytes: 0 }
    }

    /// Counts a frame of `len` bytes that is sent on, and settles what came before when that was another run.
    #[inline]
    pub(crate) fn add(&mut self, flow: &Hit, len: usize, counters: &Counters) {
        if (flow.service(), flow.side()) != (self.service, self.side) {
            self.settle(counters);
            (self.service, self.side) = (flow.service(), flow.side());
            (self.packets, self.bytes) = (0, 0);
        }
        if flow.state().is_accounted() {
            self.flows.add_to_account(flow, len, self.now_us);
        }
        self.packets += 1;
        self.bytes += len as u64;
    }

    /// Adds the run to its service's counters; to be called once more at the end of the burst.
    #[inline(never)]
    pub(crate) fn settle(&self, counters: &Counters) {
        let service = counters.service(ServiceId::from_u32(self.service).slot);
        let (Some(service), true) = (service, self.packets > 0) else { return };
        let (packets, bytes) = match self.side {
            Side::Client => (&service.packets_in, &service.bytes_in),
            Side::Server => (&service.packets_out, &service.bytes_out),
        };
        packets.add(self.packets);
        bytes.add(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringlead_flow::{Flow, FlowSpec, FlowTable, Inserted, Link, Profile, ServerId, Sizes, Tick, Tuple};
    use ringlead_wire::{Ip, TcpFlags};

    fn flow(table: &FlowTable, service: u32) -> Flow {
        let ip = Ip::from_v4([10, 0, 0, 1]);
        let port = u16::try_from(service).unwrap() + 1;
        let client = Tuple { src: ip, dst: ip, sport: port, dport: 80, proto: 6 };
        let spec = FlowSpec {
            client,
            server: Some(Tuple { sport: port + 1000, ..client }),
            server_id: ServerId(0),
            service,
            profile: Profile::Lb,
            link: Link::NONE,
            first: TcpFlags(TcpFlags::ACK),
            account: None,
        };
        let Inserted::New(flow) = table.insert(&spec, Tick(0)) else { panic!("no flow") };
        flow
    }

    #[test]
    fn runs_of_several_services_and_both_directions_add_up() {
        let table = FlowTable::new(&Sizes { flows_max: 8, workers: 1, seed: [1; 4] }).unwrap();
        let asks = [0, 1, 0].map(|service| (service, Side::Client));
        let answers = [0, 0, 1].map(|service| (service, Side::Server));
        let known = [0, 1].map(|service| flow(&table, service));
        let counters = Counters::new();
        let mut run = Run::new(&table, 0);
        for (service, side) in asks.into_iter().chain(answers) {
            run.add(&Hit::from(&Flow { side, ..known[service] }), 100 + service, &counters);
        }
        run.settle(&counters);
        let counted = |slot: u16| {
            let c = counters.service(slot).unwrap();
            [c.packets_in.get(), c.bytes_in.get(), c.packets_out.get(), c.bytes_out.get()]
        };
        assert_eq!(counted(0), [2, 200, 2, 200]);
        assert_eq!(counted(1), [1, 101, 1, 101]);
    }
}
