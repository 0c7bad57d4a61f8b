//! The records of a stream: fixed sizes, numbers in little-endian, addresses in network order.
//!
//! ```text
//!  flow    protocol 1 | bits 1 | marks 1 | way 1 | service 4 | server 4 | idle 4          36 bytes and four
//!          link: MAC 6, port 1, tags 1, tag 2, tag 2                                      addresses of 4 bytes
//!          client's two ports 4 | server's two ports 4 | client's two addresses, server's (narrow) or 16 (wide)
//!  rest    address 16 | protocol 1 | 0 | group 2 | ports 8                                28 bytes
//!  client  table 4 | pool 4 | server 4 | idle 4 | address 16                              32 bytes
//!  account flow 4 | why 1 | 0 0 0 | began 8 | last 8 | client's packets 8, bytes 8 |
//!          server's packets 8, bytes 8                                                   56 bytes
//! ```
//!
//! Service, server, port, table and pool are places in the head's lists; the flow of an account is its place among the flows. Bits: 1 there is a server's tuple, 2 the timers of
//! RFC 5382.

use ringlead_flow::{Account, Link, Profile, Tuple, Volume};
use ringlead_wire::Ip;

/// Bytes of a flow without its addresses.
const FLOW_FIXED: usize = 36;
/// Bytes of a flow that is IPv4 all through.
pub(super) const NARROW: usize = FLOW_FIXED + 4 * 4;
/// Bytes of every other flow.
pub(super) const WIDE: usize = FLOW_FIXED + 4 * 16;
/// Bytes of a group of resting ports.
pub(super) const REST: usize = 28;
/// Bytes of a remembered client.
pub(super) const CLIENT: usize = 32;
/// Bytes of a flow's account.
pub(super) const ACCOUNT: usize = 56;

const TWO_SIDED: u8 = 1;
const RFC5382: u8 = 2;

/// A flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FlowRecord {
    pub(super) client: Tuple,
    pub(super) server: Option<Tuple>,
    pub(super) service: u32,
    pub(super) server_at: u32,
    pub(super) way: u8,
    pub(super) profile: Profile,
    pub(super) link: Link,
    pub(super) marks: u8,
    pub(super) idle: u32,
}

/// Ports of one address that rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RestRecord {
    pub(super) ip: Ip,
    pub(super) protocol: u8,
    pub(super) group: u16,
    pub(super) ports: u64,
}

/// A client and the server that it comes back to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ClientRecord {
    pub(super) table: u32,
    pub(super) pool: u32,
    pub(super) server: u32,
    pub(super) idle: u32,
    pub(super) source: Ip,
}

/// What a flow has carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct AccountRecord {
    /// Of which flow: its place among all, narrow and then wide, from 0.
    pub(super) flow: u32,
    pub(super) account: Account,
}

impl FlowRecord {
    /// Whether addresses of four bytes will do.
    pub(super) fn is_narrow(&self) -> bool {
        self.client.is_v4() && self.server.is_none_or(|server| server.is_v4())
    }

    /// Appends the flow, narrow or wide.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let narrow = self.is_narrow();
        let two_sided = if self.server.is_some() { TWO_SIDED } else { 0 };
        let profile = if self.profile == Profile::Rfc5382 { RFC5382 } else { 0 };
        out.extend([self.client.proto, two_sided | profile, self.marks, self.way]);
        for number in [self.service, self.server_at, self.idle] {
            out.extend(number.to_le_bytes());
        }
        out.extend(self.link.mac);
        out.extend([self.link.port, self.link.vlans]);
        let server = self.server.unwrap_or_default();
        let ports = [self.client.sport, self.client.dport, server.sport, server.dport];
        for number in self.link.vlan.into_iter().chain(ports) {
            out.extend(number.to_le_bytes());
        }
        for ip in [self.client.src, self.client.dst, server.src, server.dst] {
            if narrow { out.extend(ip.last4()) } else { out.extend(ip.octets()) }
        }
    }

    /// Reads a flow from [`NARROW`] or [`WIDE`] bytes; `None` when there are fewer.
    pub(super) fn read(bytes: &[u8], narrow: bool) -> Option<Self> {
        let mut from = Bytes(bytes);
        let [proto, bits, marks, way] = from.take()?;
        let [service, server_at, idle] = [from.number()?, from.number()?, from.number()?];
        let mac = from.take()?;
        let [port, vlans] = from.take()?;
        let vlan = [from.half()?, from.half()?];
        let [cs, cd, ss, sd] = [from.half()?, from.half()?, from.half()?, from.half()?];
        let mut ip = || if narrow { from.take().map(Ip::from_v4) } else { from.take().map(Ip::from_v6) };
        let [client_src, client_dst, server_src, server_dst] = [ip()?, ip()?, ip()?, ip()?];
        let client = Tuple { src: client_src, dst: client_dst, sport: cs, dport: cd, proto };
        let server = Tuple { src: server_src, dst: server_dst, sport: ss, dport: sd, proto };
        Some(Self {
            client,
            server: (bits & TWO_SIDED != 0).then_some(server),
            service,
            server_at,
            way,
            profile: if bits & RFC5382 != 0 { Profile::Rfc5382 } else { Profile::Lb },
            link: Link { mac, port, vlans, vlan },
            marks,
            idle,
        })
    }
}

impl RestRecord {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.ip.octets());
        out.extend([self.protocol, 0]);
        out.extend(self.group.to_le_bytes());
        out.extend(self.ports.to_le_bytes());
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Bytes(bytes);
        let ip = Ip::from_v6(from.take()?);
        let [protocol, _] = from.take()?;
        Some(Self { ip, protocol, group: from.half()?, ports: u64::from_le_bytes(from.take()?) })
    }
}

impl ClientRecord {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for number in [self.table, self.pool, self.server, self.idle] {
            out.extend(number.to_le_bytes());
        }
        out.extend(self.source.octets());
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Bytes(bytes);
        let [table, pool, server, idle] = [from.number()?, from.number()?, from.number()?, from.number()?];
        Some(Self { table, pool, server, idle, source: Ip::from_v6(from.take()?) })
    }
}

impl AccountRecord {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Account { why, began_us, last_us, client, server } = self.account;
        out.extend(self.flow.to_le_bytes());
        out.extend([why, 0, 0, 0]);
        for number in [began_us, last_us, client.packets, client.bytes, server.packets, server.bytes] {
            out.extend(number.to_le_bytes());
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Bytes(bytes);
        let flow = from.number()?;
        let [why, ..] = from.take::<4>()?;
        let mut long = || from.take().map(u64::from_le_bytes);
        let (began_us, last_us) = (long()?, long()?);
        let mut volume = || Some(Volume { packets: long()?, bytes: long()? });
        let (client, server) = (volume()?, volume()?);
        Some(Self { flow, account: Account { why, began_us, last_us, client, server } })
    }
}

/// What is left of a record.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, left) = self.0.split_first_chunk()?;
        self.0 = left;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn half(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }
}
