//! ICMP errors of one family built anew in the other: outer header, ICMP header, quoted header and the start of the
//! quoted transport, each translated (RFC 7915 §4.2, §4.3, §5.2 and §5.3).

use crate::bytes::{array, put, word};
use crate::checksum::Sum;
use crate::ip::Ip;
use crate::meta::{Kind, Meta};
use crate::parse::transport::{ICMP, ICMPV6};
use crate::translate::header::{Fields, V4_LEN, V6_LEN, addresses, ipv4_header, ipv6_header};
use crate::translate::{Ends, can_skip, is_family, kinds, transport};

/// Longest translated error, from its IP header on: ICMPv6 stays within the smallest MTU (RFC 4443 §2.4 c). One of IPv4
/// is never longer than 576 bytes (RFC 1812 §4.3.2.3).
pub const ICMP_ERROR_LEN_MAX: usize = 1280;

/// What a translated ICMP error says. Addresses are of the family that it gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpEnds {
    /// The error's own source.
    pub src: Ip,
    /// The error's own destination: where the quoted packet came from.
    pub dst: Ip,
    /// Both ends of the quoted packet, as its sender had sent it.
    pub quoted: Ends,
    /// The largest MTU that a "too big" may name, in bytes of the family that it gets: what the links here let through
    /// in either family (IPv6 is 20 bytes longer). `u16::MAX` for no bound.
    pub mtu: u16,
    /// The identification of an IPv4 packet.
    pub id: u16,
}

/// Writes the ICMP error in `frame` as one of the other family into `out`, from its IP header on, and returns its length:
/// at most [`ICMP_ERROR_LEN_MAX`], and at most the room there is (the quote is cut). The Ethernet header is the caller's.
///
/// The outer TTL is one less, the quoted one stays what it was. The quoted transport checksum is kept right by difference
/// where the quote holds all of it; UDP's "none" stays 0. Extensions (RFC 4884) move along where the other family's
/// message can hold them, with their length attribute. A quoted first fragment becomes the start of a whole packet: no
/// fragment was ever translated.
///
/// None for other kinds of frames, for types and codes without a counterpart, for ends that are not of the other family,
/// for a packet with an authentication or a fragment header, and for an `out` without room for the headers.
#[must_use]
pub fn icmp_error(frame: &[u8], meta: &Meta, ends: &IcmpEnds, out: &mut [u8]) -> Option<usize> {
    let to_v4 = !meta.v4;
    let mine = ends.src.is_v4() == to_v4 && ends.dst.is_v4() == to_v4 && is_family(&ends.quoted, to_v4);
    if meta.kind != Kind::IcmpError || !mine || (to_v4 && meta.options && !can_skip(frame, meta)) {
        return None;
    }
    let kind = translated_kind(frame, meta, ends.mtu)?;
    let quote = Quote::read(frame, meta)?;
    let header_len = if to_v4 { V4_LEN } else { V6_LEN };
    let limit = if to_v4 { V4_ERROR_LEN_MAX } else { ICMP_ERROR_LEN_MAX }.min(out.len());
    let message = out.get_mut(..limit)?.get_mut(header_len..)?;
    let [r0, r1, r2, r3] = kind.rest;
    if message.len() < HEADER_LEN {
        return None;
    }
    put(message, 0, [kind.kind, kind.code, 0, 0, r0, r1, r2, r3]);
    let len = HEADER_LEN + write_quote(message, &quote, &ends.quoted, kind)?;
    let message = message.get_mut(..len)?;

    let fields = Fields::read(frame, meta.l3.into(), meta.v4)?.routed();
    let ends_of_error = (ends.src, ends.dst);
    if to_v4 {
        let checksum = Sum::default().bytes(message).checksum();
        put(message, 2, checksum.to_be_bytes());
        put(out, 0, ipv4_header(&fields, ICMP, len, ends.id, ends_of_error)?);
    } else {
        // RFC 4443 §2.3: only ICMPv6 has a pseudo header.
        let pseudo = Sum::default().bytes(&ends.src.octets()).bytes(&ends.dst.octets()).word(ICMPV6.into());
        let checksum = pseudo.word(u16::try_from(len).ok()?).bytes(message).checksum();
        put(message, 2, checksum.to_be_bytes());
        put(out, 0, ipv6_header(&fields, ICMPV6, len, ends_of_error)?);
    }
    Some(header_len + len)
}

/// RFC 1812 §4.3.2.3: as much as every host takes.
const V4_ERROR_LEN_MAX: usize = 576;
/// The ICMP header before the quote.
const HEADER_LEN: usize = 8;
/// How much of the quoted transport an error holds at least (RFC 792).
const QUOTE_LEN_MIN: usize = 8;
/// Where extensions start at the earliest, counted from the quote's start (RFC 4884 §5.1).
const EXTENDED_QUOTE_MIN: usize = 128;

/// Type, code and second word of the translated error.
fn translated_kind(frame: &[u8], meta: &Meta, mtu: u16) -> Option<kinds::Kind> {
    let [kind, code, _, _, rest @ ..] = array::<8>(frame, meta.l4.into())?;
    let old = kinds::Kind { kind, code, rest };
    if meta.v4 {
        let quoted_len = word(frame, usize::from(meta.inner_l3) + 2)?;
        kinds::to_v6(old, quoted_len, mtu)
    } else {
        kinds::to_v4(old, mtu)
    }
}

