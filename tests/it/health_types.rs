//! Each type of check takes a server out by what its own kind of server says, and brings it back.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, SERVERS, Service, needs_ringlead, wait_until,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};
use serde_json::Value;

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

/// A server's certificate of its own making, and its key.
fn tls_server() -> Arc<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["app.example.net".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap())
}

#[test]
fn a_server_that_breaks_tls_handshakes_off_is_taken_out_and_comes_back() {
    needs_ringlead!();
    let lab = Lab::new("tls-check");
    let tls = tls_server();
    let second = answer_everywhere(&lab, |lab, number, second| {
        let listener = lab.within(Node::Server(number), || TcpListener::bind(at(number)).unwrap());
        let tls = Arc::clone(&tls);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                if second.is_well(number) {
                    let mut session = ServerConnection::new(Arc::clone(&tls)).unwrap();
                    // A check that gives up is its own business.
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                    while session.is_handshaking() && session.complete_io(&mut stream).is_ok() {}
                }
            }
        });
    });
    let check = format!("type = \"tls\"\nport = {PORT}");
    taken_out_and_back(&lab, &check, |is_well| second.set_well(is_well));
}

/// What the agents say: server 2's line; the others' is always the same.
fn agents(lab: &Lab) -> Arc<Mutex<String>> {
    let second = Arc::new(Mutex::new("up ready 100%".to_owned()));
    for number in 1..=SERVERS {
        let listener = lab.within(Node::Server(number), || TcpListener::bind(at(number)).unwrap());
        let second = Arc::clone(&second);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let line = if number == 2 { second.lock().unwrap().clone() } else { "up".to_owned() };
                let _ = writeln!(stream, "{line}");
            }
        });
    }
    second
}

/// What the status says of server 2.
fn second_status(ringlead: &Ringlead) -> Value {
    ringlead.status()["pools"][0]["servers"][1].clone()
}

#[test]
fn an_agent_takes_its_server_out_and_back_and_sets_its_share() {
    needs_ringlead!();
    let lab = Lab::new("agent");
    let says = agents(&lab);
    let say = |line: &str| line.clone_into(&mut says.lock().unwrap());
    let mut service = Service::standard(Mode::Nat, Protocol::Tcp, Family::V4).unchecked();
    service.pool_lines = "algorithm = \"round-robin\"\nagent = \"words\"\n".to_owned();
    let _farm = Farm::start(&lab);
    assert_eq!(lab.servers_seen(&service), BTreeSet::from([Lab::NOBODY]), "without a balancer");
    let config = Config::empty(&lab).service(service.clone()).render();
    let agent = format!(
        "[health.words]\ntype = \"agent\"\nport = {PORT}\ninterval = \"200ms\"\ntimeout = \"200ms\"\n"
    );
    let ringlead = Ringlead::start(&lab, &format!("{config}{agent}"));
    lab.await_servers(&service, "123");
    say("drain");
    lab.await_servers(&service, "13");
    let told = second_status(&ringlead);
    assert_eq!((&told["operator"], &told["agent"]["wish"]), (&"ready".into(), &"drain".into()), "{told}");
    let file = ringlead.file().display().to_string();
    let server = format!("{}/s2", service.name);
    let (code, answer) = ringlead.ask(&["server", "ready", &server, "-c", &file]);
    assert_eq!(code, 0, "{answer}");
    lab.await_servers(&service, "123");
    assert_eq!(second_status(&ringlead)["agent"]["overruled"], true, "a command stands above an agent");
    let (code, answer) = ringlead.ask(&["server", "clear", &server, "-c", &file]);
    assert_eq!(code, 0, "{answer}");
    lab.await_servers(&service, "13");
    say("ready 50%");
    lab.await_servers(&service, "123");
    wait_until(Duration::from_secs(10), "half the weight", || second_status(&ringlead)["weight_now"] == 0.5);
    say("down # disk full");
    lab.await_servers(&service, "13");
    let told = second_status(&ringlead);
    assert_eq!((&told["agent"]["reason"], &told["eligible"]), (&"disk full".into(), &false.into()), "{told}");
    say("up 100%");
    lab.await_servers(&service, "123");
}
