//! The internet checksum: full sums, differences, and the partial checksums that kernels leave behind.
//!
//! All sums are one's complement (RFC 1071): words may be added in any width and order, and carries are folded
//! back in at the end. The sum of a set that is not all zero is never 0, so the two zeros never mix.

use crate::bytes::{array, array_mut, put, word};
use crate::meta::{Kind, Meta};

/// IANA number of TCP.
const TCP: u8 = 6;
/// IANA number of UDP.
const UDP: u8 = 17;
/// IANA number of ICMPv6.
const ICMPV6: u8 = 58;

/// A running one's complement sum of 16-bit big-endian words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes that start at an even offset of what is summed; an odd last byte is padded with a zero.
    #[inline]
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        // Four independent sums of 32-bit halves: nothing waits for a carry, and the compiler vectorises it. A half
        // is below 2^32 and a packet has less than 2^14 of them, so nothing overflows.
        let mut lanes = [0_u64; 4];
        let (blocks, rest) = bytes.as_chunks::<32>();
        for block in blocks {
            let (words, _) = block.as_chunks::<8>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                let w = u64::from_ne_bytes(*word);
                *lane += (w & 0xffff_ffff) + (w >> 32);
            }
        }
        let mut sum: u64 = lanes.iter().sum();
        let (words, rest) = rest.as_chunks::<4>();
        for word in words {
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        let (words, rest) = rest.as_chunks::<2>();
        for word in words {
            sum += u64::from(u16::from_ne_bytes(*word));
        }
        if let [odd] = rest {
            sum += u64::from(u16::from_ne_bytes([*odd, 0]));
        }
        // Summing in the machine's order and swapping the result once is the same (RFC 1071 §2 B).
        self.word(fold(sum).to_be())
    }

    /// Adds one word in host order.
    #[inline]
    #[must_use]
    pub const fn word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// Adds four bytes in network order.
    #[inline]
    #[must_use]
    pub const fn four(self, bytes: [u8; 4]) -> Self {
        Self(self.0 + u32::from_be_bytes(bytes) as u64)
    }

    /// The sum in sixteen bits, not complemented. 0 only when all that was added is 0.
    #[inline]
    #[must_use]
    pub const fn fold(self) -> u16 {
        fold(self.0)
    }

    /// What goes into a checksum field: the complement of the sum.
    #[inline]
    #[must_use]
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }
}

/// What changed under a checksum, to be applied to its field (RFC 1624 eq. 3: `HC' = ~(~HC + ~m + m')`).
///
/// Differences add up in any order, so one delta can serve several checksums that cover the same change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Delta(u64);

impl Delta {
    /// A 16-bit word at an even offset changed, both in host order.
    #[inline]
    #[must_use]
    pub const fn word(self, old: u16, new: u16) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    /// Four bytes changed: an IPv4 address, or two ports at once.
    #[inline]
    #[must_use]
    pub const fn four(self, old: [u8; 4], new: [u8; 4]) -> Self {
        Self(self.0 + !u32::from_be_bytes(old) as u64 + u32::from_be_bytes(new) as u64)
    }

    /// Sixteen bytes changed: an IPv6 address.
    #[inline]
    #[must_use]
    pub fn sixteen(self, old: [u8; 16], new: [u8; 16]) -> Self {
        let (old, _) = old.as_chunks::<4>();
        let (new, _) = new.as_chunks::<4>();
        old.iter().zip(new).fold(self, |delta, (old, new)| delta.four(*old, *new))
    }

    /// Both changes.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The checksum after the change.
    #[inline]
    #[must_use]
    pub const fn apply(self, checksum: u16) -> u16 {
        !fold(self.0 + !checksum as u64)
    }

    /// The UDP checksum after the change: over IPv4 0 means "none" and stays 0, and a computed 0 is sent as 0xffff
    /// (RFC 768). Over IPv6 a 0 never gets here, parsing refuses it.
    #[inline]
    #[must_use]
    pub const fn apply_udp(self, checksum: u16) -> u16 {
        if checksum == 0 { 0 } else { never_zero(self.apply(checksum)) }
    }
}

