//! The stamp that every test packet carries: who it is and when it was due. README.md draws the format.
//!
//! It stands in the transport payload and, for TCP, in the sequence and acknowledgement numbers: in nothing that a
//! load balancer rewrites, so it survives nat, snat, dsr and tunnels.

use crate::parsed::{Parsed, Transport};
use crc32fast::Hasher;
use std::error::Error;
use std::fmt;

/// What one unit of [`Stamp::planned`] lasts, in nanoseconds. 32 bits of it last 137 s.
pub const PLANNED_UNIT_NS: u64 = 32;
/// How many flows a stamp can tell apart: numbers are 24 bits.
pub const FLOWS_MAX: u32 = 1 << 24;

/// trial, flow and check: what begins every payload.
const HEAD: usize = 6;
/// seq and planned, where no TCP header holds them.
const NUMBERS: usize = 8;
/// CRC-32 of stamp and filler.
const CRC: usize = 4;
/// How early a frame may be (0.5 s): sender and receiver share a clock, but a burst may be sent whole.
const EARLY_UNITS_MAX: u32 = 1 << 24;

/// Who a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Stamp {
    /// Which trial: frames of an earlier one are told apart for 255 trials.
    pub trial: u8,
    /// Which flow: below [`FLOWS_MAX`]; higher bits are not sent.
    pub flow: u32,
    /// Which packet of its flow and trial, counted from 0; wraps.
    pub seq: u32,
    /// When the packet was due: units of [`PLANNED_UNIT_NS`] since the trial's start; wraps.
    pub planned: u32,
}

impl Stamp {
    /// The stamp of a packet that is due `planned_ns` nanoseconds after the trial's start.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the planned time wraps")]
    pub const fn new(trial: u8, flow: u32, seq: u32, planned_ns: u64) -> Self {
        Self { trial, flow, seq, planned: (planned_ns / PLANNED_UNIT_NS) as u32 }
    }

    /// How long after its planned time the packet came, in nanoseconds; `at_ns` counts from the trial's start.
    ///
    /// Exact to [`PLANNED_UNIT_NS`], and right for packets up to 136 s late. One that came up to 0.5 s *early* (senders
    /// may send a burst at once) counts as 0.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "both times wrap at the same point")]
    pub const fn latency_ns(&self, at_ns: u64) -> u64 {
        let units = ((at_ns / PLANNED_UNIT_NS) as u32).wrapping_sub(self.planned);
        if units > u32::MAX - EARLY_UNITS_MAX { 0 } else { units as u64 * PLANNED_UNIT_NS }
    }
}

/// Where the stamp stands in packets of one protocol and payload length. Make one a template, not one a packet: it
/// holds the CRC of the payload that never changes.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    transport: Transport,
    /// Bytes of transport header; a TCP header may have options.
    header: usize,
    payload: usize,
    filler_crc: u32,
}

impl Layout {
    /// For packets with `payload` bytes behind `header` bytes of transport header (20 to 60 for TCP, 8 for UDP).
    ///
    /// # Errors
    /// [`TooShort`] below [`Layout::payload_min`]; [`TooShort`] too for a payload beyond 65 535.
    pub fn new(transport: Transport, header: usize, payload: usize) -> Result<Self, TooShort> {
        let min = Self::payload_min(transport);
        if payload < min || payload > usize::from(u16::MAX) {
            return Err(TooShort { payload, min });
        }
        let filler_at = (min + CRC).min(payload);
        let filler: Vec<u8> = (0..payload - filler_at).map(filler).collect();
        Ok(Self { transport, header, payload, filler_crc: crc32fast::hash(&filler) })
    }

    /// The least payload that holds a stamp: 6 bytes for TCP, 14 for UDP. From 4 more on it is covered by a CRC-32.
    #[must_use]
    pub const fn payload_min(transport: Transport) -> usize {
        match transport {
            Transport::Tcp => HEAD,
            Transport::Udp => HEAD + NUMBERS,
        }
    }

    /// Writes what is constant: filler, and zeros where [`write`](Self::write) puts the stamp. Once a template.
    ///
    /// `l4` is the transport header's offset in `frame`. For TCP the sequence and acknowledgement numbers become 0.
    ///
    /// # Panics
    /// When the frame ends before the payload does.
    pub fn fill(&self, frame: &mut [u8], l4: usize) {
        let (numbers, payload) = self.split(frame, l4);
        if let Some(numbers) = numbers {
            numbers.fill(0);
        }
        let fixed = Self::payload_min(self.transport);
        let filler_at = if payload.len() >= fixed + CRC { fixed + CRC } else { fixed };
        payload[..filler_at].fill(0);
        for (i, byte) in payload[filler_at..].iter_mut().enumerate() {
            *byte = filler(i);
        }
    }

    /// Writes the stamp into a frame that [`fill`](Self::fill) prepared, and returns the ones' complement sum of the
    /// 16-bit words written, not yet folded.
    ///
    /// The transport checksum is the caller's: the sum of the filled frame (pseudo header included, checksum field 0)
    /// plus this one, folded and complemented (RFC 1071). So no packet needs a sum over its payload.
    ///
    /// # Panics
    /// When the frame ends before the payload does.
    #[inline]
    pub fn write(&self, frame: &mut [u8], l4: usize, stamp: &Stamp) -> u32 {
        let core = core(stamp, self.payload);
        let check = fold(crc32fast::hash(&core));
        let (numbers, payload) = self.split(frame, l4);
        payload[..4].copy_from_slice(&core[..4]);
        payload[4..6].copy_from_slice(&check.to_be_bytes());
        let mut sum = words(&core[..12]) + u32::from(check);
        let crc_at = if let Some(numbers) = numbers {
            numbers.copy_from_slice(&core[4..12]);
            HEAD
        } else {
            payload[HEAD..HEAD + NUMBERS].copy_from_slice(&core[4..12]);
            HEAD + NUMBERS
        };
        if let Some(field) = payload.get_mut(crc_at..crc_at + CRC) {
            let crc = crc(self.filler_crc, &core).to_be_bytes();
            field.copy_from_slice(&crc);
            sum += words(&crc);
        }
        sum
    }

