//! nat: destination address and port translated both ways.

use ringlead_tests::{Farm, Lab, Mode, Network, Ringlead, config, needs_ringlead};

use crate::carries;

#[test]
fn nat_carries_tcp_and_udp_of_both_families() {
    needs_ringlead!();
    let lab = Lab::new("nat");
    let _farm = Farm::start(&lab);
    carries::nothing_answers(&lab, Mode::Nat);
    let ringlead = Ringlead::start(&lab, &config(&lab));
    carries::all_services(&lab, Mode::Nat);
    let status = ringlead.status().to_string();
    assert!(status.contains("nat-tcp4"), "the status does not name the services: {status}");
}

/// Frames of local sockets with offloads on carry the pseudo-header's sum only, which AF_XDP does not tell.
#[test]
fn nat_repairs_partial_checksums() {
    needs_ringlead!();
    let lab = Lab::with("nat-partial", Network { offload: true, ..Network::default() });
    let _farm = Farm::start(&lab);
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    carries::all_services(&lab, Mode::Nat);
}

#[test]
fn nat_works_with_one_worker() {
    needs_ringlead!();
    let lab = Lab::with("nat-one", Network { queues: 1, far_queues: 1, ..Network::default() });
    let _farm = Farm::start(&lab);
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    carries::all_services(&lab, Mode::Nat);
}
