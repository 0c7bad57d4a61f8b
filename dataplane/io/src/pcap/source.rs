//! Packets out of a pcap or pcapng file, with their time in nanoseconds.

use super::Take;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError};
use std::fmt;
use std::io::{self, Read};

/// One captured packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Nanoseconds since 1970.
    pub(crate) time_ns: u64,
    /// What was captured of it.
    pub(crate) bytes: Vec<u8>,
    /// Its length on the wire.
    pub(crate) original_len: u32,
}

type Input = Box<dyn Read>;

/// A capture being read.
pub(crate) enum Source {
    /// No capture.
    Nothing,
    /// Classic pcap, in either byte order and resolution.
    Pcap(Box<PcapReader<Input>>),
    /// pcapng.
    PcapNg(Box<PcapNg>),
}

/// A pcapng file being read.
pub(crate) struct PcapNg {
    reader: PcapNgReader<Input>,
    take: Take,
    /// Simple packet blocks have no time: they take the one before.
    last_ns: u64,
}

impl Source {
    /// Tells the format by the first four bytes.
    pub(crate) fn new(mut input: Input, take: Take) -> io::Result<Self> {
        const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
        let mut magic = [0; 4];
        input.read_exact(&mut magic).map_err(|_| invalid("no capture: shorter than its own header"))?;
        let input: Input = Box::new(io::Cursor::new(magic).chain(input));
        if magic == SECTION_HEADER {
            let reader = PcapNgReader::new(input).map_err(fault)?;
            return Ok(Self::PcapNg(Box::new(PcapNg { reader, take, last_ns: 0 })));
        }
        let reader = PcapReader::new(input).map_err(fault)?;
        ethernet(reader.header().datalink)?;
        if !take.takes(None) {
            return Ok(Self::Nothing);
        }
        Ok(Self::Pcap(Box::new(reader)))
    }

    /// The next packet; `None` after the last.
    pub(crate) fn next(&mut self) -> io::Result<Option<Packet>> {
        match self {
            Self::Nothing => Ok(None),
            Self::PcapNg(file) => file.next(),
            Self::Pcap(reader) => {
                let Some(packet) = reader.next_packet().transpose().map_err(fault)? else { return Ok(None) };
                Ok(Some(Packet {
                    time_ns: u64::try_from(packet.timestamp.as_nanos()).map_err(io::Error::other)?,
                    bytes: packet.data.into_owned(),
                    original_len: packet.orig_len,
                }))
            }
        }
    }
}

impl PcapNg {
    fn next(&mut self) -> io::Result<Option<Packet>> {
        loop {
            // Taken apart here, because the block borrows the reader, which also knows the interfaces.
            let (interface, ticks, bytes, original_len) =
                match self.reader.next_block().transpose().map_err(fault)? {
                    None => return Ok(None),
                    // The library gives ticks of the interface's resolution as if they were nanoseconds.
                    Some(Block::EnhancedPacket(block)) => (
                        block.interface_id,
                        Some(block.timestamp.as_nanos()),
                        block.data.into_owned(),
                        block.original_len,
                    ),
                    Some(Block::SimplePacket(block)) => {
                        (0, None, block.data.into_owned(), block.original_len)
                    }
                    Some(Block::Packet(_)) => return Err(invalid("obsolete Packet Block: convert the file")),
                    Some(_) => continue,
                };
            let Some(described) =
                usize::try_from(interface).ok().and_then(|at| self.reader.interfaces().get(at))
            else {
                return Err(invalid("a packet of an interface that the file does not describe"));
            };
            if !self.take.takes(name(described)) {
                continue;
            }
            ethernet(described.linktype)?;
            if let Some(ticks) = ticks {
                self.last_ns = nanoseconds(described, ticks)?;
            }
            return Ok(Some(Packet { time_ns: self.last_ns, bytes, original_len }));
        }
    }
}

fn name<'a>(interface: &'a InterfaceDescriptionBlock<'_>) -> Option<&'a str> {
    interface.options.iter().find_map(|option| {
        let InterfaceDescriptionOption::IfName(name) = option else { return None };
        Some(name.as_ref())
    })
}

/// A packet's time from its ticks, by if_tsresol (default 10⁻⁶ s) and if_tsoffset (default 0 s): pcapng, section 4.2.
fn nanoseconds(interface: &InterfaceDescriptionBlock<'_>, ticks: u128) -> io::Result<u64> {
    let (mut resolution, mut offset_s) = (6u8, 0i64);
    for option in &interface.options {
        if let InterfaceDescriptionOption::IfTsResol(value) = option {
            resolution = *value;
        } else if let InterfaceDescriptionOption::IfTsOffset(value) = option {
            offset_s = value.cast_signed();
        }
    }
    let exponent = u32::from(resolution & 0x7f);
    let base: u128 = if resolution & 0x80 == 0 { 10 } else { 2 };
    base.checked_pow(exponent)
        .and_then(|per_second| ticks.checked_mul(1_000_000_000)?.checked_div(per_second))
        .and_then(|ns| i128::try_from(ns).ok()?.checked_add(i128::from(offset_s) * 1_000_000_000))
        .and_then(|ns| u64::try_from(ns).ok())
        .ok_or_else(|| invalid("a packet's time is out of range"))
}

fn ethernet(link: DataLink) -> io::Result<()> {
    if link == DataLink::ETHERNET {
        return Ok(());
    }
    Err(invalid(&format!("a capture of {link:?}, not of Ethernet frames")))
}

fn fault(error: PcapError) -> io::Error {
    if let PcapError::IoError(error) = error { error } else { invalid(&error.to_string()) }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl fmt::Debug for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Pcap(_) => "Pcap",
            Self::PcapNg(_) => "PcapNg",
        })
    }
}
