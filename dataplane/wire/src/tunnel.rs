//! Encapsulation: an IP packet becomes the payload of another one that goes to a server (IPIP or GUE).
//!
//! The inner packet is not changed; a forwarder decrements its TTL first (RFC 2003 §3.1). Receivers decapsulate with
//! their kernel, so nothing here takes a tunnel packet apart.

use crate::bytes::{array, array_mut, put};

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

/// The outer header's own fields. `A` is an address as its header has it: 4 bytes or 16.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outer<A> {
    /// Source. Where IPIP's receivers only hash addresses, it may differ per flow.
    pub src: A,
    /// Destination: the server.
    pub dst: A,
    /// Equal for all packets of a flow and well mixed between flows. GUE's UDP source port is 49152 plus its lower 14
    /// bits (the range that the draft asks for); the IPv6 flow label uses all 16.
    pub entropy: u16,
}

/// Writes outer headers with an IPv4 one directly in front of the inner IP header, which starts at `inner` and whose packet
/// ends at `end` (Ethernet padding behind it is in no length). The Ethernet header is the caller's.
///
/// - DSCP and ECN are the inner packet's: uniform model (RFC 2983) and normal mode (RFC 6040 §4.1).
/// - Don't-fragment is an inner IPv4 header's (RFC 2003 §3.1), and set around IPv6. Where it is clear `id` is asked for the
///   identification; elsewhere that is 0 and means nothing (RFC 6864 §4.1).
/// - UDP has no checksum: the inner packet has its own.
///
/// False, and nothing is written, when:
/// - there is no room for the outer headers and 14 bytes of Ethernet in front of `inner`;
/// - there is no IP header of the family that `inner_v4` says between `inner` and `end`;
/// - a length would exceed 65535.
#[inline]
#[must_use]
pub fn encapsulate_v4(
    frame: &mut [u8],
    inner: usize,
    end: usize,
    inner_v4: bool,
    encapsulation: Encapsulation,
    outer: &Outer<[u8; 4]>,
    id: impl FnOnce() -> u16,
) -> bool {
    let Some(packet) = Inner::read(frame, inner, end, inner_v4) else { return false };
    let at = (inner, end);
    match encapsulation {
        Encapsulation::Ipip => in_v4::<IPV4_LEN>(frame, at, &packet, 0, outer, id),
        Encapsulation::Gue { variant: Variant::One, port } => {
            in_v4::<{ IPV4_LEN + UDP_LEN }>(frame, at, &packet, port, outer, id)
        }
        Encapsulation::Gue { variant: Variant::Zero, port } => {
            in_v4::<{ IPV4_LEN + UDP_LEN + GUE_LEN }>(frame, at, &packet, port, outer, id)
        }
    }
}

/// As [`encapsulate_v4`], with an IPv6 header, which has no identification. UDP has no checksum here either (RFC 6935,
/// RFC 6936 §5).
#[inline]
#[must_use]
pub fn encapsulate_v6(
    frame: &mut [u8],
    inner: usize,
    end: usize,
    inner_v4: bool,
    encapsulation: Encapsulation,
    outer: &Outer<[u8; 16]>,
) -> bool {
    let Some(packet) = Inner::read(frame, inner, end, inner_v4) else { return false };
    let at = (inner, end);
    match encapsulation {
        Encapsulation::Ipip => in_v6::<IPV6_LEN>(frame, at, &packet, 0, outer),
        Encapsulation::Gue { variant: Variant::One, port } => {
            in_v6::<{ IPV6_LEN + UDP_LEN }>(frame, at, &packet, port, outer)
        }
        Encapsulation::Gue { variant: Variant::Zero, port } => {
            in_v6::<{ IPV6_LEN + UDP_LEN + GUE_LEN }>(frame, at, &packet, port, outer)
        }
    }
}

/// `N` bytes of headers, an IPv4 one first, in front of the packet.
#[inline]
fn in_v4<const N: usize>(
    frame: &mut [u8],
    (inner, end): (usize, usize),
    packet: &Inner,
    port: u16,
    outer: &Outer<[u8; 4]>,
    id: impl FnOnce() -> u16,
) -> bool {
    let Some((place, length)) = place::<N>(frame, inner, end, 0) else { return false };
    headers::ipv4(place, outer, packet, length, if N == IPV4_LEN { packet.proto } else { UDP }, id);
    behind::<IPV4_LEN, N>(place, outer.entropy, port, length.wrapping_sub(20), packet.proto);
    true
}

/// `N` bytes of headers, an IPv6 one first, in front of the packet.
#[inline]
fn in_v6<const N: usize>(
    frame: &mut [u8],
    (inner, end): (usize, usize),
    packet: &Inner,
    port: u16,
    outer: &Outer<[u8; 16]>,
) -> bool {
    let Some((place, length)) = place::<N>(frame, inner, end, IPV6_LEN) else { return false };
    headers::ipv6(place, outer, packet, length, if N == IPV6_LEN { packet.proto } else { UDP });
    behind::<IPV6_LEN, N>(place, outer.entropy, port, length, packet.proto);
    true
}

/// The `N` bytes in front of the inner packet, and the length of the outer one without its first `uncounted` bytes: IPv4
/// counts its own header, IPv6 does not.
#[inline]
fn place<const N: usize>(
    frame: &mut [u8],
    inner: usize,
    end: usize,
    uncounted: usize,
) -> Option<(&mut [u8; N], u16)> {
    let at = inner.checked_sub(N).filter(|at| *at >= ETHERNET_LEN)?;
    let length = u16::try_from(end - at - uncounted).ok()?;
    Some((array_mut(frame, at)?, length))
}

/// What `N` bytes of headers have behind an IP header of `IP` bytes: nothing, UDP, or UDP and GUE.
#[inline]
fn behind<const IP: usize, const N: usize>(
    place: &mut [u8; N],
    entropy: u16,
    port: u16,
    length: u16,
    proto: u8,
) {
    if N >= IP + UDP_LEN {
        put(place, IP, headers::udp(entropy, port, length));
    }
    if N >= IP + UDP_LEN + GUE_LEN {
        put(place, IP + UDP_LEN, headers::gue(proto));
    }
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
