//! The receiving ends: every frame is heard; servers answer where that is wanted.
//!
//! Nobody knows in which order frames came to *different* queues. Frames that are judged are therefore first taken from
//! all queues and then heard in the order they were sent in, a queue's own order kept: a flow that moved to another
//! server must not seem to come back when its last frames are found in the old server's queue.

use crate::board::Board;
use crate::book::Judge;
use crate::clock::monotonic_ns;
use crate::ear::{Ear, Sort};
use crate::frame::reflect;
use crate::mode;
use crate::station::{Station, Wire};
use ringlead_io::port::BURST;
use ringlead_io::{Frame, FrameList, Frames};
use ringlead_witness::{Tunnel, stamp};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Most bursts taken from one queue in a turn, where frames are heard as they come.
const BURSTS_MAX: usize = 4;
/// The same where they are judged: all that a receive ring holds.
const BURSTS_JUDGED_MAX: usize = 128;
/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// How servers answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Not at all.
    No,
    /// To where the frame came from: the balancer.
    Back,
    /// To this Ethernet address, around the balancer.
    Around([u8; 6]),
}

/// A frame that was taken from its queue and not heard yet.
#[derive(Debug)]
struct Taken {
    frame: Frame,
    at_ns: u64,
    /// When it was due, in units of the stamp; `None`: it has no stamp, and no order.
    planned: Option<u32>,
}

/// One queue.
#[derive(Debug)]
struct Queue {
    station: usize,
    lane: usize,
    taken: VecDeque<Taken>,
    /// How many of them are to be heard in this turn.
    due: usize,
    /// Answers that no ring had room for yet.
    answers: VecDeque<Frame>,
}

/// The lanes of some stations, heard by one ear.
#[derive(Debug)]
pub(crate) struct Receiver {
    answer: Answer,
    /// Frames come in this tunnel.
    tunnel: Option<Tunnel>,
    /// Ethernet address of each of the generator's ports.
    macs: Vec<[u8; 6]>,
    queues: Vec<Queue>,
    /// When the trial began.
    start_ns: u64,
    /// Judges every frame, where that is wanted; locked once a turn.
    judge: Option<Arc<Mutex<Judge>>>,
    /// Answers handed to the ports.
    pub(crate) answered: u64,
}

impl Receiver {
    pub(crate) fn new<P: Wire>(
        stations: &[Station<P>],
        answer: Answer,
        macs: Vec<[u8; 6]>,
        judge: Option<Arc<Mutex<Judge>>>,
        start_ns: u64,
    ) -> Self {
        let mut queues = Vec::new();
        for (station, ports) in stations.iter().enumerate() {
            queues.extend((0..ports.lanes.len()).map(|lane| Queue {
                station,
                lane,
                taken: VecDeque::new(),
                due: 0,
                answers: VecDeque::new(),
            }));
        }
        Self { answer, tunnel: None, macs, queues, start_ns, judge, answered: 0 }
    }

    /// What it receives comes in this tunnel.
    pub(crate) fn behind(mut self, tunnel: Option<Tunnel>) -> Self {
        self.tunnel = tunnel;
        self
    }

    /// Whether what arrives here is answered.
    pub(crate) const fn answers(&self) -> bool {
        !matches!(self.answer, Answer::No)
    }

    /// Takes in what arrived; returns how many frames. The caller kicks.
    #[inline]
    pub(crate) fn turn<P: Wire>(
        &mut self,
        stations: &mut [Station<P>],
        ear: &mut Ear,
        board: &Board,
    ) -> usize {
        let before = ear.heard.counted;
        let mut moved = 0;
        for number in 0..self.queues.len() {
            moved += self.take(stations, number, ear);
        }
        if self.judge.is_some() {
            self.queues.iter_mut().for_each(|queue| queue.due = queue.taken.len());
            // Again: what came before any of these is now here too. What else comes now is the next turn's.
            for number in 0..self.queues.len() {
                moved += self.take(stations, number, ear);
            }
            self.judge_taken(stations, ear);
        }
        let counted = ear.heard.counted - before;
        if moved > 0 || counted > 0 {
            board.heard(ear.end, moved as u64, counted);
        }
        moved
    }

    /// Empties a queue's ring: what is to be judged is put aside, the rest is heard at once.
    #[inline]
    fn take<P: Wire>(&mut self, stations: &mut [Station<P>], number: usize, ear: &mut Ear) -> usize {
        let judged = self.judge.is_some();
        let mut moved = 0;
        for _ in 0..if judged { BURSTS_JUDGED_MAX } else { BURSTS_MAX } {
            self.send_answers(stations, number);
            let queue = &mut self.queues[number];
            // Answers that wait come first: what arrives meanwhile waits in the ring, and an overflow there is counted.
            if !queue.answers.is_empty() {
                break;
            }
            let station = &mut stations[queue.station];
            let mut list = FrameList::new();
            let count = station.lanes[queue.lane].io.rx(&mut station.frames, &mut list);
            if count == 0 {
                break;
            }
            moved += count;
            let at_ns = monotonic_ns().saturating_sub(self.start_ns);
            ear.prick_up(at_ns);
            for frame in list.drain(..) {
                if judged {
                    let planned = planned(self.tunnel.as_ref(), station.frames.bytes(&frame));
                    queue.taken.push_back(Taken { frame, at_ns, planned });
                } else {
                    let taken = Taken { frame, at_ns, planned: None };
                    let server =
                        Server { answer: &self.answer, macs: &self.macs, tunnel: self.tunnel.as_ref() };
                    server.hear(queue, station, ear, taken, None);
                }
            }
            if count < BURST {
                break;
            }
        }
        self.send_answers(stations, number);
        moved
    }

