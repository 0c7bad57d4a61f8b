//! What a replay wrote, read back.

use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};

/// One packet of an output capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// `PORT in` or `PORT out`.
    pub(crate) interface: String,
    pub(crate) time_ns: u64,
    pub(crate) frame: Vec<u8>,
    pub(crate) comments: Vec<String>,
}

impl Record {
    /// Whether it is a packet that arrived.
    pub(crate) fn received(&self) -> bool {
        self.interface.ends_with(" in")
    }

    /// The port's name.
    pub(crate) fn port(&self) -> &str {
        self.interface.split(' ').next().unwrap_or_default()
    }

    /// Its only comment, or nothing.
    pub(crate) fn verdict(&self) -> &str {
        if let [only] = self.comments.as_slice() { only } else { "" }
    }
}

/// A whole output capture.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) records: Vec<Record>,
}

impl Output {
    /// Reads a pcapng file. Everything in it must be a section, an interface in nanoseconds or a packet.
    pub(crate) fn of(file: &[u8]) -> Self {
        let mut reader = PcapNgReader::new(file).unwrap();
        let (mut interfaces, mut records) = (Vec::new(), Vec::new());
        while let Some(block) = reader.next_block() {
            match block.unwrap() {
                Block::InterfaceDescription(block) => {
                    assert!(block.options.contains(&InterfaceDescriptionOption::IfTsResol(9)));
                    let name = block.options.iter().find_map(|option| match option {
                        InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                        _ => None,
                    });
                    interfaces.push(name.unwrap());
                }
                Block::EnhancedPacket(block) => {
                    let comment = |option: &EnhancedPacketOption| match option {
                        EnhancedPacketOption::Comment(text) => Some(text.to_string()),
                        _ => None,
                    };
                    assert_eq!(usize::try_from(block.original_len).unwrap(), block.data.len());
                    records.push(Record {
                        interface: interfaces[usize::try_from(block.interface_id).unwrap()].clone(),
                        time_ns: u64::try_from(block.timestamp.as_nanos()).unwrap(),
                        frame: block.data.to_vec(),
                        comments: block.options.iter().filter_map(comment).collect(),
                    });
                }
                other => panic!("a block that replay does not write: {other:?}"),
            }
        }
        Self { records }
    }
}
