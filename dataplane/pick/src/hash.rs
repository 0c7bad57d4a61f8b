//! The front's hash: SipHash-1-3 under a key from the configuration, over bytes that are written down here.
//!
//! Every node with one key computes the same value on every machine and in every version, so a router that
//! re-sprays flows over several nodes lands each of them on the same server.

use ringlead_wire::Ip;
use siphasher::sip::SipHasher13;

/// Bytes of a hashed flow: two addresses, two ports, a protocol.
const FLOW_BYTES: usize = 37;
/// Bytes of a hashed source address.
const SOURCE_BYTES: usize = 16;
/// Bytes of a hashed server, or of a source with the port it asks for: an address and a port.
const SERVER_BYTES: usize = 18;

/// What of a flow decides its server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum HashBy {
    /// Both addresses, both ports and the protocol: every flow for itself.
    #[default]
    FiveTuple,
    /// The source address: all flows of a client go together, whatever the service.
    Source,
    /// The source address and the destination port: all flows of a client to one port go together, TCP and UDP alike.
    SourceAndPort,
}

impl HashBy {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::FiveTuple, Self::Source, Self::SourceAndPort];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FiveTuple => "5-tuple",
            Self::Source => "src",
            Self::SourceAndPort => "src+dport",
        }
    }

    /// The value of that name; `None` when there is none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.name() == name)
    }
}

/// SipHash-1-3 (Aumasson and Bernstein, 2012, with one compression and three finalisation rounds), keyed.
#[derive(Clone, Copy, Debug)]
pub struct FrontHash {
    sip: SipHasher13,
}

impl FrontHash {
    /// With a 16-byte key: bytes 0..8 are k0 and bytes 8..16 are k1, both little endian, as in the paper.
    #[must_use]
    pub fn new(key: [u8; 16]) -> Self {
        Self { sip: SipHasher13::new_with_key(&key) }
    }

    /// The hash of a packet from a client to a service.
    ///
    /// The layout, 37 bytes: source address (16, IPv4 as `::ffff:a.b.c.d`), destination address (16), source
    /// port (2, big endian), destination port (2, big endian), protocol number (1). Ports are in host order here.
    #[inline]
    #[must_use]
    pub fn flow(&self, src: Ip, dst: Ip, sport: u16, dport: u16, proto: u8) -> u64 {
        let mut bytes = [0; FLOW_BYTES];
        bytes[..16].copy_from_slice(&src.octets());
        bytes[16..32].copy_from_slice(&dst.octets());
        bytes[32..34].copy_from_slice(&sport.to_be_bytes());
        bytes[34..36].copy_from_slice(&dport.to_be_bytes());
        bytes[36] = proto;
        self.sip.hash(&bytes)
    }

    /// The hash of what decides a packet's server.
    ///
    /// The layouts, where an address is 16 bytes (IPv4 as `::ffff:a.b.c.d`) and a port 2, big endian:
    ///
    /// | by | bytes | content |
    /// |---|---|---|
    /// | [`FiveTuple`](HashBy::FiveTuple) | 37 | as [`flow`](Self::flow), the same hash |
    /// | [`Source`](HashBy::Source) | 16 | source address |
    /// | [`SourceAndPort`](HashBy::SourceAndPort) | 18 | source address, destination port |
    ///
    /// Ports are in host order here.
    #[inline]
    #[must_use]
    pub fn flow_by(&self, by: HashBy, src: Ip, dst: Ip, sport: u16, dport: u16, proto: u8) -> u64 {
        match by {
            HashBy::FiveTuple => self.flow(src, dst, sport, dport, proto),
            HashBy::Source => {
                let bytes: [u8; SOURCE_BYTES] = src.octets();
                self.sip.hash(&bytes)
            }
            HashBy::SourceAndPort => self.address_and_port(src, dport),
        }
    }

    /// The identity of a server, for [`Member::identity`](crate::Member::identity).
    ///
    /// The layout, 18 bytes: address (16, IPv4 as `::ffff:a.b.c.d`), port (2, big endian). Neither its name nor
    /// its place in the file counts, so nodes whose files differ there still agree.
    #[must_use]
    pub fn server(&self, address: Ip, port: u16) -> u64 {
        self.address_and_port(address, port)
    }

    #[inline]
    fn address_and_port(&self, address: Ip, port: u16) -> u64 {
        let mut bytes = [0; SERVER_BYTES];
        bytes[..16].copy_from_slice(&address.octets());
        bytes[16..].copy_from_slice(&port.to_be_bytes());
        self.sip.hash(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_counts() {
        let h = FrontHash::new([7; 16]);
        let (a, b) = (Ip::from_v4([198, 51, 100, 7]), Ip::from_v4([192, 0, 2, 10]));
        let base = h.flow(a, b, 40_000, 80, 6);
        assert_eq!(base, h.flow(a, b, 40_000, 80, 6));
        let others = [
            h.flow(b, a, 40_000, 80, 6),
            h.flow(a, b, 80, 40_000, 6),
            h.flow(a, b, 40_001, 80, 6),
            h.flow(a, b, 40_000, 81, 6),
            h.flow(a, b, 40_000, 80, 17),
            h.flow(a, a, 40_000, 80, 6),
            FrontHash::new([8; 16]).flow(a, b, 40_000, 80, 6),
        ];
        assert!(others.iter().all(|&o| o != base), "{base:#x} {others:#x?}");
        assert_ne!(h.server(a, 80), h.server(a, 81));
        assert_ne!(h.server(a, 80), h.server(b, 80));
    }
    #[test]
    fn only_what_is_asked_for_counts() {
        let h = FrontHash::new([7; 16]);
        let (a, b, c) =
            (Ip::from_v4([198, 51, 100, 7]), Ip::from_v4([192, 0, 2, 10]), Ip::from_v4([192, 0, 2, 11]));
        let source = h.flow_by(HashBy::Source, a, b, 1, 80, 6);
        assert_eq!(source, h.flow_by(HashBy::Source, a, c, 2, 443, 17));
        assert_ne!(source, h.flow_by(HashBy::Source, c, b, 1, 80, 6));
        let port = h.flow_by(HashBy::SourceAndPort, a, b, 1, 80, 6);
        assert_eq!(port, h.flow_by(HashBy::SourceAndPort, a, c, 2, 80, 17));
        assert_ne!(port, h.flow_by(HashBy::SourceAndPort, a, b, 1, 443, 6));
        assert_ne!(port, h.flow_by(HashBy::SourceAndPort, c, b, 1, 80, 6));
    }

    #[test]
    fn names_are_read_back() {
        for by in HashBy::ALL {
            assert_eq!(HashBy::from_name(by.name()), Some(by));
        }
        assert_eq!(HashBy::ALL.map(HashBy::name), ["5-tuple", "src", "src+dport"]);
        assert_eq!(HashBy::from_name("source"), None);
        assert_eq!(HashBy::default(), HashBy::FiveTuple);
    }
}
