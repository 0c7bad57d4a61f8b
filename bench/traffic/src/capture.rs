//! Frames of a capture, to be sent as they are but for their Ethernet addresses.

use crate::error::TrafficError;
use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;
use std::time::Duration;

/// Most frames, and most bytes of them, that are taken from a file.
const FRAMES_MAX: usize = 4_000_000;
const BYTES_MAX: usize = 2 << 30;
/// The first bytes of a pcapng file: a section header block (draft-ietf-opsawg-pcapng §4.1).
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    /// Ethernet frames without FCS.
    pub(crate) frames: Vec<Vec<u8>>,
    /// When each was captured, nanoseconds after the first; never falling.
    pub(crate) times_ns: Vec<u64>,
    /// Frames that cannot be sent: no Ethernet, cut off, or too long.
    pub(crate) left_out: usize,
}

impl Capture {
    /// Reads a pcap or pcapng file.
    ///
    /// # Errors
    /// [`TrafficError::Capture`]: unreadable, no frame that can be sent, or too many.
    pub(crate) fn read(path: &Path, frame_max: usize) -> Result<Self, TrafficError> {
        let no = |why: String| TrafficError::Capture(format!("{}: {why}", path.display()));
        let mut file = File::open(path).map_err(|e| no(e.to_string()))?;
        let mut magic = [0; 4];
        file.read_exact(&mut magic).map_err(|e| no(e.to_string()))?;
        file.rewind().map_err(|e| no(e.to_string()))?;
        let file = BufReader::new(file);
        let taken = if magic == PCAPNG { pcapng(file, frame_max) } else { pcap(file, frame_max) };
        let capture = taken.map_err(no)?.capture;
        if capture.frames.is_empty() {
            return Err(no(format!("no frame that could be sent; {} left out", capture.left_out)));
        }
        Ok(capture)
    }

    /// Mean frame size in bytes, FCS included.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a mean")]
    pub(crate) fn mean_len(&self) -> f64 {
        let bytes: usize = self.frames.iter().map(|frame| frame.len() + crate::size::FCS).sum();
        bytes as f64 / self.frames.len().max(1) as f64
    }

    /// Chooses the sending queue by addresses, so that a flow keeps its order.
    pub(crate) fn spread(&self, index: usize) -> u32 {
        let key = self.frames.get(index).and_then(|frame| frame.get(26..38)).unwrap_or_default();
        key.iter().fold(0, |hash: u32, byte| hash.wrapping_mul(31).wrapping_add(u32::from(*byte))) >> 3
    }
}

/// What has been read so far.
#[derive(Default)]
struct Taken {
    capture: Capture,
    bytes: usize,
    first: Option<Duration>,
    last: Duration,
}

impl Taken {
    fn take(&mut self, time: Duration, data: &[u8], whole: bool, frame_max: usize) -> Result<(), String> {
        if !whole || data.len() < 14 || data.len() > frame_max {
            self.capture.left_out += 1;
            return Ok(());
        }
        self.bytes += data.len();
        if self.capture.frames.len() >= FRAMES_MAX || self.bytes > BYTES_MAX {
            return Err(format!("more than {FRAMES_MAX} frames or {BYTES_MAX} bytes"));
        }
        let since = time.saturating_sub(*self.first.get_or_insert(time));
        // A clock that was set back must not make a plan go backwards.
        self.last = self.last.max(since);
        self.capture.times_ns.push(u64::try_from(self.last.as_nanos()).unwrap_or(u64::MAX));
        self.capture.frames.push(data.to_vec());
        Ok(())
    }
}

fn pcap(file: BufReader<File>, frame_max: usize) -> Result<Taken, String> {
    let mut reader = PcapReader::new(file).map_err(|e| e.to_string())?;
    if reader.header().datalink != DataLink::ETHERNET {
        return Err("its frames are not Ethernet".to_owned());
    }
    let mut taken = Taken::default();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.map_err(|e| e.to_string())?;
        let whole = usize::try_from(packet.orig_len).is_ok_and(|len| len == packet.data.len());
        taken.take(packet.timestamp, &packet.data, whole, frame_max)?;
    }
    Ok(taken)
}

fn pcapng(file: BufReader<File>, frame_max: usize) -> Result<Taken, String> {
    let mut reader = PcapNgReader::new(file).map_err(|e| e.to_string())?;
    let (mut taken, mut links) = (Taken::default(), Vec::new());
    while let Some(block) = reader.next_block() {
        let block = block.map_err(|e| e.to_string())?;
        if let Block::InterfaceDescription(interface) = block {
            links.push(interface.linktype);
        } else if let Block::EnhancedPacket(packet) = block {
            let link = usize::try_from(packet.interface_id).ok().and_then(|id| links.get(id));
            let length = usize::try_from(packet.original_len).is_ok_and(|len| len == packet.data.len());
            let whole = length && link == Some(&DataLink::ETHERNET);
            taken.take(packet.timestamp, &packet.data, whole, frame_max)?;
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};

    fn file(name: &str, link: DataLink, frames: &[(u64, usize, u32)]) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("rl-capture-{}-{name}.pcap", std::process::id()));
        let header = PcapHeader { datalink: link, ..PcapHeader::default() };
        let mut writer = PcapWriter::with_header(File::create(&path).unwrap(), header).unwrap();
        for (ms, len, orig) in frames {
            let packet = PcapPacket::new_owned(Duration::from_millis(*ms), *orig, vec![7; *len]);
            writer.write_packet(&packet).unwrap();
        }
        path
    }

    #[test]
    fn frames_and_their_rate_are_taken_and_unfit_ones_left_out() {
        let path = file(
            "a",
            DataLink::ETHERNET,
            &[(0, 60, 60), (10, 100, 100), (15, 60, 90), (20, 1600, 1600), (40, 70, 70)],
        );
        let capture = Capture::read(&path, 1514).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((capture.frames.len(), capture.left_out), (3, 2));
        assert_eq!(capture.times_ns, [0, 10_000_000, 40_000_000]);
    }

    #[test]
    fn what_is_no_capture_of_frames_is_refused() {
        let empty = file("b", DataLink::ETHERNET, &[]);
        assert!(Capture::read(&empty, 1514).is_err_and(|e| e.to_string().contains("no frame")));
        let other = file("c", DataLink::RAW, &[(0, 60, 60)]);
        assert!(Capture::read(&other, 1514).is_err_and(|e| e.to_string().contains("not Ethernet")));
        for path in [empty, other] {
            std::fs::remove_file(path).unwrap();
        }
        assert!(Capture::read(Path::new("/no/such/file"), 1514).is_err());
    }
}
