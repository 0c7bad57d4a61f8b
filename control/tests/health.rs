//! Health checks against real listeners on loopback, and against silence in a namespace of the test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringlead_control::health::{
    CONNECTS_MAX, CheckSpec, CheckStatus, Checker, Fallen, FlapRule, HealthEvent, HttpProbe, PathProbe,
    Probe, Prober, Reconciled, Road, State,
};
use ringlead_flow::{FlowTable, ServerId, Sizes};
use ringlead_l4::Shared;
use ringlead_l4::neighbours::{NeighbourId, NextHop};
use ringlead_l4::tables::Tables;
use ringlead_pick::FrontHash;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::{sleep, timeout};

const INTERVAL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(5);
/// What a busy machine may add to any bound.
const SLACK: Duration = Duration::from_millis(400);

fn spec(id: u32, target: SocketAddr) -> CheckSpec {
    let (probe, timeout) = (Arc::new(Probe::Tcp), Duration::from_millis(80));
    let (interval, interval_changing) = (INTERVAL, None);
    CheckSpec {
        id,
        pool: "p".into(),
        target,
        probe,
        interval,
        interval_changing,
        timeout,
        rise: 2,
        fall: 3,
        flaps: FlapRule::NEVER,
    }
}

fn checker() -> (Checker, Receiver<HealthEvent>) {
    let (sender, events) = mpsc::channel(16);
    (Checker::new(sender), events)
}

async fn next(events: &mut Receiver<HealthEvent>) -> HealthEvent {
    timeout(PATIENCE, events.recv()).await.expect("an event").expect("the checker lives")
}

fn status(checker: &Checker, id: u32) -> CheckStatus {
    checker.snapshot().into_iter().find(|status| status.spec.id == id).expect("the check")
}

