//! What a burst's look-up finds: the words of a flow's entry as they were read, taken apart only where somebody asks.

use crate::flow::{EntryRef, Flow, ServerId, Side};
use crate::key::{Key, V4, V6};
use crate::link::{Link, Pair};
use crate::state::State;

/// A consistent copy of one flow as it was at the look-up. It says what a [`Flow`] says, and costs a third.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    /// The client's key and then the server's, as long as the table's keys are; nothing behind them.
    pub(crate) keys: [u64; 10],
    pub(crate) pair: Pair,
    pub(crate) ids: u64,
    pub(crate) state: State,
    pub(crate) entry: EntryRef,
    pub(crate) side: Side,
}

impl Hit {
    /// Nothing yet: what an array of hits starts with.
    pub const NONE: Self = Self {
        keys: [0; 10],
        pair: Pair { tags: 0, mac: 0 },
        ids: 0,
        state: State(0),
        entry: EntryRef { index: u32::MAX, generation: 0, v4: false },
        side: Side::Client,
    };

    /// Which of the flow's two tuples was looked up.
    #[inline]
    #[must_use]
    pub const fn side(&self) -> Side {
        self.side
    }

    /// The server.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a word is cut into halves")]
    pub const fn server_id(&self) -> ServerId {
        ServerId((self.ids >> 32) as u32)
    }

    /// The service.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a word is cut into halves")]
    pub const fn service(&self) -> u32 {
        self.ids as u32
    }

    /// The state at the look-up.
    #[inline]
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Where the client's packets come from; [`Link::NONE`] while unknown or just being changed.
    #[inline]
    #[must_use]
    pub const fn link(&self) -> Link {
        self.pair.link()
    }

    /// Whether that is where the client's packets come from: the address in one word, and the rest of a [`Link`].
    #[inline]
    #[must_use]
    pub const fn has_link(&self, mac: u64, port: u8, vlans: u8, vlan: [u16; 2]) -> bool {
        self.pair.is(mac, port, vlans, vlan)
    }

    /// Whether the flow is an IPv4 one: both its tuples, if it has two.
    #[inline]
    #[must_use]
    pub const fn is_v4(&self) -> bool {
        self.entry.v4
    }

    /// Whether one of the flow's tuples is an IPv4 and the other an IPv6 one; then [`is_v4`](Self::is_v4) is false. What says
    /// something of an IPv6 flow holds for both tuples, with IPv4 addresses in mapped form.
    #[inline]
    #[must_use]
    pub const fn is_mixed(&self) -> bool {
        self.state.is_mixed()
    }

    /// Whether the server's packets pass here too, so that [`server_v4`](Self::server_v4) or
    /// [`server_v6`](Self::server_v6) says where the client's are to go.
    #[inline]
    #[must_use]
    pub const fn is_two_sided(&self) -> bool {
        !self.state.is_one_sided()
    }

    /// Of a two-sided IPv4 flow: the server's address and port, both in network order.
    #[inline]
    #[must_use]
    pub const fn server_v4(&self) -> ([u8; 4], [u8; 2]) {
        let [_, _, addresses, ends, ..] = self.keys;
        let ([a, b, c, d, ..], [_, _, _, e, f, ..]) = (addresses.to_be_bytes(), ends.to_be_bytes());
        ([a, b, c, d], [e, f])
    }

    /// Of an IPv4 flow: the service's address and port, both in network order.
    #[inline]
    #[must_use]
    pub const fn service_v4(&self) -> ([u8; 4], [u8; 2]) {
        let [addresses, ends, ..] = self.keys;
        let ([.., a, b, c, d], [.., e, f, _]) = (addresses.to_be_bytes(), ends.to_be_bytes());
        ([a, b, c, d], [e, f])
    }

    /// Of an IPv4 flow: the client's address and port, both in network order.
    #[inline]
    #[must_use]
    pub const fn client_v4(&self) -> ([u8; 4], [u8; 2]) {
        let [addresses, ends, ..] = self.keys;
        let ([a, b, c, d, ..], [_, _, _, e, f, ..]) = (addresses.to_be_bytes(), ends.to_be_bytes());
        ([a, b, c, d], [e, f])
    }

