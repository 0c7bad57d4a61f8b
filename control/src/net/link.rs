//! The interfaces of this namespace.

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo as Detail, LinkMessage};

use super::{Mac, Net, NetError, event, request};

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkInfo {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Administratively up *and* carrier present.
    pub up: bool,
    /// Its Ethernet address; `None` where the device has none.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// The kernel's word for a virtual device (`veth`, `bond`, `vlan`); `None` for hardware and `lo`.
    pub kind: Option<String>,
}

impl Net {
    /// Every interface, in no particular order. With [`Net::neighbours`] and [`Net::local_addresses`] this is what
    /// to ask again after [`super::NetEvent::Resync`].
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn links(&self) -> Result<Vec<LinkInfo>, NetError> {
        let question = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answer = request::dump(&self.handle, question, "listing interfaces").await?;
        Ok(answer.iter().filter_map(read).collect())
    }
}

fn read(message: &RouteNetlinkMessage) -> Option<LinkInfo> {
    let RouteNetlinkMessage::NewLink(m) = message else { return None };
    let name = m.attributes.iter().find_map(|a| match a {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    Some(LinkInfo {
        ifindex: m.header.index,
        name,
        up: event::link_up(m),
        mac: event::link_mac(m),
        mtu: event::link_mtu(m),
        kind: kind(m),
    })
}

fn kind(message: &LinkMessage) -> Option<String> {
    let details = message.attributes.iter().find_map(|a| match a {
        LinkAttribute::LinkInfo(details) => Some(details),
        _ => None,
    })?;
    details.iter().find_map(|detail| match detail {
        Detail::Kind(InfoKind::Other(kind)) => Some(kind.clone()),
        Detail::Kind(kind) => Some(kind.to_string()),
        _ => None,
    })
}