async fn listen(at: &str) -> (TcpListener, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(at.parse().unwrap()).unwrap();
    let listener = socket.listen(64).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A port that nobody listens on.
async fn closed_port() -> SocketAddr {
    listen("127.0.0.1:0").await.1
}

/// A listener that nobody accepts from; the one connection that fits is there.
async fn full_backlog() -> ((TcpListener, TcpStream), SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let target = listener.local_addr().unwrap();
    let fills = TcpSocket::new_v4().unwrap().connect(target).await.unwrap();
    ((listener, fills), target)
}

#[tokio::test]
async fn a_listener_is_up_at_once_and_told_once() {
    let (_listener, target) = listen("127.0.0.1:0").await;
    let (mut checker, mut events) = checker();
    checker.reconcile(vec![spec(7, target)]);
    assert_eq!(status(&checker, 7).state, State::Unknown);
    assert!(status(&checker, 7).last.is_none());

    let event = next(&mut events).await;
    assert_eq!((event.id, event.target, event.up), (7, target, true));
    assert_eq!(event.reason, "connected");
    let after = status(&checker, 7);
    assert_eq!((after.state, after.passing), (State::Up, true));

    sleep(4 * INTERVAL).await;
    assert!(events.try_recv().is_err(), "no news, no event");
    assert!(status(&checker, 7).consecutive >= 3, "{:?}", status(&checker, 7));
}

#[tokio::test]
async fn a_closed_port_is_down_at_once_with_its_reason() {
    let target = closed_port().await;
    let (mut checker, mut events) = checker();
    checker.reconcile(vec![spec(1, target)]);
    let event = next(&mut events).await;
    assert!(!event.up);
    assert_eq!(event.reason, "connection refused");
    assert_eq!(status(&checker, 1).last.unwrap().reason, "connection refused");
}

#[tokio::test]
async fn a_server_goes_and_comes_back_after_fall_and_rise() {
    let (listener, target) = listen("127.0.0.1:0").await;
    let (mut checker, mut events) = checker();
    checker.reconcile(vec![spec(1, target)]);
    assert!(next(&mut events).await.up);

    drop(listener);
    let gone = Instant::now();
    let event = next(&mut events).await;
    assert!(!event.up);
    let took = gone.elapsed();
    // Two whole intervals lie between the first and the third failure; they may be 10 % short.
    assert!(took >= INTERVAL * 18 / 10, "down after {took:?}: not three failures");
    assert!(took <= 3 * INTERVAL + spec(1, target).timeout + SLACK, "down only after {took:?}");
    assert_eq!(status(&checker, 1).consecutive, 3);

    let (_listener, _) = listen(&target.to_string()).await;
    let event = next(&mut events).await;
    assert!(event.up);
    assert_eq!(status(&checker, 1).consecutive, 2, "rise successes");
}

/// The second time down within the window it is held, though it answers at once again, and then comes back by itself.
#[tokio::test]
async fn a_server_that_comes_and_goes_is_held_down_for_a_while() {
    let (mut listener, target) = listen("127.0.0.1:0").await;
    let (mut checker, mut events) = checker();
    let hold = Duration::from_secs(2);
    let flaps = FlapRule { downs: 2, window: Duration::from_secs(600), hold, hold_max: hold };
    checker.reconcile(vec![CheckSpec { rise: 1, fall: 1, flaps, ..spec(1, target) }]);
    assert!(next(&mut events).await.up);
    for held in [None, Some(hold)] {
        drop(listener);
        let down = next(&mut events).await;
        let begin = Instant::now();
        assert_eq!((down.up, down.held), (false, held));
        (listener, _) = listen(&target.to_string()).await;
        let up = next(&mut events).await;
        assert!(up.up && up.held.is_none());
        assert!(held.is_none() || begin.elapsed() >= hold - SLACK, "up after {:?}", begin.elapsed());
    }
}

/// To fall for what clients' connections show is to go down: once, whatever checks or clients say of a server that is down.
#[tokio::test]
async fn who_falls_for_its_clients_often_is_held_down_for_a_while() {
    let (_listener, target) = listen("127.0.0.1:0").await;
    let (mut checker, mut events) = checker();
    let hold = Duration::from_secs(2);
    let flaps = FlapRule { downs: 2, window: Duration::from_secs(600), hold, hold_max: hold };
    checker.reconcile(vec![CheckSpec { rise: 1, fall: 1, flaps, ..spec(1, target) }]);
    assert_eq!(checker.fall(2, 1), None, "nobody's check");
    for held in [None, Some(hold)] {
        assert!(next(&mut events).await.up);
        let begin = Instant::now();
        assert_eq!(checker.fall(1, 1), Some(Fallen { held }));
        assert_eq!(checker.fall(1, 1), Some(Fallen { held: None }), "it is down already");
        let Some(hold) = held else { continue };
        assert!(next(&mut events).await.up);
        assert!(begin.elapsed() >= hold - SLACK, "up after {:?}", begin.elapsed());
    }
}

/// What 5000 checks take of one thread: prints it.
#[tokio::test]
#[ignore = "takes a quarter of a minute, and measures"]
async fn five_thousand_checks_take_little_of_the_control_thread() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(4096).unwrap();
    let target = listener.local_addr().unwrap();
    // A thread of its own, whose time does not count.
    let listener = listener.into_std().unwrap();
    listener.set_nonblocking(false).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream)
        }
    });
    let (sender, mut events) = mpsc::channel(8192);
    let mut checker = Checker::new(sender);
    let interval = Duration::from_secs(2);
    let one = |id| CheckSpec { interval, timeout: interval, ..spec(id, target) };
    checker.reconcile((0..5000).map(one).collect());
    // Taken as they come, then until all are up: a busy machine may be late at first.
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let all_up = |checker: &Checker| checker.snapshot().iter().all(|check| check.state == State::Up);
    let limit = Instant::now() + Duration::from_secs(60);
    while !all_up(&checker) {
        assert!(Instant::now() < limit, "not all are up");
        sleep(INTERVAL).await;
    }
    let used = || {
        let clock = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID;
        Duration::from(nix::time::clock_gettime(clock).unwrap())
    };
    let (begin, before, mut sockets_max) = (Instant::now(), used(), 0);
    while begin.elapsed() < Duration::from_secs(10) {
        sleep(Duration::from_millis(50)).await;
        sockets_max = sockets_max.max(std::fs::read_dir("/proc/self/fd").unwrap().count());
    }
    let share = (used() - before).as_secs_f64() / begin.elapsed().as_secs_f64();
    let late = checker.snapshot().into_iter().filter_map(|check| check.last).map(|last| last.waited).max();
    println!(
        "5000 tcp checks every 2 s: {:.0} % of a core, {sockets_max} descriptors at most, {late:?} late at most",
        share * 100.0
    );
    // Both ends of each connection are here: those under way, and as many that close.
    assert!(sockets_max < 4 * CONNECTS_MAX + 100, "bounded: {sockets_max}");
}

