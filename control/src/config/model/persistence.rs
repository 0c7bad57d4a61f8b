//! `[persistence.NAME]`: who comes back to the same server.

use std::time::Duration;

/// `[persistence.NAME]`: a table of clients and the servers that they were given, by source address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PersistenceConfig {
    /// NAME.
    pub name: String,
    /// `mask`: the bits of an IPv4 source that count, 1 to 32.
    pub mask_v4: u8,
    /// `mask6`: the bits of an IPv6 source that count, 1 to 128.
    pub mask_v6: u8,
    /// `timeout`, 1 s to 7 days: who has begun no flow for so long is forgotten.
    pub timeout: Duration,
    /// `size`: the most that are remembered at once, 8 to 16 777 216; 67 108 864 in all tables.
    pub entries: usize,
}
