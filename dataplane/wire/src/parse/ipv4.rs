//! The IPv4 header: lengths, checksum, martians, options and fragments.

use etherparse::Ipv4HeaderSlice;
use etherparse::err::ipv4::{HeaderError, HeaderSliceError};

use crate::checksum::{Sum, fold};
use crate::ip::Ip;
use crate::malformed::Malformed;
use crate::meta::Meta;
use crate::parse::transport::{self, Piece};

/// Shortest IPv4 header.
const HEADER_LEN: usize = 20;

/// Parses the packet at `l3`, which `meta` has already.
#[inline(always)]
#[allow(clippy::inline_always, reason = "one call, on the path of every packet")]
pub(super) fn parse(frame: &[u8], l3: u16, meta: &mut Meta) -> Result<(), Malformed> {
    let rest = frame.get(usize::from(l3)..).unwrap_or_default();
    let header = Ipv4HeaderSlice::from_slice(rest).map_err(|e| refused(&e, rest.len()))?;
    let bytes = header.slice();
    let (length, header_len) = (header.total_len(), u16::from(header.ihl()) * 4);
    if length < header_len || usize::from(length) > rest.len() {
        return Err(Malformed::IpTotalLength);
    }
    meta.end = l3.checked_add(length).ok_or(Malformed::Oversized)?;
    if !checksum_ok(bytes) {
        return Err(Malformed::IpChecksum);
    }
    let (source, destination) = (header.source_addr().to_bits(), header.destination_addr().to_bits());
    martians(source, destination)?;
    meta.v4 = true;
    meta.src = Ip::from_v4_bits(source);
    meta.dst = Ip::from_v4_bits(destination);
    meta.ttl = header.ttl();
    meta.proto = header.protocol().0;
    meta.l4 = l3 + header_len;
    if bytes.len() > HEADER_LEN {
        meta.options = true;
        options(header.options())?;
    }
    let piece = Piece {
        offset: header.fragments_offset().value() * 8,
        more: header.more_fragments(),
        len: length - header_len,
    };
    if piece.is_whole() { transport::whole(frame, meta) } else { transport::fragment(frame, meta, piece) }
}

/// RFC 1071 §1. The sum of a header without options is five additions.
#[inline]
fn checksum_ok(header: &[u8]) -> bool {
    let (words, rest) = header.as_chunks::<4>();
    let [a, b, c, d, e] = words else { return long_checksum_ok(header) };
    let word = |word: &[u8; 4]| u64::from(u32::from_ne_bytes(*word));
    rest.is_empty() && fold(word(a) + word(b) + word(c) + word(d) + word(e)) == 0xffff
}

#[cold]
fn long_checksum_ok(header: &[u8]) -> bool {
    Sum::default().bytes(header).fold() == 0xffff
}

/// Names what etherparse refused.
#[cold]
fn refused(error: &HeaderSliceError, available: usize) -> Malformed {
    match error {
        HeaderSliceError::Content(HeaderError::UnexpectedVersion { .. }) => Malformed::IpVersion,
        HeaderSliceError::Content(HeaderError::HeaderLengthSmallerThanHeader { .. }) => {
            Malformed::IpHeaderLength
        }
        HeaderSliceError::Len(_) if available >= HEADER_LEN => Malformed::IpHeaderLength,
        HeaderSliceError::Len(_) => Malformed::IpShort,
    }
}

/// RFC 1812 §5.3.7. Multicast and broadcast *destinations* are fine here: they are simply not ours.
#[inline]
const fn martians(source: u32, destination: u32) -> Result<(), Malformed> {
    if matches!(source >> 24, 0 | 127 | 224..) {
        return Err(Malformed::MartianSource);
    }
    if matches!(destination >> 24, 0 | 127) {
        return Err(Malformed::MartianDestination);
    }
    Ok(())
}

/// Walks the options, so that none is misread and none routes the packet (RFC 791 §3.1, RFC 7126 §4.3 and §4.4).
#[cold]
fn options(mut options: &[u8]) -> Result<(), Malformed> {
    const END: u8 = 0;
    const NOP: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    while let [kind, rest @ ..] = options {
        options = match *kind {
            END => return Ok(()),
            NOP => rest,
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return Err(Malformed::SourceRouted),
            _ => match rest.first() {
                Some(len) if *len >= 2 => options.get(usize::from(*len)..).ok_or(Malformed::IpOptions)?,
                _ => return Err(Malformed::IpOptions),
            },
        };
    }
    Ok(())
}
