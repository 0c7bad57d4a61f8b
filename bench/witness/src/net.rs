//! A prefix of addresses, and the frames' own addresses measured by it.

use std::fmt;
use std::net::IpAddr;

/// A prefix of IP addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Net {
    /// An address in it; bits behind the length mean nothing.
    pub base: IpAddr,
    /// Its length in bits: up to 32 or 128. A longer one holds the base alone.
    pub len: u8,
}

impl Net {
    /// Whether the address is of the prefix's family and lies in it.
    #[inline]
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let differ = base.to_bits() ^ address.to_bits();
                differ.leading_zeros() >= u32::from(self.len.min(32))
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let differ = base.to_bits() ^ address.to_bits();
                differ.leading_zeros() >= u32::from(self.len.min(128))
            }
            _ => false,
        }
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.len)
    }
}

/// A list of prefixes, for findings.
pub(crate) struct Nets<'a>(pub(crate) &'a [Net]);

impl Nets<'_> {
    /// Whether one of them holds the address.
    #[inline]
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(address))
    }
}

impl fmt::Display for Nets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, net) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{net}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_its_own_and_no_neighbours() {
        let net = |base: &str, len| Net { base: base.parse().unwrap(), len };
        let holds = |net: Net, address: &str| net.contains(address.parse().unwrap());
        let four = net("10.3.0.16", 28);
        assert!(holds(four, "10.3.0.16") && holds(four, "10.3.0.31"));
        assert!(!holds(four, "10.3.0.15") && !holds(four, "10.3.0.32") && !holds(four, "::ffff:10.3.0.16"));
        assert!(holds(net("10.3.0.1", 32), "10.3.0.1") && !holds(net("10.3.0.1", 32), "10.3.0.0"));
        assert!(holds(net("0.0.0.0", 0), "255.1.2.3") && !holds(net("0.0.0.0", 0), "::1"));
        let six = net("fd03::100", 120);
        assert!(holds(six, "fd03::1ff") && !holds(six, "fd03::200") && !holds(six, "10.3.0.16"));
    }
}
