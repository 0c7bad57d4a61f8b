//! From an IP header to the transport header, over bytes that nobody checked.
//!
//! Only the frame's end bounds the walk: what lies about its own length is still steered by its headers, and the worker drops
//! it by name. `bpf/walk.h` is the same in C.

use ringlead_wire::Ip;

/// Extension headers walked; `bpf/walk.h` has the same number.
const EXTENSIONS_MAX: usize = 6;

const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;

/// One IP packet, outer or embedded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) source: Ip,
    pub(super) destination: Ip,
    /// What starts at `transport`; of a fragment what its header names, perhaps an extension header.
    pub(super) protocol: u8,
    pub(super) transport: usize,
    pub(super) shape: Shape,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    Whole,
    /// `first`: its offset is 0, so a transport header starts at `transport`.
    Fragment {
        first: bool,
    },
    /// More extension headers than are walked.
    Long,
}

/// The kernel's extension headers: hop-by-hop, routing, fragment, authentication, destination (RFC 8200 section 4).
pub(super) const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, 0 | 43 | FRAGMENT | AUTHENTICATION | 60)
}

/// RFC 791 section 3.1. `None`: truncated or no IPv4.
pub(super) fn walk_v4(frame: &[u8], offset: usize) -> Option<Packet> {
    let header: &[u8; 20] = frame.get(offset..)?.first_chunk()?;
    let words = header[0] & 15;
    if header[0] >> 4 != 4 || words < 5 {
        return None;
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    // More fragments (0x2000), or an offset.
    let shape =
        if fragment & 0x3fff == 0 { Shape::Whole } else { Shape::Fragment { first: fragment & 0x1fff == 0 } };
    Some(Packet {
        source: Ip::from_v4([header[12], header[13], header[14], header[15]]),
        destination: Ip::from_v4([header[16], header[17], header[18], header[19]]),
        protocol: header[9],
        transport: offset + usize::from(words) * 4,
        shape,
    })
}

/// RFC 8200 sections 3 and 4. `None`: truncated, no IPv6, or a mapped address, which no real header may have.
pub(super) fn walk_v6(frame: &[u8], offset: usize) -> Option<Packet> {
    let header: &[u8; 40] = frame.get(offset..)?.first_chunk()?;
    let source = Ip::from_v6(*header[8..].first_chunk()?);
    let destination = Ip::from_v6(*header[24..].first_chunk()?);
    if header[0] >> 4 != 6 || source.is_v4() || destination.is_v4() {
        return None;
    }
    let mut packet =
        Packet { source, destination, protocol: header[6], transport: offset + 40, shape: Shape::Whole };
    for _ in 0..EXTENSIONS_MAX {
        if !is_extension(packet.protocol) || matches!(packet.shape, Shape::Fragment { .. }) {
            return Some(packet);
        }
        step(frame, &mut packet)?;
    }
    if packet.shape == Shape::Whole && is_extension(packet.protocol) {
        packet.shape = Shape::Long;
    }
    Some(packet)
}

/// Over one extension header. `None` when the frame ends in its first eight bytes.
fn step(frame: &[u8], packet: &mut Packet) -> Option<()> {
    let header: &[u8; 8] = frame.get(packet.transport..)?.first_chunk()?;
    let units = usize::from(header[1]);
    let kind = packet.protocol;
    packet.protocol = header[0];
    packet.transport += match kind {
        FRAGMENT => 8,
        AUTHENTICATION => (units + 2) * 4,
        _ => (units + 1) * 8,
    };
    let fragment = u16::from_be_bytes([header[2], header[3]]);
    // Offset or M; without both it is atomic, a whole packet (RFC 6946).
    if kind == FRAGMENT && fragment & 0xfff9 != 0 {
        packet.shape = Shape::Fragment { first: fragment & 0xfff8 == 0 };
    }
    Some(())
}
