//! The IPv6 header and its extension headers (RFC 8200 §3 and §4).

use etherparse::Ipv6HeaderSlice;
use etherparse::err::ipv6::HeaderSliceError;

use crate::bytes::{array, word};
use crate::ip::Ip;
use crate::malformed::Malformed;
use crate::meta::Meta;
use crate::parse::transport::{self, ICMPV6, Piece, TCP, UDP};

/// The fixed header's length.
pub(crate) const HEADER_LEN: u16 = 40;
/// How many extension headers are walked before a chain is refused (RFC 7045 §2.1, RFC 8504 §5.3).
pub(crate) const EXTENSIONS_MAX: u8 = 6;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// Parses the packet at `l3`, which `meta` has already.
#[inline(always)]
#[allow(clippy::inline_always, reason = "one call, on the path of every packet")]
pub(super) fn parse(frame: &[u8], l3: u16, meta: &mut Meta) -> Result<(), Malformed> {
    let rest = frame.get(usize::from(l3)..).unwrap_or_default();
    let header = Ipv6HeaderSlice::from_slice(rest).map_err(|e| refused(&e))?;
    let length = header.payload_length().checked_add(HEADER_LEN).ok_or(Malformed::Oversized)?;
    if usize::from(length) > rest.len() {
        return Err(Malformed::IpTotalLength);
    }
    meta.end = l3.checked_add(length).ok_or(Malformed::Oversized)?;
    meta.src = Ip::from_v6(header.source());
    meta.dst = Ip::from_v6(header.destination());
    martians(meta.src, meta.dst)?;
    meta.ttl = header.hop_limit();
    meta.proto = header.next_header().0;
    meta.l4 = l3 + HEADER_LEN;
    if matches!(meta.proto, TCP | UDP | ICMPV6) {
        return transport::whole(frame, meta);
    }
    extensions(frame, meta)
}

/// What stands at the end of a chain of extension headers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Chain {
    /// The protocol behind the chain; of a later fragment the next header that its fragment header names.
    pub(crate) next: u8,
    /// Where that protocol's header (or a later fragment's data) starts.
    pub(crate) at: u16,
    /// How many extension headers were walked.
    pub(crate) walked: u8,
    /// Where the fragment header stands, if there is one.
    pub(crate) fragment: Option<u16>,
}

impl Chain {
    /// Offset and "more" bit as the fragment header has them; of a packet without one (0, false).
    pub(crate) fn fragment_field(&self, packet: &[u8]) -> (u16, bool) {
        let field = self.fragment.and_then(|at| word(packet, usize::from(at) + 2)).unwrap_or(0);
        (field & 0xfff8, field & 1 != 0)
    }
}

/// Walks the extension headers from `at` on, where `next` is expected; `packet` ends where the IP packet ends.
///
/// Stops behind the fragment header of a later fragment: what follows is a middle piece, not a header.
#[cold]
pub(crate) fn walk(packet: &[u8], next: u8, at: u16) -> Result<Chain, Malformed> {
    let mut chain = Chain { next, at, ..Chain::default() };
    while matches!(chain.next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS) {
        if chain.walked == EXTENSIONS_MAX || (chain.next == HOP_BY_HOP && chain.walked > 0) {
            return Err(Malformed::ExtensionChain);
        }
        step(packet, &mut chain)?;
        if chain.fragment_field(packet).0 != 0 {
            break;
        }
    }
    Ok(chain)
}

/// Moves the chain over one extension header.
fn step(packet: &[u8], chain: &mut Chain) -> Result<(), Malformed> {
    let short = short(chain);
    let at = usize::from(chain.at);
    let [next, len, _kind, segments_left] = array(packet, at).ok_or(short)?;
    let header_len = match chain.next {
        ROUTING if segments_left != 0 => return Err(Malformed::SourceRouted),
        FRAGMENT if chain.fragment.is_some() => return Err(Malformed::ExtensionChain),
        FRAGMENT => 8,
        AUTHENTICATION => (u16::from(len) + 2) * 4,
        _ => (u16::from(len) + 1) * 8,
    };
    if packet.len() < at + usize::from(header_len) {
        return Err(short);
    }
    if chain.next == FRAGMENT {
        chain.fragment = Some(chain.at);
    }
    chain.next = next;
    // The packet's end is an u16 and was checked above; the fallback is never taken.
    chain.at = chain.at.checked_add(header_len).ok_or(Malformed::Oversized)?;
    chain.walked += 1;
    Ok(())
}

/// A chain cut off in a first fragment is a tiny fragment (RFC 7112), any other is just short.
const fn short(chain: &Chain) -> Malformed {
    if chain.fragment.is_some() { Malformed::FragmentTiny } else { Malformed::ExtensionShort }
}

/// A packet with extension headers, or with a protocol that has no ports.
#[cold]
fn extensions(frame: &[u8], meta: &mut Meta) -> Result<(), Malformed> {
    let packet = frame.get(..usize::from(meta.end)).unwrap_or_default();
    let chain = walk(packet, meta.proto, meta.l4)?;
    meta.options = chain.walked > 0;
    meta.proto = chain.next;
    meta.l4 = chain.at;
    let Some(header) = chain.fragment else { return transport::whole(frame, meta) };
    let (offset, more) = chain.fragment_field(packet);
    let piece = Piece { offset, more, len: meta.end - (header + 8) };
    // An atomic fragment is a whole packet with a superfluous header (RFC 6946).
    if piece.is_whole() { transport::whole(frame, meta) } else { transport::fragment(frame, meta, piece) }
}

/// Names what etherparse refused.
#[cold]
const fn refused(error: &HeaderSliceError) -> Malformed {
    match error {
        HeaderSliceError::Content(_) => Malformed::IpVersion,
        HeaderSliceError::Len(_) => Malformed::IpShort,
    }
}

/// RFC 4291 §2.5.3, §2.5.5.2 and §2.7. Multicast *destinations* are fine here: they are simply not ours.
#[inline]
fn martians(source: Ip, destination: Ip) -> Result<(), Malformed> {
    if source.octets()[0] == 0xff || never_on_the_wire(source) {
        return Err(Malformed::MartianSource);
    }
    if never_on_the_wire(destination) {
        return Err(Malformed::MartianDestination);
    }
    Ok(())
}

/// Unspecified, loopback or IPv4-mapped.
#[inline]
fn never_on_the_wire(ip: Ip) -> bool {
    u128::from_be_bytes(ip.octets()) <= 1 || ip.is_v4()
}
