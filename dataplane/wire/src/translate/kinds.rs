//! ICMP types and codes and their ICMPv6 counterparts (RFC 7915 §4.2 and §5.2). None: there is none, drop it silently.

/// Start of an ICMP error: type, code and the second word of the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Kind {
    pub(super) kind: u8,
    pub(super) code: u8,
    /// MTU or pointer; the length attribute of RFC 4884 is the caller's.
    pub(super) rest: [u8; 4],
}

const fn plain(kind: u8, code: u8) -> Kind {
    Kind { kind, code, rest: [0; 4] }
}

/// From ICMP to ICMPv6 (RFC 7915 §4.2). `quoted_len` is the total length that the quoted IPv4 header names, `mtu` the
/// largest MTU to be named.
pub(super) fn to_v6(old: Kind, quoted_len: u16, mtu: u16) -> Option<Kind> {
    let [pointer, _, m0, m1] = old.rest;
    match (old.kind, old.code) {
        (3, 0 | 1 | 5..=8 | 11 | 12) => Some(plain(1, 0)),
        // Protocol unreachable: the pointer is at the next header field.
        (3, 2) => Some(Kind { rest: [0, 0, 0, 6], ..plain(4, 1) }),
        (3, 3) => Some(plain(1, 4)),
        (3, 4) => {
            let named = mtu_to_v6(u16::from_be_bytes([m0, m1]), quoted_len, mtu);
            Some(Kind { rest: named.to_be_bytes(), ..plain(2, 0) })
        }
        (3, 9 | 10 | 13 | 15) => Some(plain(1, 1)),
        (11, code) => Some(plain(3, code)),
        (12, 0 | 2) => {
            let pointer = pointer_to_v6(pointer)?;
            Some(Kind { rest: [0, 0, 0, pointer], ..plain(4, 0) })
        }
        _ => None,
    }
}

/// From ICMPv6 to ICMP (RFC 7915 §5.2). `mtu` is the largest MTU to be named.
pub(super) fn to_v4(old: Kind, mtu: u16) -> Option<Kind> {
    match (old.kind, old.code) {
        (1, 0 | 2 | 3) => Some(plain(3, 1)),
        (1, 1) => Some(plain(3, 10)),
        (1, 4) => Some(plain(3, 3)),
        (2, _) => {
            let [m0, m1] = mtu_to_v4(u32::from_be_bytes(old.rest), mtu).to_be_bytes();
            Some(Kind { rest: [0, 0, m0, m1], ..plain(3, 4) })
        }
        (3, code) => Some(plain(11, code)),
        (4, 0) => {
            let pointer = pointer_to_v4(u32::from_be_bytes(old.rest))?;
            Some(Kind { rest: [pointer, 0, 0, 0], ..plain(12, 0) })
        }
        (4, 1) => Some(plain(3, 2)),
        _ => None,
    }
}

/// The smallest MTU of IPv6.
const MTU_MIN_V6: u16 = 1280;
/// What an IPv6 header is longer than an IPv4 one.
const LONGER: u16 = 20;
/// RFC 1191 §7.1, those that an IPv6 packet can have.
const PLATEAUS: [u16; 6] = [32_000, 17_914, 8166, 4352, 2002, 1492];

/// RFC 7915 §4.2. A router from before RFC 1191 names no MTU: then it is the next plateau below what was too long.
fn mtu_to_v6(named: u16, quoted_len: u16, largest: u16) -> u32 {
    let likely = || PLATEAUS.into_iter().find(|plateau| *plateau < quoted_len).unwrap_or(MTU_MIN_V6);
    let mtu = if named == 0 { likely() } else { named.saturating_add(LONGER) };
    mtu.min(largest).max(MTU_MIN_V6).into()
}

/// RFC 7915 §5.2. Less than 1280 is no MTU of IPv6 and counts as that (RFC 8201 §4): IPv4 hosts are never told to go
/// below 1260.
fn mtu_to_v4(named: u32, largest: u16) -> u16 {
    let named = u16::try_from(named).unwrap_or(u16::MAX).max(MTU_MIN_V6);
    (named - LONGER).min(largest)
}

/// RFC 7915 figure 3.
const fn pointer_to_v6(pointer: u8) -> Option<u8> {
    match pointer {
        0 | 1 => Some(pointer),
        2 | 3 => Some(4),
        8 => Some(7),
        9 => Some(6),
        12..=15 => Some(8),
        16..=19 => Some(24),
        _ => None,
    }
}

/// RFC 7915 figure 6.
const fn pointer_to_v4(pointer: u32) -> Option<u8> {
    match pointer {
        0 => Some(0),
        1 => Some(1),
        4 | 5 => Some(2),
        6 => Some(9),
        7 => Some(8),
        8..=23 => Some(12),
        24..=39 => Some(16),
        _ => None,
    }
}
