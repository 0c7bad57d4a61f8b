//! Whole trials over a network in memory: the engine, its threads and its account, without a kernel's sockets.

mod kernel;
mod modes;

use crate::board::{Board, End};
use crate::ear::{Ear, Sign};
use crate::engine::{Side, serve};
use crate::flows::Space;
use crate::generator::Ends;
use crate::mode::Mode;
use crate::observer::{Observer, Tick};
use crate::outcome::{Invalid, Outcome};
use crate::rate::Rate;
use crate::receiver::{Answer, Receiver};
use crate::setup::{Server, Service, Setup};
use crate::spec::{Check, Plan, TrialSpec};
use crate::station::{Lane, PortInfo, Station, Wire};
use crate::trial::Trial;
use ringlead_io::{Caps, FrameList, Frames, Port, PortStats};
use ringlead_wire::{Protocol, parse};
use ringlead_witness::Kind;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 0];
const BALANCER: [u8; 6] = [2, 0, 0, 0, 0, 0xbb];

/// What the balancer in the middle does to frame `n` on its way to a server: the server's number, or nothing.
type Choose = Box<dyn Fn(u64, &mut Vec<u8>, usize) -> Option<usize> + Send>;

/// A balancer in memory with the generator's ports around it: 0 is the client's, 1 and 2 are servers'.
struct Network {
    arrived: [VecDeque<Vec<u8>>; 3],
    seen: u64,
    choose: Choose,
    /// Frames of these first ones are the priming's, and treated well.
    spare: u64,
    /// The clients that opened a flow, and the last frame that went to server 1.
    opened: Vec<(ringlead_wire::Ip, u16)>,
    last: Vec<u8>,
    middle: modes::Middle,
}

impl Network {
    /// Forwards as the mode does; what is chosen by the client's port stays chosen.
    fn forward(&mut self, from: usize, mut frame: Vec<u8>) {
        let Ok(meta) = parse(&frame) else { return };
        if from > 0 {
            self.middle.back(&mut frame, &meta);
            self.arrived[0].push_back(frame);
            return;
        }
        self.seen += 1;
        if meta.flags.is_syn() {
            self.opened.push((meta.src, meta.sport));
        }
        let usual = usize::from(meta.sport % 2) + 1;
        let server = if self.seen <= self.spare {
            usual
        } else {
            match (self.choose)(self.seen - self.spare, &mut frame, usual) {
                Some(server) => server,
                None => return,
            }
        };
        let count = self.seen.saturating_sub(self.spare);
        self.middle.onward(&mut frame, &meta, server, count);
        if server == 1 {
            self.last.clone_from(&frame);
        }
        self.arrived[server].push_back(frame);
    }
}

/// A port of the generator in that network.
struct Pipe {
    number: usize,
    network: Arc<Mutex<Network>>,
    caps: Caps,
    /// How many frames it still takes.
    room: usize,
    /// How many frames it says it has not sent yet.
    stuck: u64,
}

impl Port for Pipe {
    fn rx(&mut self, frames: &mut Frames, list: &mut FrameList) -> usize {
        let mut network = self.network.lock().unwrap();
        let before = list.len();
        while !list.is_full() {
            let Some(bytes) = network.arrived[self.number].pop_front() else { break };
            let mut frame = frames.alloc().unwrap();
            assert!(frames.copy_in(&mut frame, &bytes));
            list.push(frame);
        }
        list.len() - before
    }

    fn tx(&mut self, frames: &mut Frames, list: &mut FrameList) -> usize {
        let count = list.len().min(self.room);
        self.room -= count;
        for frame in list.drain(..count) {
            self.network.lock().unwrap().forward(self.number, frames.bytes(&frame).to_vec());
            frames.free(frame);
        }
        count
    }

    fn reap(&mut self, _frames: &mut Frames) {}
    fn refill(&mut self, _frames: &mut Frames) {}
    fn kick(&mut self) {}

    fn stats(&self) -> PortStats {
        PortStats::default()
    }

    fn caps(&self) -> &Caps {
        &self.caps
    }
}

impl Wire for Pipe {
    fn in_flight(&self) -> u64 {
        self.stuck
    }
}

