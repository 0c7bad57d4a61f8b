use super::server::{LAST_REQUESTS, Limits};
use super::*;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use nix::unistd::{Uid, geteuid, setfsuid};
use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{array, fs, iter, process, thread};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

const LIMIT: Duration = Duration::from_secs(30);
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
/// The connection may stay.
const KEPT_GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Answers as soon as there is a permit.
struct Gate {
    answers: Semaphore,
    /// One permit for each request that has come.
    asked: Semaphore,
    turned_away: AtomicUsize,
}

impl Gate {
    fn new(answers: usize) -> Arc<Self> {
        Arc::new(Self {
            answers: Semaphore::new(answers),
            asked: Semaphore::new(0),
            turned_away: AtomicUsize::new(0),
        })
    }

    fn open() -> Arc<Self> {
        Self::new(Semaphore::MAX_PERMITS / 2)
    }
}

impl Handler for Gate {
    const NAME: &'static str = "gate";

    async fn answer(&self, _: Request<Incoming>, _: SocketAddr) -> Answer {
        self.asked.add_permits(1);
        self.answers.acquire().await.unwrap().forget();
        text(StatusCode::OK, "whole\n".to_owned())
    }

    fn too_many(&self, _: SocketAddr) -> Answer {
        text(StatusCode::TOO_MANY_REQUESTS, "too many\n".to_owned())
    }

