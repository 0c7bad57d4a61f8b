//! The program on a device.

use crate::counters::Counters;
use crate::error::DecapError;
use crate::outer::Outer;
use crate::program::{Program, causes};
use aya::programs::XdpMode;
use nix::net::if_::if_nametoindex;
use std::fmt;
use std::net::IpAddr;

/// Most tunnel addresses of a server.
pub const ADDRESSES_MAX: usize = 64;

/// The program on one device. Dropping it, or the process's end, takes it off.
pub struct Decap {
    program: Program,
    mode: &'static str,
}

impl Decap {
    /// Puts the program on `device` of the calling thread's network namespace; native, or generic where the driver
    /// cannot. It takes what is sent to one of `addresses`, IPv4 or IPv6, in IPIP or in GUE on UDP port `gue_port`
    /// (0: no GUE). The device need not have the addresses, nor be up.
    ///
    /// # Errors
    /// No or too many addresses, or one that is no host's; no such device; another program on it; a process that may
    /// not load programs (they need `CAP_BPF`, `CAP_PERFMON` and `CAP_NET_ADMIN`).
    pub fn attach(device: &str, addresses: &[IpAddr], gue_port: u16) -> Result<Self, DecapError> {
        check(device, addresses)?;
        let failed = |why: String| DecapError::System(format!("{device}: {why}"));
        let mut program = Program::load(addresses, gue_port).map_err(|e| failed(e.to_string()))?;
        let xdp = program.xdp().map_err(|e| failed(e.to_string()))?;
        let mode = match xdp.attach(device, XdpMode::Driver) {
            Ok(_) => "native",
            Err(native) => match xdp.attach(device, XdpMode::Skb) {
                Ok(_) => "generic",
                Err(generic) => {
                    let (native, generic) = (causes(&native), causes(&generic));
                    return Err(failed(format!(
                        "attach the XDP program: native: {native}; generic: {generic}"
                    )));
                }
            },
        };
        Ok(Self { program, mode })
    }

    /// How the program runs: `native` in the driver, or `generic` behind it.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        self.mode
    }

    /// What became of the packets so far.
    ///
    /// # Panics
    /// When the kernel does not hand the counters out.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.program.counters()
    }

    /// The outer headers of the last 64 packets taken, the oldest first. With packets on several processors an entry may
    /// be missing or mixed of two: it is a sample.
    ///
    /// # Panics
    /// When the kernel does not hand them out.
    #[must_use]
    pub fn outers(&self) -> Vec<Outer> {
        self.program.outers()
    }
}

impl fmt::Debug for Decap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decap").field("mode", &self.mode).finish_non_exhaustive()
    }
}

fn check(device: &str, addresses: &[IpAddr]) -> Result<(), DecapError> {
    if addresses.is_empty() {
        return Err(DecapError::Asked("at least one tunnel address is needed".to_owned()));
    }
    if addresses.len() > ADDRESSES_MAX {
        let why = format!("{} tunnel addresses; {ADDRESSES_MAX} are possible", addresses.len());
        return Err(DecapError::Asked(why));
    }
    let no_host = |ip: &IpAddr| ip.is_unspecified() || ip.is_multicast() || *ip == IpAddr::from([255; 4]);
    if let Some(ip) = addresses.iter().map(IpAddr::to_canonical).find(no_host) {
        return Err(DecapError::Asked(format!("{ip} is no address of a server")));
    }
    if_nametoindex(device).map(drop).map_err(|_| DecapError::NoDevice(device.to_owned()))
}
