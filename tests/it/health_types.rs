//! Each type of check takes a server out by what its own kind of server says, and brings it back.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, SERVERS, Service, needs_ringlead,
};

/// Where the servers are asked how they are: not where they serve.
const PORT: u16 = 8090;

/// Whether server 2 says that it is well. The others always do.
#[derive(Clone)]
struct Second(Arc<AtomicBool>);

impl Second {
    fn is_well(&self, number: u8) -> bool {
        number != 2 || self.0.load(Ordering::Relaxed)
    }

    fn set_well(&self, is_well: bool) {
        self.0.store(is_well, Ordering::Relaxed);
    }
}

fn at(number: u8) -> SocketAddr {
    SocketAddr::new(Lab::server(Family::V4, number), PORT)
}

/// Something that answers on each server. Its threads end with the process of the test.
fn answer_everywhere(lab: &Lab, start: impl Fn(&Lab, u8, Second)) -> Second {
    let second = Second(Arc::new(AtomicBool::new(true)));
    for number in 1..=SERVERS {
        start(lab, number, second.clone());
    }
    second
}

/// A service whose servers are asked by this check, from nothing to all to two to all.
fn taken_out_and_back(lab: &Lab, check: &str, set_well: impl Fn(bool)) {
    let mut service = Service::standard(Mode::Nat, Protocol::Tcp, Family::V4).unchecked();
    service.pool_lines = "health = \"asked\"\n".to_owned();
    let _farm = Farm::start(lab);
    assert_eq!(lab.servers_seen(&service), BTreeSet::from([Lab::NOBODY]), "without a balancer");
    let config = Config::empty(lab).service(service.clone()).render();
    let times = "interval = \"300ms\"\ntimeout = \"200ms\"\nrise = 1\nfall = 2\n";
    let _ringlead = Ringlead::start(lab, &format!("{config}[health.asked]\n{times}{check}\n"));
    lab.await_servers(&service, "123");
    set_well(false);
    lab.await_servers(&service, "13");
    set_well(true);
    lab.await_servers(&service, "123");
}

#[test]
fn an_http_server_that_begins_to_say_503_is_taken_out_and_comes_back() {
    needs_ringlead!();
    let lab = Lab::new("http-check");
    let second = answer_everywhere(&lab, |lab, number, second| {
        let listener = lab.within(Node::Server(number), || TcpListener::bind(at(number)).unwrap());
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let head = BufReader::new(&stream).lines().map_while(Result::ok);
                let asks = head.take_while(|line| !line.is_empty()).any(|l| l == "host: app.example.net");
                let status = if asks && second.is_well(number) { "200 OK" } else { "503 Busy" };
                let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
            }
        });
    });
    let check = format!(
        "type = \"http\"\nport = {PORT}\nrequest = \"GET /healthz\"\nhost = \"app.example.net\"\n\
         expect = {{ status = \"200-299\", body-contains = \"ok\" }}"
    );
    taken_out_and_back(&lab, &check, |is_well| second.set_well(is_well));
}

#[test]
fn a_name_server_that_begins_to_fail_is_taken_out_and_comes_back() {
    needs_ringlead!();
    let lab = Lab::new("dns-check");
    let second = answer_everywhere(&lab, |lab, number, second| {
        let socket = lab.within(Node::Server(number), || UdpSocket::bind(at(number)).unwrap());
        thread::spawn(move || {
            let mut message = [0; 512];
            while let Ok((len, from)) = socket.recv_from(&mut message) {
                // The question itself, as a response (RFC 1035 section 4.1.1): NOERROR or SERVFAIL.
                message[2] |= 0x80;
                message[3] = if second.is_well(number) { 0 } else { 2 };
                let _ = socket.send_to(&message[..len], from);
            }
        });
    });
    let check = format!("type = \"dns\"\nport = {PORT}\nquery = \"example.net A\"");
    taken_out_and_back(&lab, &check, |is_well| second.set_well(is_well));
}

#[test]
fn a_server_that_replies_wrongly_by_udp_is_taken_out_and_comes_back() {
    needs_ringlead!();
    let lab = Lab::new("udp-check");
    let second = answer_everywhere(&lab, |lab, number, second| {
        let socket = lab.within(Node::Server(number), || UdpSocket::bind(at(number)).unwrap());
        thread::spawn(move || {
            let mut message = [0; 512];
            while let Ok((_, from)) = socket.recv_from(&mut message) {
                let _ = socket.send_to(if second.is_well(number) { b"pong" } else { b"busy" }, from);
            }
        });
    });
    let check = format!("type = \"udp\"\nport = {PORT}\nsend = \"ping\"\nexpect = {{ reply = \"pong\" }}");
    taken_out_and_back(&lab, &check, |is_well| second.set_well(is_well));
}

#[test]
fn a_server_that_cannot_be_pinged_is_taken_out_and_comes_back() {
    needs_ringlead!();
    let lab = Lab::new("icmp-check");
    let ignore = |all: bool| {
        let sysctl = format!("net.ipv4.icmp_echo_ignore_all={}", u8::from(all));
        lab.must_run(Node::Server(2), "sysctl", &["-qw", &sysctl]);
    };
    taken_out_and_back(&lab, "type = \"icmp\"", |is_well| ignore(!is_well));
}