/// With the long interval alone the event would come after 14 s: `next` waits for 5 s.
#[tokio::test]
async fn while_the_state_changes_checks_come_sooner() {
    let (listener, target) = listen("127.0.0.1:0").await;
    let (mut checker, mut events) = checker();
    let interval = Duration::from_secs(2);
    let interval_changing = Some(INTERVAL);
    checker.reconcile(vec![CheckSpec { interval, interval_changing, fall: 8, ..spec(1, target) }]);
    assert!(next(&mut events).await.up);
    drop(listener);
    // The first failure comes within an interval; seven more follow at the other one.
    let event = next(&mut events).await;
    assert!(!event.up, "{event:?}");
    assert_eq!(status(&checker, 1).consecutive, 8);
}

#[tokio::test]
async fn a_full_backlog_times_out() {
    let (_full, target) = full_backlog().await;
    let (mut checker, mut events) = checker();
    checker.reconcile(vec![spec(1, target)]);
    let event = next(&mut events).await;
    assert!(!event.up);
    assert_eq!(event.reason, "timed out after 80 ms");
    assert!(event.took >= Duration::from_millis(80), "{event:?}");
}

#[test]
fn silence_is_found_within_fall_intervals_and_a_timeout() {
    lab::run(async |lab| {
        lab.here("ip neighbour replace 10.1.0.2 dev p0 lladdr 02:00:00:00:00:02 nud permanent");
        let (mut checker, mut events) = checker();
        let _listener = lab.at_peer(|| std::net::TcpListener::bind("10.1.0.2:8080").unwrap());
        let spec = spec(1, "10.1.0.2:8080".parse().unwrap());
        let bound = spec.fall * spec.interval + spec.timeout;
        checker.reconcile(vec![spec]);
        assert!(next(&mut events).await.up);

        lab.peer("ip address del 10.1.0.2/24 dev p1");
        let silent = Instant::now();
        let event = next(&mut events).await;
        assert!(!event.up);
        assert_eq!(event.reason, "timed out after 80 ms");
        assert!(silent.elapsed() <= bound + SLACK, "found only after {:?}", silent.elapsed());
    });
}

#[test]
fn unreachable_says_so() {
    lab::run(async |_lab| {
        let (mut checker, mut events) = checker();
        checker.reconcile(vec![spec(1, "192.0.2.1:80".parse().unwrap())]);
        let event = next(&mut events).await;
        assert!(!event.up);
        assert_eq!(event.reason, "network unreachable");
    });
}

