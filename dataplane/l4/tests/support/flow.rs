//! A flow for tests that only need one: a datagram of a client's to a service that no snapshot has.

use ringlead_flow::{FlowSpec, Link, Profile, ServerId, Tuple};
use ringlead_wire::{Ip, TcpFlags};

/// From 198.51.100.7 and this port to 192.0.2.1:53, of service 5 (as a word) at server 1.
pub(crate) fn datagram(sport: u16) -> FlowSpec {
    let (src, dst) = (Ip::from_v4([198, 51, 100, 7]), Ip::from_v4([192, 0, 2, 1]));
    FlowSpec {
        client: Tuple { src, sport, dst, dport: 53, proto: 17 },
        server: None,
        server_id: ServerId(1),
        service: 5,
        profile: Profile::Lb,
        link: Link::NONE,
        first: TcpFlags::default(),
        account: None,
    }
}
