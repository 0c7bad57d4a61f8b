//! How the balancer forwards, and what that means for the generator's two ends.

use crate::error::TrafficError;
use crate::setup::{Prefix, Setup};
use ringlead_witness::{Net, Parsed, Tunnel};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Most prefixes of a family that an SNAT pool may have: the receiving ports' filter holds so many.
pub const SNAT_NETS_MAX: usize = 8;

/// How the balancer forwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The destination is translated; replies come back through the balancer.
    Nat,
    /// Only the Ethernet addresses change; replies go around the balancer.
    Dsr,
    /// Destination and source are translated; replies come back through the balancer.
    Snat,
    /// The packet is wrapped, IPIP or GUE; replies go around the balancer.
    Tunnel,
}

impl Mode {
    const ALL: [(&'static str, Self); 4] =
        [("nat", Self::Nat), ("dsr", Self::Dsr), ("snat", Self::Snat), ("tunnel", Self::Tunnel)];

    /// Whether servers' replies pass the balancer.
    #[must_use]
    pub const fn replies_pass(self) -> bool {
        matches!(self, Self::Nat | Self::Snat)
    }

    /// This mode for the witness.
    pub(crate) const fn of_witness(self) -> ringlead_witness::Mode {
        match self {
            Self::Nat => ringlead_witness::Mode::Nat,
            Self::Dsr => ringlead_witness::Mode::Dsr,
            Self::Snat => ringlead_witness::Mode::Snat,
            Self::Tunnel => ringlead_witness::Mode::Tunnel,
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|(name, _)| *name == text);
        let why = || format!("'{text}' is no mode: nat, dsr, snat or tunnel");
        known.map(|(_, mode)| mode).ok_or_else(why)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.into_iter().find(|(_, mode)| mode == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

impl From<Prefix> for Net {
    fn from(prefix: Prefix) -> Self {
        Self { base: prefix.base, len: prefix.len }
    }
}

impl Setup {
    /// Refuses a mode without what it needs.
    pub(crate) fn check_mode(&self) -> Result<(), TrafficError> {
        let refuse = |why: String| Err(TrafficError::Setup(why));
        if self.mode == Mode::Snat {
            let snat = &self.snat;
            let of = |v4: bool| snat.sources.iter().filter(|net| net.base.is_ipv4() == v4).count();
            if snat.sources.is_empty() {
                return refuse("snat: where do its addresses lie? (--snat-source)".to_owned());
            }
            if of(true).max(of(false)) > SNAT_NETS_MAX {
                return refuse(format!("at most {SNAT_NETS_MAX} SNAT prefixes of a family"));
            }
            if snat.ports.is_empty() || *snat.ports.start() == 0 {
                return refuse("SNAT ports are a range within 1-65535 (--snat-ports)".to_owned());
            }
        }
        if self.mode == Mode::Tunnel && self.tunnel.port == 0 {
            return refuse("a tunnel's UDP port is 1 to 65535 (--tunnel-port)".to_owned());
        }
        Ok(())
    }

    /// The tunnel that frames come to servers in, when there is one.
    pub(crate) fn tunnelled(&self) -> Option<Tunnel> {
        (self.mode == Mode::Tunnel).then(|| self.tunnel.clone())
    }
}

/// A frame's packet, out of its tunnel when it came in one; None: the frame has none, or a broken one.
#[inline]
pub(crate) fn packet<'a>(tunnel: Option<&Tunnel>, frame: &'a [u8]) -> Option<Parsed<'a>> {
    match tunnel.and_then(|tunnel| tunnel.open(frame)) {
        Some(opened) => opened.ok().map(|(_, packet)| packet),
        None => Parsed::new(frame).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_as_they_are_shown() {
        for (name, mode) in Mode::ALL {
            assert_eq!((name.parse(), mode.to_string().as_str()), (Ok(mode), name));
        }
        assert!("gue".parse::<Mode>().is_err_and(|why| why.contains("tunnel")));
    }

    #[test]
    fn a_mode_without_what_it_needs_is_refused() {
        let says =
            |setup: &Setup, word: &str| setup.check_mode().is_err_and(|e| e.to_string().contains(word));
        let mut setup = Setup::new(Mode::Snat);
        assert!(says(&setup, "--snat-source"));
        let prefix: Prefix = "10.3.0.0/24".parse().unwrap();
        setup.snat.sources = vec![prefix.into(); SNAT_NETS_MAX];
        setup.check_mode().unwrap();
        setup.snat.sources.push(prefix.into());
        assert!(says(&setup, "at most 8"));
        setup.snat.sources.truncate(1);
        for ports in [0..=9, std::ops::RangeInclusive::new(9, 8)] {
            setup.snat.ports = ports;
            assert!(says(&setup, "--snat-ports"));
        }
        let mut setup = Setup::new(Mode::Tunnel);
        setup.check_mode().unwrap();
        setup.tunnel.port = 0;
        assert!(says(&setup, "--tunnel-port"));
    }
}
