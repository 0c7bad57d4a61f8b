//! The sending end: frames leave when they are due, or later, and then how much later is recorded.

use crate::board::Board;
use crate::pacer::Pacer;
use crate::station::{Station, Wire};
use crate::supply::{Class, Next, Supply};
use ringlead_io::FrameList;
use ringlead_io::port::BURST;
use ringlead_witness::Latency;

/// Most frames made in one turn, so that receiving gets its turn too.
const TURN_MAX: usize = 64;

/// A queue to send by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outlet {
    /// Which of the stations.
    pub(crate) station: usize,
    /// Which of its lanes.
    pub(crate) lane: usize,
    /// Ethernet destination and source, IPv4 and IPv6.
    pub(crate) ether: [[u8; 12]; 2],
}

/// How fast, and until when.
#[derive(Clone, Debug)]
pub(crate) enum Pace {
    /// By plan; what is not sent `grace_ns` after its end is given up.
    Planned { pacer: Pacer, grace_ns: u64 },
    /// As fast as it goes, for this long.
    Full { duration_ns: u64 },
}

/// Frames of a queue that no ring had room for yet, with their times.
#[derive(Debug, Default)]
struct Waiting {
    list: FrameList,
    /// Planned time, class and flow of each.
    marks: Vec<(u64, Class, u32)>,
}

/// Counts of what was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Taken {
    /// The trial's frames.
    pub(crate) plain: u64,
    /// Bytes of all, FCS included.
    pub(crate) bytes: u64,
    /// Frames with a wrong checksum.
    pub(crate) bad_checksums: u64,
    /// Fragments: two for each place of the plan.
    pub(crate) fragments: u64,
    /// When the last frame went, nanoseconds from the start.
    pub(crate) last_ns: u64,
    /// Frames sent after the ramp's end, early or late.
    pub(crate) steady: u64,
    /// Bytes of them.
    pub(crate) steady_bytes: u64,
}

