//! Encapsulation: an IP packet becomes the payload of another one that goes to a server (IPIP or GUE).
//!
//! The inner packet is not changed; a forwarder decrements its TTL first (RFC 2003 §3.1). Receivers decapsulate with
//! their kernel, so nothing here takes a tunnel packet apart.

use crate::bytes::{array, put};
use crate::ip::Ip;

mod headers;

/// Longest of all outer headers: IPv6, UDP and the header of GUE variant 0.
pub const OVERHEAD_MAX: usize = Encapsulation::Gue { variant: Variant::Zero, port: 0 }.overhead(false);

/// UDP port that IANA gave to GUE.
pub const GUE_PORT: u16 = 6080;

/// IANA protocol numbers of an encapsulated IPv4 (RFC 2003) or IPv6 packet (RFC 4213, RFC 2473), and of UDP.
const IN_IPV4: u8 = 4;
const IN_IPV6: u8 = 41;
const UDP: u8 = 17;

const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const UDP_LEN: usize = 8;
const GUE_LEN: usize = 4;
const ETHERNET_LEN: usize = 14;

/// How GUE says what it carries (draft-ietf-intarea-gue).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Variant {
    /// A header of four bytes with a protocol number behind UDP.
    Zero,
    /// The IP header directly behind UDP: its version (4 or 6) reads as GUE variant 1.
    One,
}

/// What stands between the outer IP header and the inner one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Encapsulation {
    /// Nothing (RFC 2003, RFC 2473, RFC 4213).
    Ipip,
    /// UDP, and for variant 0 a header of four bytes.
    Gue {
        /// Which form of GUE.
        variant: Variant,
        /// UDP destination port, host order; [`GUE_PORT`] unless the server listens elsewhere.
        port: u16,
    },
}

impl Encapsulation {
    /// Bytes in front of the inner IP header, when the outer one is IPv4 or else IPv6.
    #[inline]
    #[must_use]
    pub const fn overhead(self, outer_v4: bool) -> usize {
        let ip = if outer_v4 { IPV4_LEN } else { IPV6_LEN };
        match self {
            Self::Ipip => ip,
            Self::Gue { variant: Variant::One, .. } => ip + UDP_LEN,
            Self::Gue { variant: Variant::Zero, .. } => ip + UDP_LEN + GUE_LEN,
        }
    }

    /// The longest inner packet in bytes on a way with `mtu`: what a "too big" announces. 0 when not even the outer
    /// headers fit.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "an overhead is at most 52 bytes")]
    pub const fn inner_mtu(self, outer_v4: bool, mtu: u16) -> u16 {
        mtu.saturating_sub(self.overhead(outer_v4) as u16)
    }
}

/// The outer header's own fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outer {
    /// Source, of the destination's family. Where IPIP's receivers only hash addresses, it may differ per flow.
    pub src: Ip,
    /// Destination: the server.
    pub dst: Ip,
    /// Equal for all packets of a flow and well mixed between flows. GUE's UDP source port is 49152 plus its lower 14
    /// bits (the range that the draft asks for); the IPv6 flow label uses all 16.
    pub entropy: u16,
    /// IPv4 identification where don't-fragment is clear; unused elsewhere (RFC 6864 §4.1).
    pub id: u16,
}

/// Writes the outer headers directly in front of the inner IP header, which starts at `inner` and whose packet ends at
/// `end` (Ethernet padding behind it is in no length). The Ethernet header is the caller's.
///
/// - DSCP and ECN are the inner packet's: uniform model (RFC 2983) and normal mode (RFC 6040 §4.1).
/// - Don't-fragment is an inner IPv4 header's (RFC 2003 §3.1), and set around IPv6.
/// - UDP has no checksum, over IPv6 neither (RFC 6935, RFC 6936 §5): the inner packet has its own.
///
/// False, and nothing is written, when:
/// - there is no room for the outer headers and 14 bytes of Ethernet in front of `inner`;
/// - there is no IP header of the family that `inner_v4` says between `inner` and `end`;
/// - the outer addresses are of two families;
/// - a length would exceed 65535.
#[inline]
#[must_use]
pub fn encapsulate(
    frame: &mut [u8],
    inner: usize,
    end: usize,
    inner_v4: bool,
    encapsulation: Encapsulation,
    outer: &Outer,
) -> bool {
    let outer_v4 = outer.src.is_v4();
    let Some(at) = inner.checked_sub(encapsulation.overhead(outer_v4)) else { return false };
    let Some(packet) = Inner::read(frame, inner, end, inner_v4) else { return false };
    if at < ETHERNET_LEN || outer.dst.is_v4() != outer_v4 {
        return false;
    }
    // IPv4 counts its own header, IPv6 does not.
    let behind = if outer_v4 { at } else { at + IPV6_LEN };
    let Ok(length) = u16::try_from(end - behind) else { return false };

    let next = if encapsulation == Encapsulation::Ipip { packet.proto } else { UDP };
    let udp_length = if outer_v4 {
        let (first, second, destination) = headers::ipv4(outer, &packet, length, next);
        put(frame, at, first);
        put(frame, at + 8, second);
        put(frame, at + 16, destination);
        length.wrapping_sub(20)
    } else {
        let (words, addresses) = headers::ipv6(outer, &packet, length, next);
        put(frame, at, words);
        put(frame, at + words.len(), addresses);
        length
    };
    if let Encapsulation::Gue { variant, port } = encapsulation {
        let udp_at = if outer_v4 { at + IPV4_LEN } else { at + IPV6_LEN };
        put(frame, udp_at, headers::udp(outer.entropy, port, udp_length));
        if variant == Variant::Zero {
            put(frame, udp_at + UDP_LEN, headers::gue(packet.proto));
        }
    }
    true
}

/// What the outer headers take from the inner one.
struct Inner {
    /// Protocol number of a packet of this family in another.
    proto: u8,
    /// DSCP and ECN.
    tos: u8,
    /// Whether don't-fragment is set.
    dont_fragment: bool,
}

impl Inner {
    /// None when the bytes from `at` to `end` do not start with a whole fixed header of that family.
    #[inline]
    fn read(frame: &[u8], at: usize, end: usize, v4: bool) -> Option<Self> {
        let header_len = if v4 { IPV4_LEN } else { IPV6_LEN };
        if end > frame.len() || end.checked_sub(at)? < header_len {
            return None;
        }
        let [b0, b1, _, _, _, _, flags, _] = array::<8>(frame, at)?;
        match (v4, b0 >> 4) {
            (true, 4) => Some(Self { proto: IN_IPV4, tos: b1, dont_fragment: flags & 0x40 != 0 }),
            (false, 6) => Some(Self { proto: IN_IPV6, tos: (b0 << 4) | (b1 >> 4), dont_fragment: true }),
            _ => None,
        }
    }
}
