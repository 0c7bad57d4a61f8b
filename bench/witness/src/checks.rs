//! The checks of one returned packet, one function a layer. Each names what differs from what was sent and what the mode
//! makes of it.

use crate::expect::{Checksum, Expectation, Mode, Sent, Server, Service};
use crate::findings::Direction;
use crate::kind::Kind;
use crate::net::Nets;
use crate::parsed::{Parsed, Transport};
use crate::record::{Record, Who};
use crate::tunnel::Outer;
use std::fmt;
use std::net::SocketAddr;

/// One packet, and what it should be.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) expect: &'a Expectation,
    pub(crate) packet: &'a Parsed<'a>,
    /// What a tunnel put around it.
    pub(crate) outer: Option<&'a Outer>,
    pub(crate) sent: &'a Sent,
    pub(crate) service: &'a Service,
    pub(crate) direction: Direction,
    pub(crate) interface: u16,
    /// The server that the flow went to last: most often it is this one's too.
    pub(crate) last_server: Option<u16>,
    pub(crate) who: Who,
    /// The packet went to or came from a server of the other family than its client's.
    pub(crate) translated: bool,
    /// It was put together again from fragments.
    pub(crate) was_cut: bool,
}

impl Case<'_> {
    /// Checks everything, and returns the server that the packet came to.
    #[inline]
    pub(crate) fn check(&self, record: &mut Record) -> Option<u16> {
        let server = match self.direction {
            Direction::Forward => self.forward(record),
            Direction::Reply => {
                self.reply(record);
                None
            }
        };
        self.ip(record);
        if self.translated && self.was_cut {
            self.in_fragments(record);
        }
        if self.packet.transport() == Some(Transport::Tcp) {
            self.tcp(record);
        }
        self.checksums(record);
        server
    }

    /// Addresses on the way to a server.
    #[inline]
    fn forward(&self, record: &mut Record) -> Option<u16> {
        match self.service.mode {
            Mode::Nat | Mode::Dsr | Mode::Tunnel => {
                self.endpoint(record, "source", self.sent.client, self.packet.source());
            }
            Mode::Snat => self.snat_source(record),
        }
        let found = match self.service.mode {
            Mode::Nat | Mode::Snat => self.nat_server(record),
            Mode::Dsr => {
                self.endpoint(record, "destination", self.service.address, self.packet.destination());
                self.dsr_server(record)
            }
            Mode::Tunnel => {
                self.endpoint(record, "destination", self.service.address, self.packet.destination());
                self.tunnelled(record)
            }
        };
        let server = self.expect.servers.get(usize::from(found?))?;
        self.receiver(record, &server.name, server.mac, server.interface, server.vlan);
        found
    }

    /// Whether the packet comes from the SNAT pool. Whose mapping it is only the flows' history tells.
    #[inline]
    fn snat_source(&self, record: &mut Record) {
        if self.is_from_snat_pool() {
            return;
        }
        let (snat, from) = (&self.expect.snat, self.packet.source());
        let of_the_pool = Nets(&snat.sources).contain(from.ip());
        let kind = if of_the_pool { Kind::WrongPort } else { Kind::WrongAddress };
        let (first, last) = (snat.ports.start(), snat.ports.end());
        let expected = format_args!("source in {}, port {first} to {last}", Nets(&snat.sources));
        record.find(kind, self.who, expected, format_args!("source {from}"));
    }

    /// Whether it comes from an address and port of the SNAT pool.
    #[inline]
    pub(crate) fn is_from_snat_pool(&self) -> bool {
        let (snat, from) = (&self.expect.snat, self.packet.source());
        Nets(&snat.sources).contain(from.ip()) && snat.ports.contains(&from.port())
    }

    /// The server whose address and port the packet is for.
    #[inline]
    fn nat_server(&self, record: &mut Record) -> Option<u16> {
        let to = self.packet.destination();
        let found = self.server(|server| server.address == to);
        if found.is_none() {
            let same_ip = self.server(|server| server.address.ip() == to.ip());
            let kind = if same_ip.is_some() { Kind::WrongPort } else { Kind::WrongAddress };
            let of = self.service.address;
            record.find(
                kind,
                self.who,
                format_args!("destination: a server of {of}"),
                format_args!("destination {to}"),
            );
        }
        found
    }

    /// The server whose MAC address the frame is for, on whose interface it came.
    #[inline]
    fn dsr_server(&self, record: &mut Record) -> Option<u16> {
        let mac = self.packet.destination_mac();
        let mac_fits = |server: &Server| server.mac.is_none_or(|own| own == mac);
        let interface_fits = |server: &Server| server.interface.is_none_or(|own| own == self.interface);
        let found = self.server(|server| mac_fits(server) && interface_fits(server));
        // Not found: it has another server's MAC address, or nobody's.
        let found = found.or_else(|| self.server(|server| server.mac == Some(mac)));
        if found.is_none() {
            let kind =
                if self.server(interface_fits).is_some() { Kind::WrongMac } else { Kind::WrongInterface };
            let (of, interface) = (self.service.address, self.interface);
            record.find(
                kind,
                self.who,
                format_args!("the MAC address and interface of a server of {of}"),
                format_args!("{} on interface {interface}", Mac(mac)),
            );
        }
        found
    }

    /// The first server of the service that fits; the flow's last one is tried before all others.
    #[inline]
    pub(crate) fn server(&self, fits: impl Fn(&Server) -> bool) -> Option<u16> {
        let fits = |index: &u16| self.expect.servers.get(usize::from(*index)).is_some_and(&fits);
        self.last_server.filter(fits).or_else(|| self.service.servers.iter().copied().find(fits))
    }

    /// Addresses on the way back to the client.
    #[inline]
    fn reply(&self, record: &mut Record) {
        self.endpoint(record, "source", self.service.address, self.packet.source());
        self.endpoint(record, "destination", self.sent.client, self.packet.destination());
        self.receiver(record, "the client", self.sent.mac, None, self.sent.vlan);
    }

    #[inline]
    fn endpoint(&self, record: &mut Record, what: &str, expected: SocketAddr, got: SocketAddr) {
        if expected == got {
            return;
        }
        let kind = if expected.ip() == got.ip() { Kind::WrongPort } else { Kind::WrongAddress };
        record.find(kind, self.who, format_args!("{what} {expected}"), format_args!("{what} {got}"));
    }

    /// Whether the frame came to its receiver on layer 2.
    #[inline]
    fn receiver(
        &self,
        record: &mut Record,
        name: &str,
        mac: Option<[u8; 6]>,
        interface: Option<u16>,
        vlan: Option<u16>,
    ) {
        let got = self.packet.destination_mac();
        if let Some(mac) = mac.filter(|mac| *mac != got) {
            let expected = format_args!("{} ({name})", Mac(mac));
            record.find(Kind::WrongMac, self.who, expected, format_args!("{}", Mac(got)));
        }
        if let Some(interface) = interface.filter(|interface| *interface != self.interface) {
            let expected = format_args!("interface {interface} ({name})");
            record.find(
                Kind::WrongInterface,
                self.who,
                expected,
                format_args!("interface {}", self.interface),
            );
        }
        if vlan != self.packet.vlan() {
            let got = self.packet.vlan();
            record.find(
                Kind::WrongVlan,
                self.who,
                format_args!("{}", Tag(vlan)),
                format_args!("{}", Tag(got)),
            );
        }
    }

    /// The IP header but for its addresses and its checksum.
    #[inline]
    fn ip(&self, record: &mut Record) {
        let (sent, packet) = (self.sent, self.packet);
        let left = match self.direction {
            Direction::Forward => sent.ttl,
            Direction::Reply => sent.reply_ttl,
        };
        let ttl = left.saturating_sub(self.service.mode.hops());
        if packet.ttl() != ttl {
            record.find(Kind::WrongTtl, self.who, format_args!("{ttl}"), format_args!("{}", packet.ttl()));
        }
        if packet.tos() != sent.tos {
            let got = packet.tos();
            record.find(
                Kind::WrongDscp,
                self.who,
                format_args!("{}", Tos(sent.tos)),
                format_args!("{}", Tos(got)),
            );
        }
        if self.translated {
            self.new_header(record);
        } else {
            self.same_label(record);
        }
        let transport = self.service.transport;
        if packet.transport() != Some(transport) {
            let got = format_args!("protocol {}", packet.protocol());
            record.find(Kind::HeaderChanged, self.who, format_args!("{transport:?}"), got);
        }
        let (header, plain) = (packet.ip_header().len(), if packet.is_v4() { 20 } else { 40 });
        if header != plain {
            let expected = format_args!("an IP header of {plain} bytes");
            record.find(Kind::HeaderChanged, self.who, expected, format_args!("{header} bytes"));
        }
    }

    /// Identification and flags, or flow label, as they were sent.
    #[inline]
    fn same_label(&self, record: &mut Record) {
        let (sent, got) = (self.sent, self.packet.label());
        let label = (sent.label, if sent.dont_fragment { 0x40 } else { 0 });
        if got != label {
            let what = if self.packet.is_v4() { "identification" } else { "flow label" };
            record.find(
                Kind::HeaderChanged,
                self.who,
                format_args!("{what} {:#x}, flags {:#04x}", label.0, label.1),
                format_args!("{what} {:#x}, flags {:#04x}", got.0, got.1),
            );
        }
    }

    /// The TCP header but for its ports, its checksum and the numbers that the stamp covers.
    #[inline]
    fn tcp(&self, record: &mut Record) {
        let Some(header) = self.packet.tcp_header().first_chunk::<20>() else { return };
        let flags = match self.direction {
            Direction::Forward => self.sent.flags,
            Direction::Reply => self.sent.reply_flags,
        };
        let got =
            (header[12], header[13], u16::from_be_bytes([header[14], header[15]]), [header[18], header[19]]);
        let expected = (0x50, flags, self.sent.window, [0, 0]);
        if got != expected {
            record.find(
                Kind::HeaderChanged,
                self.who,
                format_args!("{}", Tcp(expected)),
                format_args!("{}", Tcp(got)),
            );
        }
    }

    /// Both checksums, summed anew.
    #[inline]
    fn checksums(&self, record: &mut Record) {
        let packet = self.packet;
        if !packet.ip_checksum_ok() {
            record.find(
                Kind::BadIpChecksum,
                self.who,
                format_args!("a right one"),
                format_args!("a wrong one"),
            );
        }
        let (field, right) = (packet.l4_checksum(), packet.l4_checksum_ok());
        let absent = field == 0 && packet.transport() == Some(Transport::Udp);
        // RFC 7915 §4.5: there is no UDP without one over IPv6, and so none in what comes back.
        let made = self.translated && self.sent.checksum == Checksum::Absent;
        let sent = if made { Checksum::Right } else { self.sent.checksum };
        let (kind, expected) = match sent {
            Checksum::Right if !right => (Kind::BadL4Checksum, "a right checksum"),
            Checksum::Absent if !absent => (Kind::BadL4Checksum, "no checksum, as it was sent"),
            Checksum::Wrong if right => (Kind::HiddenDamage, "a wrong checksum, as it was sent"),
            Checksum::Wrong if absent => (Kind::HiddenDamage, "a wrong checksum, as it was sent"),
            Checksum::Right | Checksum::Absent | Checksum::Wrong => return,
        };
        let is = if right {
            "right"
        } else if absent {
            "none"
        } else {
            "wrong"
        };
        record.find(kind, self.who, format_args!("{expected}"), format_args!("{field:#06x}: {is}"));
    }
}

struct Mac([u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

struct Tag(Option<u16>);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(vlan) => write!(f, "VLAN {vlan}"),
            None => f.write_str("untagged"),
        }
    }
}

pub(crate) struct Tos(pub(crate) u8);

impl fmt::Display for Tos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DSCP {}, ECN {}", self.0 >> 2, self.0 & 3)
    }
}

/// Bytes 12 and 13, window and urgent pointer.
struct Tcp((u8, u8, u16, [u8; 2]));

impl fmt::Display for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (offset, flags, window, urgent) = self.0;
        let (length, urgent) = (u32::from(offset >> 4) * 4, u16::from_be_bytes(urgent));
        write!(f, "TCP header {length}, flags {flags:#04x}, window {window}, urgent {urgent}")
    }
}