/// The quoted packet as it came.
struct Quote<'a> {
    /// TOS and TTL of its header.
    fields: Fields,
    /// Its ends before the translation.
    old: (Ip, Ip),
    /// Whether it is an IPv4 packet.
    v4: bool,
    /// Its transport protocol.
    proto: u8,
    /// How many bytes followed its IP headers when it was whole, by its own word.
    payload_len: usize,
    /// Those that are quoted.
    payload: &'a [u8],
    /// Extension objects behind it with their header (RFC 4884 §7); empty when there are none.
    extensions: &'a [u8],
}

impl<'a> Quote<'a> {
    fn read(frame: &'a [u8], meta: &Meta) -> Option<Self> {
        let (l3, l4) = (usize::from(meta.inner_l3), usize::from(meta.inner_l4));
        let whole = if meta.v4 {
            word(frame, l3 + 2).map(usize::from)?
        } else {
            word(frame, l3 + 4).map(usize::from)? + V6_LEN
        };
        let end = extensions_at(frame, meta).unwrap_or_else(|| meta.end.into());
        Some(Self {
            fields: Fields::read(frame, l3, meta.v4)?,
            old: addresses(frame, l3, meta.v4)?,
            v4: meta.v4,
            proto: meta.proto,
            // What a quoted length says was never judged: it may be too short for its own headers.
            payload_len: (l3 + whole).saturating_sub(l4),
            payload: frame.get(l4..end)?,
            extensions: frame.get(end..meta.end.into())?,
        })
    }
}

/// Where the extensions start, when the length attribute says that there are any (RFC 4884 §4.1 to §4.5): only in
/// destination unreachable and time exceeded, in both families alike, and IPv4's parameter problem.
fn extensions_at(frame: &[u8], meta: &Meta) -> Option<usize> {
    let [kind, _, _, _, v6_words, v4_words, _, _] = array::<8>(frame, meta.l4.into())?;
    let quote_len = match (meta.v4, kind) {
        (true, 3 | 11 | 12) => usize::from(v4_words) * 4,
        (false, 1 | 3) => usize::from(v6_words) * 8,
        _ => 0,
    };
    let at = usize::from(meta.inner_l3) + quote_len;
    let is_there = quote_len >= EXTENDED_QUOTE_MIN
        && at >= usize::from(meta.inner_l4) + QUOTE_LEN_MIN
        && at < usize::from(meta.end);
    is_there.then_some(at)
}

/// Writes the quoted packet of the other family behind the ICMP header of `message`, and its extensions; returns how many
/// bytes that are.
fn write_quote(message: &mut [u8], quote: &Quote<'_>, ends: &Ends, kind: kinds::Kind) -> Option<usize> {
    let mut header = [0; V6_LEN];
    let header_len = if quote.v4 { V6_LEN } else { V4_LEN };
    let addresses = (ends.src, ends.dst);
    // The length is a copy of what was sent: at most what a field can hold.
    let payload_len = quote.payload_len.min(usize::from(u16::MAX) - V4_LEN);
    if quote.v4 {
        header = ipv6_header(&quote.fields, quote.proto, payload_len, addresses)?;
    } else {
        put(&mut header, 0, ipv4_header(&quote.fields, quote.proto, payload_len, 0, addresses)?);
    }
    let header = header.get(..header_len)?;

    let room = message.len().checked_sub(HEADER_LEN)?;
    let extended = extended_room(room, quote, kind);
    let payload_room = extended.unwrap_or(room).checked_sub(header_len)?;
    let payload = quote.payload.get(..payload_room).unwrap_or(quote.payload);
    if payload.len() < QUOTE_LEN_MIN {
        return None;
    }
    let len = header_len + payload.len();
    let body = message.get_mut(HEADER_LEN..)?;
    body.get_mut(..header_len)?.copy_from_slice(header);
    let copy = body.get_mut(header_len..len)?;
    copy.copy_from_slice(payload);
    transport(copy, quote.proto, ends, quote.old);
    if extended.is_none() {
        return Some(len);
    }
    write_extensions(message, quote, len)
}

/// How long the quote may be when its extensions come along; None when there are none, or no place for them: in the type
/// or in the packet.
fn extended_room(room: usize, quote: &Quote<'_>, kind: kinds::Kind) -> Option<usize> {
    let has_attribute = matches!((quote.v4, kind.kind), (true, 1 | 3) | (false, 3 | 11));
    if quote.extensions.is_empty() || !has_attribute {
        return None;
    }
    let unit = attribute_unit(quote);
    let longest = room.checked_sub(quote.extensions.len())? / unit * unit;
    (longest >= EXTENDED_QUOTE_MIN).then_some(longest)
}

/// What the length attribute counts in: 64 bits in ICMPv6, 32 in ICMP (RFC 4884 §4).
const fn attribute_unit(quote: &Quote<'_>) -> usize {
    if quote.v4 { 8 } else { 4 }
}

/// Pads the quote of `len` bytes, appends the extensions and notes the quote's length in the attribute.
fn write_extensions(message: &mut [u8], quote: &Quote<'_>, len: usize) -> Option<usize> {
    let unit = attribute_unit(quote);
    let padded = len.next_multiple_of(unit).max(EXTENDED_QUOTE_MIN);
    let body = message.get_mut(HEADER_LEN..)?;
    body.get_mut(len..padded)?.fill(0);
    let total = padded + quote.extensions.len();
    body.get_mut(padded..total)?.copy_from_slice(quote.extensions);
    let attribute = u8::try_from(padded / unit).ok()?;
    let at = if quote.v4 { 4 } else { 5 };
    put(message, at, [attribute]);
    Some(total)
}