fn mac(server: usize) -> [u8; 6] {
    [2, 0, 0, 0, 1, u8::try_from(server).unwrap()]
}

fn service() -> Service {
    Service { address: "10.9.0.1:80".parse().unwrap(), protocol: Protocol::Tcp }
}

fn servers() -> [Server; 2] {
    ["10.2.0.11:8080@s1", "10.2.0.12:8080@s2"].map(|text| text.parse().unwrap())
}

/// The generator's ends around a balancer that does `choose`, after `spare` frames that it treats well.
fn ends(spare: u64, room: usize, choose: Choose) -> Ends<Pipe> {
    ends_of(Setup::new(Mode::Nat), modes::Middle::Nat, spare, room, choose)
}

/// The same for any mode: `middle` is the balancer's part of it.
fn ends_of(mut setup: Setup, middle: modes::Middle, spare: u64, room: usize, choose: Choose) -> Ends<Pipe> {
    setup.out = vec!["c0".parse().unwrap()];
    setup.servers = servers().to_vec();
    setup.services = vec![service()];
    let network = Network {
        arrived: Default::default(),
        seen: 0,
        choose,
        spare,
        opened: Vec::new(),
        last: Vec::new(),
        middle,
    };
    let network = Arc::new(Mutex::new(network));
    let station = |number: usize| {
        let caps = Caps {
            device: format!("p{number}"),
            queue: 0,
            mac: [0; 6],
            frame_max: 1514,
            partial_checksums: false,
            mode: "pipe".to_owned(),
        };
        let room = if number == 0 { room } else { usize::MAX };
        let io = Pipe { number, network: Arc::clone(&network), caps, room, stuck: 0 };
        Station::in_memory(Frames::in_memory(4096, 2048).unwrap(), vec![Lane { io, port: number }])
    };
    let info = |(number, port): (usize, &crate::PortRef)| PortInfo {
        port: port.clone(),
        mac: if number == 0 { CLIENT } else { mac(number) },
        queues: 1,
        driver: "pipe".to_owned(),
        mode: "pipe".to_owned(),
        frame_max: 1514,
    };
    Ends {
        ports: setup.ports().iter().enumerate().map(info).collect(),
        setup,
        clients: vec![station(0)],
        servers: vec![station(1), station(2)],
        hops: vec![[BALANCER; 2]],
        line_bps: None,
        phase: 0,
        young_offset: 0,
    }
}

/// A second's worth of frames in a fifth of one; however late, they count.
fn spec() -> TrialSpec {
    let plan = Plan { flows: 40, ..Plan::default() };
    TrialSpec {
        check: Check::All,
        reply: true,
        lag_max: Duration::from_secs(60),
        interval: Duration::from_millis(50),
        ..TrialSpec::new(plan, Rate::Pps(5000.0), Duration::from_millis(200))
    }
}

fn run(ends: &mut Ends<Pipe>, spec: &TrialSpec) -> Outcome {
    Trial::new(ends, spec).unwrap().run(&mut ()).unwrap()
}

fn usual() -> Choose {
    Box::new(|_, _, usual| Some(usual))
}

/// The frames of the priming, both ends' of the handshake not counted: one a flow.
const PRIMING: u64 = 40;

#[test]
fn an_honest_balancer_is_clean_on_one_thread_and_on_two() {
    for threads in [1, 2] {
        let mut ends = ends(0, usize::MAX, usual());
        ends.setup.threads = threads;
        let outcome = run(&mut ends, &spec());
        assert_eq!(outcome.invalid, None);
        assert_eq!((outcome.planned, outcome.sent, outcome.received), (Some(outcome.sent), 955, 955));
        let replies = outcome.replies.unwrap();
        assert_eq!((replies.sent, replies.received, replies.lost), (955, 955, 0));
        let findings = outcome.findings.unwrap();
        assert!(findings.is_clean(), "{findings:?}");
        assert_eq!((findings.forward.received, findings.reply.received), (955, 955));
        let sums = outcome.intervals.iter().fold((0, 0, 0), |(planned, sent, received), interval| {
            (planned + interval.planned, sent + interval.sent, received + interval.received)
        });
        assert_eq!(sums, (955, 955, 955));
        assert_eq!(outcome.latency.unwrap().count, 955);
        assert_eq!(outcome.odd, crate::Odd::default());
    }
}

