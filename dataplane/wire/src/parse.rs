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

/// Length of an Ethernet header without VLAN tags.
const UNTAGGED: u16 = 14;

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
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "a burst's loop calls it once, and keeps its own values in registers"
)]
pub fn parse_into(frame: &[u8], meta: &mut Meta) -> Result<(), Malformed> {
    *meta = Meta::default();
    let header = Ethernet2HeaderSlice::from_slice(frame).map_err(|_| Malformed::FrameShort)?;
    meta.l3 = UNTAGGED;
    match header.ether_type().0 {
        ETHERTYPE_IPV4 => ipv4::parse(frame, UNTAGGED, meta),
        ETHERTYPE_IPV6 => ipv6::parse(frame, UNTAGGED, meta),
        ethertype if is_tag(ethertype) => tagged(frame, meta, ethertype),
        _ => Err(Malformed::NotIp),
    }
}

/// Reads one or two VLAN tags and what is behind them; `ethertype` says that there is a first one.
#[inline(never)]
fn tagged(frame: &[u8], meta: &mut Meta, mut ethertype: u16) -> Result<(), Malformed> {
    for tag in &mut meta.vlan {
        if !is_tag(ethertype) {
            break;
        }
        let rest = frame.get(usize::from(meta.l3)..).unwrap_or_default();
        let slice = SingleVlanHeaderSlice::from_slice(rest).map_err(|_| Malformed::FrameShort)?;
        let control = slice.slice().first_chunk::<2>().copied().unwrap_or_default();
        *tag = u16::from_be_bytes(control);
        ethertype = slice.ether_type().0;
        meta.l3 += 4;
        meta.vlans += 1;
    }
    match ethertype {
        ETHERTYPE_IPV4 => ipv4::parse(frame, meta.l3, meta),
        ETHERTYPE_IPV6 => ipv6::parse(frame, meta.l3, meta),
        ethertype if is_tag(ethertype) => Err(Malformed::VlanDepth),
        _ => Err(Malformed::NotIp),
    }
}

/// Whether a VLAN tag follows.
#[inline]
const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_QINQ | ETHERTYPE_QINQ_OLD)
}
