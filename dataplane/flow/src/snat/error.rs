//! Why there is no pool.

use std::fmt;
use std::ops::RangeInclusive;

use ringlead_wire::Ip;

use crate::snat::SnatPool;

/// Why a [`SnatPool`] cannot be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SnatError {
    /// No address, or more than [`SnatPool::ADDRESSES_MAX`]; that many.
    Addresses(usize),
    /// An address that is there twice.
    Twice(Ip),
    /// A range of ports that is empty or starts at 0.
    Ports(RangeInclusive<u16>),
    /// `workers` is 0.
    NoWorkers,
    /// The range gives some worker fewer than [`SnatPool::SHARE_MIN`] ports of an address.
    TooFewPorts {
        /// The range.
        ports: RangeInclusive<u16>,
        /// The number of workers.
        workers: usize,
        /// What the worker with the fewest would get of each address.
        share: u32,
    },
}

impl fmt::Display for SnatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(n) => {
                write!(f, "a pool has 1 to {} addresses, not {n}", SnatPool::ADDRESSES_MAX)
            }
            Self::Twice(ip) => write!(f, "the address {ip} is in the pool twice"),
            Self::Ports(ports) => {
                write!(f, "no range of ports from 1 to 65535: {}-{}", ports.start(), ports.end())
            }
            Self::NoWorkers => write!(f, "a pool needs at least one worker"),
            Self::TooFewPorts { ports, workers, share } => write!(
                f,
                "the ports {}-{} leave one of {workers} workers {share} ports of an address; each needs {} or more, \
                 and they are dealt in groups of 64",
                ports.start(),
                ports.end(),
                SnatPool::SHARE_MIN
            ),
        }
    }
}

impl std::error::Error for SnatError {}
