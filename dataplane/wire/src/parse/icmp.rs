//! ICMP (RFC 792) and ICMPv6 (RFC 4443): errors are read down to the packet they are about.

use crate::bytes::{array, word};
use crate::checksum::{Sum, verify};
use crate::ip::Ip;
use crate::malformed::Malformed;
use crate::meta::{Kind, Meta};
use crate::parse::ipv6;
use crate::parse::transport::{ICMPV6, TCP, UDP};

/// The ICMP header before an error's quote.
const HEADER_LEN: u16 = 8;
/// How much of the quoted transport header an error holds at least (RFC 792).
const QUOTE_LEN: u16 = 8;

/// Parses the ICMP message in `body`, which stands at `meta.l4`.
pub(super) fn parse(frame: &[u8], body: &[u8], meta: &mut Meta) -> Result<(), Malformed> {
    meta.kind = Kind::Icmp;
    let [kind, ..] = array::<4>(body, 0).ok_or(Malformed::IcmpShort)?;
    if !is_error(meta.v4, kind) {
        return Ok(());
    }
    if body.len() < usize::from(HEADER_LEN) {
        return Err(Malformed::IcmpShort);
    }
    let checksum_ok = if meta.v4 {
        Sum::default().bytes(body).fold() == 0xffff
    } else {
        verify(frame, meta, ICMPV6, meta.end - meta.l4)
    };
    if !checksum_ok {
        return Err(Malformed::IcmpChecksum);
    }
    let packet = frame.get(..usize::from(meta.end)).unwrap_or_default();
    let at = meta.l4 + HEADER_LEN;
    let quote = if meta.v4 { quoted_v4(packet, at)? } else { quoted_v6(packet, at)? };
    if quote.src != meta.dst {
        return Err(Malformed::IcmpMismatch);
    }
    if quote.later_fragment || !matches!(quote.proto, TCP | UDP) {
        return Ok(());
    }
    note(packet, meta, at, &quote)
}

/// Unreachable, too big, time exceeded and parameter problem; source quench is dead (RFC 6633), redirects are not
/// for forwarding.
const fn is_error(v4: bool, kind: u8) -> bool {
    if v4 { matches!(kind, 3 | 11 | 12) } else { matches!(kind, 1..=4) }
}

/// The packet that an error quotes.
struct Quote {
    src: Ip,
    dst: Ip,
    proto: u8,
    l4: u16,
    later_fragment: bool,
}

/// The quoted IPv4 header at `at`. Its checksum and total length are not judged: it is a copy of something sent
/// long ago, and routers on the way have changed it.
fn quoted_v4(packet: &[u8], at: u16) -> Result<Quote, Malformed> {
    let header = array::<20>(packet, usize::from(at)).ok_or(Malformed::IcmpEmbedded)?;
    let [version_ihl, _, _, _, _, _, f0, f1, _, proto, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = header;
    let (version, ihl) = (version_ihl >> 4, u16::from(version_ihl & 15));
    if version != 4 || ihl < 5 {
        return Err(Malformed::IcmpEmbedded);
    }
    Ok(Quote {
        src: Ip::from_v4([s0, s1, s2, s3]),
        dst: Ip::from_v4([d0, d1, d2, d3]),
        proto,
        l4: at.checked_add(ihl * 4).ok_or(Malformed::IcmpEmbedded)?,
        later_fragment: u16::from_be_bytes([f0, f1]) & 0x1fff != 0,
    })
}

/// The quoted IPv6 header at `at` and its extension headers. A mapped address is refused like in an outer header: it
/// would read as an IPv4 flow's.
fn quoted_v6(packet: &[u8], at: u16) -> Result<Quote, Malformed> {
    let start = usize::from(at);
    let [version_class, _, _, _, _, _, next, _] = array::<8>(packet, start).ok_or(Malformed::IcmpEmbedded)?;
    let src = array::<16>(packet, start + 8).map(Ip::from_v6).ok_or(Malformed::IcmpEmbedded)?;
    let dst = array::<16>(packet, start + 24).map(Ip::from_v6).ok_or(Malformed::IcmpEmbedded)?;
    if version_class >> 4 != 6 || src.is_v4() || dst.is_v4() {
        return Err(Malformed::IcmpEmbedded);
    }
    let first = at.checked_add(ipv6::HEADER_LEN).ok_or(Malformed::IcmpEmbedded)?;
    let chain = ipv6::walk(packet, next, first).map_err(|_| Malformed::IcmpEmbedded)?;
    let later_fragment = chain.fragment_field(packet).0 != 0;
    Ok(Quote { src, dst, proto: chain.next, l4: chain.at, later_fragment })
}

/// Makes the error read as if the quoted packet's receiver had answered its sender.
fn note(packet: &[u8], meta: &mut Meta, at: u16, quote: &Quote) -> Result<(), Malformed> {
    let l4 = usize::from(quote.l4);
    if packet.len() < l4 + usize::from(QUOTE_LEN) {
        return Err(Malformed::IcmpEmbedded);
    }
    meta.kind = Kind::IcmpError;
    meta.inner_l3 = at;
    meta.inner_l4 = quote.l4;
    meta.proto = quote.proto;
    meta.src = quote.dst;
    meta.dst = quote.src;
    meta.sport = word(packet, l4 + 2).unwrap_or(0);
    meta.dport = word(packet, l4).unwrap_or(0);
    Ok(())
}
