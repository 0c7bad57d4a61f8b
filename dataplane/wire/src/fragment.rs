//! What a fragment's header says, for those who keep the pieces of a datagram together.

use crate::bytes::{array, word};
use crate::meta::{Kind, Meta};
use crate::parse::ipv6;
use crate::parse::transport::{TCP, UDP};

/// One piece of a datagram. Pieces belong together when source, destination, `proto` (IPv4 only, RFC 791) and `id`
/// agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// The datagram's identification: 16 bits over IPv4, 32 over IPv6.
    pub id: u32,
    /// Where the piece starts in the datagram, in bytes.
    pub offset: u16,
    /// Bytes in the piece, at least 1.
    pub len: u16,
    /// Whether more pieces follow.
    pub more: bool,
    /// Source and destination port in host order, known from a first TCP or UDP fragment only.
    pub ports: Option<(u16, u16)>,
}

/// Reads the fragment fields of a frame whose kind is [`Kind::Fragment`]; None for all others.
#[must_use]
pub fn fragment(frame: &[u8], meta: &Meta) -> Option<Fragment> {
    if meta.kind != Kind::Fragment {
        return None;
    }
    let mut piece = if meta.v4 { piece_v4(frame, meta)? } else { piece_v6(frame, meta)? };
    if piece.offset == 0 && matches!(meta.proto, TCP | UDP) {
        let l4 = usize::from(meta.l4);
        piece.ports = word(frame, l4).zip(word(frame, l4 + 2));
    }
    Some(piece)
}

/// RFC 791 §3.1.
fn piece_v4(frame: &[u8], meta: &Meta) -> Option<Fragment> {
    let [i0, i1, f0, f1] = array(frame, usize::from(meta.l3) + 4)?;
    let field = u16::from_be_bytes([f0, f1]);
    Some(Fragment {
        id: u16::from_be_bytes([i0, i1]).into(),
        offset: (field & 0x1fff) * 8,
        len: meta.end.checked_sub(meta.l4)?,
        more: field & 0x2000 != 0,
        ports: None,
    })
}

/// RFC 8200 §4.5. What follows the fragment header counts, extension headers of a first fragment included.
fn piece_v6(frame: &[u8], meta: &Meta) -> Option<Fragment> {
    let packet = frame.get(..usize::from(meta.end))?;
    let next = *frame.get(usize::from(meta.l3) + 6)?;
    let chain = ipv6::walk(packet, next, meta.l3 + ipv6::HEADER_LEN).ok()?;
    let header = chain.fragment?;
    let (offset, more) = chain.fragment_field(packet);
    let id = array(packet, usize::from(header) + 4).map(u32::from_be_bytes)?;
    Some(Fragment { id, offset, len: meta.end.checked_sub(header + 8)?, more, ports: None })
}
