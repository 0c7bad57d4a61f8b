//! The five values that name one direction of a conversation.

use std::fmt;

use ringlead_wire::{Ip, Meta};

/// One direction of a conversation: both addresses, both ports and the transport.
///
/// The addresses are of one family: a tuple comes from one IP header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Tuple {
    /// Source address.
    pub src: Ip,
    /// Destination address.
    pub dst: Ip,
    /// Source port, host order; 0 when the transport has none.
    pub sport: u16,
    /// Destination port, host order; 0 when the transport has none.
    pub dport: u16,
    /// IANA protocol number.
    pub proto: u8,
}

impl Tuple {
    /// The same conversation in the other direction.
    #[inline]
    #[must_use]
    pub const fn reversed(&self) -> Self {
        Self { src: self.dst, dst: self.src, sport: self.dport, dport: self.sport, proto: self.proto }
    }

    /// Whether both addresses are IPv4.
    #[inline]
    #[must_use]
    pub fn is_v4(&self) -> bool {
        self.src.is_v4() & self.dst.is_v4()
    }
}

impl From<&Meta> for Tuple {
    #[inline]
    fn from(meta: &Meta) -> Self {
        Self { src: meta.src, dst: meta.dst, sport: meta.sport, dport: meta.dport, proto: meta.proto }
    }
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = [(self.src, self.sport), (self.dst, self.dport)];
        let [src, dst] = ends.map(|(ip, port)| std::net::SocketAddr::new(ip.into(), port));
        write!(f, "{src} > {dst} proto {}", self.proto)
    }
}