#[tokio::test]
async fn reconcile_keeps_history_where_the_target_stays() {
    let (listener, target) = listen("127.0.0.1:0").await;
    let (mut checker, mut events) = checker();
    let done = checker.reconcile(vec![spec(1, target), spec(2, target)]);
    assert_eq!(done, Reconciled { started: 2, kept: 0, stopped: 0 });
    next(&mut events).await;
    next(&mut events).await;
    let before = status(&checker, 1);

    let changed = CheckSpec { interval: Duration::from_millis(50), fall: 1, ..spec(1, target) };
    let done = checker.reconcile(vec![changed, spec(3, target)]);
    assert_eq!(done, Reconciled { started: 1, kept: 1, stopped: 1 });
    let after = status(&checker, 1);
    assert_eq!((after.state, after.since), (State::Up, before.since));
    assert!(after.consecutive >= before.consecutive);
    assert_eq!(after.spec.fall, 1, "with its new numbers");
    assert_eq!(checker.snapshot().iter().map(|s| s.spec.id).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(next(&mut events).await.id, 3, "only the new one has news");

    // The new fall counts: check 1 goes down while check 3 still doubts.
    drop(listener);
    assert_eq!(next(&mut events).await.id, 1);
    assert_eq!(status(&checker, 3).state, State::Up);
}

#[tokio::test]
async fn another_target_starts_anew() {
    let (_listener, target) = listen("127.0.0.1:0").await;
    let (mut checker, mut events) = checker();
    checker.reconcile(vec![spec(1, target)]);
    assert!(next(&mut events).await.up);
    let elsewhere = closed_port().await;
    let done = checker.reconcile(vec![spec(1, elsewhere)]);
    assert_eq!(done, Reconciled { started: 1, kept: 0, stopped: 1 });
    assert_eq!(status(&checker, 1).state, State::Unknown);
    let event = next(&mut events).await;
    assert_eq!((event.target, event.up), (elsewhere, false), "its first failure decides");
}

#[tokio::test]
async fn a_shorter_interval_counts_at_once() {
    let (listener, target) = listen("127.0.0.1:0").await;
    let (mut checker, mut events) = checker();
    let slow = CheckSpec { interval: Duration::from_secs(3600), ..spec(1, target) };
    checker.reconcile(vec![slow]);
    assert!(next(&mut events).await.up);
    // Long enough for the check to be asleep until its next hour.
    sleep(Duration::from_millis(500)).await;
    drop(listener);
    checker.reconcile(vec![spec(1, target)]);
    assert!(!next(&mut events).await.up);
}

#[tokio::test]
async fn a_check_stopped_while_it_connects_says_nothing() {
    let (_listener, target) = full_backlog().await;
    let (mut checker, mut events) = checker();
    let slow = Duration::from_secs(1);
    checker.reconcile(vec![CheckSpec { interval: slow, timeout: slow, ..spec(1, target) }]);
    sleep(Duration::from_millis(700)).await;
    checker.reconcile(vec![]);
    sleep(slow + SLACK).await;
    assert!(events.try_recv().is_err(), "a stopped check spoke");
}

#[tokio::test]
async fn stopped_checks_connect_no_more() {
    let (listener, target) = listen("127.0.0.1:0").await;
    let (mut checker, mut events) = checker();
    checker.reconcile(vec![spec(1, target)]);
    next(&mut events).await;
    listener.accept().await.unwrap();
    checker.reconcile(vec![]);
    assert!(checker.snapshot().is_empty());
    // One may be in the backlog already.
    let _ = timeout(Duration::from_millis(1), listener.accept()).await;
    let later = timeout(5 * INTERVAL, listener.accept()).await;
    assert!(later.is_err(), "a stopped check connected");

    checker.reconcile(vec![spec(1, target)]);
    timeout(PATIENCE, listener.accept()).await.expect("a started check connects").unwrap();
    drop(checker);
    let _ = timeout(Duration::from_millis(1), listener.accept()).await;
    let later = timeout(5 * INTERVAL, listener.accept()).await;
    assert!(later.is_err(), "a check outlived its checker");
}

/// A server that greets and then logs how its client left.
#[tokio::test]
async fn the_server_sees_a_clean_close() {
    let (listener, target) = listen("127.0.0.1:0").await;
    let (mut checker, mut events) = checker();
    checker.reconcile(vec![CheckSpec { interval: Duration::from_secs(2), ..spec(1, target) }]);
    let (mut server, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    server.write_all(b"220 hello\r\n").await.unwrap();
    let mut rest = Vec::new();
    let read = timeout(PATIENCE, server.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(read.expect("no reset"), 0);
    server.write_all(b"221 bye\r\n").await.expect("the client still reads");
    drop(server);
    assert!(next(&mut events).await.up);
}

#[test]
fn connects_under_way_are_bounded() {
    lab::run(async |lab| {
        lab.here("ip neighbour replace 10.1.0.9 dev p0 lladdr 02:00:00:00:00:99 nud permanent");
        let (mut checker, _events) = checker();
        let mute = |id: u32| CheckSpec {
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            ..spec(id, SocketAddr::new([10, 1, 0, 9].into(), u16::try_from(1000 + id).unwrap()))
        };
        let many = u32::try_from(CONNECTS_MAX).unwrap() + 100;
        checker.reconcile((0..many).map(mute).collect());
        sleep(Duration::from_millis(800)).await;
        let table = lab.here("cat /proc/thread-self/net/tcp");
        let under_way = table.lines().filter(|l| l.split_whitespace().nth(3) == Some("02")).count();
        assert_eq!(under_way, CONNECTS_MAX);
        sleep(Duration::from_millis(1800)).await;
        let late = checker.snapshot().iter().filter_map(|s| s.last.clone()).map(|last| last.waited).max();
        assert!(late.unwrap() > Duration::from_millis(300), "those that waited say so: {late:?}");
    });
}

/// A service's own path takes a socket a service: with more of them than there are, each check still says what its server does.
#[test]
fn silence_at_more_services_than_there_are_sockets_takes_every_server_down() {
    lab::run(async |lab| {
        let flows = FlowTable::new(&Sizes { flows_max: 64, workers: 1, seed: [1, 2, 3, 4] }).unwrap();
        let shared = Shared::new(Tables::empty(FrontHash::new([7; 16])), Arc::new(flows), 16, 64, 1);
        // Nobody has this address: what is sent is lost.
        let hop = NextHop { port: 0, vlan: None, mac: [2, 0, 0, 0, 0, 0x99] };
        shared.neighbours.set(NeighbourId(3), Some(hop));
        let prober = Prober::new(shared, vec![(lab.ifindex("p0"), lab::HERE_MAC)]);
        let service = |last| SocketAddr::new([10, 9, 0, last].into(), 80);
        let probe = |asks: Probe| {
            Arc::new(Probe::Path(PathProbe {
                asks: Arc::new(asks),
                server: ServerId(50),
                first_hop: Some(NeighbourId(3)),
                roads: (1..=16).map(|last| Road { service: service(last), tunnel: None }).collect(),
                source: Some([10, 1, 0, 1].into()),
                prober: prober.clone(),
            }))
        };
        let probes = [probe(Probe::Tcp), probe(Probe::Http(page()))];
        let servers = 80;
        let silent = |id: u32| CheckSpec {
            interval: Duration::from_secs(30),
            timeout: Duration::from_millis(300),
            probe: Arc::clone(&probes[(id % 2) as usize]),
            ..spec(id, SocketAddr::new([10, 1, 0, 9].into(), 80))
        };
        assert!(16 * servers as usize > 2 * CONNECTS_MAX, "far more than there are");
        let (sender, mut events) = mpsc::channel(servers as usize);
        let mut checker = Checker::new(sender);
        checker.reconcile((0..servers).map(silent).collect());
        let (limit, mut at_once) = (Instant::now() + Duration::from_secs(40), 0);
        while checker.snapshot().iter().any(|check| check.state != State::Down) {
            let reasons: Vec<_> =
                checker.snapshot().into_iter().filter_map(|s| s.last).map(|l| l.reason).collect();
            let other = reasons.iter().find(|reason| !reason.starts_with("no answer from"));
            assert_eq!(other, None, "of {servers}");
            assert!(Instant::now() < limit, "{} results", reasons.len());
            let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
            let reserved = table.lines().filter(|l| l.split_whitespace().nth(3) == Some("0A")).count();
            at_once = at_once.max(reserved);
            sleep(Duration::from_millis(20)).await;
        }
        assert!((1..=CONNECTS_MAX).contains(&at_once), "{at_once} sockets");
        for _ in 0..servers {
            assert!(!next(&mut events).await.up);
        }
    });
}

fn page() -> HttpProbe {
    HttpProbe { statuses: vec![(200, 200)], ..HttpProbe::default() }
}
