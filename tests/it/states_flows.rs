//! Flows of servers that are down or closed: kept, reset or chosen again, as the pool and the operator say.

mod silent;

use crate::carries;
use crate::states::{server, told};
use ringlead_tests::{
    BlobServer, Config, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, SERVERS, Service, Transfer,
    Transferred, needs_ringlead, tcp_transfers, wait_until,
};
use serde_json::Value;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

/// Where the servers are asked how they are, so that one that serves can be called down.
const ALIVE: [u16; 2] = [7001, 7002];
const LIMIT: Duration = Duration::from_secs(10);

/// What a server says of itself on one of those ports.
fn alive(lab: &Lab, number: u8, port: u16) -> BlobServer {
    BlobServer::start(
        lab,
        Node::Server(number),
        'a',
        &[SocketAddr::new(Lab::server(Family::V4, number), port)],
    )
}

/// A service whose servers are checked on the port of that index.
fn service(name: &str, mode: Mode, port: u16, check: usize, pool_lines: &str) -> Service {
    let protocol = if name == "datagrams" { Protocol::Udp } else { Protocol::Tcp };
    let mut service = Service::on(name, mode, protocol, Family::V4, port, mode.server_port()).unchecked();
    service.pool_lines = format!("health = \"alive-{check}\"\n{pool_lines}\n");
    service
}

fn checks() -> String {
    let check = |(index, port): (usize, &u16)| {
        format!(
            "[health.alive-{index}]\ntype = \"tcp\"\nport = {port}\ninterval = \"300ms\"\ntimeout = \"200ms\"\n\
             rise = 1\nfall = 2\n"
        )
    };
    ALIVE.iter().enumerate().map(check).collect()
}

/// How many frames were dropped for a reason.
fn drops(ringlead: &Ringlead, reason: &str) -> u64 {
    ringlead.status()["drops"][reason].as_u64().unwrap_or(0)
}

fn await_server(ringlead: &Ringlead, pool: &str, what: &str, is: impl Fn(&Value) -> bool) {
    wait_until(LIMIT, &format!("server 1 of {pool} {what}"), || is(&server(ringlead, pool, "s1")));
}

/// How many flows a service has made.
fn made(ringlead: &Ringlead, service: &Service) -> u64 {
    let status = ringlead.status();
    let services = status["services"].as_array().unwrap();
    let found = services.iter().find(|entry| entry["name"] == service.name.as_str()).unwrap();
    found["flows_created"].as_u64().unwrap()
}

/// Waits until a service has made that many.
fn await_made(ringlead: &Ringlead, service: &Service, count: u64) {
    wait_until(LIMIT, &format!("flows of {}", service.name), || made(ringlead, service) >= count);
}

/// Transfers at the same time, of some seconds.
fn transfers(lab: &Lab, service: &Service, count: usize, seconds: u64) -> Vec<io::Result<Transferred>> {
    let each = Transfer::new(service.listen).bytes(300_000, 300_000).lasting(Duration::from_secs(seconds));
    lab.within(Node::Client, || tcp_transfers(each, count, &Lab::clients(Family::V4)[..12]))
}

