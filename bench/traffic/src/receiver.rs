//! The receiving ends: every frame is heard; servers answer where that is wanted.

use crate::board::Board;
use crate::book::Judge;
use crate::clock::monotonic_ns;
use crate::ear::{Ear, Sort};
use crate::frame::reflect;
use crate::station::{Station, Wire};
use ringlead_io::FrameList;
use std::sync::{Arc, Mutex, PoisonError};

/// Most bursts taken from one queue in a turn.
const BURSTS_MAX: usize = 4;

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

/// The lanes of some stations, heard by one ear.
#[derive(Debug)]
pub(crate) struct Receiver {
    answer: Answer,
    /// Ethernet address of each of the generator's ports.
    macs: Vec<[u8; 6]>,
    /// Answers that no ring had room for, by station and lane.
    waiting: Vec<Vec<FrameList>>,
    /// When the trial began.
    start_ns: u64,
    /// Judges every frame, where that is wanted; locked once a burst.
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
        let lists = |station: &Station<P>| station.lanes.iter().map(|_| FrameList::new()).collect();
        Self { answer, macs, waiting: stations.iter().map(lists).collect(), start_ns, judge, answered: 0 }
    }

    /// Takes in what arrived; returns how many frames. The caller kicks.
    #[inline]
    pub(crate) fn turn<P: Wire>(
        &mut self,
        stations: &mut [Station<P>],
        ear: &mut Ear,
        board: &Board,
    ) -> usize {
        let mut moved = 0;
        for (number, station) in stations.iter_mut().enumerate() {
            for lane in 0..station.lanes.len() {
                for _ in 0..BURSTS_MAX {
                    let count = self.burst(station, number, lane, ear, board);
                    moved += count;
                    if count < ringlead_io::port::BURST {
                        break;
                    }
                }
            }
        }
        moved
    }

    #[inline]
    fn burst<P: Wire>(
        &mut self,
        station: &mut Station<P>,
        number: usize,
        lane: usize,
        ear: &mut Ear,
        board: &Board,
    ) -> usize {
        let Station { frames, lanes, .. } = station;
        let lane_io = &mut lanes[lane];
        let answers = &mut self.waiting[number][lane];
        // Answers that wait come first: what arrives meanwhile waits in the ring, and an overflow there is counted.
        self.answered += send(lane_io, frames, answers);
        if !answers.is_empty() {
            return 0;
        }
        let mut list = FrameList::new();
        let count = lane_io.io.rx(frames, &mut list);
        if count == 0 {
            return 0;
        }
        let now = monotonic_ns();
        let at_ns = now.saturating_sub(self.start_ns);
        ear.prick_up(at_ns);
        let before = ear.heard.counted;
        let from = self.macs.get(lane_io.port).copied().unwrap_or_default();
        let port = u16::try_from(lane_io.port).unwrap_or(u16::MAX);
        let mut judge = self.judge.as_ref().map(|judge| judge.lock().unwrap_or_else(PoisonError::into_inner));
        for mut frame in list.drain(..) {
            let bytes = frames.bytes(&frame);
            let sort = ear.hear(bytes, port, at_ns, judge.as_deref_mut());
            let to = match self.answer {
                Answer::No => None,
                Answer::Back => bytes.get(6..12).and_then(|mac| mac.first_chunk().copied()),
                Answer::Around(mac) => Some(mac),
            };
            match to.filter(|_| sort == Sort::Ours) {
                Some(to) if reflect(frames.bytes_mut(&mut frame), to, from) => answers.push(frame),
                _ => frames.free(frame),
            }
        }
        drop(judge);
        self.answered += send(lane_io, frames, answers);
        board.heard(ear.end, count as u64, ear.heard.counted - before);
        count
    }

    /// Gives back the answers that wait.
    pub(crate) fn finish<P: Wire>(&mut self, stations: &mut [Station<P>]) {
        for (station, lists) in stations.iter_mut().zip(&mut self.waiting) {
            for list in lists {
                list.drain(..).for_each(|frame| station.frames.free(frame));
            }
        }
    }
}

fn send<P: Wire>(
    lane: &mut crate::station::Lane<P>,
    frames: &mut ringlead_io::Frames,
    list: &mut FrameList,
) -> u64 {
    if list.is_empty() { 0 } else { lane.io.tx(frames, list) as u64 }
}
