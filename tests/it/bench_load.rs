//! `ringlead bench http`, `tcp` and `rr` through a balancer: what is answered counts as answered, and what is not is
//! named.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::poll::{PollFd, PollFlags, poll};
use ringlead_tests::{
    Config, EchoServer, Family, Lab, Mode, Node, Protocol, Ringlead, SERVERS, Service, needs_ringlead,
    ringlead_binary,
};
use serde_json::Value;

/// What a bench command said: its exit status and its report.
struct Bench {
    status: i32,
    report: Value,
}

impl Bench {
    /// Runs it in the client's namespace, which it enters by itself. The machine may be busy: only a test that is about
    /// lag limits it.
    fn run(lab: &Lab, words: &str) -> Self {
        let binary = ringlead_binary().expect("a ringlead binary");
        let output = Command::new(binary)
            .arg("bench")
            .args(words.split_whitespace())
            .args(["--netns", &format!("{}-c", lab.prefix()), "--json"])
            .stdin(Stdio::null())
            .output()
            .expect("run ringlead bench");
        let said = String::from_utf8_lossy(&output.stderr);
        let report =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{words}: {e}\n{said}"));
        Self { status: output.status.code().expect("an exit status"), report }
    }

    fn count(&self, name: &str) -> u64 {
        self.report["load"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {}", self.report))
    }

    fn errors(&self) -> Vec<&str> {
        let errors = self.report["load"]["errors"].as_object().expect("errors");
        errors.keys().map(String::as_str).collect()
    }

    #[track_caller]
    fn is_clean(&self, requests: u64) {
        let load = &self.report["load"];
        assert_eq!((self.status, self.count("failed")), (0, 0), "{load}");
        assert_eq!((self.count("planned"), self.count("ok")), (requests, requests), "{load}");
    }
}

/// The four loads of a service, of 100 requests each.
fn loads(family: Family) -> [String; 4] {
    let service = SocketAddr::new(Lab::service(family, Mode::Nat), 80);
    let sources: Vec<String> = Lab::clients(family).iter().take(3).map(ToString::to_string).collect();
    let sources = sources.join(",");
    let rate = "--rate 200 --lag-max 1h --timeout 2s";
    [
        format!("http http://{service}/ --requests 100 --answer-bytes 5 {rate}"),
        format!("tcp {service} --connections 100 --echo-bytes 20000 --bind {sources} {rate}"),
        format!("rr {service} --requests 100 --connections 4 --size 1000 {rate} --threads 2"),
        format!("rr {service} --udp --requests 100 --connections 8 --reply-skip 1 {rate}"),
    ]
}

#[test]
fn loads_through_nat_are_answered_and_without_ringlead_they_all_fail_by_name() {
    needs_ringlead!();
    let lab = Lab::new("bench-load");
    let _servers: Vec<(Server, EchoServer)> = (1..=SERVERS).map(|number| serve(&lab, number)).collect();
    for load in Family::ALL.iter().flat_map(|family| loads(*family)) {
        let nothing = Bench::run(&lab, &load);
        assert_eq!((nothing.status, nothing.count("ok"), nothing.count("failed")), (1, 0, 100), "{load}");
        // The balancer's kernel drops what it has no way for, and over IPv6 may say so.
        let names = ["connect-timeout", "connect-unreachable", "lost"];
        assert!(nothing.errors().iter().all(|name| names.contains(name)), "{load}: {:?}", nothing.errors());
        assert_eq!(
            load.contains("--udp"),
            nothing.errors().contains(&"lost"),
            "{load}: {:?}",
            nothing.errors()
        );
    }
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    for family in Family::ALL {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            await_answers(&lab, family, protocol);
        }
        for load in loads(family) {
            Bench::run(&lab, &load).is_clean(100);
        }
    }
}

/// A client that has no ports left says so, and that its figures are worth nothing. More sources are the cure.
#[test]
fn a_client_without_ports_is_invalid_and_more_sources_cure_it() {
    needs_ringlead!();
    let lab = Lab::new("bench-ports");
    let _servers: Vec<(Server, EchoServer)> = (1..=SERVERS).map(|number| serve(&lab, number)).collect();
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    await_answers(&lab, Family::V4, Protocol::Tcp);
    // Sixteen ports an address, in this namespace only.
    let range = "/proc/sys/net/ipv4/ip_local_port_range";
    lab.within(Node::Client, || fs::write(range, "40000 40015"))
        .expect("few ports in the client's namespace");
    // On a port of its own, where no connection of before waits for its end.
    let service = SocketAddr::new(Lab::service(Family::V4, Mode::Nat), 81);
    let forty = format!("tcp {service} --concurrency 40 --connections 40 --stream send --duration 1s");
    let few = Bench::run(&lab, &forty);
    assert_eq!((few.status, few.count("failed")), (1, 24), "{}", few.report["load"]);
    assert_eq!(few.errors(), ["no-ports"]);
    assert_eq!(few.report["load"]["invalid"][0]["why"], "exhausted");
    let enough = Bench::run(&lab, &format!("{forty} --close reset --bind 10.1.0.3,10.1.0.4,10.1.0.5"));
    enough.is_clean(40);
}

fn config(lab: &Lab) -> String {
    let mut config = Config::empty(lab);
    for family in Family::ALL {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            config = config.service(Service::standard(Mode::Nat, protocol, family).unchecked());
        }
    }
    let other = Service::on("other", Mode::Nat, Protocol::Tcp, Family::V4, 81, Service::NAT_SERVER_PORT);
    config.service(other.unchecked()).render()
}

/// Waits until the balancer knows its neighbours and a request of a new client is answered.
fn await_answers(lab: &Lab, family: Family, protocol: Protocol) {
    let service = SocketAddr::new(Lab::service(family, Mode::Nat), 80);
    let how = if protocol == Protocol::Udp { "--udp --reply-skip 1" } else { "" };
    let words = format!("rr {service} {how} --requests 32 --requests-per-connection 1 --timeout 500ms");
    ringlead_tests::wait_until(std::time::Duration::from_secs(20), "answers", || {
        Bench::run(lab, &words).status == 0
    });
}

fn serve(lab: &Lab, number: u8) -> (Server, EchoServer) {
    let own =
        Family::ALL.map(|family| SocketAddr::new(Lab::server(family, number), Service::NAT_SERVER_PORT));
    let node = Node::Server(number);
    (Server::start(lab, node, &own), EchoServer::start(lab, node, char::from(b'0' + number), &own))
}

/// Answers `GET` with `hello` and sends back everything else.
struct Server {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    fn start(lab: &Lab, node: Node, addresses: &[SocketAddr]) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let listen = |address: &SocketAddr| {
            let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("{node} {address}: {e}"));
            let stop = Arc::clone(&stop);
            thread::spawn(move || accept(&listener, &stop))
        };
        let threads = lab.within(node, || addresses.iter().map(listen).collect());
        Self { stop, threads }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut waiting = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waiting, 50_u16).is_ok_and(|ready| ready > 0)
            && let Ok((stream, _)) = listener.accept()
        {
            thread::spawn(move || answer(stream));
        }
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 8192];
    loop {
        let bytes = stream.read(&mut buffer)?;
        match &buffer[..bytes] {
            [] => return Ok(()),
            // A request of the bench is one segment.
            request if request.starts_with(b"GET ") => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")?;
            }
            other => stream.write_all(other)?,
        }
    }
}