#[test]
fn every_tenth_frame_lost_is_counted_and_named() {
    let choose: Choose = Box::new(|n, _, usual| (!n.is_multiple_of(10)).then_some(usual));
    let outcome = run(&mut ends(PRIMING, usize::MAX, choose), &spec());
    assert_eq!((outcome.sent, outcome.received, outcome.lost), (955, 860, 95));
    let findings = outcome.findings.as_ref().unwrap();
    assert_eq!((findings.count(Kind::Lost), findings.counts.len()), (95, 1), "{:?}", findings.counts);
    assert!(findings.missing.complete);
    // Nobody was asked: unknown, not 0.
    assert_eq!((outcome.loss.total, outcome.loss.before, outcome.loss.after), (95, None, None));
    assert!(outcome.loss.note.as_ref().is_some_and(|note| note.contains("--control")));
    assert!((outcome.loss_ratio() - 95.0 / (955.0 + 860.0)).abs() < 1e-9);
}

#[test]
fn a_port_that_takes_too_little_makes_the_trial_invalid_and_loses_nothing() {
    let mut brief = spec();
    (brief.lag_max, brief.reply) = (Duration::from_millis(20), false);
    let outcome = run(&mut ends(0, 540, usual()), &brief);
    assert_eq!(outcome.invalid, Some(Invalid::TooFew { planned: 955, sent: 500 }));
    // What was made and not taken was not sent: the witness must not miss it.
    assert_eq!((outcome.sent, outcome.received, outcome.lost), (500, 500, 0));
    assert!(outcome.findings.unwrap().is_clean());
}

/// What a port took and never sent was not sent: a device that stands still is no pass.
#[test]
fn a_port_that_takes_frames_and_sends_none_makes_the_trial_invalid() {
    let counted = TrialSpec { check: Check::Count, reply: false, ..spec() };
    let mut ends = ends(0, usize::MAX, usual());
    for (stuck, why) in [(955, Invalid::Nothing), (100, Invalid::TooFew { planned: 955, sent: 855 })] {
        ends.clients[0].lanes[0].io.stuck = stuck;
        assert_eq!(run(&mut ends, &counted).invalid, Some(why));
    }
}

/// Answers that the generator itself did not send are its own fault, and not to be passed over.
#[test]
fn servers_that_do_not_answer_all_make_the_trial_invalid() {
    for check in [Check::Count, Check::All] {
        let mut ends = ends(0, usize::MAX, usual());
        ends.servers[0].lanes[0].io.room = 100;
        let outcome = run(&mut ends, &TrialSpec { check, ..spec() });
        let replies = outcome.replies.unwrap();
        let Some(Invalid::Unanswered { frames }) = outcome.invalid else { panic!("{:?}", outcome.invalid) };
        assert_eq!((frames, replies.lost), (outcome.received - replies.sent, 0));
    }
}

#[test]
fn a_sender_that_is_late_is_invalid_though_all_was_sent() {
    let mut strict = spec();
    // Nothing is sent within a nanosecond of its time.
    strict.lag_max = Duration::from_nanos(1);
    strict.rate = Rate::Pps(100.0);
    let outcome = run(&mut ends(0, usize::MAX, usual()), &strict);
    assert!(matches!(outcome.invalid, Some(Invalid::TooLate { bound_ns: 1, .. })), "{:?}", outcome.invalid);
    assert!(outcome.lag.max_ns >= outcome.lag.p99_ns && outcome.lag.p99_ns > 1);
}

#[test]
fn a_flow_that_changes_its_server_is_told_with_the_time() {
    let choose: Choose = Box::new(|n, _, usual| Some(if n > 500 { 1 } else { usual }));
    let outcome = run(&mut ends(PRIMING, usize::MAX, choose), &spec());
    let moves = outcome.findings.unwrap().moves;
    assert!(moves.flows > 0 && moves.pairs.len() == 1, "{moves:?}");
    assert!(moves.pairs[0].from.starts_with("10.2.0.12") && moves.pairs[0].first_ns > 0);
}

