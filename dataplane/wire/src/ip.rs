//! Addresses, protocols and endpoints in the one form that every crate uses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An IP address of either family in 16 bytes: IPv6 as it is, IPv4 as `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2).
///
/// A mapped address never stands in a real IPv6 header: parsing drops such a packet as a martian, so the two
/// families cannot be mistaken for each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(transparent)]
pub struct Ip([u8; 16]);

impl Ip {
    /// From the four bytes of an IPv4 header.
    #[inline]
    #[must_use]
    pub const fn from_v4(a: [u8; 4]) -> Self {
        Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a[0], a[1], a[2], a[3]])
    }

    /// From an IPv4 address as a number in host order.
    #[inline]
    #[must_use]
    pub const fn from_v4_bits(bits: u32) -> Self {
        Self((0xffff_0000_0000 | bits as u128).to_be_bytes())
    }

    /// From the sixteen bytes of an IPv6 header.
    #[inline]
    #[must_use]
    pub const fn from_v6(a: [u8; 16]) -> Self {
        Self(a)
    }

    /// Whether this is an IPv4 address.
    #[inline]
    #[must_use]
    pub fn is_v4(self) -> bool {
        u128::from_be_bytes(self.0) >> 32 == 0xffff
    }

    /// All sixteen bytes, IPv4 in mapped form.
    #[inline]
    #[must_use]
    pub const fn octets(self) -> [u8; 16] {
        self.0
    }

    /// The last four bytes in network order: the IPv4 address when [`is_v4`](Self::is_v4).
    #[inline]
    #[must_use]
    pub const fn last4(self) -> [u8; 4] {
        [self.0[12], self.0[13], self.0[14], self.0[15]]
    }
}

impl From<IpAddr> for Ip {
    fn from(a: IpAddr) -> Self {
        match a {
            IpAddr::V4(a) => Self::from_v4(a.octets()),
            IpAddr::V6(a) => Self::from_v6(a.octets()),
        }
    }
}

impl From<Ip> for IpAddr {
    fn from(a: Ip) -> Self {
        if a.is_v4() { Ipv4Addr::from(a.last4()).into() } else { Ipv6Addr::from(a.0).into() }
    }
}

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A transport that services can use.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Protocol {
    /// RFC 9293.
    Tcp = 6,
    /// RFC 768.
    Udp = 17,
}

impl Protocol {
    /// The IANA protocol number.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// An address, a port (host order; 0 = any where a service says so) and a transport.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Endpoint {
    /// The address.
    pub ip: Ip,
    /// The port in host order.
    pub port: u16,
    /// The transport.
    pub protocol: Protocol,
}

impl fmt::Display for Endpoint {
    /// `192.0.2.10:80/tcp`, `[2001:db8::1]:80/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", SocketAddr::new(self.ip.into(), self.port), self.protocol)
    }
}
