//! The one list of reasons why a frame is not sent on. It makes the enum, the counters, the names and the explanations.

use ringlead_wire::malformed::Malformed;

/// Declares the reasons of the packet path; the wire's malformed reasons follow them in the same numbering.
macro_rules! reasons {
    ($($variant:ident $name:literal $text:literal $advice:literal;)*) => {
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

            /// What to look at or do, in a sentence or two.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)* }
            }
        }
    };
}

reasons! {
    NotOurs "not-ours" "No service, flow or server of ours matches. On AF_XDP the steering program leaves such frames to the kernel; a few may arrive while services change."
        "A few while services change are normal. Many on AF_XDP: ringlead status shows whether the steering program and the services agree.";
    UnknownFlow "unknown-flow" "A TCP segment that is no SYN belongs to no flow, and the pool's algorithm cannot compute again which server had it."
        "After a crash or a long silence it is normal: the client opens a new connection. To have flows survive that use maglev without persistence or snat, or raise timeouts.";
    ServerWithoutFlow "server-without-flow" "A nat server sent a packet, or somebody sent one to a SNAT address, for which no flow exists: its client has not spoken yet, or the flow has ended."
        "Look whether servers open connections of their own from a service's port, and whether timeouts are shorter than clients are silent.";
    SnatExhausted "snat-exhausted" "Every source port of this worker's share of the service's [snat] pool is held by a flow or in quarantine: add addresses or widen the range."
        "Add addresses to the service's [snat] table or widen `ports`; ringlead snat shows the use, and ringlead flows whose flows they are.";
    IcmpWithoutFlow "icmp-without-flow" "An ICMP error speaks of a packet whose flow is not known."
        "A few are normal: errors about flows that have ended. Many with the same source may be a forged flood.";
    Fragment "fragment" "A fragment of a datagram towards a service or from a nat server. This version balances whole packets only."
        "Lower the MTU or MSS of whoever sends (mss-clamp for TCP), or keep datagrams below the path's MTU.";
    NoServer "no-server" "No server of the pool is ready, up and below its limit of flows, and the service's declared answer is drop or ICMP (or a reset could not be made)."
        "ringlead servers POOL says of each server why it is out; then mend servers or checks, raise max-flows, or name a sorry pool (on-no-server).";
    Answered "answered" "No server was available, so the declared answer (a TCP reset) went to the client in this frame's place."
        "As for no-server: ringlead servers POOL says of each server why it is out. The client knows already, by the reset.";
    FlowReset "flow-reset" "The flow's server is down, and its pool says on-server-down = \"reset\", or an operator closed it: a TCP reset went to the sender, and, where the way there is known, one to the receiver in this frame's place."
        "Nothing, if the server really is down or was closed; else ringlead servers POOL has the reason, and on-server-down = \"keep\" would wait for it.";
    ServerClosed "server-closed" "As flow-reset, but no reset could be made: there were more in this millisecond than a worker answers, or the segment asks for none. The sender will retransmit."
        "As for flow-reset. Many mean that more connections end at a time than a worker answers: they are reset as they send again.";
    TableFull "table-full" "The flow table has no room for a new flow: raise max-flows, or look for a flood."
        "Raise max-flows in [dataplane], shorten timeouts, or find the flood by ringlead flows --sort and ringlead drops.";
    TupleTaken "tuple-taken" "Every server tried already has a flow with this client's address and port under another service."
        "Give the services different servers or server ports, or use snat: with nat a server's replies are told apart by the client's address and port alone.";
    Contended "contended" "Several workers inserted the same flow at once and this one ran out of tries; the sender will retransmit."
        "Nothing while it is rare: the sender repeats the packet. Many mean that one flow's packets arrive on several queues: look at the card's RSS.";
    Untranslatable "untranslatable" "The service's servers are of the other IP family, which has no counterpart for this packet (RFC 7915): an ICMP error of a type that it does not know, or an authentication or fragment header."
        "Let the client send plain TCP or UDP, or give the service servers of its own IP family.";
    OwnNode "own-node" "The packet is for this node itself, of the nodes that share the service, and belongs to its kernel; one that its kernel does not know either is answered by a reset. A few may arrive while the nodes of a service change."
        "A few while nodes change are normal. Many: compare ringlead status and the nodes' pool on all nodes, which must be the same.";
    NodeLoop "node-loop" "A node that shares the service handed on a segment of a connection that nobody has: it would go back to where it came from."
        "Compare pool, hash-key and server states of all nodes by ringlead config diff and ringlead status: they disagree about whose the flow is.";
    TtlExpired "ttl-expired" "The TTL or hop limit is 1 or 0 and the packet would have to be routed."
        "Look for a routing loop, or a sender with a small TTL: traceroute to the service shows where packets go round.";
    NoNeighbour "no-neighbour" "The next hop's Ethernet address did not become known within a second: is the server or gateway up and on this network?"
        "ringlead servers shows the next hop; is that machine up, and does `ip neighbour` on its VLAN show an address?";
    HoldFull "hold-full" "Too many frames wait for next hops whose Ethernet address is not known yet."
        "Find the next hop that does not answer by ringlead servers: frames to it fill the place where all wait.";
    NoPort "no-port" "The next hop is behind a port on which this worker owns no queue."
        "Give the port as many queues as there are workers (ethtool -L), or fewer workers; ringlead ports shows who owns which.";
    TxFull "tx-full" "The transmit ring stayed full."
        "The card or the receiver is slower than what is sent: look at ringlead ports, at link speed and at pause frames.";
    TooBig "too-big" "The frame is larger than the outgoing port's MTU."
        "Raise the MTU on the way to servers (tunnels need 20 to 48 bytes more), or lower what is sent by mss-clamp; ringlead config check --here finds it (C204).";
    NoRoom "no-room" "There is no room in front of the frame for the VLAN tags it has to get."
        "Report it: frames are received with room for the tags that this version adds. A smaller MTU avoids it.";
    NoFrame "no-frame" "No free frame to answer with; the worker's packet memory is exhausted."
        "Frames wait or are under way that fill the packet memory: look at ringlead workers (held) and ringlead ports for a ring that does not move.";
    Shutdown "shutdown" "The frame still waited for its next hop when the worker ended."
        "Nothing: it counts what a stop or a take-over could not wait for; the sender repeats it.";
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

    /// What to look at or do.
    #[must_use]
    pub fn advice(self) -> &'static str {
        self.entry().2
    }

    fn entry(self) -> (&'static str, &'static str, &'static str) {
        let index = self.index();
        let malformed = || {
            let found = Malformed::ALL.get(index - Reason::ALL.len());
            found.map_or(("?", "?", "?"), |m| (m.name(), m.text(), m.advice()))
        };
        Reason::ALL.get(index).map_or_else(malformed, |r| (r.name(), r.text(), r.advice()))
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
            assert!(reason.advice().len() > 20, "{}: what to do?", reason.name());
        }
        assert_eq!(seen.len(), COUNT);
    }

    #[test]
    fn every_reason_has_its_own_counter() {
        let indices: Vec<usize> = Drop::all().map(Drop::index).collect();
        assert_eq!(indices, (0..COUNT).collect::<Vec<_>>());
    }
}
