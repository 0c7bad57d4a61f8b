//! The program on a device.

use crate::counters::Counters;
use crate::error::{DecapError, causes};
use crate::layout::{self, Address, COUNTERS, RawOuter, Settings};
use crate::outer::Outer;
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use std::fmt;
use std::net::IpAddr;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/decap.o"));

/// Most tunnel addresses of a server.
pub const ADDRESSES_MAX: usize = 64;

/// The program on one device. Dropping it, or the process's end, takes it off.
pub struct Decap {
    _program: Ebpf,
    counters: PerCpuArray<MapData, u64>,
    outers: Array<MapData, RawOuter>,
    mode: &'static str,
}

impl Decap {
    /// Puts the program on `device` of the calling thread's network namespace; native, or generic where the driver
    /// cannot. It takes what is sent to one of `addresses`, IPv4 or IPv6, in IPIP or in GUE on UDP port `gue_port`
    /// (0: no GUE).
    ///
    /// # Errors
    /// No or too many addresses, or one that is no host's; no such device; another program on it; a process that may
    /// not load programs (they need `CAP_BPF` and `CAP_NET_ADMIN`).
    pub fn attach(device: &str, addresses: &[IpAddr], gue_port: u16) -> Result<Self, DecapError> {
        check(device, addresses)?;
        let mut program = EbpfLoader::new()
            .load(OBJECT)
            .map_err(|e| DecapError::system(device, "load the XDP program and its maps", &e))?;
        let fill = |e: MapError| DecapError::system(device, "fill the XDP program's maps", &e);
        let settings = program.map_mut("settings").ok_or_else(|| lacks(device, "settings"))?;
        let mut settings: Array<_, Settings> = settings.try_into().map_err(fill)?;
        settings.set(0, gue_port.to_be_bytes(), 0).map_err(fill)?;
        let keys = program.map_mut("addresses").ok_or_else(|| lacks(device, "addresses"))?;
        let mut keys: HashMap<_, Address, u32> = keys.try_into().map_err(fill)?;
        for &ip in addresses {
            keys.insert(layout::address(ip.to_canonical()), 1, 0).map_err(fill)?;
        }
        let counters = take(&mut program, device, "counters")?.try_into().map_err(fill)?;
        let outers = take(&mut program, device, "outers")?.try_into().map_err(fill)?;
        let mode = attach(&mut program, device)?;
        Ok(Self { _program: program, counters, outers, mode })
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
    #[allow(
        clippy::expect_used,
        reason = "reading an open array fails only where the kernel is out of memory"
    )]
    pub fn counters(&self) -> Counters {
        let mut counts = [0_u64; COUNTERS];
        for (which, count) in (0..).zip(&mut counts) {
            *count = self.counters.get(&which, 0).expect("a counter").iter().sum();
        }
        Counters::from_map(&counts)
    }

    /// The outer headers of the last 64 packets taken, the oldest first. With two packets in the same instant on two
    /// processors an entry may be missing: it is a sample.
    ///
    /// # Panics
    /// When the kernel does not hand them out.
    #[must_use]
    #[allow(
        clippy::expect_used,
        reason = "reading an open array fails only where the kernel is out of memory"
    )]
    pub fn outers(&self) -> Vec<Outer> {
        let slots = self.outers.iter().map(|slot| slot.expect("an outer header"));
        let mut outers: Vec<_> = slots.filter_map(Outer::from_map).collect();
        outers.sort_by_key(|(number, _)| *number);
        outers.into_iter().map(|(_, outer)| outer).collect()
    }
}

impl fmt::Debug for Decap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decap").field("mode", &self.mode).finish_non_exhaustive()
    }
}

fn check(device: &str, addresses: &[IpAddr]) -> Result<(), DecapError> {
    let asked = |why: String| Err(DecapError::Asked(why));
    if device.contains('\0') {
        return asked(format!("{device:?} is no device name"));
    }
    if addresses.is_empty() {
        return asked("at least one tunnel address is needed".to_owned());
    }
    if addresses.len() > ADDRESSES_MAX {
        return asked(format!("{} tunnel addresses; {ADDRESSES_MAX} are possible", addresses.len()));
    }
    let no_host = |ip: &&IpAddr| {
        let ip = ip.to_canonical();
        ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::from([255; 4])
    };
    if let Some(ip) = addresses.iter().find(no_host) {
        return asked(format!("{ip} is no address of a server"));
    }
    nix::net::if_::if_nametoindex(device).map(drop).map_err(|_| DecapError::NoDevice(device.to_owned()))
}

fn take(program: &mut Ebpf, device: &str, name: &str) -> Result<Map, DecapError> {
    program
        .take_map(name)
        .ok_or_else(|| DecapError::System(format!("{device}: the XDP program lacks its {name}")))
}

fn lacks(device: &str, name: &str) -> DecapError {
    DecapError::System(format!("{device}: the XDP program lacks its {name}"))
}

/// The mode in which the program got there.
fn attach(program: &mut Ebpf, device: &str) -> Result<&'static str, DecapError> {
    let xdp: &mut Xdp = program
        .program_mut("decap")
        .ok_or_else(|| lacks(device, "program"))?
        .try_into()
        .map_err(|e| DecapError::system(device, "find the XDP program", &e))?;
    xdp.load().map_err(|e| DecapError::system(device, "load the XDP program", &e))?;
    let Err(native) = xdp.attach(device, XdpMode::Driver) else { return Ok("native") };
    let Err(generic) = xdp.attach(device, XdpMode::Skb) else { return Ok("generic") };
    let (native, generic) = (causes(&native), causes(&generic));
    Err(DecapError::System(format!("{device}: attach the XDP program: native: {native}; generic: {generic}")))
}