impl Taken {
    /// Places of the plan that were filled.
    pub(crate) fn places(&self) -> u64 {
        self.plain + self.bad_checksums + self.fragments / 2
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Sender {
    outlets: Vec<Outlet>,
    waiting: Vec<Waiting>,
    pace: Pace,
    pub(crate) supply: Supply,
    /// Places of the plan for which a frame was made.
    made: u64,
    pub(crate) taken: Taken,
    pub(crate) lag: Latency,
    /// What a turn's rings took: when it was due, how long it is, and what it counts as.
    just_taken: Vec<(u64, Class, u32)>,
    done: bool,
}

impl Sender {
    pub(crate) fn new(outlets: Vec<Outlet>, pace: Pace, supply: Supply) -> Self {
        let empty = || Waiting { list: FrameList::new(), marks: Vec::with_capacity(BURST) };
        let waiting = outlets.iter().map(|_| empty()).collect();
        Self {
            outlets,
            waiting,
            pace,
            supply,
            made: 0,
            taken: Taken::default(),
            lag: Latency::new(),
            just_taken: Vec::with_capacity(BURST * 64),
            done: false,
        }
    }

    /// Makes what is due at `now_ns` and hands it to the rings; the caller then kicks the ports and calls
    /// [`sent`](Self::sent). Returns how many frames moved.
    #[inline]
    pub(crate) fn turn<P: Wire>(&mut self, stations: &mut [Station<P>], now_ns: u64) -> usize {
        if self.done {
            return 0;
        }
        self.make(stations, now_ns);
        for number in 0..self.outlets.len() {
            self.hand_over(stations, number);
        }
        self.just_taken.len()
    }

    /// Notes that what the last turn handed over has been given to the kernel at `after_ns`.
    #[inline]
    pub(crate) fn sent(&mut self, board: &Board, after_ns: u64) {
        let steady_from = match &self.pace {
            Pace::Planned { pacer, .. } => pacer.steady_from_ns(),
            Pace::Full { .. } => 0,
        };
        let mut lag_max = 0;
        let mut plain = 0;
        for (planned, class, bytes) in self.just_taken.drain(..) {
            if matches!(&self.pace, Pace::Planned { .. }) {
                let lag = after_ns.saturating_sub(planned);
                lag_max = lag_max.max(lag);
                self.lag.record(lag.max(1));
            }
            let taken = &mut self.taken;
            match class {
                Class::Plain => plain += 1,
                Class::BadChecksum => taken.bad_checksums += 1,
                Class::Fragment => taken.fragments += 1,
            }
            taken.bytes += u64::from(bytes);
            taken.last_ns = after_ns;
            if after_ns >= steady_from {
                taken.steady += 1;
                taken.steady_bytes += u64::from(bytes);
            }
        }
        self.taken.plain += plain;
        if plain > 0 {
            board.sent(plain, lag_max);
        }
    }

    /// Whether all is sent or time is up; frames that still wait are then given back.
    pub(crate) fn finish<P: Wire>(
        &mut self,
        stations: &mut [Station<P>],
        board: &Board,
        now_ns: u64,
    ) -> bool {
        if self.done {
            return true;
        }
        let waits = self.waiting.iter().any(|waiting| !waiting.list.is_empty());
        let over = match &self.pace {
            Pace::Planned { pacer, grace_ns } => {
                let all = self.made >= pacer.total() && !waits;
                all || now_ns >= pacer.duration_ns() + grace_ns
            }
            Pace::Full { duration_ns } => now_ns >= *duration_ns,
        };
        self.done = over || board.abandoned();
        if self.done {
            for (outlet, waiting) in self.outlets.iter().zip(&mut self.waiting) {
                waiting.marks.drain(..).for_each(|(_, _, flow)| self.supply.take_back(flow));
                let frames = &mut stations[outlet.station].frames;
                waiting.list.drain(..).for_each(|frame| frames.free(frame));
            }
        }
        self.done
    }

    /// How long until the next frame is due, in nanoseconds; `None`: nothing is.
    pub(crate) fn next_in_ns(&self, now_ns: u64) -> Option<u64> {
        let waits = self.waiting.iter().any(|waiting| !waiting.list.is_empty());
        match &self.pace {
            _ if self.done => None,
            _ if waits => Some(0),
            Pace::Planned { pacer, .. } if self.made < pacer.total() => {
                Some(pacer.planned_ns(self.made).saturating_sub(now_ns))
            }
            Pace::Planned { .. } => None,
            Pace::Full { .. } => Some(0),
        }
    }

    #[inline]
    fn make<P: Wire>(&mut self, stations: &mut [Station<P>], now_ns: u64) {
        let due = match &self.pace {
            Pace::Planned { pacer, .. } => pacer.due(now_ns).saturating_sub(self.made),
            Pace::Full { .. } => u64::MAX,
        };
        let count = usize::try_from(due).unwrap_or(usize::MAX).min(TURN_MAX);
        for _ in 0..count {
            // A frame that waits stops all: another queue's frames must not overtake the plan. Two places: fragments.
            if self.waiting.iter().any(|waiting| waiting.list.remaining_capacity() < 2) {
                break;
            }
            let planned_ns = match &self.pace {
                Pace::Planned { pacer, .. } => pacer.planned_ns(self.made),
                Pace::Full { .. } => now_ns,
            };
            // Without memory the frame stays due.
            if self.outlets.iter().any(|outlet| stations[outlet.station].frames.free_count() < 2) {
                break;
            }
            let next = self.supply.next(planned_ns);
            self.put(stations, &next, planned_ns);
            if let Some(second) = self.supply.companion(&next) {
                self.put(stations, &second, planned_ns);
            }
            self.made += 1;
        }
    }

    #[inline]
    fn put<P: Wire>(&mut self, stations: &mut [Station<P>], next: &Next, planned_ns: u64) {
        let number = next.spread as usize % self.outlets.len();
        let outlet = &self.outlets[number];
        let frames = &mut stations[outlet.station].frames;
        let Some(mut frame) = frames.alloc() else { return };
        if !frames.set_len(&mut frame, self.supply.len(next)) {
            frames.free(frame);
            return;
        }
        self.supply.write(frames.bytes_mut(&mut frame), &outlet.ether[usize::from(!next.v4)], next);
        let waiting = &mut self.waiting[number];
        waiting.list.push(frame);
        waiting.marks.push((planned_ns, next.class, next.flow));
    }

    #[inline]
    fn hand_over<P: Wire>(&mut self, stations: &mut [Station<P>], number: usize) {
        let waiting = &mut self.waiting[number];
        if waiting.list.is_empty() {
            return;
        }
        let outlet = &self.outlets[number];
        let station = &mut stations[outlet.station];
        let mut lengths = [0_u32; BURST];
        for (length, frame) in lengths.iter_mut().zip(&waiting.list) {
            *length = u32::try_from(frame.len() + crate::size::FCS).unwrap_or(0);
        }
        let count = station.lanes[outlet.lane].io.tx(&mut station.frames, &mut waiting.list);
        for ((planned, class, _), length) in waiting.marks.drain(..count).zip(lengths) {
            self.just_taken.push((planned, class, length));
        }
    }
}
