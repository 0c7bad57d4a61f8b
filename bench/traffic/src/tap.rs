//! The program on each port that takes the generator's frames and leaves everything else to the kernel.

use crate::error::TrafficError;
use crate::setup::Setup;
use aya::maps::{Array, MapError, XskMap};
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader, Pod};
use std::net::IpAddr;
use std::os::fd::RawFd;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tap.o"));

/// `struct filter` of bpf/tap.c.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Filter {
    net4: [u8; 4],
    mask4: [u8; 4],
    net6: [u8; 16],
    mask6: [u8; 16],
    mac: [u8; 6],
    any: u8,
    unused: u8,
}

// SAFETY: bytes only, without padding (48 of them), so every bit pattern is a value; the C side has the same layout.
#[allow(unsafe_code, reason = "aya asks for this promise about what goes into a map")]
unsafe impl Pod for Filter {}
const _: () = assert!(size_of::<Filter>() == 48);

impl Filter {
    fn new(setup: &Setup, mac: [u8; 6]) -> Self {
        let (mut net4, mut mask4, mut net6, mut mask6) = ([0; 4], [0; 4], [0; 16], [0; 16]);
        if let IpAddr::V4(base) = setup.clients_v4.base {
            net4 = base.octets();
            mask4 = u32::MAX.checked_shl(32 - u32::from(setup.clients_v4.len)).unwrap_or(0).to_be_bytes();
        }
        if let IpAddr::V6(base) = setup.clients_v6.base {
            net6 = base.octets();
            mask6 = u128::MAX.checked_shl(128 - u32::from(setup.clients_v6.len)).unwrap_or(0).to_be_bytes();
        }
        Self { net4, mask4, net6, mask6, mac, any: u8::from(setup.any_address), unused: 0 }
    }
}

/// The program on one device. Dropping it, or the process's end, takes it off.
#[derive(Debug)]
pub(crate) struct Tap {
    _program: Ebpf,
    /// `native` or `generic`.
    pub(crate) mode: &'static str,
}

impl Tap {
    /// Loads the program and puts it on `device`, frames of each queue going to its socket; native, or generic where the
    /// driver cannot. To be called in the device's namespace.
    pub(crate) fn attach(
        setup: &Setup,
        device: &str,
        mac: [u8; 6],
        sockets: &[(u32, RawFd)],
    ) -> Result<Self, TrafficError> {
        let why = |doing: &str, error: &dyn std::error::Error| {
            let mut text = format!("{device}: {doing}: {error}");
            let mut cause = error.source();
            while let Some(inner) = cause {
                text.push_str(&format!(": {inner}"));
                cause = inner.source();
            }
            TrafficError::Port(text)
        };
        let mut program = EbpfLoader::new().load(OBJECT).map_err(|e| why("load the XDP program", &e))?;
        let missing = || TrafficError::Port(format!("{device}: the XDP program lacks a map"));
        let filter = program.map_mut("filter").ok_or_else(missing)?;
        let mut filter: Array<_, Filter> = filter.try_into().map_err(|e: MapError| why("its filter", &e))?;
        filter.set(0, Filter::new(setup, mac), 0).map_err(|e| why("fill its filter", &e))?;
        let map = program.map_mut("sockets").ok_or_else(missing)?;
        let mut map: XskMap<_> = map.try_into().map_err(|e: MapError| why("its sockets", &e))?;
        for (queue, socket) in sockets {
            map.set(*queue, *socket, 0).map_err(|e| why("hand it a socket", &e))?;
        }
        let xdp = program.program_mut("tap").ok_or_else(missing)?;
        let xdp: &mut Xdp = xdp.try_into().map_err(|e| why("find the XDP program", &e))?;
        xdp.load().map_err(|e| why("load the XDP program", &e))?;
        let mode = match xdp.attach(device, XdpMode::Driver) {
            Ok(_) => "native",
            Err(_) => {
                xdp.attach(device, XdpMode::Skb).map_err(|e| why("attach the XDP program", &e))?;
                "generic"
            }
        };
        Ok(Self { _program: program, mode })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::Mode;

    #[test]
    fn the_filter_holds_prefixes_in_network_order() {
        let mut setup = Setup::new(Mode::Nat);
        setup.clients_v4 = "198.18.0.0/15".parse().unwrap();
        setup.clients_v6 = "2001:2:0:1::/64".parse().unwrap();
        let filter = Filter::new(&setup, [2; 6]);
        assert_eq!((filter.net4, filter.mask4), ([198, 18, 0, 0], [255, 254, 0, 0]));
        assert_eq!(filter.mask6[..8], [255; 8]);
        assert_eq!(filter.mask6[8..], [0; 8]);
        setup.clients_v4 = "10.1.0.2/32".parse().unwrap();
        assert_eq!(Filter::new(&setup, [2; 6]).mask4, [255; 4]);
    }
}
