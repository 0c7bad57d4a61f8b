//! The outer addresses of each tunnelled flow: learnt from its first frame, demanded of all others.

use crate::findings::Spread;
use crate::spread::Spreading;
use crate::tunnel::Outer;
use std::fmt;
use std::net::SocketAddr;

/// What must stay the same in a flow: RSS, ECMP and a server's flow steering go by it (RFC 6438).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Path {
    source: SocketAddr,
    /// Over IPv6.
    flow_label: u32,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "outer source {}, flow label {:#x}", self.source, self.flow_label)
    }
}

/// The outer sources of all flows: 40 bytes a flow.
#[derive(Debug)]
pub(crate) struct Outers {
    flows: Vec<Option<Path>>,
    spreading: Spreading,
}

impl Outers {
    /// For so many flows.
    pub(crate) fn new(flows: usize) -> Self {
        Self { flows: vec![None; flows], spreading: Spreading::default() }
    }

    /// Notes what stood around a packet of `flow`; returns what it should have been and is, where they differ.
    #[inline]
    pub(crate) fn note(&mut self, flow: u32, outer: &Outer) -> Option<(Path, Path)> {
        let flow_label = if outer.source.is_ipv6() { outer.label.0 } else { 0 };
        let now = Path { source: outer.source, flow_label };
        let path = usize::try_from(flow).ok().and_then(|flow| self.flows.get_mut(flow))?;
        if *path == Some(now) {
            return None;
        }
        self.spreading.note(now.source);
        path.replace(now).map(|before| (before, now))
    }

    /// Over what flows were spread.
    pub(crate) fn seen(&self) -> Spread {
        self.spreading.seen(0)
    }
}