/// Transfers whose client was reset. None went on at server 1, and none failed in another way.
#[track_caller]
fn resets(made: &[io::Result<Transferred>]) -> usize {
    let is_reset = |error: &io::Error| error.kind() == ErrorKind::ConnectionReset;
    let wrong: Vec<_> = made.iter().filter_map(|made| made.as_ref().err()).filter(|e| !is_reset(e)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(made.iter().flatten().all(|made| made.server != '1'), "{made:?}");
    made.iter().filter(|made| made.is_err()).count()
}

/// Conversations by UDP.
struct Talks(Vec<UdpSocket>);

impl Talks {
    fn with(lab: &Lab, service: &Service) -> Self {
        let socket = |_| {
            let socket = UdpSocket::bind((Lab::clients(Family::V4)[0], 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            socket.connect(service.listen).unwrap();
            socket
        };
        Self(lab.within(Node::Client, || (0..12).map(socket).collect()))
    }

    /// Who answers each, `-` for nobody.
    fn servers(&self) -> String {
        let ask = |socket: &UdpSocket| {
            let mut answer = [0; 64];
            socket.send(b"who").ok()?;
            socket.recv(&mut answer).ok()?;
            Some(char::from(answer[0]))
        };
        self.0.iter().map(|socket| ask(socket).unwrap_or('-')).collect()
    }

    /// Asks until none is at server 1 and all are answered; those of others stay where they were.
    fn leave_first(&self, before: &str) {
        let mut now = String::new();
        wait_until(LIMIT, "answers of other servers", || {
            now = self.servers();
            !now.contains(['1', '-'])
        });
        let stayed = |(before, now)| before == '1' || before == now;
        assert!(before.chars().zip(now.chars()).all(stayed), "{before} -> {now}");
    }
}

#[test]
fn flows_of_a_server_that_is_down_or_closed_end_as_was_said() {
    needs_ringlead!();
    let lab = Lab::new("states-flows");
    let _farm = Farm::start(&lab);
    carries::nothing_answers(&lab, Mode::Nat);
    let turns = "algorithm = \"round-robin\"\n";
    let reset = format!("{turns}on-server-down = \"reset\"");
    let keep = service("keep", Mode::Nat, 81, 0, turns);
    let nat = service("reset", Mode::Nat, 82, 0, &reset);
    let dsr = service("reset-dsr", Mode::Dsr, 80, 0, &reset);
    let again = service("reselect", Mode::Nat, 83, 1, "on-server-down = \"reselect\"");
    let datagrams = service("datagrams", Mode::Nat, 84, 0, &reset);
    let mut config = Config::empty(&lab);
    let silent = silent::services();
    config.services = [&keep, &nat, &dsr, &again, &datagrams].map(Clone::clone).to_vec();
    let carried = config.services.clone();
    config.services.extend(silent.clone());
    let others: Vec<BlobServer> =
        (2..=SERVERS).flat_map(|n| ALIVE.map(|port| alive(&lab, n, port))).collect();
    let [first, second] = ALIVE.map(|port| alive(&lab, 1, port));
    let ringlead = Ringlead::start(&lab, &format!("{}{}", config.render(), checks()));
    carried.iter().for_each(|service| lab.await_servers(service, "123"));
    let talks = Talks::with(&lab, &datagrams);
    let before = talks.servers();
    assert!(before.contains('1') && !before.contains('-'), "{before}");

    let silent = silent::Connection::all(&lab, &silent);

    let down = |entry: &Value| entry["health"] == "down";
    thread::scope(|scope| {
        let (lab, ringlead) = (&lab, &ringlead);
        // Which server a flow of maglev gets is by chance.
        let begun = [(&keep, 12), (&nat, 12), (&dsr, 12), (&again, 32)].map(|(service, count)| {
            let before = made(ringlead, service);
            let transfers = scope.spawn(move || transfers(lab, service, count, 8));
            await_made(ringlead, service, before + count as u64);
            transfers
        });
        drop(second);
        await_server(ringlead, "reselect", "is down", down);
        drop(first);
        for pool in ["keep", "reset", "reset-dsr", "datagrams", "silent", "silent-64"] {
            await_server(ringlead, pool, "is down", down);
        }
        let [keep, nat, dsr, again] = begun.map(|made| made.join().unwrap());
        assert!(keep.iter().all(Result::is_ok), "{keep:?}");
        for made in [nat, dsr, again] {
            assert!(resets(&made) >= 1, "{made:?}");
        }
    });
    assert!(drops(&ringlead, "flow-reset") >= 2);
    for [one, other] in silent {
        one.await_reset_once_one_speaks(true);
        other.await_reset_once_one_speaks(false);
    }
    talks.leave_first(&before);
    // Of this one clients are all that is seen; the others' flows wait half a minute for an end that may not have heard.
    await_server(&ringlead, "reset-dsr", "has no flow", |entry| entry["flows"] == 0);

    let _first = alive(&lab, 1, ALIVE[0]);
    for pool in [&keep, &datagrams] {
        lab.await_servers(pool, "123");
    }
    closed_by_an_operator(&lab, &ringlead, &keep, &datagrams);
    drop(others);
}

/// `--then close`: nothing new, and what is left is reset.
fn closed_by_an_operator(lab: &Lab, ringlead: &Ringlead, tcp: &Service, udp: &Service) {
    let talks = Talks::with(lab, udp);
    let before = talks.servers();
    assert!(before.contains('1') && !before.contains('-'), "{before}");
    thread::scope(|scope| {
        let count = made(ringlead, tcp) + 12;
        let begun = scope.spawn(|| transfers(lab, tcp, 12, 5));
        await_made(ringlead, tcp, count);
        for service in [tcp, udp] {
            let name = format!("{}/s1", service.name);
            let said = told(ringlead.file(), &["drain", &name, "--wait", "200ms", "--then", "close"]);
            assert!(said.contains(&format!("{name}: drain -> closed, ")), "{said}");
        }
        let made = begun.join().unwrap();
        assert!(resets(&made) >= 1, "{made:?}");
    });
    talks.leave_first(&before);
    await_server(ringlead, &tcp.name, "is closed", |entry| {
        entry["operator"] == "closed" && entry["health"] == "up"
    });
    told(ringlead.file(), &["clear", &format!("{}/s1", tcp.name)]);
    lab.await_servers(tcp, "123");
}
