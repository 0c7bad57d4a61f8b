//! `[tunnel.NAME]` and `[snat.NAME]`: the addresses of ours that servers see.

use ringlead_wire::Ip;
use ringlead_wire::tunnel::Encapsulation;

/// `[tunnel.NAME]`: what stands in front of a packet on its way to a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TunnelConfig {
    /// NAME, unlike those of the tunnels that are built in.
    pub name: String,
    /// `type`, `variant` and `port`.
    pub encapsulation: Encapsulation,
    /// `source`: where outer IPv4 packets come from.
    pub source_v4: SourcePrefix,
    /// `source`: where outer IPv6 packets come from.
    pub source_v6: SourcePrefix,
}

/// `[snat.NAME]`: addresses and ports that servers see in place of clients'.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnatConfig {
    /// NAME.
    pub name: String,
    /// `addresses`: 1 to [`SnatPool::ADDRESSES_MAX`](ringlead_flow::snat::SnatPool::ADDRESSES_MAX), in no other pool; no
    /// service's and no server's.
    pub addresses: Vec<Ip>,
    /// `ports`: enough of them that each worker has a share.
    pub ports: std::ops::RangeInclusive<u16>,
}

/// The addresses that share the first `bits` bits of `ip`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourcePrefix {
    /// One of them.
    pub ip: Ip,
    /// At most the length of an address of its family.
    pub bits: u8,
}
