//! The program in the kernel, with its maps; not yet on a device.

use crate::counters::Counters;
use crate::layout::{self, Address, COUNTERS, RawOuter, Settings};
use crate::outer::Outer;
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/decap.o"));

pub(crate) struct Program {
    ebpf: Ebpf,
    counters: PerCpuArray<MapData, u64>,
    outers: Array<MapData, RawOuter>,
}

impl Program {
    pub(crate) fn load(addresses: &[IpAddr], gue_port: u16) -> Result<Self, LoadError> {
        let doing = |doing: &'static str| move |e: &dyn Error| LoadError(format!("{doing}: {}", causes(e)));
        let (load, fill) = (doing("load the XDP program"), doing("fill the XDP program's maps"));
        let mut ebpf = EbpfLoader::new().load(OBJECT).map_err(|e| load(&e))?;
        let settings = ebpf.map_mut("settings").ok_or_else(|| lacks("settings"))?;
        let mut settings: Array<_, Settings> = settings.try_into().map_err(|e: MapError| fill(&e))?;
        settings.set(0, gue_port.to_be_bytes(), 0).map_err(|e| fill(&e))?;
        let keys = ebpf.map_mut("addresses").ok_or_else(|| lacks("addresses"))?;
        let mut keys: HashMap<_, Address, u32> = keys.try_into().map_err(|e: MapError| fill(&e))?;
        for &ip in addresses {
            keys.insert(layout::address(ip.to_canonical()), 1, 0).map_err(|e| fill(&e))?;
        }
        let counters = take(&mut ebpf, "counters")?.try_into().map_err(|e: MapError| fill(&e))?;
        let outers = take(&mut ebpf, "outers")?.try_into().map_err(|e: MapError| fill(&e))?;
        let mut program = Self { ebpf, counters, outers };
        program.xdp()?.load().map_err(|e| load(&e))?;
        Ok(program)
    }

    pub(crate) fn xdp(&mut self) -> Result<&mut Xdp, LoadError> {
        let program = self.ebpf.program_mut("decap").ok_or_else(|| lacks("program"))?;
        program.try_into().map_err(|_| lacks("XDP program"))
    }

    #[allow(
        clippy::expect_used,
        reason = "reading an open array fails only where the kernel is out of memory"
    )]
    pub(crate) fn counters(&self) -> Counters {
        let mut counts = [0_u64; COUNTERS];
        for (which, count) in (0..).zip(&mut counts) {
            *count = self.counters.get(&which, 0).expect("a counter").iter().sum();
        }
        Counters::from_map(&counts)
    }

    /// The oldest first.
    #[allow(
        clippy::expect_used,
        reason = "reading an open array fails only where the kernel is out of memory"
    )]
    pub(crate) fn outers(&self) -> Vec<Outer> {
        let slots = self.outers.iter().map(|slot| slot.expect("an outer header"));
        let mut outers: Vec<_> = slots.filter_map(Outer::from_map).collect();
        outers.sort_by_key(|(number, _)| *number);
        outers.into_iter().map(|(_, outer)| outer).collect()
    }
}

/// Why the program is not in the kernel.
#[derive(Debug)]
pub(crate) struct LoadError(String);

impl Display for LoadError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The program holds its maps by descriptor until it is loaded: none may be taken and dropped before.
fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map, LoadError> {
    ebpf.take_map(name).ok_or_else(|| lacks(name))
}

fn lacks(name: &str) -> LoadError {
    LoadError(format!("the XDP object lacks its {name}"))
}

/// An error with its causes: aya says "failed" at the top and the reason at the bottom.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
