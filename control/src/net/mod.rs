//! The kernel's part, over rtnetlink: addresses, neighbours, routes and links of this node.
//!
//! The kernel keeps ARP/ND and routes; this module asks it, adds the service addresses, keeps servers and gateways
//! resolved, and turns its multicast notifications into [`NetEvent`]s. Two sockets: requests go through `rtnetlink`,
//! notifications through a socket of our own, because only there an overrun can be told from silence.
//!
//! A [`Net`] belongs to the network namespace of the thread that opened it, for good.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel's lists of attributes and messages grow; whatever is not looked for is skipped"
)]

mod address;
mod error;
mod event;
mod link;
mod neighbour;
mod request;
mod route;
mod subscribe;

use std::net::IpAddr;

use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use tokio::sync::mpsc;

pub use address::{ADDRESS_PROTOCOL, Added, NodeAddress, Place, Tried};
pub use error::NetError;
pub use link::{LinkInfo, VlanLink};
pub use neighbour::{PROBE_INTERVAL, Upkeep};
pub use route::NextHop;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Something about this node's network changed.
///
/// `Addresses` and `Routes` say only *that* something changed: ask again. A burst of them arrives as one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetEvent {
    /// A neighbour was resolved, changed its address, failed or was deleted. The same state may be told twice.
    Neighbour {
        /// The interface that the neighbour is on.
        ifindex: u32,
        /// The neighbour's address.
        ip: IpAddr,
        /// Where frames for it go; `None` when it failed, was deleted or is not resolved.
        mac: Option<Mac>,
    },
    /// An interface appeared or changed.
    Link {
        /// Its index.
        ifindex: u32,
        /// Administratively up *and* carrier present.
        up: bool,
        /// Its Ethernet address; `None` where the device has none.
        mac: Option<Mac>,
        /// Its MTU in bytes.
        mtu: u32,
        /// What it stands on, where it is a VLAN device.
        vlan: Option<VlanLink>,
    },
    /// An interface was deleted, or left this namespace.
    LinkRemoved {
        /// The index it had.
        ifindex: u32,
    },
    /// The addresses of this node changed: [`Net::local_addresses`].
    Addresses,
    /// Some route changed: next hops may differ now, [`Net::route_to`].
    Routes,
    /// Notifications were lost (ENOBUFS): everything known from events is doubtful, dump all of it again.
    Resync,
}

/// A handle to this namespace's rtnetlink. Clones share the same sockets.
#[derive(Debug, Clone)]
pub struct Net {
    handle: Handle,
    probed: neighbour::Probed,
}

impl Net {
    /// Open both sockets in the calling thread's network namespace and start their tasks on the current runtime.
    ///
    /// The subscription is in place before this returns, so a dump made afterwards misses nothing. The receiver may
    /// be slow: events then wait in the kernel, and become one [`NetEvent::Resync`] when its buffer is full. It ends
    /// only when the subscription broke, which the log explains.
    ///
    /// # Errors
    /// When a socket cannot be made or bound.
    pub fn open() -> Result<(Self, mpsc::Receiver<NetEvent>), NetError> {
        let (mut connection, handle, _unsolicited) =
            rtnetlink::new_connection().map_err(|source| NetError::io("opening a netlink socket", source))?;
        // An answer that was cut off must not look like a short answer: see request.rs.
        connection.set_forward_ack(true);
        connection.set_forward_done(true);
        tokio::spawn(connection);

        let events = subscribe::start()
            .map_err(|source| NetError::io("subscribing to netlink notifications", source))?;
        let probed = neighbour::Probed::default();
        neighbour::start_probing(handle.clone(), &probed);
        Ok((Self { handle, probed }, events))
    }
}

fn family_of(ip: IpAddr) -> AddressFamily {
    match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// The prefix length that covers exactly one address.
fn host_prefix(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}
