//! The compiled program in the binary, and its maps in the kernel: new, or a dead daemon's, by their pins.

use std::path::Path;

use aya::maps::{Map, MapError};
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfLoader};

use super::error::SteerError;
use super::keys::{SETS, TRIE};
use super::node_maps::{self, NodeMaps};
use super::tables::{Set, Tables};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/steer.o"));

/// Loads the program. Every map is the one pinned in `layout`, or is made and pinned there.
pub(super) fn load(layout: &Path) -> Result<Ebpf, SteerError> {
    let mut loader = EbpfLoader::new();
    for name in SETS.iter().chain(&["ports", "sockets", "counters", node_maps::SERVICES, node_maps::TABLES]) {
        loader.map_pin_path(name, layout.join(name));
    }
    let mut program =
        loader.load(OBJECT).map_err(|e| SteerError::kernel("make the steering program's maps", &e))?;
    xdp(&mut program)?.load().map_err(|e| SteerError::kernel("load the steering program", &e))?;
    Ok(program)
}

/// Takes the maps that rules decide out of the loaded object.
pub(super) fn tables(program: &mut Ebpf) -> Result<Tables, SteerError> {
    let mut max = [0; SETS.len()];
    let mut sets = Vec::with_capacity(SETS.len());
    for (i, name) in SETS.into_iter().enumerate() {
        max[i] = room(program, name)?;
        sets.push(if i == TRIE { Set::Trie(map(program, name)?) } else { Set::Hash(map(program, name)?) });
    }
    let sets = sets.try_into().map_err(|_| missing("sets"))?;
    let services_max = room(program, node_maps::SERVICES)?;
    let services = map(program, node_maps::SERVICES)?;
    let l7 = NodeMaps::new(services, map(program, node_maps::TABLES)?, services_max);
    Ok(Tables::new(sets, max, l7))
}

/// Entries that a map can hold.
fn room(program: &Ebpf, name: &str) -> Result<usize, SteerError> {
    let data = match program.map(name) {
        Some(Map::HashMap(data) | Map::LpmTrie(data)) => data,
        _ => return Err(missing(name)),
    };
    let info =
        data.info().map_err(|e| SteerError::kernel(format!("ask about the steering map {name}"), &e))?;
    Ok(usize::try_from(info.max_entries()).unwrap_or(usize::MAX))
}

/// Takes a map out of the loaded object.
pub(super) fn map<M: TryFrom<Map, Error = MapError>>(
    program: &mut Ebpf,
    name: &str,
) -> Result<M, SteerError> {
    let map = program.take_map(name).ok_or_else(|| missing(name))?;
    M::try_from(map).map_err(|e| SteerError::kernel(format!("open the steering map {name}"), &e))
}

/// The program in the loaded object.
pub(super) fn xdp(program: &mut Ebpf) -> Result<&mut Xdp, SteerError> {
    let program = program.program_mut("ringlead").ok_or_else(|| missing("ringlead"))?;
    program.try_into().map_err(|e| SteerError::kernel("find the steering program", &e as &ProgramError))
}

fn missing(name: &str) -> SteerError {
    SteerError::Kernel { what: "read the steering object".into(), why: format!("it has no {name}") }
}