    fn turned_away(&self, _: SocketAddr) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ports that nobody has, that the kernel gives to no client, and that no other test gets.
fn ports<const N: usize>() -> [u16; N] {
    static TRIED: AtomicUsize = AtomicUsize::new(0);
    let given = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let given: Vec<u16> = given.split_whitespace().map(|bound| bound.parse().unwrap()).collect();
    let free: Vec<u16> = (1024..=u16::MAX).filter(|port| !(given[0]..=given[1]).contains(port)).collect();
    assert!(!free.is_empty(), "clients may have every port: {given:?}");
    let first = process::id() as usize * 64;
    let one = || free[(first + TRIED.fetch_add(1, Ordering::Relaxed)) % free.len()];
    let tried = iter::repeat_with(one).take(free.len());
    let held: Vec<_> = tried.filter_map(|port| StdListener::bind(("0.0.0.0", port)).ok()).take(N).collect();
    array::from_fn(|i| held[i].local_addr().unwrap().port())
}

fn serve(at: SocketAddr, gate: Arc<Gate>, limits: Limits) -> Server {
    Server::within(open(at, &[]).unwrap(), gate, limits)
}

fn local() -> SocketAddr {
    let [port] = ports();
    SocketAddr::from(([127, 0, 0, 1], port))
}

async fn asked(at: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(GET).await.unwrap();
    stream
}

/// Nobody is let go for what it does not ask, and peers on this node are like others.
fn patient() -> Limits {
    let (hour, Limits { kept, served, .. }) = (Duration::from_secs(3_600), Limits::default());
    Limits {
        kept_local: kept,
        served_local: served,
        first_head: hour,
        next_head: hour,
        requests: hour,
        last_answer: LIMIT,
        turn: hour,
        refusal: hour,
        ..Limits::default()
    }
}

/// So many connections from one address of the loopback device.
async fn idle_from(last_octet: u8, at: SocketAddr, many: usize) -> Vec<TcpStream> {
    let mut idle = Vec::new();
    for _ in 0..many {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((IpAddr::from([127, 0, 0, last_octet]), 0).into()).unwrap();
        idle.push(socket.connect(at).await.unwrap());
    }
    idle
}

async fn answer_of(mut stream: TcpStream) -> String {
    let mut said = String::new();
    timeout(LIMIT, stream.read_to_string(&mut said)).await.expect("an end").unwrap();
    said
}

fn is_whole(said: &str) -> bool {
    said.starts_with("HTTP/1.1 200 OK") && said.ends_with("whole\n")
}

#[tokio::test]
async fn more_connections_than_places_wait_their_turn() {
    let limits = patient();
    let server = serve(local(), Gate::open(), limits);
    let mut idle = Vec::new();
    let of_one = limits.kept + limits.refused;
    for last_octet in (2..).take(limits.connections / of_one) {
        idle.extend(idle_from(last_octet, server.at(), of_one).await);
    }
    assert_eq!(idle.len(), limits.connections);
    let mut one_more = asked(server.at()).await;
    let mut said = String::new();
    let early = timeout(Duration::from_millis(300), one_more.read_to_string(&mut said)).await;
    assert!(early.is_err() && said.is_empty(), "{said}");
    drop(idle);
    assert!(is_whole(&answer_of(one_more).await));
}

#[tokio::test]
async fn one_peers_idle_connections_keep_nobody_else_out() {
    let (limits, gate) = (patient(), Gate::open());
    let server = serve(local(), Arc::clone(&gate), limits);
    let mut idle = idle_from(2, server.at(), limits.connections).await;
    assert!(is_whole(&answer_of(asked(server.at()).await).await));
    let mut refused = idle.split_off(limits.kept);
    for turned_away in refused.split_off(limits.refused) {
        let mut turned_away = turned_away;
        let end = timeout(LIMIT, turned_away.read(&mut [0; 1])).await.expect("an end");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
    let closed = limits.connections - limits.kept - limits.refused;
    assert_eq!(gate.turned_away.load(Ordering::Relaxed), closed);
    for mut refused in refused {
        let ask = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
        refused.write_all(ask).await.unwrap();
        let said = answer_of(refused).await;
        assert!(said.starts_with("HTTP/1.1 429 ") && said.ends_with("too many\n"), "{said}");
    }
    let mut first = idle.swap_remove(0);
    first.write_all(GET).await.unwrap();
    assert!(is_whole(&answer_of(first).await), "those that it may have are served");
}

#[tokio::test]
async fn three_peers_idle_connections_keep_nobody_else_out() {
    let limits = patient();
    let server = serve(local(), Gate::open(), limits);
    let mut idle = Vec::new();
    for last_octet in 2..5 {
        idle.extend(idle_from(last_octet, server.at(), limits.connections).await);
    }
    assert!(is_whole(&answer_of(asked(server.at()).await).await));
}

/// Asks, and keeps the connection when it has been answered.
async fn answered_and_idle(mut stream: TcpStream) -> TcpStream {
    stream.write_all(KEPT_GET).await.unwrap();
    let (mut said, mut buffer) = (String::new(), [0; 1024]);
    while !is_whole(&said) {
        let read = timeout(LIMIT, stream.read(&mut buffer)).await.expect("an answer").unwrap();
        assert!(read > 0, "{said}");
        said.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    assert!(!said.to_ascii_lowercase().contains("connection: close"), "{said}");
    stream
}

#[tokio::test]
async fn those_that_were_answered_make_room_for_one_of_their_peers_that_waits() {
    let limits = patient();
    let server = serve(local(), Gate::open(), limits);
    let mut idle = Vec::new();
    for stream in idle_from(2, server.at(), limits.served).await {
        idle.push(answered_and_idle(stream).await);
    }
    let mut next = idle_from(2, server.at(), 1).await.swap_remove(0);
    next.write_all(GET).await.unwrap();
    assert!(is_whole(&answer_of(next).await));
    assert_eq!(timeout(LIMIT, idle[0].read(&mut [0; 1])).await.expect("an end").unwrap(), 0);
}

#[tokio::test]
async fn nobody_makes_room_who_has_yet_to_ask_or_before_its_answer_has_ended() {
    let (limits, gate) = (patient(), Gate::new(0));
    let server = serve(local(), Arc::clone(&gate), limits);
    let requests = async |many| {
        timeout(LIMIT, gate.asked.acquire_many(many)).await.expect("requests").unwrap().forget();
    };
    let mut silent = idle_from(2, server.at(), 1).await.swap_remove(0);
    let mut under_way = idle_from(2, server.at(), limits.served - 1).await;
    for stream in &mut under_way {
        stream.write_all(KEPT_GET).await.unwrap();
        requests(1).await;
    }
    let mut next = idle_from(2, server.at(), 1).await.swap_remove(0);
    next.write_all(GET).await.unwrap();
    // Accepted later, so they have been told by then.
    let bystander = asked(server.at()).await;
    requests(1).await;
    gate.answers.add_permits(limits.connections);
    for stream in under_way {
        assert!(is_whole(&answer_of(stream).await), "it ends with its answer");
    }
    assert!(is_whole(&answer_of(next).await) && is_whole(&answer_of(bystander).await));
    silent.write_all(GET).await.unwrap();
    assert!(is_whole(&answer_of(silent).await), "it may ask yet");
}

#[tokio::test]
async fn those_that_wait_behind_their_own_peers_are_served_when_it_has_been_answered() {
    let limits = patient();
    let server = serve(local(), Gate::open(), limits);
    let mut idle = idle_from(2, server.at(), limits.served).await;
    let mut waiting = idle_from(2, server.at(), 1).await.swap_remove(0);
    waiting.write_all(GET).await.unwrap();
    let early = timeout(Duration::from_millis(100), waiting.read(&mut [0; 1])).await;
    assert!(early.is_err(), "{early:?}");
    // It would stay open, if nobody waited for its place.
    let mut first = idle.swap_remove(0);
    first.write_all(KEPT_GET).await.unwrap();
    let said = answer_of(first).await;
    assert!(is_whole(&said) && said.to_ascii_lowercase().contains("connection: close"), "{said}");
    assert!(is_whole(&answer_of(waiting).await));
}

#[tokio::test]
async fn who_has_waited_too_long_for_its_peers_is_told_so() {
    let limits = Limits { turn: Duration::from_millis(50), ..patient() };
    let server = serve(local(), Gate::open(), limits);
    let _idle = idle_from(2, server.at(), limits.served).await;
    let mut waiting = idle_from(2, server.at(), 1).await.swap_remove(0);
    waiting.write_all(GET).await.unwrap();
    assert!(answer_of(waiting).await.starts_with("HTTP/1.1 429 "));
}

#[tokio::test]
async fn who_has_connected_and_asks_nothing_is_let_go_before_who_asks_again() {
    let server = serve(local(), Gate::open(), Limits { first_head: Duration::from_millis(200), ..patient() });
    let mut stream = TcpStream::connect(server.at()).await.unwrap();
    stream.write_all(KEPT_GET).await.unwrap();
    let mut silent = idle_from(2, server.at(), 2).await;
    silent[0].write_all(b"GET / HT").await.unwrap();
    for silent in &mut silent {
        let end = timeout(LIMIT, silent.read(&mut [0; 1])).await.expect("an end");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
    stream.write_all(GET).await.unwrap();
    let said = answer_of(stream).await;
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 2, "{said}");
}

#[tokio::test]
async fn an_answer_under_way_when_the_time_is_over_is_whole() {
    let gate = Gate::new(0);
    let limits = Limits { requests: Duration::from_millis(300), ..patient() };
    let server = serve(local(), Arc::clone(&gate), limits);
    let asked = asked(server.at()).await;
    timeout(LIMIT, gate.asked.acquire()).await.expect("a request").unwrap().forget();
    let mut silent = TcpStream::connect(server.at()).await.unwrap();
    // One that asks nothing is let go at the limit, so it has passed for both.
    assert_eq!(timeout(LIMIT, silent.read(&mut [0; 1])).await.expect("an end").unwrap(), 0);
    sleep(Duration::from_millis(200)).await;
    gate.answers.add_permits(1);
    let said = answer_of(asked).await;
    assert!(is_whole(&said), "{said}");
}

/// On a runtime that stands still until the time is over.
#[tokio::test]
async fn a_request_that_came_in_time_is_answered_however_late_it_is_read() {
    let limits = Limits { requests: Duration::from_millis(500), ..patient() };
    let server = serve(local(), Gate::open(), limits);
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < LIMIT, "too slow a machine to ask in time");
        let tried = Instant::now();
        let mut streams = idle_from(2, server.at(), limits.served).await;
        streams.extend(idle_from(3, server.at(), limits.served).await);
        // All are accepted by then, or soon.
        sleep(Duration::from_millis(20)).await;
        for stream in &mut streams {
            stream.write_all(GET).await.unwrap();
        }
        if tried.elapsed() >= limits.requests {
            continue;
        }
        thread::sleep(limits.requests);
        for stream in streams {
            assert!(is_whole(&answer_of(stream).await));
        }
        return;
    }
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_cut() {
    let soon = Duration::from_millis(20);
    let limits = Limits { requests: soon, last_answer: soon, ..patient() };
    let server = serve(local(), Gate::new(0), limits);
    assert_eq!(answer_of(asked(server.at()).await).await, "");
}

/// Asks without a pause, each time on a new connection, until told to end. Who is kept from asking for as long as a server that closes
/// waits may get no answer.
fn knock(at: SocketAddr, end: &AtomicBool) -> (u64, Vec<String>) {
    let (mut answered, mut failed) = (0, Vec::new());
    while !end.load(Ordering::Relaxed) {
        let (begin, mut is_late) = (Instant::now(), false);
        let mut once = || -> io::Result<String> {
            use std::io::{Read, Write};
            let mut stream = std::net::TcpStream::connect(at)?;
            stream.set_read_timeout(Some(LIMIT))?;
            let asked = stream.write_all(GET);
            is_late = begin.elapsed() >= LAST_REQUESTS;
            asked?;
            let mut said = String::new();
            stream.read_to_string(&mut said).map(|_| said)
        };
        match once() {
            Ok(said) if is_whole(&said) => answered += 1,
            _ if is_late => {}
            other => failed.push(format!("{other:?}")),
        }
    }
    (answered, failed)
}

/// Every two of these overlap, and both may be listened to only with the kernel's consent.
#[tokio::test]
async fn an_address_moves_on_its_port_and_everybody_is_answered() {
    let [port] = ports();
    let all = SocketAddr::from(([0, 0, 0, 0], port));
    let one = SocketAddr::from(([127, 0, 0, 1], port));
    let both = SocketAddr::from(([0_u16; 8], port));
    let mut places = vec![one, all, one, all];
    if StdListener::bind("[::]:0").is_ok() {
        places.extend([both, one, both, all]);
    }
    let mut server = serve(all, Gate::open(), Limits::default());
    let end = Arc::new(AtomicBool::new(false));
    let client = thread::spawn({
        let end = Arc::clone(&end);
        move || knock(one, &end)
    });
    for place in places.into_iter().cycle().take(40) {
        assert!(StdListener::bind(place).is_err(), "{place} is free for others");
        let opened =
            open(place, &[&server]).unwrap_or_else(|e| panic!("from {} to {place}: {e}", server.at()));
        let next = Server::begin(opened, Gate::open());
        std::mem::replace(&mut server, next).close().await;
        sleep(Duration::from_millis(5)).await;
    }
    end.store(true, Ordering::Relaxed);
    while !client.is_finished() {
        sleep(Duration::from_millis(5)).await;
    }
    let (answered, failed) = client.join().unwrap();
    assert!(answered > 0 && failed.is_empty(), "{answered} answered, {failed:?}");
}

/// Two servers change places, which never are free.
#[tokio::test]
async fn two_servers_change_places() {
    let [first, second] = ports().map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let (one, two) =
        (serve(first, Gate::open(), Limits::default()), serve(second, Gate::open(), Limits::default()));
    assert!(open(second, &[&one]).is_err(), "somebody else has it");
    let opened = [open(second, &[&one, &two]).unwrap(), open(first, &[&one, &two]).unwrap()];
    let next = opened.map(|opened| Server::begin(opened, Gate::open()));
    one.close().await;
    two.close().await;
    for server in &next {
        assert!(is_whole(&answer_of(asked(server.at()).await).await));
    }
}

fn share(at: SocketAddr, user: Option<Uid>) -> io::Result<Socket> {
    let before = user.map(setfsuid);
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None);
    before.map(setfsuid);
    let socket = socket?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&at.into())?;
    socket.listen(8)?;
    Ok(socket)
}

#[tokio::test]
async fn no_other_user_shares_the_port() {
    let [port] = ports();
    let (all, one) = (SocketAddr::from(([0, 0, 0, 0], port)), SocketAddr::from(([127, 0, 0, 1], port)));
    let is_refused = |server: &Server, user: Option<Uid>| {
        for at in [all, one] {
            let shared = share(at, user);
            assert_eq!(
                shared.err().map(|error| error.kind()),
                Some(ErrorKind::AddrInUse),
                "{at} is shared with {} by {user:?}",
                server.at()
            );
        }
    };
    let nobody = geteuid().is_root().then(|| Uid::from_raw(65_534));
    let first = serve(all, Gate::open(), Limits::default());
    is_refused(&first, None);
    is_refused(&first, nobody);
    let opened = open(one, &[&first]).unwrap();
    let second = Server::begin(opened, Gate::open());
    is_refused(&second, nobody);
    first.close().await;
    is_refused(&second, nobody);
    assert!([all, one].iter().all(|at| open(*at, &[]).is_err()), "another of us shares {}", second.at());
    assert!(share(all, None).is_err(), "{} still says that it shares its port", second.at());
}
