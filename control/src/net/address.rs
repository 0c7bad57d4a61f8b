//! Addresses of this node, and the service addresses that ringlead adds to it.

use std::collections::{BTreeMap, BTreeSet};
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

/// An interface and an address on it.
pub type Place = (u32, IpAddr);

/// A place, and what came of a change there.
pub type Tried<T> = (Place, Result<T, NetError>);
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

    /// Put a service address on an interface: [`Net::add_addresses`] with one.
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn add_address(&self, ifindex: u32, ip: IpAddr) -> Result<Added, NetError> {
        let mut done = self.add_addresses(&BTreeSet::from([(ifindex, ip)])).await?;
        done.pop().map_or_else(|| Err(no_answer("adding an address")), |(_, result)| result)
    }

    /// Put service addresses on interfaces as /32 or /128: answered by ARP/ND at once (no duplicate detection), no
    /// prefix route, deprecated for ever so that IPv6 never takes them as a source (RFC 6724 rule 3), tagged. Says of each
    /// what came of it. What is there is listed once, however many they are.
    ///
    /// IPv4 has no such rule: there the kernel prefers the interface's address in the next hop's subnet, then its
    /// first one, so the interface needs a real address before its first service address.
    ///
    /// # Errors
    /// When the addresses that are there cannot be listed; nothing was added then.
    pub async fn add_addresses(&self, wanted: &BTreeSet<Place>) -> Result<Vec<Tried<Added>>, NetError> {
        let there = self.places().await?;
        let known = |at: &Place| there.get(at).map(|ours| found(*ours));
        let mut done: Vec<Tried<Added>> =
            wanted.iter().filter_map(|at| Some((*at, Ok(known(at)?)))).collect();
        let new = wanted.iter().copied().filter(|at| !there.contains_key(at));
        let added = request::all(new, |at| async move { (at, self.add(at).await) }).await;
        let late = |(_, result): &Tried<Added>| {
            result.as_ref().is_err_and(|error| error.errno() == Some(libc::EEXIST))
        };
        // Somebody was faster than our look: look again.
        let there = if added.iter().any(late) { self.places().await? } else { BTreeMap::new() };
        done.extend(added.into_iter().map(|tried| match there.get(&tried.0) {
            Some(ours) if late(&tried) => (tried.0, Ok(found(*ours))),
            _ => tried,
        }));
        Ok(done)
    }

    async fn add(&self, (ifindex, ip): Place) -> Result<Added, NetError> {
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
        request::change(&self.handle, message, NLM_F_CREATE | NLM_F_EXCL, &doing).await.map(|()| Added::New)
    }

    /// Take a service address away: [`Net::remove_addresses`] with one. `false` when there was none of ours.
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn remove_address(&self, ifindex: u32, ip: IpAddr) -> Result<bool, NetError> {
        match self.remove_addresses(|at| at == (ifindex, ip)).await?.pop() {
            Some((_, result)) => result,
            None => Ok(false),
        }
    }

    /// Take those service addresses away for which `gone` is true; an address without our tag stays. Says of each whether it
    /// was still there. What is there is listed once, however many they are.
    ///
    /// # Errors
    /// When the addresses that are there cannot be listed; nothing was removed then.
    pub async fn remove_addresses(&self, gone: impl Fn(Place) -> bool) -> Result<Vec<Tried<bool>>, NetError> {
        let ours = self.our_addresses().await?.into_iter().filter(|at| gone(*at));
        Ok(request::all(ours, |at| async move { (at, self.remove(at).await) }).await)
    }

    async fn remove(&self, (ifindex, ip): Place) -> Result<bool, NetError> {
        let message = RouteNetlinkMessage::DelAddress(host_address(ifindex, ip));
        let doing = format!("removing {ip} from interface {ifindex}");
        match request::change(&self.handle, message, 0, &doing).await {
            Ok(()) => Ok(true),
            Err(error) if error.errno() == Some(libc::EADDRNOTAVAIL) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Every address with whether it is ours. IPv4 lets one stand twice on an interface, with two prefix lengths, so the
    /// kernel's EEXIST is not enough to find a foreign one.
    async fn places(&self) -> Result<BTreeMap<Place, bool>, NetError> {
        let mut places = BTreeMap::new();
        for entry in self.addresses().await? {
            *places.entry((entry.ifindex, entry.ip)).or_default() |= entry.ours;
        }
        Ok(places)
    }
}

/// What an address that is there means for who wants to add it.
fn found(ours: bool) -> Added {
    if ours { Added::AlreadyOurs } else { Added::Foreign }
}

fn no_answer(doing: &str) -> NetError {
    NetError::NoAnswer { doing: doing.to_owned() }
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
