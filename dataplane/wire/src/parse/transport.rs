//! TCP and UDP headers, and fragments of any transport.

use etherparse::err::tcp::HeaderSliceError;
use etherparse::{TcpHeaderSlice, UdpHeaderSlice};

use crate::bytes::{array, word};
use crate::malformed::Malformed;
use crate::meta::{Kind, Meta, TcpFlags};
use crate::parse::icmp;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

/// Shortest TCP header.
const TCP_LEN: u16 = 20;
/// The UDP header.
const UDP_LEN: u16 = 8;

/// Where a packet's payload lies in its datagram.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    /// First byte, a multiple of 8.
    pub(super) offset: u16,
    /// Whether more pieces follow.
    pub(super) more: bool,
    /// Bytes in this piece.
    pub(super) len: u16,
}

impl Piece {
    /// Not fragmented.
    #[inline]
    pub(super) const fn is_whole(self) -> bool {
        self.offset == 0 && !self.more
    }
}

/// Parses the transport header at `meta.l4` of an unfragmented packet of protocol `meta.proto`.
#[inline(always)]
#[allow(clippy::inline_always, reason = "on the path of every packet")]
pub(super) fn whole(frame: &[u8], meta: &mut Meta) -> Result<(), Malformed> {
    let body = frame.get(usize::from(meta.l4)..usize::from(meta.end)).unwrap_or_default();
    if meta.proto == TCP {
        return tcp(body, meta);
    }
    match meta.proto {
        UDP => udp(body, meta),
        ICMP if meta.v4 => icmp::parse(frame, body, meta),
        ICMPV6 if !meta.v4 => icmp::parse(frame, body, meta),
        _ => {
            meta.kind = Kind::Other;
            Ok(())
        }
    }
}

/// RFC 9293 §3.1.
#[inline(always)]
#[allow(clippy::inline_always, reason = "on the path of every packet")]
fn tcp(body: &[u8], meta: &mut Meta) -> Result<(), Malformed> {
    let header = TcpHeaderSlice::from_slice(body).map_err(|e| match e {
        HeaderSliceError::Len(_) if body.len() < usize::from(TCP_LEN) => Malformed::TransportShort,
        HeaderSliceError::Len(_) | HeaderSliceError::Content(_) => Malformed::TcpHeaderLength,
    })?;
    meta.kind = Kind::Tcp;
    meta.flags = TcpFlags(array::<14>(body, 0).map_or(0, |h| h[13]));
    ports(meta, header.source_port(), header.destination_port())
}

/// RFC 768. Bytes behind the UDP length belong to nobody (or to RFC 9868) and are carried along.
#[inline]
fn udp(body: &[u8], meta: &mut Meta) -> Result<(), Malformed> {
    let header = UdpHeaderSlice::from_slice(body).map_err(|_| Malformed::TransportShort)?;
    if header.length() < UDP_LEN || usize::from(header.length()) > body.len() {
        return Err(Malformed::UdpLength);
    }
    if header.checksum() == 0 && !meta.v4 {
        return Err(Malformed::UdpChecksumZero);
    }
    meta.kind = Kind::Udp;
    ports(meta, header.source_port(), header.destination_port())
}

/// Notes the ports and refuses a land attack.
#[inline]
fn ports(meta: &mut Meta, source: u16, destination: u16) -> Result<(), Malformed> {
    meta.sport = source;
    meta.dport = destination;
    if source == destination && meta.src == meta.dst { Err(Malformed::Land) } else { Ok(()) }
}

/// Checks one fragment: its place in the datagram, and that a first one holds the transport header.
#[cold]
pub(super) fn fragment(frame: &[u8], meta: &mut Meta, piece: Piece) -> Result<(), Malformed> {
    meta.kind = Kind::Fragment;
    let uneven = piece.more && !piece.len.is_multiple_of(8);
    if piece.len == 0 || uneven || piece.offset.checked_add(piece.len).is_none() {
        return Err(Malformed::FragmentLength);
    }
    if meta.proto == TCP && piece.offset == 8 {
        return Err(Malformed::FragmentOverlap);
    }
    if piece.offset != 0 {
        return Ok(());
    }
    // RFC 1858 asks for 16 bytes of TCP. All 20 are needed here, because the checksum stands at 16 and the first
    // fragment is the only place where it can be kept right; no path has an MTU that would split them.
    let present = meta.end - meta.l4;
    let needed = match meta.proto {
        TCP => TCP_LEN,
        UDP | ICMP | ICMPV6 => UDP_LEN,
        _ => 0,
    };
    if present < needed {
        return Err(Malformed::FragmentTiny);
    }
    let checksum = word(frame, usize::from(meta.l4) + 6);
    if meta.proto == UDP && !meta.v4 && checksum == Some(0) {
        return Err(Malformed::UdpChecksumZero);
    }
    Ok(())
}
