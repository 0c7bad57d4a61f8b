//! IP headers: what is read from the old one, and the new one.

use crate::bytes::{array, put};
use crate::checksum::Sum;
use crate::ip::Ip;

/// An IPv4 header without options, the only one written here.
pub(super) const V4_LEN: usize = 20;
/// The fixed IPv6 header.
pub(super) const V6_LEN: usize = 40;
/// IPv4 packets above this may not be fragmented: up to it they fit into 1280 bytes of IPv6 (RFC 7915 §5.1).
const FRAGMENTABLE_MAX: u16 = 1260;

/// What a header of one family says that one of the other says too.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    /// TOS or traffic class: DSCP and ECN.
    class: u8,
    /// TTL or hop limit.
    ttl: u8,
}

impl Fields {
    #[inline]
    pub(super) fn read(frame: &[u8], l3: usize, v4: bool) -> Option<Self> {
        if v4 {
            let [_, class, _, _, _, _, _, _, ttl] = array::<9>(frame, l3)?;
            return Some(Self { class, ttl });
        }
        let [version_class, class_label, _, _, _, _, _, ttl] = array::<8>(frame, l3)?;
        Some(Self { class: version_class << 4 | class_label >> 4, ttl })
    }

    /// One hop further. Whether the packet may go on at all was the caller's decision.
    #[inline]
    pub(super) const fn routed(self) -> Self {
        Self { ttl: self.ttl.saturating_sub(1), ..self }
    }
}

/// Source and destination of the header at `l3`.
#[inline]
pub(super) fn addresses(frame: &[u8], l3: usize, v4: bool) -> Option<(Ip, Ip)> {
    if v4 {
        Some((Ip::from_v4(array(frame, l3 + 12)?), Ip::from_v4(array(frame, l3 + 16)?)))
    } else {
        Some((Ip::from_v6(array(frame, l3 + 8)?), Ip::from_v6(array(frame, l3 + 24)?)))
    }
}

/// A header without options before `len` bytes (RFC 7915 §5.1); None where they are too many for it.
#[inline]
pub(super) fn ipv4_header(
    fields: &Fields,
    proto: u8,
    len: usize,
    id: u16,
    ends: (Ip, Ip),
) -> Option<[u8; V4_LEN]> {
    let total = u16::try_from(len + V4_LEN).ok()?;
    let [l0, l1] = total.to_be_bytes();
    // RFC 6864 §4.1: what cannot be fragmented needs no identification.
    let ([i0, i1], flags) = if total > FRAGMENTABLE_MAX { ([0; 2], 0x40) } else { (id.to_be_bytes(), 0) };
    let mut header = [0; V4_LEN];
    put(&mut header, 0, [0x45, fields.class, l0, l1, i0, i1, flags, 0, fields.ttl, proto]);
    put(&mut header, 12, ends.0.last4());
    put(&mut header, 16, ends.1.last4());
    let checksum = Sum::default().bytes(&header).checksum();
    put(&mut header, 10, checksum.to_be_bytes());
    Some(header)
}

/// A header before `len` bytes (RFC 7915 §4.1); None where they are too many for it.
#[inline]
pub(super) fn ipv6_header(fields: &Fields, next: u8, len: usize, ends: (Ip, Ip)) -> Option<[u8; V6_LEN]> {
    let [l0, l1] = u16::try_from(len).ok()?.to_be_bytes();
    let mut header = [0; V6_LEN];
    put(&mut header, 0, [0x60 | fields.class >> 4, fields.class << 4, 0, 0, l0, l1, next, fields.ttl]);
    put(&mut header, 8, ends.0.octets());
    put(&mut header, 24, ends.1.octets());
    Some(header)
}
