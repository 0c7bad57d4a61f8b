//! Running the ends' threads, and watching them from the trial's own thread.

use crate::board::{Board, End};
use crate::clock::monotonic_ns;
use crate::ear::Ear;
use crate::engine::{Crew, Side, serve};
use crate::observer::Observer;
use crate::outcome::Interval;
use crate::sender::{Pace, Sender};
use crate::station::Wire;
use std::thread;
use std::time::Duration;

/// How often the observer is asked.
const TICK: Duration = Duration::from_millis(10);
/// Threads get this long to start before the first frame is due.
const START_NS: u64 = 3_000_000;
/// The trial is over when nothing came for this long,
const QUIET_NS: u64 = 100_000_000;
/// or, while frames are missing, for this long: somebody may just have had no core.
const QUIET_MISSING_NS: u64 = 400_000_000;
/// Of the priming it is worth waiting longer: what comes later is found in the trial, as a frame of an earlier one.
const QUIET_PRIMING_NS: u64 = 1_500_000_000;
/// The drain lasts no longer than this.
const DRAIN_MAX_NS: u64 = 5_000_000_000;

/// What came of a phase.
#[derive(Debug)]
pub(crate) struct Phase {
    pub(crate) sender: Sender,
    /// At servers, at clients.
    pub(crate) ears: [Ear; 2],
    /// Answers handed to the servers' ports.
    pub(crate) answered: u64,
    pub(crate) intervals: Vec<Interval>,
}

/// The sides of a phase, with what watches them.
pub(crate) struct Run<'s, 'o, P> {
    pub(crate) clients: (Side<'s, P>, Ear),
    pub(crate) servers: (Side<'s, P>, Ear),
    pub(crate) pace: Pace,
    pub(crate) start_ns: u64,
    pub(crate) threads: u8,
    pub(crate) busy: bool,
    /// Length of the intervals; `None`: nobody watches.
    pub(crate) watch: Option<(Duration, &'o mut dyn Observer)>,
}

/// When a phase that is started now begins.
pub(crate) fn start_ns() -> u64 {
    monotonic_ns() + START_NS
}

impl<P: Wire + Send> Run<'_, '_, P> {
    /// Runs it to the end of its drain.
    pub(crate) fn run(self) -> Option<Phase> {
        let Self { clients, servers, pace, start_ns, threads, busy, watch } = self;
        let board = Board::default();
        let answers = servers.0.receiver.answers();
        let mut crews: Vec<Crew<'_, P>> =
            if threads > 1 { vec![vec![clients], vec![servers]] } else { vec![vec![servers, clients]] };
        let intervals = thread::scope(|scope| {
            let board = &board;
            for crew in &mut crews {
                scope.spawn(move || serve(crew, board, start_ns, busy));
            }
            // Threads stop also when the observer panics.
            let _stop = StopAtEnd(board);
            let mut watcher = Watcher::new(board, pace, start_ns, answers);
            watcher.watch(watch)
        });
        gather(crews.into_iter().flatten(), intervals)
    }
}

fn gather<'s, P: 's>(
    sides: impl Iterator<Item = (Side<'s, P>, Ear)>,
    intervals: Vec<Interval>,
) -> Option<Phase> {
    let (mut sender, mut servers, mut clients, mut answered) = (None, None, None, 0);
    for (side, ear) in sides {
        answered += side.receiver.answered;
        sender = side.sender.or(sender);
        match ear.end {
            End::Servers => servers = Some(ear),
            End::Clients => clients = Some(ear),
        }
    }
    Some(Phase { sender: sender?, ears: [servers?, clients?], answered, intervals })
}

struct StopAtEnd<'b>(&'b Board);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Asks the observer, and tells the trial in intervals.
struct Watcher<'b> {
    board: &'b Board,
    pace: Pace,
    start_ns: u64,
    /// Whether each frame that comes to a server is answered.
    answers: bool,
    /// Where the last interval ended: time, planned, sent, received, replies.
    last: [u64; 5],
    marks: Vec<String>,
    intervals: Vec<Interval>,
}

impl<'b> Watcher<'b> {
    fn new(board: &'b Board, pace: Pace, start_ns: u64, answers: bool) -> Self {
        Self { board, pace, start_ns, answers, last: [0; 5], marks: Vec::new(), intervals: Vec::new() }
    }

    fn watch(&mut self, mut watch: Option<(Duration, &mut dyn Observer)>) -> Vec<Interval> {
        let mut end = watch.as_ref().map_or(u64::MAX, |(interval, _)| nanos(*interval));
        let step = end;
        while !self.board.sent_all() {
            thread::sleep(TICK);
            let elapsed = monotonic_ns().saturating_sub(self.start_ns);
            let Some((_, observer)) = &mut watch else { continue };
            let tick = observer.tick(Duration::from_nanos(elapsed));
            self.marks.extend(tick.marks);
            if tick.stop {
                self.board.abandon();
            }
            if elapsed >= end {
                self.close_interval(elapsed, *observer);
                // Never two at once: one that a busy machine missed is part of the next.
                end = (elapsed / step + 1) * step;
            }
        }
        self.drain(if watch.is_some() { QUIET_MISSING_NS } else { QUIET_PRIMING_NS });
        if let Some((_, observer)) = &mut watch {
            self.close_interval(monotonic_ns().saturating_sub(self.start_ns), *observer);
        }
        std::mem::take(&mut self.intervals)
    }

    #[allow(clippy::cast_precision_loss, reason = "seconds of a trial")]
    fn close_interval(&mut self, elapsed: u64, observer: &mut dyn Observer) {
        let planned = match &self.pace {
            Pace::Planned { pacer, .. } => pacer.due(elapsed),
            Pace::Full { .. } => self.board.sent_so_far(),
        };
        let counted = |end| self.board.counted_so_far(end);
        let now = [elapsed, planned, self.board.sent_so_far(), counted(End::Servers), counted(End::Clients)];
        let [time, planned, sent, received, replies] =
            std::array::from_fn(|n| now[n].saturating_sub(self.last[n]));
        let interval = Interval {
            at_s: self.last[0] as f64 / 1e9,
            seconds: time as f64 / 1e9,
            planned,
            sent,
            received,
            replies,
            lag_max_ns: self.board.take_lag_max_ns(),
            marks: std::mem::take(&mut self.marks),
        };
        self.last = now;
        observer.interval(&interval);
        self.intervals.push(interval);
    }

    /// Waits until nothing comes any more, for `quiet_missing` nanoseconds while frames are missing.
    fn drain(&self, quiet_missing: u64) {
        let begin = monotonic_ns();
        let (mut heard, mut since) = (self.board.heard_so_far(), begin);
        loop {
            thread::sleep(TICK);
            let (now, now_heard) = (monotonic_ns(), self.board.heard_so_far());
            if now_heard != heard {
                (heard, since) = (now_heard, now);
            }
            let came = self.board.counted_so_far(End::Servers);
            let unanswered = self.answers && self.board.counted_so_far(End::Clients) < came;
            let missing = unanswered || came < self.board.sent_so_far();
            let quiet = if missing { quiet_missing } else { QUIET_NS };
            if now - since >= quiet || now - begin >= DRAIN_MAX_NS {
                return;
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
