//! What the daemon says of itself: its log, its events, and what the service manager hears.

use crate::carries;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Process, Protocol, Ringlead, Service, needs_ringlead,
    ringlead_binary, wait_until,
};
use serde_json::Value;
use socket2::SockRef;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

fn signal(ringlead: &Ringlead, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(ringlead.id()).unwrap()), signal).unwrap();
}

/// A log of JSON lines.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

fn says(path: &Path, event: &str, message: &str) -> bool {
    let fits = |line: &Value| line["event"] == event && line["message"].as_str().unwrap().contains(message);
    lines(path).iter().any(fits)
}

#[test]
fn a_log_moves_to_a_file_by_reload_and_is_opened_anew() {
    needs_ringlead!();
    let lab = Lab::new("logs");
    let config = Config::standard(&lab).render();
    let ringlead = Ringlead::start(&lab, &config);
    let (path, old) = (lab.files().join("observed.log"), lab.files().join("observed.log.1"));
    let with_log = |to: &Path| {
        format!("{config}\n[observe]\nlog = {{ to = \"{}\", format = \"json\" }}\n", to.display())
    };
    // What cannot be opened changes nothing.
    ringlead.hang_up(&with_log(&lab.files().join("missing/observed.log")));
    let refused = || ringlead.log().contains("there is no folder");
    wait_until(LIMIT, "the refusal in the log", refused);
    ringlead.hang_up(&with_log(&path));
    wait_until(LIMIT, "the reload in the file", || says(&path, "reload", "is in force"));
    let before = ringlead.log();
    fs::rename(&path, &old).unwrap();
    signal(&ringlead, Signal::SIGUSR1);
    wait_until(LIMIT, "the file opened anew", || says(&path, "log", "opened anew"));
    assert!(ringlead.stop().success());
    assert!(says(&path, "stop", "stopped") && !says(&old, "stop", "stopped"));
    assert!(!before.contains("opened anew"), "standard error is done with: {before}");
}

/// One run under a service manager of our own, followed from outside.
#[test]
fn a_server_that_dies_is_an_event_and_the_manager_hears_start_reload_and_stop() {
    needs_ringlead!();
    let lab = Lab::new("logs-events");
    let mut farm = Farm::start(&lab);
    let mut config = Config::empty(&lab);
    config.services =
        [Protocol::Tcp, Protocol::Udp].map(|p| Service::standard(Mode::Nat, p, Family::V4)).to_vec();
    let flows = lab.files().join("flows.log");
    let observe = format!("[observe]\nflow-log = {{ to = \"{}\", format = \"json\" }}\n", flows.display());
    let (text, service) = (format!("{}\n{observe}", config.render()), &config.services[0]);
    let (file, manager) = (lab.files().join("events.toml"), lab.files().join("notify.sock"));
    fs::write(&file, &text).unwrap();
    let (path, binary) = (file.display().to_string(), ringlead_binary().unwrap().display().to_string());
    carries::nothing_answers(&lab, Mode::Nat);
    let heard = Manager::new(&manager);
    let socket = format!("NOTIFY_SOCKET={}", manager.display());
    let run = ["WATCHDOG_USEC=900000", &socket, &binary, "run", "-c", &path];
    let mut daemon = lab.spawn(Node::Balancer, "env", &run);
    heard.until("READY=1\nSTATUS=serving 2 services, ");
    heard.until("WATCHDOG=1");
    let events = lab.spawn(Node::Balancer, &binary, &["events", "-f", "--json", "-c", &path]);
    let told = |kind: &str, text: &str| {
        let fits = |line: &str| line.contains(&format!("\"event\":\"{kind}\"")) && line.contains(text);
        wait_until(LIMIT, &format!("{kind} {text}"), || events.output().lines().any(fits));
    };
    told("start", "\"ready\"");
    let server = format!("\"server\":\"{}/s1\",", service.name);
    let closed = connections(&lab, service);
    let datagrams = datagrams(&lab, &config.services[1]);
    farm.kill(1);
    told("health", &format!("{server}\"took_ms\":"));
    wait_until(LIMIT, "the server down", || {
        events.output().lines().any(|line| line.contains(&server) && line.contains("\"up\":false"))
    });
    let counted = await_choice(&flows, &datagrams, &format!("{}/s1", config.services[1].name));
    assert_counted(&counted);
    farm.bring_back(1);
    wait_until(LIMIT, "the server up again", || {
        let all = events.output();
        let of: Vec<&str> = all.lines().filter(|line| line.contains(&server)).collect();
        of.last().is_some_and(|line| line.contains("\"up\":true")) && of.len() >= 2
    });
    let drained = format!("{}/s1", service.name);
    lab.must_run(Node::Balancer, &binary, &["server", "drain", &drained, "--reason", "kernel", "-c", &path]);
    told("operator-command", "\"uid\":0");
    told("operator", "\"reason\":\"kernel\"");

    reload(&daemon, &heard, &file, &text);
    daemon.signal(Signal::SIGUSR2);
    told("dump", "status.json");
    let dumped = fs::read(lab.files().join("state/status.json")).unwrap();
    let dumped: Value = serde_json::from_slice(&dumped).unwrap();
    assert_eq!(dumped["services"].as_array().unwrap().len(), 2, "{dumped}");
    await_ends(&flows, service, closed);
    daemon.signal(Signal::SIGTERM);
    heard.until("STOPPING=1\n");
    assert!(daemon.wait(LIMIT).is_some_and(|status| status.success()), "{}", daemon.output());
    let all = lab.run(Node::Balancer, &binary, &["events", "-c", &path]);
    assert_eq!(all.status.code(), Some(2), "nobody answers any more");
}

