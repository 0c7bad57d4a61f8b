//! What the ports of one replay share: virtual time, the output file, and the verdicts on their way to it.

use super::source::Packet;
use crate::frames::{Frame, Frames};
use pcap_file::DataLink;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

/// One replay. Clones are the same replay.
///
/// The output is pcapng with nanoseconds: every packet received, as it was received, on the interface `NAME in`, and
/// every packet sent on `NAME out`, each with the verdict on it as its comment.
#[derive(Clone)]
pub struct PcapRun {
    shared: Rc<RefCell<Shared>>,
}

struct Shared {
    now_ns: u64,
    /// When each port's next packet is due.
    next: Vec<Option<u64>>,
    writer: Option<PcapNgWriter<Box<dyn Write>>>,
    interfaces: Vec<String>,
    /// By packet memory and chunk: the packets that were received and neither noted nor sent, and verdicts not yet sent.
    pending: BTreeMap<(u64, u32), Pending>,
    /// The packet noted last. It is written when the next thing happens: until then a later note may correct it.
    noted: Option<(u64, u32)>,
    fault: Option<io::Error>,
}

struct Pending {
    /// Tells the packet from the next one in its chunk.
    birth: u32,
    /// As received, and where; gone once it is written.
    received: Option<(u32, Packet)>,
    comment: Option<String>,
}

impl PcapRun {
    /// A replay at time 0 that writes to `output`; `None`: nothing is written.
    ///
    /// # Errors
    /// Those of writing the file's header.
    pub fn new(output: Option<Box<dyn Write>>) -> io::Result<Self> {
        let writer = output.map(PcapNgWriter::new).transpose().map_err(io::Error::other)?;
        let shared = Shared {
            now_ns: 0,
            next: Vec::new(),
            writer,
            interfaces: Vec::new(),
            pending: BTreeMap::new(),
            noted: None,
            fault: None,
        };
        Ok(Self { shared: Rc::new(RefCell::new(shared)) })
    }