    /// Of a two-sided IPv4 flow: the address and port that the server answers to, both in network order: the client's, or
    /// with snat ours.
    #[inline]
    #[must_use]
    pub const fn mapping_v4(&self) -> ([u8; 4], [u8; 2]) {
        let [_, _, addresses, ends, ..] = self.keys;
        let ([.., a, b, c, d], [.., e, f, _]) = (addresses.to_be_bytes(), ends.to_be_bytes());
        ([a, b, c, d], [e, f])
    }

    /// Of a two-sided IPv6 flow: the server's address and port, both in network order.
    #[inline]
    #[must_use]
    pub fn server_v6(&self) -> ([u8; 16], [u8; 2]) {
        let [_, _, _, _, _, high, low, _, _, ends] = self.keys;
        let [_, _, _, e, f, ..] = ends.to_be_bytes();
        (whole(high, low), [e, f])
    }

    /// Of an IPv6 flow: the service's address and port, both in network order.
    #[inline]
    #[must_use]
    pub fn service_v6(&self) -> ([u8; 16], [u8; 2]) {
        let [_, _, high, low, ends, ..] = self.keys;
        let [.., e, f, _] = ends.to_be_bytes();
        (whole(high, low), [e, f])
    }

    /// Of an IPv6 flow: the client's address and port, both in network order.
    #[inline]
    #[must_use]
    pub fn client_v6(&self) -> ([u8; 16], [u8; 2]) {
        let [high, low, _, _, ends, ..] = self.keys;
        let [_, _, _, e, f, ..] = ends.to_be_bytes();
        (whole(high, low), [e, f])
    }

    /// Of a two-sided IPv6 flow: the address and port that the server answers to, both in network order: the client's, or
    /// with snat ours.
    #[inline]
    #[must_use]
    pub fn mapping_v6(&self) -> ([u8; 16], [u8; 2]) {
        let [_, _, _, _, _, _, _, high, low, ends] = self.keys;
        let [.., e, f, _] = ends.to_be_bytes();
        (whole(high, low), [e, f])
    }

    /// The way back to the client in numbers: the Ethernet address, and the rest of a [`Link`].
    #[inline]
    #[must_use]
    pub const fn way_back(&self) -> (u64, u8, u8, [u16; 2]) {
        self.pair.parts()
    }

    /// The same with every part taken out.
    #[must_use]
    pub fn flow(&self) -> Flow {
        let [k0, k1, k2, k3, k4, s0, s1, s2, s3, s4] = self.keys;
        let (client, server) = if self.entry.v4 {
            (V4([k0, k1]).unpack(), V4([k2, k3]).unpack())
        } else {
            (V6([k0, k1, k2, k3, k4]).unpack(), V6([s0, s1, s2, s3, s4]).unpack())
        };
        Flow {
            entry: self.entry,
            side: self.side,
            client,
            server: (!self.state.is_one_sided()).then_some(server),
            server_id: self.server_id(),
            service: self.service(),
            link: self.link(),
            state: self.state,
        }
    }
}

impl From<&Flow> for Hit {
    /// Of a flow that was just made.
    fn from(flow: &Flow) -> Self {
        let server = flow.server.as_ref();
        let keys = if flow.entry.v4 {
            let [c0, c1] = V4::pack(&flow.client).0;
            let [s0, s1] = server.map_or([0; 2], |server| V4::pack(server).0);
            [c0, c1, s0, s1, 0, 0, 0, 0, 0, 0]
        } else {
            let [c0, c1, c2, c3, c4] = V6::pack(&flow.client).0;
            let [s0, s1, s2, s3, s4] = server.map_or([0; 5], |server| V6::pack(server).0);
            [c0, c1, c2, c3, c4, s0, s1, s2, s3, s4]
        };
        let ids = u64::from(flow.server_id.0) << 32 | u64::from(flow.service);
        let pair = Pair::after(0, flow.link);
        Self { keys, pair, ids, state: flow.state, entry: flow.entry, side: flow.side }
    }
}

#[inline]
fn whole(high: u64, low: u64) -> [u8; 16] {
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}