/// Recomputes the checksum of a whole TCP segment or UDP datagram when the sender left it to be completed by the
/// hardware, and says whether it did.
///
/// Linux leaves `~csum_tcpudp_magic(…)` in the field of such a packet: the folded sum of the pseudo header, *not*
/// complemented. A packet whose true checksum happens to be that value gets the same value back. Never touches
/// fragments (their field covers bytes that are not here) nor a UDP datagram without a checksum.
#[inline]
pub fn fix_partial(frame: &mut [u8], meta: &Meta) -> bool {
    let Some((at, length)) = field(frame, meta) else { return false };
    let Some(pseudo) = pseudo_header(frame, meta, meta.proto, length) else { return false };
    if word(frame, at) != Some(pseudo.fold()) {
        return false;
    }
    complete(frame, meta, at, length, pseudo)
}

/// Whether the transport checksum of this frame is right; for tests and diagnosis.
///
/// Reads addresses from the frame, so it holds after a rewrite with the same meta. TCP and UDP (over IPv4, without a
/// checksum: right) as a whole, ICMP and ICMPv6 their own. True for fragments and other transports: nothing to check.
#[must_use]
pub fn transport_checksum_ok(frame: &[u8], meta: &Meta) -> bool {
    match meta.kind {
        Kind::Tcp | Kind::Udp => {
            let Some((at, length)) = field(frame, meta) else { return false };
            let none = meta.kind == Kind::Udp && meta.v4 && word(frame, at) == Some(0);
            none || verify(frame, meta, meta.proto, length)
        }
        Kind::Icmp | Kind::IcmpError if meta.v4 => {
            let (l4, end) = (usize::from(meta.l4), usize::from(meta.end));
            frame.get(l4..end).is_some_and(|icmp| Sum::default().bytes(icmp).fold() == 0xffff)
        }
        Kind::Icmp | Kind::IcmpError => verify(frame, meta, ICMPV6, meta.end.saturating_sub(meta.l4)),
        Kind::Fragment | Kind::Other => true,
    }
}

/// The checksum of a whole TCP segment, UDP datagram or ICMPv6 message of `length` bytes at `l4`, its field included.
#[inline]
pub(crate) fn verify(frame: &[u8], meta: &Meta, proto: u8, length: u16) -> bool {
    let l4 = usize::from(meta.l4);
    let body = frame.get(l4..).and_then(|b| b.get(..usize::from(length)));
    match (body, pseudo_header(frame, meta, proto, length)) {
        (Some(body), Some(pseudo)) => pseudo.bytes(body).fold() == 0xffff,
        _ => false,
    }
}

/// The pseudo header's sum, addresses taken from the frame (RFC 9293 §3.1, RFC 8200 §8.1).
#[inline]
pub(crate) fn pseudo_header(frame: &[u8], meta: &Meta, proto: u8, length: u16) -> Option<Sum> {
    let l3 = usize::from(meta.l3);
    let addresses = if meta.v4 {
        let [a, b, c, d, e, f, g, h] = array::<8>(frame, l3 + 12)?;
        Sum::default().four([a, b, c, d]).four([e, f, g, h])
    } else {
        Sum::default().bytes(&array::<32>(frame, l3 + 8)?)
    };
    Some(addresses.word(u16::from(proto)).word(length))
}

/// A UDP checksum as it is sent: 0 would mean "none", its twin 0xffff does not (RFC 768).
#[inline]
#[must_use]
pub const fn never_zero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// Carries back in: 64 → 32 → 16 bits. Adding a word to itself with its halves swapped leaves in the upper half the sum
/// of both halves, their carry included.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the folds leave sixteen bits")]
pub(crate) const fn fold(sum: u64) -> u16 {
    let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// Where the checksum field of a whole TCP segment or UDP datagram stands, and how many bytes it covers.
#[inline]
fn field(frame: &[u8], meta: &Meta) -> Option<(usize, u16)> {
    let l4 = usize::from(meta.l4);
    match (meta.kind, meta.proto) {
        (Kind::Tcp, TCP) => Some((l4 + 16, meta.end.checked_sub(meta.l4)?)),
        (Kind::Udp, UDP) => Some((l4 + 6, word(frame, l4 + 4)?)),
        _ => None,
    }
}

/// Writes the full checksum.
fn complete(frame: &mut [u8], meta: &Meta, at: usize, length: u16, pseudo: Sum) -> bool {
    let Some(field) = array_mut::<2>(frame, at) else { return false };
    let old = std::mem::take(field);
    let l4 = usize::from(meta.l4);
    let Some(body) = frame.get(l4..).and_then(|b| b.get(..usize::from(length))) else {
        put(frame, at, old);
        return false;
    };
    let checksum = pseudo.bytes(body).checksum();
    let checksum = if meta.kind == Kind::Udp { never_zero(checksum) } else { checksum };
    put(frame, at, checksum.to_be_bytes());
    true
}