    /// Virtual time, in nanoseconds since 1970.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.shared.borrow().now_ns
    }

    /// Lets virtual time be `now_ns`; it never goes back (a capture may be out of order).
    pub fn set_time(&self, now_ns: u64) {
        let mut shared = self.shared.borrow_mut();
        shared.now_ns = shared.now_ns.max(now_ns);
    }

    /// When the earliest packet of any port was captured; `None` when all have been received.
    #[must_use]
    pub fn next_time(&self) -> Option<u64> {
        self.shared.borrow().next.iter().flatten().min().copied()
    }

    /// Writes what is still pending and flushes the file.
    ///
    /// # Errors
    /// The first fault of the run: a capture that could not be read to its end, or a file that could not be written.
    pub fn finish(&self) -> io::Result<()> {
        let mut shared = self.shared.borrow_mut();
        shared.write_noted();
        while let Some((_, pending)) = shared.pending.pop_first() {
            shared.write_received(pending.received, None);
        }
        let flushed = shared.writer.as_mut().map_or(Ok(()), |writer| writer.get_mut().flush());
        shared.fault.take().map_or(flushed, Err)
    }

    /// A new port's place among [`announce`](Self::announce)d times.
    pub(super) fn join(&self) -> usize {
        let mut shared = self.shared.borrow_mut();
        shared.next.push(None);
        shared.next.len() - 1
    }

    pub(super) fn announce(&self, slot: usize, time_ns: Option<u64>) {
        if let Some(next) = self.shared.borrow_mut().next.get_mut(slot) {
            *next = time_ns;
        }
    }

    /// The number of the output interface `name`, described in the file when it is new.
    pub(super) fn interface(&self, name: &str) -> u32 {
        let mut shared = self.shared.borrow_mut();
        let place = shared.interfaces.iter().position(|known| known == name).unwrap_or_else(|| {
            shared.interfaces.push(name.to_owned());
            let block = InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen: 0,
                options: vec![
                    InterfaceDescriptionOption::IfName(Cow::Owned(name.to_owned())),
                    InterfaceDescriptionOption::IfTsResol(9),
                ],
            };
            shared.write_block(block);
            shared.interfaces.len() - 1
        });
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    /// A packet came in; it is written when its verdict is known.
    pub(super) fn received(&self, interface: u32, frames: &Frames, frame: &Frame, packet: Packet) {
        let pending =
            Pending { birth: frames.birth(frame), received: Some((interface, packet)), comment: None };
        let mut shared = self.shared.borrow_mut();
        shared.write_noted();
        let older = shared.pending.insert((frames.id(), frame.index), pending);
        // The chunk's former packet went without a verdict.
        shared.write_received(older.and_then(|older| older.received), None);
    }

    /// The verdict on a frame, kept for the packet as it was received and for the frame if it is sent. A second verdict
    /// before anything else happens takes the place of the first: a frame on its way out may still be dropped.
    pub(super) fn noted(&self, frames: &Frames, frame: &Frame, text: &str) {
        let mut shared = self.shared.borrow_mut();
        let key = (frames.id(), frame.index);
        let birth = frames.birth(frame);
        if shared.pending.get(&key).is_none_or(|pending| pending.birth != birth) || shared.noted != Some(key)
        {
            shared.write_noted();
        }
        let received = shared.pending.remove(&key).and_then(|pending| pending.received);
        let noted = Pending { birth, received, comment: Some(text.to_owned()) };
        shared.pending.insert(key, noted);
        shared.noted = Some(key);
    }

    /// A frame goes out.
    pub(super) fn sent(&self, interface: u32, frames: &Frames, frame: &Frame) {
        let mut shared = self.shared.borrow_mut();
        shared.write_noted();
        let pending = shared.pending.remove(&(frames.id(), frame.index));
        let (birth, received, comment) =
            pending.map_or((0, None, None), |pending| (pending.birth, pending.received, pending.comment));
        shared.write_received(received, None);
        let comment = comment.filter(|_| birth == frames.birth(frame));
        let bytes = frames.bytes(frame);
        let original_len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let now_ns = shared.now_ns;
        shared.write_packet(interface, now_ns, bytes, original_len, comment.as_deref());
    }

    pub(super) fn write(&self, interface: u32, packet: &Packet, comment: Option<&str>) {
        let mut shared = self.shared.borrow_mut();
        shared.write_noted();
        shared.write_packet(interface, packet.time_ns, &packet.bytes, packet.original_len, comment);
    }

    pub(super) fn fail(&self, error: io::Error) {
        self.shared.borrow_mut().fault.get_or_insert(error);
    }
}

impl Shared {
    /// Writes the packet noted last as it was received; its verdict stays for when the frame is sent.
    fn write_noted(&mut self) {
        let Some(pending) = self.noted.take().and_then(|key| self.pending.get_mut(&key)) else { return };
        let (received, comment) = (pending.received.take(), pending.comment.clone());
        self.write_received(received, comment.as_deref());
    }

    fn write_received(&mut self, received: Option<(u32, Packet)>, comment: Option<&str>) {
        if let Some((interface, packet)) = received {
            self.write_packet(interface, packet.time_ns, &packet.bytes, packet.original_len, comment);
        }
    }

    fn write_packet(
        &mut self,
        interface_id: u32,
        time_ns: u64,
        bytes: &[u8],
        original_len: u32,
        comment: Option<&str>,
    ) {
        self.write_block(EnhancedPacketBlock {
            interface_id,
            timestamp: Duration::from_nanos(time_ns),
            original_len,
            data: Cow::Borrowed(bytes),
            options: comment
                .map(|text| EnhancedPacketOption::Comment(Cow::Borrowed(text)))
                .into_iter()
                .collect(),
        });
    }

    /// The first fault is kept for `finish`; nothing is written after it.
    fn write_block<'a>(&mut self, block: impl PcapNgBlock<'a>) {
        let Some(writer) = self.writer.as_mut() else { return };
        if let Err(error) = writer.write_pcapng_block(block) {
            self.fault.get_or_insert(io::Error::other(format!("output capture: {error}")));
            self.writer = None;
        }
    }
}

impl fmt::Debug for PcapRun {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PcapRun").field("now_ns", &self.time()).finish_non_exhaustive()
    }
}