    /// Hears what was put aside, in the order of sending.
    fn judge_taken<P: Wire>(&mut self, stations: &mut [Station<P>], ear: &mut Ear) {
        let Some(judge) = self.judge.clone() else { return };
        let mut judge = judge.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due: usize = self.queues.iter().map(|queue| queue.due).sum();
        while due > 0
            && let Some(number) = earliest(&self.queues)
        {
            let queue = &mut self.queues[number];
            let Some(taken) = queue.taken.pop_front() else { break };
            due -= usize::from(queue.due > 0);
            queue.due = queue.due.saturating_sub(1);
            let station = &mut stations[queue.station];
            let server = Server { answer: &self.answer, macs: &self.macs, tunnel: self.tunnel.as_ref() };
            server.hear(queue, station, ear, taken, Some(&mut judge));
        }
        drop(judge);
        for number in 0..self.queues.len() {
            self.send_answers(stations, number);
        }
    }

    /// Hands answers to their port while it takes them.
    #[inline]
    fn send_answers<P: Wire>(&mut self, stations: &mut [Station<P>], number: usize) {
        let queue = &mut self.queues[number];
        let Station { frames, lanes, .. } = &mut stations[queue.station];
        while !queue.answers.is_empty() {
            let mut list = FrameList::new();
            let count = queue.answers.len().min(BURST);
            list.extend(queue.answers.drain(..count));
            let sent = lanes[queue.lane].io.tx(frames, &mut list);
            self.answered += sent as u64;
            let full = !list.is_empty();
            list.drain(..).rev().for_each(|frame| queue.answers.push_front(frame));
            if full {
                // More room comes with the kernel's next look at the ring.
                return;
            }
        }
    }

    /// Gives back what waits.
    pub(crate) fn finish<P: Wire>(&mut self, stations: &mut [Station<P>]) {
        for queue in &mut self.queues {
            let frames: &mut Frames = &mut stations[queue.station].frames;
            queue.answers.drain(..).for_each(|frame| frames.free(frame));
            queue.taken.drain(..).for_each(|taken| frames.free(taken.frame));
        }
    }
}

/// What receiving ports do with a frame besides hearing it.
struct Server<'a> {
    answer: &'a Answer,
    macs: &'a [[u8; 6]],
    tunnel: Option<&'a Tunnel>,
}

impl Server<'_> {
    /// Hears one frame, and answers it or gives it back.
    #[inline]
    fn hear<P: Wire>(
        &self,
        queue: &mut Queue,
        station: &mut Station<P>,
        ear: &mut Ear,
        taken: Taken,
        judge: Option<&mut Judge>,
    ) {
        let Taken { mut frame, at_ns, .. } = taken;
        let Station { frames, lanes, .. } = station;
        let number = lanes[queue.lane].port;
        let bytes = frames.bytes(&frame);
        let sort = ear.hear(bytes, u16::try_from(number).unwrap_or(u16::MAX), at_ns, judge);
        let to = match self.answer {
            Answer::No => None,
            Answer::Back => bytes.get(6..12).and_then(|mac| mac.first_chunk().copied()),
            Answer::Around(mac) => Some(*mac),
        };
        let from = self.macs.get(number).copied().unwrap_or_default();
        let to = to.filter(|_| sort == Sort::Ours && self.unwrap(frames, &mut frame));
        match to {
            Some(to) if reflect(frames.bytes_mut(&mut frame), to, from) => queue.answers.push_back(frame),
            _ => frames.free(frame),
        }
    }

    /// Takes the tunnel's header off, as a server does: what was in it follows an Ethernet header, whose addresses
    /// are left to the answer. False for a frame without a packet.
    #[inline]
    fn unwrap(&self, frames: &mut Frames, frame: &mut Frame) -> bool {
        let Some(tunnel) = self.tunnel else { return true };
        let Some(packet) = mode::packet(Some(tunnel), frames.bytes(frame)) else { return false };
        let (l3, end) = (packet.l3(), packet.end());
        let ether_type = if packet.is_v4() { [0x08, 0x00] } else { [0x86, 0xdd] };
        let cut = frames.set_len(frame, end) && frames.shrink_head(frame, l3.saturating_sub(ETHERNET));
        if let Some(field) = frames.bytes_mut(frame).get_mut(12..ETHERNET) {
            field.copy_from_slice(&ether_type);
        }
        cut
    }
}

/// When a frame was due, by its stamp.
fn planned(tunnel: Option<&Tunnel>, frame: &[u8]) -> Option<u32> {
    let packet = mode::packet(tunnel, frame)?;
    stamp::peek(&packet).ok().map(|stamp| stamp.planned)
}

/// The queue whose first frame was due first; one without a stamp comes before all.
fn earliest(queues: &[Queue]) -> Option<usize> {
    let mut best: Option<(usize, u32)> = None;
    for (number, queue) in queues.iter().enumerate() {
        let Some(head) = queue.taken.front() else { continue };
        let Some(planned) = head.planned else { return Some(number) };
        // Times wrap after 137 s; what waits here is never that far apart.
        if best.is_none_or(|(_, least)| planned.wrapping_sub(least) > u32::MAX / 2) {
            best = Some((number, planned));
        }
    }
    best.map(|(number, _)| number)
}
