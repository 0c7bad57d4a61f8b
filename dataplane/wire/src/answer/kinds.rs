//! What each error's ICMP header holds in both families.

use crate::answer::Made;

/// The least MTU that is announced: what every IPv4 host reassembles (RFC 791 §3.1), and IPv6's least (RFC 8200 §5).
const IPV4_MTU_MIN: u16 = 576;
const IPV6_MTU_MIN: u16 = 1280;

impl Made {
    /// Type, code, checksum 0 and the second word, of ICMP or else ICMPv6.
    pub(super) fn header(self, v4: bool) -> [u8; 8] {
        let [kind, code] = if v4 { self.icmp() } else { self.icmpv6() };
        let least = if v4 { IPV4_MTU_MIN } else { IPV6_MTU_MIN };
        let word = if let Self::TooBig { mtu } = self { mtu.max(least) } else { 0 };
        // Sixteen bits behind unused ones (RFC 1191 §4), or thirty-two (RFC 4443 §3.2): the same place.
        let [m0, m1] = word.to_be_bytes();
        [kind, code, 0, 0, 0, 0, m0, m1]
    }

    /// Type and code (RFC 792, RFC 1812 §5.2.7.1).
    const fn icmp(self) -> [u8; 2] {
        match self {
            Self::TooBig { .. } => [3, 4],
            Self::PortUnreachable => [3, 3],
            Self::HostUnreachable => [3, 1],
            Self::AdminProhibited => [3, 13],
            Self::TtlExceeded => [11, 0],
        }
    }

    /// Type and code (RFC 4443 §3).
    const fn icmpv6(self) -> [u8; 2] {
        match self {
            Self::TooBig { .. } => [2, 0],
            Self::PortUnreachable => [1, 4],
            Self::HostUnreachable => [1, 3],
            Self::AdminProhibited => [1, 1],
            Self::TtlExceeded => [3, 0],
        }
    }
}