    /// A TCP header's sequence and acknowledgement numbers, and the payload.
    #[inline]
    fn split<'a>(&self, frame: &'a mut [u8], l4: usize) -> (Option<&'a mut [u8]>, &'a mut [u8]) {
        let (header, payload) = frame[l4..].split_at_mut(self.header);
        let numbers = (self.transport == Transport::Tcp).then(|| &mut header[4..12]);
        (numbers, &mut payload[..self.payload])
    }
}

/// Reads the stamp of a received packet and checks it, the whole payload included.
///
/// # Errors
/// What is wrong: see [`Unread`].
#[inline]
pub fn read(packet: &Parsed<'_>) -> Result<Stamp, Unread> {
    let (stamp, rest) = head(packet)?;
    let core = core(&stamp, packet.payload().len());
    let intact = match rest.split_first_chunk::<CRC>() {
        Some((sent, filler)) => crc(crc32fast::hash(filler), &core) == u32::from_be_bytes(*sent),
        None => rest.iter().enumerate().all(|(i, byte)| *byte == filler(i)),
    };
    if intact { Ok(stamp) } else { Err(Unread::Payload(stamp)) }
}

/// Reads the stamp and checks it alone, not the payload behind it: enough to count, and as fast for long packets.
///
/// # Errors
/// As [`read`], but never [`Unread::Payload`].
#[inline]
pub fn peek(packet: &Parsed<'_>) -> Result<Stamp, Unread> {
    head(packet).map(|(stamp, _)| stamp)
}

/// The stamp, and the payload behind it.
#[inline]
fn head<'a>(packet: &Parsed<'a>) -> Result<(Stamp, &'a [u8]), Unread> {
    let payload = packet.payload();
    let Some((head, rest)) = payload.split_first_chunk::<HEAD>() else { return Err(Unread::None) };
    let (numbers, rest) = match packet.transport() {
        Some(Transport::Tcp) => (packet.tcp_numbers(), rest),
        Some(Transport::Udp) => {
            rest.split_first_chunk::<NUMBERS>().map(|(n, r)| (*n, r)).ok_or(Unread::None)?
        }
        None => return Err(Unread::None),
    };
    let [trial, a, b, c, check @ ..] = *head;
    let [s0, s1, s2, s3, planned @ ..] = numbers;
    let stamp = Stamp {
        trial,
        flow: u32::from_be_bytes([0, a, b, c]),
        seq: u32::from_be_bytes([s0, s1, s2, s3]),
        planned: u32::from_be_bytes(planned),
    };
    let right = fold(crc32fast::hash(&core(&stamp, payload.len()))) == u16::from_be_bytes(check);
    if right { Ok((stamp, rest)) } else { Err(Unread::Head(stamp)) }
}

/// What the checks cover: the stamp as it is sent, and the payload's length.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "a layout's payload is at most 65 535 bytes")]
fn core(stamp: &Stamp, payload: usize) -> [u8; 14] {
    let [_, a, b, c] = stamp.flow.to_be_bytes();
    let [s0, s1, s2, s3] = stamp.seq.to_be_bytes();
    let [p0, p1, p2, p3] = stamp.planned.to_be_bytes();
    let [l0, l1] = (payload as u16).to_be_bytes();
    [stamp.trial, a, b, c, s0, s1, s2, s3, p0, p1, p2, p3, l0, l1]
}

/// CRC-32 of the filler and then the stamp: in this order the filler's part can be computed beforehand.
#[inline]
fn crc(filler_crc: u32, core: &[u8; 14]) -> u32 {
    let mut hasher = Hasher::new_with_initial(filler_crc);
    hasher.update(core);
    hasher.finalize()
}

/// Both halves of a CRC-32, exclusive-or.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the halves are meant")]
const fn fold(crc: u32) -> u16 {
    (crc >> 16) as u16 ^ crc as u16
}

/// The sum of big-endian words; the stamp's fields lie on even offsets of the segment.
#[inline]
fn words(bytes: &[u8]) -> u32 {
    bytes.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum()
}

/// Byte `i` of the filler: no two neighbours alike, so that a shifted or swapped payload is seen.
#[allow(clippy::cast_possible_truncation, reason = "the top byte is meant; lengths are below 65 536")]
const fn filler(i: usize) -> u8 {
    ((i as u32).wrapping_mul(0x9e37_79b1) >> 24) as u8
}

/// The payload cannot hold a stamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooShort {
    /// Bytes of payload asked for.
    pub payload: usize,
    /// Bytes that are needed.
    pub min: usize,
}

impl fmt::Display for TooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of payload: a stamp needs {} to 65535", self.payload, self.min)
    }
}

impl Error for TooShort {}

/// Why a packet has no stamp that can be relied on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unread {
    /// No room for a stamp: not TCP or UDP, a fragment, or too short.
    None,
    /// The check over the stamp is wrong: no stamp, or a damaged one. What it seems to say is only a hint.
    Head(Stamp),
    /// The stamp is right and the payload behind it damaged.
    Payload(Stamp),
}
