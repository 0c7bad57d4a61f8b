//! How a case is told: packets one after another, each with the verdict that it must get.

use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, Endianness};
use ringlead_wire::build::Packet;
use std::borrow::Cow;
use std::time::Duration;

/// When every case begins, in nanoseconds since 1970: the first second of 2024.
const BEGIN_NS: u64 = 1_704_067_200 * SECOND_NS;
const SECOND_NS: u64 = 1_000_000_000;
/// Nanoseconds between two packets where nothing else is said.
const STEP_NS: u64 = 1_000_000;

/// A port of the configurations. The order is that of every `config.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// Where the clients are.
    Wan,
    /// Where the servers are.
    Lan,
}

impl Port {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Wan, Self::Lan];

    /// Its name, in the configuration and as the interface in a capture.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Wan => "wan",
            Self::Lan => "lan",
        }
    }

    /// The Ethernet address that replay gives it: 02:00:00:00:00 and its place in the configuration.
    #[must_use]
    pub fn mac(self) -> [u8; 6] {
        [2, 0, 0, 0, 0, if self == Self::Wan { 0 } else { 1 }]
    }
}

/// One packet that arrives.
#[derive(Debug, Clone)]
pub struct Input {
    /// When, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Where.
    pub port: Port,
    /// The Ethernet frame.
    pub frame: Vec<u8>,
    /// The verdict that it must get; `*` stands for anything.
    pub verdict: &'static str,
}

/// One folder of `tests/pcap`.
#[derive(Debug, Clone)]
pub struct Case {
    /// The folder's name.
    pub name: &'static str,
    /// Its packets, in order of time.
    pub inputs: Vec<Input>,
}

impl Case {
    /// The case as a pcapng file in nanoseconds with the interfaces `wan` and `lan`, the same on every machine.
    ///
    /// # Panics
    /// When the library cannot write to memory.
    #[must_use]
    pub fn capture(&self) -> Vec<u8> {
        let mut writer = PcapNgWriter::with_endianness(Vec::new(), Endianness::Little).unwrap();
        for port in Port::ALL {
            let name = InterfaceDescriptionOption::IfName(Cow::Borrowed(port.name()));
            let options = vec![name, InterfaceDescriptionOption::IfTsResol(9)];
            let block = InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options };
            writer.write_block(&block.into_block()).unwrap();
        }
        for input in &self.inputs {
            let block = EnhancedPacketBlock {
                interface_id: if input.port == Port::Wan { 0 } else { 1 },
                timestamp: Duration::from_nanos(input.time_ns),
                original_len: u32::try_from(input.frame.len()).unwrap(),
                data: Cow::Borrowed(&input.frame),
                options: Vec::new(),
            };
            writer.write_block(&block.into_block()).unwrap();
        }
        writer.into_inner()
    }
}

/// A frame, or what makes one.
pub(super) trait ToFrame {
    fn to_frame(self) -> Vec<u8>;
}

impl ToFrame for Packet {
    fn to_frame(self) -> Vec<u8> {
        self.build()
    }
}

impl ToFrame for Vec<u8> {
    fn to_frame(self) -> Vec<u8> {
        self
    }
}

/// A case being told.
pub(super) struct Scene {
    case: Case,
    now_ns: u64,
    /// Ethernet source of what clients send: their router, or they themselves.
    pub(super) client_mac: [u8; 6],
}

/// Ethernet address of the clients' router.
pub(super) const ROUTER: [u8; 6] = [0x02, 0xc1, 0, 0, 0, 0x01];
/// Ethernet source of what comes from the servers' side. Nothing may depend on it.
const SERVER_SIDE: [u8; 6] = [0x02, 0x5e, 0, 0, 0, 0x01];

impl Scene {
    pub(super) fn new(name: &'static str) -> Self {
        Self { case: Case { name, inputs: Vec::new() }, now_ns: BEGIN_NS, client_mac: ROUTER }
    }

    /// Goes on at `milliseconds` from the begin.
    pub(super) fn at_ms(&mut self, milliseconds: u64) -> &mut Self {
        self.now_ns = BEGIN_NS + milliseconds * 1_000_000;
        self
    }

    /// A packet from the clients' side; its verdict.
    pub(super) fn wan(&mut self, packet: impl ToFrame, verdict: &'static str) -> &mut Self {
        let from = self.client_mac;
        self.arrives(Port::Wan, packet.to_frame(), from, verdict)
    }

    /// A packet from the servers' side; its verdict.
    pub(super) fn lan(&mut self, packet: impl ToFrame, verdict: &'static str) -> &mut Self {
        self.arrives(Port::Lan, packet.to_frame(), SERVER_SIDE, verdict)
    }

    fn arrives(&mut self, port: Port, mut frame: Vec<u8>, from: [u8; 6], verdict: &'static str) -> &mut Self {
        if let Some(addresses) = frame.first_chunk_mut::<12>() {
            addresses[..6].copy_from_slice(&port.mac());
            addresses[6..].copy_from_slice(&from);
        }
        self.case.inputs.push(Input { time_ns: self.now_ns, port, frame, verdict });
        self.now_ns += STEP_NS;
        self
    }

    /// The whole case. Stories that overlap in time are put in order.
    pub(super) fn end(mut self) -> Case {
        self.case.inputs.sort_by_key(|input| input.time_ns);
        self.case
    }
}

/// A payload that no other packet of a case has: `len` bytes that begin with the number.
pub(super) fn payload(number: u8, len: usize) -> Vec<u8> {
    (0..=255_u8).cycle().map(|step| number.wrapping_mul(37).wrapping_add(step)).take(len).collect()
}
