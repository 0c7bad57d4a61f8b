//! ICMP errors that this node makes itself, each about one packet that it was given.
//!
//! How many may be sent is the caller's matter (RFC 1812 §4.3.2.8, RFC 4443 §2.4 f).

use crate::bytes::{array, put};
use crate::checksum::Sum;
use crate::ip::Ip;
use crate::meta::{Kind, Meta};
use crate::parse::transport::{ICMP, ICMPV6};

mod kinds;

/// Longest error: Ethernet with two tags and an IPv6 packet of 1280 bytes.
pub const MADE_LEN_MAX: usize = 22 + IPV6_TOTAL_MAX;

/// Longest errors as IP packets: what every host takes (RFC 1812 §4.3.2.3) and the least MTU (RFC 4443 §2.4 c).
const IPV4_TOTAL_MAX: usize = 576;
const IPV6_TOTAL_MAX: usize = 1280;

const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const ICMP_LEN: usize = 8;
/// TTL and hop limit of what this node sends itself (RFC 1700's default).
const TTL: u8 = 64;
/// Precedence "internetwork control" (RFC 1812 §4.3.2.5).
const TOS: u8 = 0xc0;

/// What a packet is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Made {
    /// 3/4 "fragmentation needed" (RFC 1191 §4) or Packet Too Big.
    ///
    /// An MTU below what every way must carry would only harm: an IPv4 one is announced as 576 bytes at least, an
    /// IPv6 one as 1280 (RFC 8201 §4). Over IPv4 it is meant for packets with don't-fragment; the caller knows.
    TooBig {
        /// The longest IP packet that fits, in bytes.
        mtu: u16,
    },
    /// 3/3, ICMPv6 1/4.
    PortUnreachable,
    /// 3/1, ICMPv6 1/3 "address unreachable".
    HostUnreachable,
    /// 3/13, ICMPv6 1/1: "administratively prohibited".
    AdminProhibited,
    /// 11/0, ICMPv6 3/0: the TTL or hop limit ended in transit.
    TtlExceeded,
}

/// Writes the ICMP error about `frame` into `out` and returns its length, VLAN tags and Ethernet addresses mirrored.
///
/// `frame` is as its sender sent it: what is quoted is what the sender compares with its sockets. IPv4 quotes as much
/// of it as fits in 576 bytes, IPv6 in 1280, Ethernet padding never. `from` is one of this node's addresses.
///
/// None when no error may be sent (RFC 1812 §4.3.2.7, RFC 4443 §2.4 e): about ICMP of any kind, a fragment, or a
/// packet to many, be it by Ethernet or by IP. None, too, when `from` is of the other family or `out` too short
/// ([`MADE_LEN_MAX`] is always enough); what `out` holds then is undefined. The frame may be below Ethernet's 60
/// bytes; ports pad it.
#[must_use]
pub fn icmp_error_made(frame: &[u8], meta: &Meta, from: Ip, what: Made, out: &mut [u8]) -> Option<usize> {
    if from.is_v4() != meta.v4 || !may_be_answered(frame, meta)? {
        return None;
    }
    let (l3, end) = (usize::from(meta.l3), usize::from(meta.end));
    let (ip_len, total_max) = if meta.v4 { (IPV4_LEN, IPV4_TOTAL_MAX) } else { (IPV6_LEN, IPV6_TOTAL_MAX) };
    let quote_end = end.min(l3 + total_max - ip_len - ICMP_LEN);
    let quote = frame.get(l3..quote_end)?;
    let len = l3 + ip_len + ICMP_LEN + quote.len();
    let out = out.get_mut(..len)?;
    ethernet(frame, l3, out)?;
    let packet = out.get_mut(l3..)?;
    let pseudo = if meta.v4 { ipv4(frame, l3, from, packet)? } else { ipv6(frame, l3, from, packet)? };
    let message = packet.get_mut(ip_len..)?;
    message.get_mut(ICMP_LEN..)?.copy_from_slice(quote);
    put(message, 0, what.header(meta.v4));
    let checksum = pseudo.bytes(message).checksum();
    put(message, 2, checksum.to_be_bytes());
    Some(len)
}

/// Whether the packet is one whose sender may be told. Its source is a single host: parsing refuses others.
fn may_be_answered(frame: &[u8], meta: &Meta) -> Option<bool> {
    let whole = match meta.kind {
        Kind::Tcp | Kind::Udp => true,
        Kind::Other => !matches!(meta.proto, ICMP | ICMPV6),
        Kind::Icmp | Kind::IcmpError | Kind::Fragment => false,
    };
    let [mac, ..] = array::<6>(frame, 0)?;
    let to_many = if meta.v4 {
        // Multicast, the reserved block and the limited broadcast above it.
        let [first, ..] = meta.dst.last4();
        first >= 224
    } else {
        let [first, ..] = meta.dst.octets();
        first == 0xff
    };
    Some(whole && mac & 1 == 0 && !to_many)
}

/// The same tags the other way.
fn ethernet(frame: &[u8], l3: usize, out: &mut [u8]) -> Option<()> {
    put(out, 0, array::<6>(frame, 6)?);
    put(out, 6, array::<6>(frame, 0)?);
    out.get_mut(12..l3)?.copy_from_slice(frame.get(12..l3)?);
    Some(())
}

/// The header in front of `packet`, to the source of the one at `l3`. Don't fragment, and so no identification (RFC
/// 6864 §4.1). ICMP has no pseudo header: the sum is empty.
fn ipv4(frame: &[u8], l3: usize, from: Ip, packet: &mut [u8]) -> Option<Sum> {
    let to = array::<4>(frame, l3 + 12)?;
    let [length0, length1] = u16::try_from(packet.len()).ok()?.to_be_bytes();
    put(packet, 0, [0x45, TOS, length0, length1, 0, 0, 0x40, 0, TTL, ICMP, 0, 0]);
    put(packet, 12, from.last4());
    put(packet, 16, to);
    let checksum = Sum::default().bytes(packet.get(..IPV4_LEN)?).checksum();
    put(packet, 10, checksum.to_be_bytes());
    Some(Sum::default())
}

/// The header in front of `packet`, to the source of the one at `l3`, and the pseudo header's sum (RFC 4443 §2.3).
fn ipv6(frame: &[u8], l3: usize, from: Ip, packet: &mut [u8]) -> Option<Sum> {
    let to = array::<16>(frame, l3 + 8)?;
    let length = u16::try_from(packet.len().checked_sub(IPV6_LEN)?).ok()?;
    let [length0, length1] = length.to_be_bytes();
    put(packet, 0, [0x60, 0, 0, 0, length0, length1, ICMPV6, TTL]);
    put(packet, 8, from.octets());
    put(packet, 24, to);
    Some(Sum::default().bytes(&from.octets()).bytes(&to).word(ICMPV6.into()).word(length))
}