#[test]
fn damage_that_is_hidden_on_the_way_is_told_apart() {
    let mut spoilt = spec();
    spoilt.plan.bad_checksums_pct = 10.0;
    let outcome = run(&mut ends(PRIMING, usize::MAX, usual()), &spoilt);
    let odd = outcome.odd;
    assert_eq!((odd.bad_checksums_sent, odd.bad_checksums_received, odd.bad_checksums_repaired), (95, 95, 0));
    assert_eq!((outcome.sent, outcome.received, outcome.planned), (860, 860, Some(860)));
    assert!(outcome.findings.unwrap().is_clean());

    let repair: Choose = Box::new(|_, frame, usual| {
        // Ends right whatever it was: what a card does that fills in checksums unasked.
        let meta = parse(frame).unwrap();
        let (l4, end) = (usize::from(meta.l4), usize::from(meta.end));
        frame[l4 + 16..l4 + 18].fill(0);
        let sum = ringlead_wire::checksum::Sum::default().bytes(&frame[usize::from(meta.l3) + 12..end]);
        let length = meta.end - meta.l4;
        frame[l4 + 16..l4 + 18].copy_from_slice(&sum.word(6).word(length).checksum().to_be_bytes());
        Some(usual)
    });
    let outcome = run(&mut ends(PRIMING, usize::MAX, repair), &spoilt);
    assert_eq!((outcome.odd.bad_checksums_received, outcome.odd.bad_checksums_repaired), (0, 95));
    assert!(outcome.findings.unwrap().count(Kind::HiddenDamage) > 0);
}

/// A balancer may well drop what has a wrong checksum; what else it drops is lost.
#[test]
fn spoilt_frames_that_are_dropped_are_no_loss() {
    let mut spoilt = spec();
    spoilt.plan.bad_checksums_pct = 10.0;
    let is_right = |frame: &[u8]| ringlead_witness::Parsed::new(frame).unwrap().l4_checksum_ok();
    let strict: Choose = Box::new(move |_, frame, usual| is_right(frame).then_some(usual));
    let outcome = run(&mut ends(PRIMING, usize::MAX, strict), &spoilt);
    assert_eq!((outcome.odd.bad_checksums_sent, outcome.odd.bad_checksums_received), (95, 0));
    let findings = outcome.findings.unwrap();
    assert!(outcome.lost == 0 && findings.is_clean() && findings.missing.forward.is_empty(), "{findings:?}");

    let stricter: Choose =
        Box::new(move |n, frame, usual| (is_right(frame) && !n.is_multiple_of(97)).then_some(usual));
    let outcome = run(&mut ends(PRIMING, usize::MAX, stricter), &spoilt);
    let lost = outcome.findings.unwrap().count(Kind::Lost);
    assert!(outcome.lost > 0 && lost == outcome.lost, "{lost} and {}", outcome.lost);
}

/// Marks the first tick after 50 ms, and ends the trial after 100.
#[derive(Default)]
struct Impatient {
    marked: bool,
    intervals: usize,
}

impl Observer for Impatient {
    fn tick(&mut self, elapsed: Duration) -> Tick {
        let mark = !self.marked && elapsed > Duration::from_millis(50);
        self.marked |= mark;
        let marks = if mark { vec!["reload".to_owned()] } else { Vec::new() };
        Tick { marks, stop: elapsed > Duration::from_millis(100) }
    }

    fn interval(&mut self, _interval: &crate::Interval) {
        self.intervals += 1;
    }
}

#[test]
fn an_observer_marks_intervals_and_may_end_the_trial() {
    let mut long = spec();
    long.duration = Duration::from_secs(60);
    let (mut ends, mut observer) = (ends(0, usize::MAX, usual()), Impatient::default());
    let outcome = Trial::new(&mut ends, &long).unwrap().run(&mut observer).unwrap();
    let marks: Vec<&str> = outcome.intervals.iter().flat_map(|i| &i.marks).map(String::as_str).collect();
    assert_eq!((marks, observer.intervals), (vec!["reload"], outcome.intervals.len()));
    assert!(matches!(outcome.invalid, Some(Invalid::TooFew { .. })));
    assert_eq!((outcome.lost, outcome.sent), (0, outcome.received));
    assert!(outcome.findings.unwrap().is_clean());
}

