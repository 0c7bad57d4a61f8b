//! TCP listeners, one a worker, on one address: the front's hash of a flow chooses the listener that accepts it.
//!
//! They are a SO_REUSEPORT group with a program of ours (`bpf/listen.c`) in place of the kernel's hash, so which worker gets a
//! flow is known before it is opened, on every node and after every restart.

mod error;
mod socket;

use std::fmt;
use std::net::{SocketAddr, TcpListener};

use aya::Ebpf;
use aya::maps::{Array, Map, MapData, MapError, ReusePortSockArray};
use aya::programs::SkReuseport;

pub use error::ListenError;

/// Listeners of one group (`max_entries` of `listeners` in `bpf/listen.c`).
pub const LISTENERS_MAX: usize = 256;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/listen.o"));

/// The group of one address. It holds the program, not the sockets: those are the workers'.
///
/// Dropped, it leaves the group as it is; only [`reopen`](Self::reopen) needs it.
pub struct Listeners {
    address: SocketAddr,
    count: usize,
    sockets: ReusePortSockArray<MapData>,
    program: Ebpf,
}

/// The listener, counted from 0, that accepts a flow of this hash ([`FrontHash::flow`](ringlead_pick::FrontHash::flow)): the
/// hash's lower 32 bits times the number of listeners, divided by 2^32. Node tables use the upper 32.
#[inline]
#[must_use]
pub fn listener_of(hash: u64, listeners: usize) -> usize {
    let scaled = (u128::from(hash & 0xffff_ffff) * listeners as u128) >> 32;
    usize::try_from(scaled).unwrap_or(0)
}

impl Listeners {
    /// Opens `count` listeners, 1 to [`LISTENERS_MAX`], on an address of either family; `key` is the front's hash key. With port
    /// 0 the kernel chooses one. The node need not have the address yet. An IPv6 listener accepts IPv6 only.
    ///
    /// Listeners are blocking and close on exec. Connections that come before this returns may be accepted by any of them.
    ///
    /// # Errors
    /// Every [`ListenError`] but `Unknown`; nothing stays open then.
    pub fn open(
        address: SocketAddr,
        count: usize,
        key: [u8; 16],
    ) -> Result<(Self, Vec<TcpListener>), ListenError> {
        if !(1..=LISTENERS_MAX).contains(&count) {
            return Err(ListenError::Count { listeners: count, max: LISTENERS_MAX });
        }
        let mut program = Ebpf::load(OBJECT).map_err(|e| ListenError::program("make its maps", &e))?;
        reuseport(&mut program)?.load().map_err(|e| ListenError::program("load it", &e))?;
        let mut settings: Array<MapData, [u64; 3]> = map(&mut program, "settings")?;
        settings.set(0, words(key, count), 0).map_err(|e| ListenError::program("write its settings", &e))?;
        let sockets = map(&mut program, "listeners")?;
        let mut group = Self { address, count, sockets, program };
        let mut all = Vec::with_capacity(count);
        for listener in 0..count {
            let socket = group.add(listener)?;
            // The port that the kernel chose is everybody's.
            group.address = socket
                .local_addr()
                .map_err(|e| ListenError::socket(group.address, "ask for its address", &e))?;
            all.push(socket);
        }
        Ok((group, all))
    }

    /// Where the group listens, with the port that the kernel chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens one listener again whose worker is gone.
    ///
    /// While a listener is closed, the kernel chooses among the others by a hash of its own, for new flows that would be its own
    /// and for those that waited at it: nobody is refused as long as one listener is left. What was accepted since stays where
    /// it is. A listener that is open all the same is replaced: it gets no new flow but those that the kernel chooses.
    ///
    /// # Errors
    /// [`ListenError::Unknown`], [`ListenError::Socket`], [`ListenError::Program`].
    pub fn reopen(&mut self, listener: usize) -> Result<TcpListener, ListenError> {
        if listener >= self.count {
            return Err(ListenError::Unknown { listener, listeners: self.count });
        }
        self.add(listener)
    }

    fn add(&mut self, listener: usize) -> Result<TcpListener, ListenError> {
        let socket = socket::open(self.address)?;
        // Every time: a group whose last listener closed has ended, and its program with it.
        let program = reuseport(&mut self.program)?;
        program.attach(&socket).map_err(|e| ListenError::program("attach it", &e))?;
        let index = u32::try_from(listener).unwrap_or(u32::MAX);
        let put = self.sockets.set(index, &socket, 0);
        put.map_err(|e| ListenError::program("put a listener into its map", &e))?;
        Ok(socket)
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners")
            .field("address", &self.address)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// `struct settings` of `bpf/listen.c`.
fn words(key: [u8; 16], count: usize) -> [u64; 3] {
    let half = |at: usize| key[at..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
    [half(0), half(8), count as u64]
}

fn map<M: TryFrom<Map, Error = MapError>>(program: &mut Ebpf, name: &'static str) -> Result<M, ListenError> {
    let map = program.take_map(name).ok_or_else(|| missing(name))?;
    M::try_from(map).map_err(|e| ListenError::program("open its maps", &e))
}

fn reuseport(program: &mut Ebpf) -> Result<&mut SkReuseport, ListenError> {
    let program = program.program_mut("listener").ok_or_else(|| missing("listener"))?;
    program.try_into().map_err(|e| ListenError::program("find it", &e as &aya::programs::ProgramError))
}

fn missing(name: &str) -> ListenError {
    ListenError::Program { what: "read its object", why: format!("it has no {name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_share_the_lower_half_of_the_hash_evenly() {
        assert_eq!(listener_of(0xffff_ffff_0000_0000, 4), 0, "the upper half does not count");
        assert_eq!(listener_of(0x3fff_ffff, 4), 0);
        assert_eq!(listener_of(0x4000_0000, 4), 1);
        assert_eq!(listener_of(u64::MAX, 4), 3);
        assert_eq!(listener_of(u64::MAX, 1), 0);
        assert_eq!(listener_of(u64::MAX, LISTENERS_MAX), LISTENERS_MAX - 1);
    }
}
