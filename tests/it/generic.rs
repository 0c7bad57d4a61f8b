//! The steering program behind the driver: asked for, and where the driver cannot have it.

use ringlead_tests::{Config, Farm, Lab, Mode, Network, Node, Ringlead, Tunnels, needs_ringlead};

use crate::carries;

#[test]
fn generic_mode_carries_everything() {
    needs_ringlead!();
    let lab = Lab::new("generic");
    let _farm = Farm::start(&lab);
    let _tunnels = Tunnels::start(&lab);
    let mut config = Config::standard(&lab);
    config.port_lines = "attach = \"generic\"\n".to_owned();
    let _ringlead = Ringlead::start(&lab, &config.render());
    carries_generically(&lab);
}

/// veth refuses native XDP on an end with fewer receive queues than the other has transmit queues.
#[test]
fn generic_mode_is_the_fallback() {
    needs_ringlead!();
    let lab = Lab::with("fallback", Network { queues: 1, far_queues: 2, ..Network::default() });
    let _farm = Farm::start(&lab);
    let _tunnels = Tunnels::start(&lab);
    let _ringlead = Ringlead::start(&lab, &Config::standard(&lab).render());
    carries_generically(&lab);
}

fn carries_generically(lab: &Lab) {
    for port in ["l0", "l1"] {
        let link = lab.must_run(Node::Balancer, "ip", &["link", "show", port]);
        assert!(link.contains("xdpgeneric"), "{port} is not in generic mode: {link}");
    }
    for mode in Mode::ALL {
        carries::all_services(lab, mode);
    }
}