#[test]
fn flows_that_come_in_a_second_trial_are_new_to_the_balancer() {
    let mut young = spec();
    young.plan.new_flows_per_s = 100;
    let mut ends = ends(0, usize::MAX, usual());
    for _ in 0..2 {
        let outcome = run(&mut ends, &young);
        assert!(outcome.findings.unwrap().is_clean() && outcome.lost == 0);
    }
    let opened = ends.clients[0].lanes[0].io.network.lock().unwrap().opened.clone();
    let different: std::collections::BTreeSet<_> = opened.iter().copied().collect();
    // 40 flows are primed in each trial, and about 20 come in each.
    assert!(opened.len() - different.len() == 40 && different.len() >= 40 + 2 * 15, "{}", different.len());
    assert!(Space::new(&ends.setup).room() > u64::from(ends.young_offset));
}

#[test]
fn frames_of_an_earlier_trial_are_told_apart() {
    let mut ends = ends(0, usize::MAX, usual());
    let network = Arc::clone(&ends.clients[0].lanes[0].io.network);
    for (check, stale) in [(Check::Count, 3), (Check::All, 0)] {
        run(&mut ends, &spec());
        let mut late = network.lock().unwrap();
        let frame = late.last.clone();
        late.arrived[1].extend([frame.clone(), frame.clone(), frame]);
        drop(late);
        let next = TrialSpec { prime: false, check, ..spec() };
        let outcome = run(&mut ends, &next);
        assert_eq!((outcome.received, outcome.lost, outcome.odd.stale), (955, 0, stale));
        let old = outcome.findings.map_or(0, |findings| findings.count(Kind::OldTrial));
        assert_eq!(old + stale, 3, "counted as stale or found, never as the trial's");
    }
}

/// More than a turn takes has come while the thread had no core, and then it is told to stop.
#[test]
fn what_is_in_the_rings_at_the_end_is_counted() {
    let mut ends = ends(0, usize::MAX, usual());
    let network = Arc::clone(&ends.clients[0].lanes[0].io.network);
    run(&mut ends, &spec());
    let mut late = network.lock().unwrap();
    let frame = late.last.clone();
    late.arrived[1].extend(std::iter::repeat_n(frame, 3000));
    drop(late);
    let receiver = Receiver::new(&ends.servers, Answer::No, Vec::new(), None, 0);
    let side = Side { stations: &mut ends.servers, receiver, sender: None };
    let mut crew = vec![(side, Ear::new(End::Servers, Sign::Any))];
    let board = Board::default();
    board.stop();
    serve(&mut crew, &board, 0, false);
    assert_eq!(crew[0].1.heard.counted, 3000);
}

#[test]
fn latencies_are_logged_by_interval() {
    let mut logged = spec();
    (logged.latency_log, logged.check) = (true, Check::Count);
    let outcome = run(&mut ends(0, usize::MAX, usual()), &logged);
    let log = outcome.latency_log.unwrap();
    let lines = log.lines().filter(|line| line.contains("HISTF")).count();
    assert!(log.starts_with("#[Histogram log format version 1.3]") && (1..=30).contains(&lines), "{log}");
    assert_eq!(outcome.received, 955);
}

#[test]
fn what_cannot_be_made_is_refused_before_anything_is_sent() {
    let mut ends = ends(0, usize::MAX, usual());
    let mut refuses = |change: &dyn Fn(&mut TrialSpec), word: &str| {
        let mut spec = spec();
        change(&mut spec);
        let error =
            Trial::new(&mut ends, &spec).and_then(|trial| trial.run(&mut ())).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    };
    refuses(&|spec| spec.plan.sizes = "1600".parse().unwrap(), "1518");
    refuses(&|spec| spec.rate = Rate::Percent(10.0), "speed");
    refuses(&|spec| spec.rate = Rate::Recorded, "capture");
    refuses(&|spec| spec.plan.capture = Some("/no/such/file".into()), "/no/such/file");
    refuses(
        &|spec| (spec.plan.flows, spec.plan.new_flows_per_s) = (9_999_000, 1_000_000),
        "flows over the trial",
    );
}
