//! From bytes to [`Meta`]: Ethernet and VLAN here, the rest one file a layer.
//!
//! Every length that a later stage relies on is checked here once: an offset in a [`Meta`] lies inside its frame.

use etherparse::{Ethernet2HeaderSlice, SingleVlanHeaderSlice};

use crate::malformed::Malformed;
use crate::meta::Meta;

pub(crate) mod icmp;
pub(crate) mod ipv4;
pub(crate) mod ipv6;
pub(crate) mod transport;

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// EtherType of a customer VLAN tag (IEEE 802.1Q).
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// EtherType of a service VLAN tag (IEEE 802.1ad).
pub const ETHERTYPE_QINQ: u16 = 0x88a8;
/// EtherType of an outer tag before 802.1ad was there.
pub const ETHERTYPE_QINQ_OLD: u16 = 0x9100;

/// Parses the headers of one Ethernet frame (without FCS).
///
/// # Errors
/// The first thing that is wrong with it; [`Malformed::NotIp`] for everything that is no IP packet.
#[inline]
pub fn parse(frame: &[u8]) -> Result<Meta, Malformed> {
    let mut meta = Meta::default();
    parse_into(frame, &mut meta)?;
    Ok(meta)
}

/// As [`parse`](fn@parse), into a place that is there already: a burst's metas are then written once and copied never.
///
/// # Errors
/// As [`parse`](fn@parse); `meta` then holds what was read so far and is worth nothing.
#[inline]
pub fn parse_into(frame: &[u8], meta: &mut Meta) -> Result<(), Malformed> {
    *meta = Meta::default();
    match ethernet(frame, meta)? {
        ETHERTYPE_IPV4 => ipv4::parse(frame, meta),
        ETHERTYPE_IPV6 => ipv6::parse(frame, meta),
        _ => Err(Malformed::NotIp),
    }
}

/// Reads the Ethernet header and up to two VLAN tags, and returns the EtherType behind them.
#[inline]
fn ethernet(frame: &[u8], meta: &mut Meta) -> Result<u16, Malformed> {
    let header = Ethernet2HeaderSlice::from_slice(frame).map_err(|_| Malformed::FrameShort)?;
    let ethertype = header.ether_type().0;
    meta.l3 = 14;
    if is_tag(ethertype) { tags(frame, meta, ethertype) } else { Ok(ethertype) }
}

/// Reads one or two VLAN tags; `ethertype` says that there is a first one.
#[inline(never)]
fn tags(frame: &[u8], meta: &mut Meta, mut ethertype: u16) -> Result<u16, Malformed> {
    for tag in &mut meta.vlan {
        if !is_tag(ethertype) {
            return Ok(ethertype);
        }
        let rest = frame.get(usize::from(meta.l3)..).unwrap_or_default();
        let slice = SingleVlanHeaderSlice::from_slice(rest).map_err(|_| Malformed::FrameShort)?;
        let control = slice.slice().first_chunk::<2>().copied().unwrap_or_default();
        *tag = u16::from_be_bytes(control);
        ethertype = slice.ether_type().0;
        meta.l3 += 4;
        meta.vlans += 1;
    }
    if is_tag(ethertype) { Err(Malformed::VlanDepth) } else { Ok(ethertype) }
}

/// Whether a VLAN tag follows.
#[inline]
const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_QINQ | ETHERTYPE_QINQ_OLD)
}
