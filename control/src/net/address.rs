//! Addresses of this node, and the service addresses that ringlead adds to it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo,
};

use super::{Net, NetError, family_of, host_prefix, request};

/// The tag (IFA_PROTO, kernel 5.18 and later) by which service addresses are found again after a crash; `ip address`
/// shows it as `proto 0xba`. Older kernels drop it, and [`Net::our_addresses`] finds nothing there.
pub const ADDRESS_PROTOCOL: u8 = 0xBA;

/// "For ever" in the kernel's words (INFINITY_LIFE_TIME).
const FOR_EVER: u32 = u32::MAX;

/// What adding an address found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It was not there.
    New,
    /// It was there and carries our tag.
    AlreadyOurs,
    /// Somebody else put it on this interface. It serves as it is, and [`Net::remove_address`] will leave it.
    Foreign,
}

/// An address of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeAddress {
    /// The interface that it is on.
    pub ifindex: u32,
    /// The address.
    pub ip: IpAddr,
    /// How many of its bits are its network's.
    pub prefix_len: u8,
    /// Whether it carries our tag, [`ADDRESS_PROTOCOL`].
    pub ours: bool,
}

impl NodeAddress {
    /// Whether `ip` is in its network, so that neighbours on that interface ask for `ip` themselves.
    #[must_use]
    pub fn network_has(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                let differ = own.to_bits() ^ ip.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix_len)
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                let differ = own.to_bits() ^ ip.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix_len)
            }
            _ => false,
        }
    }
}

impl Net {
    /// Every address of this node, on every interface.
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn local_addresses(&self) -> Result<BTreeSet<IpAddr>, NetError> {
        Ok(self.addresses().await?.iter().map(|entry| entry.ip).collect())
    }

    /// Every address of this node, with the interface and the network that it is in.
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn addresses(&self) -> Result<Vec<NodeAddress>, NetError> {
        let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answer = request::dump(&self.handle, question, "listing addresses").await?;
        Ok(answer.iter().filter_map(read).collect())
    }

    /// The service addresses that ringlead added, by their tag: (interface, address), this process's or a dead one's.
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn our_addresses(&self) -> Result<Vec<(u32, IpAddr)>, NetError> {
        let all = self.addresses().await?;
        Ok(all.iter().filter(|entry| entry.ours).map(|entry| (entry.ifindex, entry.ip)).collect())
    }

    /// Put a service address on an interface as /32 or /128: answered by ARP/ND at once (no duplicate detection), no
    /// prefix route, deprecated for ever so that IPv6 never takes it as a source (RFC 6724 rule 3), tagged.
    ///
    /// IPv4 has no such rule: there the kernel prefers the interface's address in the next hop's subnet, then its
    /// first one, so the interface needs a real address before its first service address.
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn add_address(&self, ifindex: u32, ip: IpAddr) -> Result<Added, NetError> {
        if let Some(found) = self.find(ifindex, ip).await? {
            return Ok(found);
        }
        let mut message = host_address(ifindex, ip);
        let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_preferred = 0;
        lifetime.ifa_valid = FOR_EVER;
        message.attributes.push(AddressAttribute::Flags(flags));
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(ADDRESS_PROTOCOL)));

        let doing = format!("adding {ip} to interface {ifindex}");
        let message = RouteNetlinkMessage::NewAddress(message);
        match request::change(&self.handle, message, NLM_F_CREATE | NLM_F_EXCL, &doing).await {
            Ok(()) => Ok(Added::New),
            // Somebody was faster than our look: look again.
            Err(error) if error.errno() == Some(libc::EEXIST) => self.find(ifindex, ip).await?.ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// Take a service address away. `false` when there was none of ours; an address without our tag stays.
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn remove_address(&self, ifindex: u32, ip: IpAddr) -> Result<bool, NetError> {
        let all = self.addresses().await?;
        if !all.iter().any(|entry| entry.ours && (entry.ifindex, entry.ip) == (ifindex, ip)) {
            return Ok(false);
        }
        let message = RouteNetlinkMessage::DelAddress(host_address(ifindex, ip));
        let doing = format!("removing {ip} from interface {ifindex}");
        match request::change(&self.handle, message, 0, &doing).await {
            Ok(()) => Ok(true),
            Err(error) if error.errno() == Some(libc::EADDRNOTAVAIL) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// IPv4 lets one address stand twice on an interface, with two prefix lengths, so the kernel's EEXIST is not
    /// enough to find a foreign one.
    async fn find(&self, ifindex: u32, ip: IpAddr) -> Result<Option<Added>, NetError> {
        let all = self.addresses().await?;
        let mut here = all.iter().filter(|entry| (entry.ifindex, entry.ip) == (ifindex, ip)).peekable();
        if here.peek().is_none() {
            return Ok(None);
        }
        Ok(Some(if here.any(|entry| entry.ours) { Added::AlreadyOurs } else { Added::Foreign }))
    }
}

fn read(message: &RouteNetlinkMessage) -> Option<NodeAddress> {
    let RouteNetlinkMessage::NewAddress(m) = message else { return None };
    // On a point-to-point interface IFA_ADDRESS is the peer's and IFA_LOCAL ours; elsewhere IPv6 has only the former.
    let local = m.attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let address = m.attributes.iter().find_map(|a| match a {
        AddressAttribute::Address(ip) => Some(*ip),
        _ => None,
    });
    let tag = AddressAttribute::Protocol(AddressProtocol::Other(ADDRESS_PROTOCOL));
    let (ifindex, prefix_len, ours) = (m.header.index, m.header.prefix_len, m.attributes.contains(&tag));
    Some(NodeAddress { ifindex, ip: local.or(address)?, prefix_len, ours })
}

fn host_address(ifindex: u32, ip: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family_of(ip);
    message.header.prefix_len = host_prefix(ip);
    message.header.index = ifindex;
    message.attributes.push(AddressAttribute::Local(ip));
    message.attributes.push(AddressAttribute::Address(ip));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_as_its_own() {
        let at = |ip: &str, prefix_len| NodeAddress {
            ifindex: 1,
            ip: ip.parse().unwrap(),
            prefix_len,
            ours: false,
        };
        let has = |of: NodeAddress, ip: &str| of.network_has(ip.parse().unwrap());
        assert!(has(at("10.0.2.1", 24), "10.0.2.200") && !has(at("10.0.2.1", 24), "10.0.3.1"));
        assert!(has(at("10.0.2.1", 32), "10.0.2.1") && !has(at("10.0.2.1", 32), "10.0.2.0"));
        assert!(has(at("10.0.2.1", 0), "192.0.2.1"));
        assert!(has(at("fd02::1", 64), "fd02::c8") && !has(at("fd02::1", 64), "fd02:0:0:1::c8"));
        assert!(has(at("fd02::1", 128), "fd02::1") && !has(at("fd02::1", 0), "10.0.2.1"));
    }
}
