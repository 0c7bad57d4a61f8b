//! Over how many addresses and ports a mode spread its flows.

use crate::findings::Spread;
use std::collections::HashSet;
use std::net::SocketAddr;

/// Most addresses that are counted; ports are bounded by their size.
const ADDRESSES_MAX: usize = 65_536;

/// Different addresses and ports. Asked once a flow, not once a frame.
#[derive(Debug, Default)]
pub(crate) struct Spreading {
    addresses: HashSet<std::net::IpAddr>,
    ports: HashSet<u16>,
}

impl Spreading {
    /// Notes where a flow comes from; port 0 is none.
    pub(crate) fn note(&mut self, source: SocketAddr) {
        if self.addresses.len() < ADDRESSES_MAX {
            self.addresses.insert(source.ip());
        }
        if source.port() != 0 {
            self.ports.insert(source.port());
        }
    }

    /// What was seen.
    pub(crate) fn seen(&self, mappings: usize) -> Spread {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Spread {
            sources: count(self.addresses.len()),
            ports: count(self.ports.len()),
            mappings: count(mappings),
        }
    }
}
