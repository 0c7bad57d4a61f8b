//! When a flow whose service is not in the snapshot may be ended: not while another worker can be ahead.

use crate::tables::Tables;
use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use std::sync::Arc;

/// Follows the shared snapshot: one load to see whether it is another.
pub(crate) type Latest = Cache<Arc<ArcSwap<Tables>>, Arc<Tables>>;

/// Whether these tables are still the newest, so that a service that they do not have was removed. If they are not, it may as
/// well be new, and its flow have been made a moment ago by a worker that has a later snapshot: whoever sees that flow also
/// sees here that there is one.
#[cold]
pub(crate) fn is_current(tables: &Arc<Tables>, latest: &mut Latest) -> bool {
    Arc::ptr_eq(latest.load(), tables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_flow::datagram;
    use crate::{Shared, Worker, WorkerConfig, lookup, parse};
    use ringlead_flow::{FlowTable, Inserted, Sizes, Tick, Tuple};
    use ringlead_io::{Frames, MemPort};
    use ringlead_pick::FrontHash;
    use ringlead_wire::build::Packet;

    const NOW_NS: u64 = 10_000_000_000;
    const US: [u8; 6] = [2, 0, 0, 0, 0, 1];

    /// A worker without services, and a flow of one.
    fn worker() -> (Worker<MemPort>, Shared, Tuple) {
        let flows = FlowTable::new(&Sizes { flows_max: 10, workers: 1, seed: [1; 4] }).unwrap();
        let shared = Shared::new(Tables::empty(FrontHash::new([7; 16])), Arc::new(flows), 1, 4, 1);
        let frames = Frames::in_memory(64, 2048).unwrap();
        let ports = vec![(0, MemPort::new("wan", 0, US, 16))];
        let config = WorkerConfig { index: 0, workers: 1, seed: [0; 4] };
        let mut worker = Worker::new(config, frames, ports, shared.clone());
        worker.tick = Tick::from_nanos(NOW_NS);
        let spec = datagram(5353);
        shared.loads.add(1);
        assert!(matches!(shared.flows.insert(&spec, worker.tick), Inserted::New(_)));
        (worker, shared, spec.client)
    }

    fn publish(shared: &Shared) {
        shared.tables.store(Arc::new(Tables::empty(FrontHash::new([7; 16]))));
    }

    #[test]
    fn a_packet_ends_the_flow_of_a_service_only_if_that_cannot_be_newer() {
        for (behind, left) in [(true, 1), (false, 0)] {
            let (mut worker, shared, client) = worker();
            let packet = Packet::udp("198.51.100.7:5353", "192.0.2.1:53").mac([2; 6], US).build();
            let (memory, port) = worker.frames_and_port(0).unwrap();
            assert!(port.inject(memory, &packet));
            assert_eq!(worker.take(0), 1);
            parse::parse(&mut worker);
            if behind {
                publish(&shared);
            }
            lookup::lookup(&mut worker);
            assert_eq!((shared.flows.len(), shared.loads.get(1)), (left, 1 - u32::from(left == 0)));
            assert_eq!(shared.flows.lookup(&client, worker.tick).is_some(), behind);
            assert_eq!(worker.burst.misses.len(), usize::from(!behind), "and the packet may choose again");
        }
    }

    #[test]
    fn the_sweep_ends_the_flow_of_a_service_only_if_that_cannot_be_newer() {
        for (behind, left) in [(true, 1), (false, 0)] {
            let (mut worker, shared, _) = worker();
            if behind {
                publish(&shared);
            }
            (0..4).for_each(|_| worker.age(NOW_NS));
            assert_eq!(shared.flows.len(), left);
            assert_eq!(shared.loads.get(1) as usize, left);
        }
    }
}
