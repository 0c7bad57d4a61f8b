//! What the table stores about a flow and what it hands out.

use ringlead_wire::TcpFlags;

use crate::account::Account;
use crate::hit::Hit;
use crate::link::Link;
use crate::state::State;
use crate::timer::Profile;
use crate::tuple::Tuple;

/// A server's number in the table snapshot; never reused while a flow holds it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct ServerId(pub u32);

/// The end that sent a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// The client: the packet is to be sent to the server.
    Client,
    /// The server: the packet is to be sent to the client.
    Server,
}

/// What a new flow is made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowSpec {
    /// As the client sends: client → service.
    pub client: Tuple,
    /// As the server answers: server → client (nat) or server → our address (snat). `None` where the server's packets
    /// do not pass here (dsr, tunnel). Must differ from `client`; of the other family where addresses are translated
    /// (NAT64, NAT46).
    pub server: Option<Tuple>,
    /// The server that was chosen.
    pub server_id: ServerId,
    /// The service's number in the table snapshot.
    pub service: u32,
    /// The idle timers.
    pub profile: Profile,
    /// Where the client's packets come from.
    pub link: Link,
    /// The first packet's TCP flags; nothing for other transports.
    pub first: TcpFlags,
    /// What its account begins with; `None`: no account is kept of it. Of no effect before
    /// [`FlowTable::keep_accounts`](crate::FlowTable::keep_accounts).
    pub account: Option<Account>,
}

impl FlowSpec {
    /// Whether the tuples are of different families.
    #[inline]
    #[must_use]
    pub fn is_mixed(&self) -> bool {
        self.server.is_some_and(|server| server.is_v4() != self.client.is_v4())
    }
}

/// Where a flow lives: good for as long as that flow does, harmless afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EntryRef {
    pub(crate) index: u32,
    pub(crate) generation: u16,
    pub(crate) v4: bool,
}

impl From<&Flow> for EntryRef {
    #[inline]
    fn from(flow: &Flow) -> Self {
        flow.entry
    }
}

impl From<&Hit> for EntryRef {
    #[inline]
    fn from(hit: &Hit) -> Self {
        hit.entry
    }
}

/// A consistent copy of one flow, as it was at the look-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    /// Where it lives.
    pub entry: EntryRef,
    /// Which of its two tuples was looked up.
    pub side: Side,
    /// As the client sends.
    pub client: Tuple,
    /// As the server answers, if its packets pass here.
    pub server: Option<Tuple>,
    /// The server.
    pub server_id: ServerId,
    /// The service.
    pub service: u32,
    /// Where the client's packets come from; [`Link::NONE`] while unknown or just being changed.
    pub link: Link,
    /// Life, timers and last-seen.
    pub state: State,
}

/// A flow that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gone {
    /// As it was.
    pub flow: Flow,
    /// What it carried, if its account was kept.
    pub account: Option<Account>,
}

/// What came of an insert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Inserted {
    /// The flow is new and both its tuples can be looked up.
    New(Flow),
    /// The client's tuple had a flow already, or another worker was faster: use this one.
    Existing(Flow),
    /// The server's tuple belongs to another client's flow: choose another server or port.
    TupleTaken,
    /// No room: no free entry, or both buckets of a tuple are full.
    Full,
    /// Out of tries against other workers that insert the same tuple; nothing was stored.
    Contended,
}
