//! Next hops, asked as `ip route get` asks.

use std::net::IpAddr;

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType, RouteVia};

use super::{Net, NetError, family_of, host_prefix, request};

/// Where a packet goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextHop {
    /// Whose MAC address the frame gets; the destination itself when it is on-link. May be IPv6 for an IPv4
    /// destination (RFC 8950 routes).
    pub gateway: IpAddr,
    /// The interface that the packet leaves by.
    pub ifindex: u32,
}

impl Net {
    /// [`Net::route_to`] for many, in their order.
    pub async fn routes_to(
        &self,
        ips: impl IntoIterator<Item = IpAddr>,
    ) -> Vec<(IpAddr, Result<NextHop, NetError>)> {
        request::all(ips, |ip| async move { (ip, self.route_to(ip).await) }).await
    }

    /// The kernel's next hop for a packet of this node to `ip`: policy rules and every table are considered, and of
    /// several equal next hops one is chosen.
    ///
    /// # Errors
    /// [`NetError::NoRoute`], also for unreachable, blackhole, broadcast and multicast destinations;
    /// [`NetError::LocalAddress`] when `ip` is this node's own.
    pub async fn route_to(&self, ip: IpAddr) -> Result<NextHop, NetError> {
        let mut message = RouteMessage::default();
        message.header.address_family = family_of(ip);
        message.header.destination_prefix_length = host_prefix(ip);
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(ip)));

        let doing = format!("asking for the route to {ip}");
        match request::get(&self.handle, RouteNetlinkMessage::GetRoute(message), &doing).await {
            Ok(RouteNetlinkMessage::NewRoute(route)) => next_hop(&route, ip),
            Ok(_) => Err(NetError::NoAnswer { doing }),
            Err(error) => Err(refusal(error, ip)),
        }
    }
}

fn next_hop(route: &RouteMessage, to: IpAddr) -> Result<NextHop, NetError> {
    let no_route = |reason: &str| NetError::NoRoute { to, reason: reason.to_owned() };
    match route.header.kind {
        RouteType::Unicast => {}
        RouteType::Local => return Err(NetError::LocalAddress { to }),
        RouteType::Broadcast | RouteType::Anycast | RouteType::Multicast => {
            return Err(no_route("not a unicast address"));
        }
        _ => return Err(no_route("the route refuses traffic")),
    }
    let ifindex = route.attributes.iter().find_map(|a| match a {
        RouteAttribute::Oif(ifindex) => Some(*ifindex),
        _ => None,
    });
    let gateway = route.attributes.iter().find_map(|a| match a {
        RouteAttribute::Gateway(RouteAddress::Inet(ip)) | RouteAttribute::Via(RouteVia::Inet(ip)) => {
            Some(IpAddr::V4(*ip))
        }
        RouteAttribute::Gateway(RouteAddress::Inet6(ip)) | RouteAttribute::Via(RouteVia::Inet6(ip)) => {
            Some(IpAddr::V6(*ip))
        }
        _ => None,
    });
    let ifindex = ifindex.ok_or_else(|| no_route("the route names no interface"))?;
    Ok(NextHop { gateway: gateway.unwrap_or(to), ifindex })
}

/// The kernel refuses with an errno: unreachable, prohibited (EACCES), blackhole (EINVAL).
fn refusal(error: NetError, to: IpAddr) -> NetError {
    let reason = match error.errno() {
        Some(libc::ENETUNREACH) => "network unreachable",
        Some(libc::EHOSTUNREACH) => "host unreachable",
        Some(libc::EACCES) => "prohibited",
        Some(libc::EINVAL) => "blackhole",
        _ => return error,
    };
    NetError::NoRoute { to, reason: reason.to_owned() }
}
