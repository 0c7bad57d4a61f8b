//! The program on each port that takes the generator's frames and leaves everything else to the kernel.

use crate::error::TrafficError;
use crate::mode::{Mode, SNAT_NETS_MAX};
use crate::setup::Setup;
use aya::maps::{Array, MapError, XskMap};
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader, Pod};
use ringlead_witness::Net;
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
    tunnel: [u8; 2],
    snat_first: u16,
    snat_last: u16,
    unused2: u16,
    snat4: [[[u8; 4]; 2]; SNAT_NETS_MAX],
    snat6: [[[u8; 16]; 2]; SNAT_NETS_MAX],
}

// SAFETY: numbers only, without padding (376 bytes), so every bit pattern is a value; the C side has the same layout.
#[allow(unsafe_code, reason = "aya asks for this promise about what goes into a map")]
unsafe impl Pod for Filter {}
const _: () = assert!(size_of::<Filter>() == 376);

impl Filter {
    fn new(setup: &Setup, mac: [u8; 6]) -> Self {
        let [net4, mask4] = v4(&setup.clients_v4.into()).unwrap_or_default();
        let [net6, mask6] = v6(&setup.clients_v6.into()).unwrap_or_default();
        let snat = if setup.mode == Mode::Snat { setup.snat.sources.as_slice() } else { &[] };
        let (mut snat4, mut snat6) = ([NOTHING_4; SNAT_NETS_MAX], [NOTHING_6; SNAT_NETS_MAX]);
        snat4.iter_mut().zip(snat.iter().filter_map(v4)).for_each(|(place, net)| *place = net);
        snat6.iter_mut().zip(snat.iter().filter_map(v6)).for_each(|(place, net)| *place = net);
        Self {
            net4,
            mask4,
            net6,
            mask6,
            mac,
            any: u8::from(setup.any_address),
            unused: 0,
            tunnel: setup.tunnelled().map_or(0, |tunnel| tunnel.port).to_be_bytes(),
            snat_first: *setup.snat.ports.start(),
            snat_last: *setup.snat.ports.end(),
            unused2: 0,
            snat4,
            snat6,
        }
    }
}

/// Entries that hold no address: under no mask is anything left to be equal to ones.
const NOTHING_4: [[u8; 4]; 2] = [[0xff; 4], [0; 4]];
const NOTHING_6: [[u8; 16]; 2] = [[0xff; 16], [0; 16]];

/// An IPv4 prefix as address and mask.
fn v4(net: &Net) -> Option<[[u8; 4]; 2]> {
    let IpAddr::V4(base) = net.base else { return None };
    let mask = u32::MAX.checked_shl(32 - u32::from(net.len.min(32))).unwrap_or(0);
    Some([(base.to_bits() & mask).to_be_bytes(), mask.to_be_bytes()])
}

/// An IPv6 prefix as address and mask.
fn v6(net: &Net) -> Option<[[u8; 16]; 2]> {
    let IpAddr::V6(base) = net.base else { return None };
    let mask = u128::MAX.checked_shl(128 - u32::from(net.len.min(128))).unwrap_or(0);
    Some([(base.to_bits() & mask).to_be_bytes(), mask.to_be_bytes()])
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
