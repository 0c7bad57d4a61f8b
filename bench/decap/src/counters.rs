//! What became of the packets that arrived.

use crate::layout::{COUNTERS, DROPPED_ECN, PASSED, REFUSED};

/// Packets since the program was attached. Each packet is in exactly one counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Taken from IPIP: outer protocol 4 or 41 (RFC 2003, RFC 2473, RFC 4213).
    pub ipip: Taken,
    /// Taken from GUE, variant 0: a header of four bytes.
    pub gue0: Taken,
    /// Taken from GUE, variant 1: no header.
    pub gue1: Taken,
    /// Dropped by RFC 6040: congestion on the way, and an inner packet that cannot say so.
    pub dropped_ecn: u64,
    /// To a tunnel address and in a tunnel's form, but damaged or in a variant that is not taken; passed untouched.
    pub refused: u64,
    /// Everything else, passed untouched.
    pub passed: u64,
}

/// Packets taken, by the families of their headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// IPv4 in IPv4.
    pub v4_in_v4: u64,
    /// IPv6 in IPv4.
    pub v6_in_v4: u64,
    /// IPv4 in IPv6.
    pub v4_in_v6: u64,
    /// IPv6 in IPv6.
    pub v6_in_v6: u64,
}

impl Taken {
    /// All four families.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.v4_in_v4 + self.v6_in_v4 + self.v4_in_v6 + self.v6_in_v6
    }
}

impl Counters {
    /// Packets taken, of all kinds and families.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.ipip.all() + self.gue0.all() + self.gue1.all()
    }

    /// From the counters in the order of bpf/decap.c.
    pub(crate) fn from_map(counts: &[u64; COUNTERS]) -> Self {
        let taken = |kind: usize| Taken {
            v4_in_v4: counts[kind * 4],
            v6_in_v4: counts[kind * 4 + 1],
            v4_in_v6: counts[kind * 4 + 2],
            v6_in_v6: counts[kind * 4 + 3],
        };
        Self {
            ipip: taken(0),
            gue0: taken(1),
            gue1: taken(2),
            dropped_ecn: counts[DROPPED_ECN],
            refused: counts[REFUSED],
            passed: counts[PASSED],
        }
    }
}