/// A reload that works, and one that does not.
fn reload(daemon: &Process, heard: &Manager, file: &Path, text: &str) {
    fs::write(file, text.replace("300ms", "400ms")).unwrap();
    daemon.signal(Signal::SIGHUP);
    let reloading = heard.until("RELOADING=1\nMONOTONIC_USEC=");
    assert!(reloading.contains("\nSTATUS="), "{reloading}");
    heard.until("READY=1\n");
    fs::write(file, "version = 2").unwrap();
    daemon.signal(Signal::SIGHUP);
    heard.until("RELOADING=1\n");
    assert!(heard.until("READY=1\n").contains("the last reload was refused"));
    fs::write(file, text).unwrap();
}

/// Waits until the flow log has each connection, with its server and its end.
fn await_ends(flows: &Path, service: &Service, closed: Vec<(SocketAddr, char, &'static str)>) {
    for (client, number, end) in closed {
        // A flow stays for 30 s after its connection.
        wait_until(3 * LIMIT, &format!("the end of {client}, {end}"), || {
            let logged = lines(flows);
            let found = logged.iter().find(|line| line["fields"]["client"] == client.to_string());
            found.is_some_and(|line| {
                let fields = &line["fields"];
                assert_eq!(fields["server"], format!("{}/s{number}", service.name), "{line}");
                assert_eq!(
                    (&fields["end"], &fields["service"]),
                    (&end.into(), &service.name.as_str().into())
                );
                // SYN, ACK, 32 bytes, FIN or RST; SYN-ACK, answer: 54 bytes of headers each, at least.
                let [packets, bytes, answers, answered] = volumes(fields);
                assert!(packets >= 4 && bytes >= packets * 54 + 32 && bytes < 2_000, "{line}");
                assert!(answers >= 2 && answered >= answers * 54 + 9 && answered < 2_000, "{line}");
                assert_eq!((&fields["chosen"], &fields["midway"]), (&"maglev".into(), &Value::Null));
                true
            })
        });
    }
}

/// Waits until a flow of datagrams has left a server that is down; what the flow log says of it.
fn await_choice(flows: &Path, datagrams: &[UdpSocket], server: &str) -> Value {
    let mut found = None;
    wait_until(LIMIT, "flows that chose again", || {
        datagrams.iter().for_each(|socket| _ = socket.send(b"again"));
        let fits = |fields: &&Value| fields["end"] == "chosen-again" && fields["server"] == server;
        found = lines(flows).iter().map(|line| &line["fields"]).find(fits).cloned();
        found.is_some()
    });
    found.unwrap()
}

/// What the client sent and what the server did: packets and bytes.
fn volumes(fields: &Value) -> [u64; 4] {
    ["packets-in", "bytes-in", "packets-out", "bytes-out"].map(|name| fields[name].as_u64().unwrap())
}

/// Of a flow of datagrams of five bytes each that were answered once.
fn assert_counted(fields: &Value) {
    let [packets, bytes, answers, answered] = volumes(fields);
    assert!(packets >= 1 && bytes == packets * (14 + 20 + 8 + 5), "{fields}");
    assert!(answers >= 1 && answered > answers * (14 + 20 + 8), "{fields}");
    assert!(fields["seconds"].as_f64().is_some_and(|seconds| (0.0..300.0).contains(&seconds)), "{fields}");
}

/// One connection that both ends close and one that is reset: the client's end, the server that answered, the end.
fn connections(lab: &Lab, service: &Service) -> Vec<(SocketAddr, char, &'static str)> {
    lab.within(Node::Client, || {
        let ends = ["fin", "reset"].into_iter();
        let connect = |end: &'static str| {
            let mut stream = TcpStream::connect(service.listen).unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            // Nothing to send, nothing to get: a name and a digest.
            stream.write_all(&[0; 32]).unwrap();
            let mut answer = [0; 9];
            stream.read_exact(&mut answer).unwrap();
            if end == "reset" {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
            (stream.local_addr().unwrap(), char::from(answer[0]), end)
        };
        ends.map(connect).collect()
    })
}

/// Clients enough that some have server 1.
fn datagrams(lab: &Lab, service: &Service) -> Vec<UdpSocket> {
    lab.within(Node::Client, || {
        let talk = |_| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect(service.listen).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            wait_until(LIMIT, "an answer", || {
                socket.send(b"hello").is_ok() && socket.recv(&mut [0; 64]).is_ok()
            });
            socket
        };
        (0..30).map(talk).collect()
    })
}

/// A service manager's socket.
pub(crate) struct Manager(UnixDatagram);

impl Manager {
    pub(crate) fn new(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Self(socket)
    }

    /// Reads until a message begins so; what came before may be signs of life and of how it goes.
    #[track_caller]
    pub(crate) fn until(&self, start: &str) -> String {
        self.alive_until(start).1
    }

    /// As [`until`](Self::until), with how many signs of life came before.
    #[track_caller]
    pub(crate) fn alive_until(&self, start: &str) -> (usize, String) {
        let mut alive = 0;
        loop {
            let mut message = [0; 4_096];
            let length = self.0.recv(&mut message).unwrap_or_else(|e| panic!("waiting for {start}: {e}"));
            let message = String::from_utf8_lossy(&message[..length]).into_owned();
            if message.starts_with(start) {
                return (alive, message);
            }
            alive += usize::from(message == "WATCHDOG=1");
            let idle = message == "WATCHDOG=1" || message.starts_with("STATUS=");
            assert!(idle, "{message} came before {start}");
        }
    }
}
