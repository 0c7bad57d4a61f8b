//! The balancer's Ethernet address as seen from a sending port, asked of that namespace's kernel.

use crate::error::TrafficError;
use crate::netns;
use crate::setup::PortRef;
use ringlead_control::net::Net;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How long the kernel may take to resolve a neighbour: three requests a second apart, and a little.
const RESOLVE_MAX: Duration = Duration::from_secs(4);
/// Port of the discard service (RFC 863): a datagram there makes the kernel resolve the neighbour, and disturbs nobody.
const DISCARD: u16 = 9;

/// Where frames from `port` towards `service` go: the Ethernet address of the next hop.
pub(crate) fn resolve(port: &PortRef, service: IpAddr) -> Result<[u8; 6], TrafficError> {
    netns::inside(port.netns.as_deref(), || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| TrafficError::io("start a runtime", e))?;
        runtime.block_on(ask(port, service))
    })
}

async fn ask(port: &PortRef, service: IpAddr) -> Result<[u8; 6], TrafficError> {
    let no = |why: &str| {
        let way = format!("{why}; give the balancer's Ethernet address with --mac");
        TrafficError::NextHop(format!("from {port} to {service}: {way}"))
    };
    let (net, _events) = Net::open().map_err(|e| no(&e.to_string()))?;
    let hop = net.route_to(service).await.map_err(|e| no(&e.to_string()))?;
    let wanted = nix::net::if_::if_nametoindex(port.device.as_str()).map_err(|e| no(&e.to_string()))?;
    if hop.ifindex != wanted {
        return Err(no(&format!("the route leaves by another device (index {})", hop.ifindex)));
    }
    let begin = Instant::now();
    while begin.elapsed() < RESOLVE_MAX {
        let known = net.neighbours().await.map_err(|e| no(&e.to_string()))?;
        if let Some((_, _, mac)) = known.iter().find(|(index, ip, _)| (*index, *ip) == (wanted, hop.gateway))
        {
            return Ok(*mac);
        }
        // What it says does not matter: an unresolved neighbour is asked for either way.
        let _ = nudge(hop.gateway, wanted);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(no(&format!("{} does not answer ARP or neighbour discovery", hop.gateway)))
}

fn nudge(gateway: IpAddr, ifindex: u32) -> std::io::Result<usize> {
    let (any, to): (SocketAddr, SocketAddr) = match gateway {
        IpAddr::V4(ip) => (([0, 0, 0, 0], 0).into(), (ip, DISCARD).into()),
        IpAddr::V6(ip) => {
            let to = std::net::SocketAddrV6::new(
                ip,
                DISCARD,
                0,
                if ip.is_unicast_link_local() { ifindex } else { 0 },
            );
            (([0_u16; 8], 0).into(), to.into())
        }
    };
    UdpSocket::bind(any)?.send_to(&[], to)
}
