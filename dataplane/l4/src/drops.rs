//! The one list of reasons why a frame is not sent on. It makes the enum, the counters, the names and the explanations.

use ringlead_wire::malformed::Malformed;

/// Declares the reasons of the packet path; the wire's malformed reasons follow them in the same numbering.
macro_rules! reasons {
    ($($variant:ident $name:literal $text:literal;)*) => {
        /// Why the packet path dropped a frame. Parsing has its own reasons ([`Malformed`]); both share one counter array.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Reason { $(#[doc = $text] $variant,)* }

        impl Reason {
            /// Every reason of this list, in order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name as counters, status and replay print it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it means, and what to look at, in a sentence or two.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

reasons! {
    NotOurs "not-ours" "No service, flow or server of ours matches. On AF_XDP the steering program leaves such frames to the kernel; a few may arrive while services change.";
    UnknownFlow "unknown-flow" "A TCP segment that is no SYN belongs to no flow, and the pool's algorithm cannot compute again which server had it.";
    ServerWithoutFlow "server-without-flow" "A nat server sent a packet, or somebody sent one to a SNAT address, for which no flow exists: its client has not spoken yet, or the flow has ended.";
    SnatExhausted "snat-exhausted" "Every source port of this worker's share of the service's [snat] pool is held by a flow or in quarantine: add addresses or widen the range.";
    IcmpWithoutFlow "icmp-without-flow" "An ICMP error speaks of a packet whose flow is not known.";
    Fragment "fragment" "A fragment of a datagram towards a service or from a nat server. This version balances whole packets only.";
    NoServer "no-server" "No server of the pool is ready, up and below its limit of flows, and the service's declared answer is drop or ICMP (or a reset could not be made).";
    Answered "answered" "No server was available, so the declared answer (a TCP reset) went to the client in this frame's place.";
    FlowReset "flow-reset" "The flow's server is down, and its pool says on-server-down = \"reset\", or an operator closed it: a TCP reset went to the sender, and, where the way there is known, one to the receiver in this frame's place.";
    ServerClosed "server-closed" "As flow-reset, but no reset could be made: there were more in this millisecond than a worker answers, or the segment asks for none. The sender will retransmit.";
    TableFull "table-full" "The flow table has no room for a new flow: raise max-flows, or look for a flood.";
    TupleTaken "tuple-taken" "Every server tried already has a flow with this client's address and port under another service.";
    Contended "contended" "Several workers inserted the same flow at once and this one ran out of tries; the sender will retransmit.";
    Untranslatable "untranslatable" "The service's servers are of the other IP family, which has no counterpart for this packet (RFC 7915): an ICMP error of a type that it does not know, or an authentication or fragment header.";
    OwnNode "own-node" "The packet is for this node itself, of the nodes that share the service, and belongs to its kernel; one that its kernel does not know either is answered by a reset. A few may arrive while the nodes of a service change.";
    NodeLoop "node-loop" "A node that shares the service handed on a segment of a connection that nobody has: it would go back to where it came from.";
    TtlExpired "ttl-expired" "The TTL or hop limit is 1 or 0 and the packet would have to be routed.";
    NoNeighbour "no-neighbour" "The next hop's Ethernet address did not become known within a second: is the server or gateway up and on this network?";
    HoldFull "hold-full" "Too many frames wait for next hops whose Ethernet address is not known yet.";
    NoPort "no-port" "The next hop is behind a port on which this worker owns no queue.";
    TxFull "tx-full" "The transmit ring stayed full.";
    TooBig "too-big" "The frame is larger than the outgoing port's MTU.";
    NoRoom "no-room" "There is no room in front of the frame for the VLAN tags it has to get.";
    NoFrame "no-frame" "No free frame to answer with; the worker's packet memory is exhausted.";
    Shutdown "shutdown" "The frame still waited for its next hop when the worker ended.";
}

/// The reasons that are counted by service besides: those of packets whose service is known by then.
pub const OF_SERVICE: [Reason; 16] = [
    Reason::UnknownFlow,
    Reason::SnatExhausted,
    Reason::IcmpWithoutFlow,
    Reason::NoServer,
    Reason::Answered,
    Reason::FlowReset,
    Reason::ServerClosed,
    Reason::TableFull,
    Reason::TupleTaken,
    Reason::Contended,
    Reason::Untranslatable,
    Reason::OwnNode,
    Reason::NodeLoop,
    Reason::TtlExpired,
    Reason::NoPort,
    Reason::TooBig,
];

/// How many reasons there are in all: the packet path's and parsing's.
pub const COUNT: usize = Reason::ALL.len() + Malformed::ALL.len();

/// Why a frame was dropped: by the path or already by parsing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drop(u8);

impl Drop {
    /// Its place in the counter array, below [`COUNT`].
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Its place in [`OF_SERVICE`], if it is there.
    #[must_use]
    pub fn of_service(self) -> Option<usize> {
        OF_SERVICE.iter().position(|&reason| Self::from(reason) == self)
    }

    /// Every reason.
    pub fn all() -> impl Iterator<Item = Self> {
        let path = Reason::ALL.iter().map(|&r| Self::from(r));
        path.chain(Malformed::ALL.iter().map(|&m| Self::from(m)))
    }

    /// The name as counters, status and replay print it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// What it means, and what to look at.
    #[must_use]
    pub fn text(self) -> &'static str {
        self.entry().1
    }

    fn entry(self) -> (&'static str, &'static str) {
        let index = self.index();
        Reason::ALL.get(index).map_or_else(
            || Malformed::ALL.get(index - Reason::ALL.len()).map_or(("?", "?"), |m| (m.name(), m.text())),
            |r| (r.name(), r.text()),
        )
    }
}

impl From<Reason> for Drop {
    #[inline]
    fn from(r: Reason) -> Self {
        Self(r as u8)
    }
}

impl From<Malformed> for Drop {
    #[inline]
    fn from(m: Malformed) -> Self {
        Self(PATH_REASONS + m as u8)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "asserted below")]
const PATH_REASONS: u8 = Reason::ALL.len() as u8;
const _: () = assert!(COUNT <= 256, "a drop reason is one byte");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_kebab_case_and_explained() {
        let mut seen = std::collections::BTreeSet::new();
        for reason in Drop::all() {
            assert!(seen.insert(reason.name()), "{} twice", reason.name());
            assert!(reason.name().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            assert!(reason.text().len() > 20, "{} is not explained", reason.name());
        }
        assert_eq!(seen.len(), COUNT);
    }

    #[test]
    fn every_reason_has_its_own_counter() {
        let indices: Vec<usize> = Drop::all().map(Drop::index).collect();
        assert_eq!(indices, (0..COUNT).collect::<Vec<_>>());
    }
}
