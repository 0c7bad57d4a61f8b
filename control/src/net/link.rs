//! The interfaces of this namespace.

use ringlead_wire::Vid;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkInfo as Detail, LinkMessage, VlanProtocol,
};

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
    /// What it stands on, where it is a VLAN device.
    pub vlan: Option<VlanLink>,
}

/// What an 802.1Q VLAN device stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VlanLink {
    /// The index of the interface that its frames leave by, with the tag.
    pub parent: u32,
    /// The tag's VLAN.
    pub vid: Vid,
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
        vlan: vlan(m),
    })
}

fn details(message: &LinkMessage) -> Option<&[Detail]> {
    message.attributes.iter().find_map(|a| match a {
        LinkAttribute::LinkInfo(details) => Some(details.as_slice()),
        _ => None,
    })
}

/// What a device stands on, if it puts one 802.1Q tag on frames (IFLA_LINK, IFLA_VLAN_ID).
///
/// `None` for all others: those of 802.1ad, whose tag has another EtherType, and those whose parent is in another namespace
/// (IFLA_LINK_NETNSID), where the index means another interface.
pub(super) fn vlan(message: &LinkMessage) -> Option<VlanLink> {
    let data = details(message)?.iter().find_map(|detail| match detail {
        Detail::Data(InfoData::Vlan(data)) => Some(data),
        _ => None,
    })?;
    let vid = data.iter().find_map(|of| match of {
        InfoVlan::Id(vid) => Vid::new(*vid),
        _ => None,
    })?;
    let foreign = message.attributes.iter().any(|a| matches!(a, LinkAttribute::LinkNetNsId(_)));
    let another = |of: &InfoVlan| matches!(of, InfoVlan::Protocol(p) if *p != VlanProtocol::Ieee8021Q);
    if foreign || data.iter().any(another) {
        return None;
    }
    let parent = message.attributes.iter().find_map(|a| match a {
        LinkAttribute::Link(parent) => Some(*parent),
        _ => None,
    })?;
    Some(VlanLink { parent, vid })
}

fn kind(message: &LinkMessage) -> Option<String> {
    details(message)?.iter().find_map(|detail| match detail {
        Detail::Kind(InfoKind::Other(kind)) => Some(kind.clone()),
        Detail::Kind(kind) => Some(kind.to_string()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};

    /// One netlink attribute, padded.
    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// RTM_NEWLINK about interface 9 as the kernel's vlan_fill_info writes it: `vlan`, the protocol in network order, the
    /// identifier in the machine's, flags and their mask.
    fn vlan_device(protocol: u16, vid: u16, more: &[Vec<u8>]) -> RouteNetlinkMessage {
        let data = [
            attribute(5, &protocol.to_be_bytes()),
            attribute(1, &vid.to_ne_bytes()),
            attribute(2, &[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
        ];
        let info = [attribute(1, b"vlan\0"), attribute(2, &data.concat())].concat();
        let mut header = vec![0, 0, 1, 0];
        header.extend(9_u32.to_ne_bytes());
        header.extend(0x1_1043_u32.to_ne_bytes()); // up, broadcast, running, multicast, lower up
        header.extend([0; 4]);
        let attributes = [attribute(3, b"vlan20\0"), attribute(4, &1500_u32.to_ne_bytes())].concat();
        let body = [header, attributes, more.concat(), attribute(18, &info)].concat();
        let len = u32::try_from(16 + body.len()).unwrap();
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend(16_u16.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes).unwrap();
        let NetlinkPayload::InnerMessage(message) = message.payload else { panic!("{message:?}") };
        message
    }

    fn parent(ifindex: u32) -> Vec<u8> {
        attribute(5, &ifindex.to_ne_bytes())
    }

    #[test]
    fn a_vlan_device_says_what_it_stands_on() {
        let link = read(&vlan_device(0x8100, 20, &[parent(4)])).unwrap();
        assert_eq!((link.ifindex, link.name.as_str(), link.kind.as_deref()), (9, "vlan20", Some("vlan")));
        assert_eq!((link.up, link.mtu), (true, 1500));
        assert_eq!(link.vlan, Some(VlanLink { parent: 4, vid: Vid::new(20).unwrap() }));
    }

    #[test]
    fn a_device_whose_frames_we_could_not_make_stands_on_nothing() {
        let elsewhere = attribute(37, &0_u32.to_ne_bytes());
        for (why, message) in [
            ("802.1ad", vlan_device(0x88a8, 20, &[parent(4)])),
            ("its parent is in another namespace", vlan_device(0x8100, 20, &[parent(4), elsewhere])),
            ("no parent", vlan_device(0x8100, 20, &[])),
            ("priority tags only", vlan_device(0x8100, 0, &[parent(4)])),
        ] {
            let link = read(&message).unwrap();
            assert_eq!((link.kind.as_deref(), link.vlan), (Some("vlan"), None), "{why}");
        }
    }
}
