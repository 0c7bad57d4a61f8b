//! Flows that are explained before, and made after: what `explain` says is what workers do.

use ringlead_tests::{Family, Lab, Node, Service};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// By the socket itself, where hundreds of questions take no process each.
pub(crate) struct Questions {
    stream: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Questions {
    /// To the lab's daemon.
    pub(crate) fn to(lab: &Lab) -> Self {
        let stream = UnixStream::connect(lab.files().join("control-ro.sock")).unwrap();
        let answers = BufReader::new(stream.try_clone().unwrap());
        Self { stream, answers }
    }

    /// What a client's first datagram to a service would meet.
    pub(crate) fn explain(&mut self, client: SocketAddr, service: &Service) -> Value {
        let request = json!({
            "command": "explain", "protocol": "udp", "client": client.to_string(), "service": service.name,
        });
        writeln!(&self.stream, "{request}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Explains and makes a flow from each port of the first client, one after the other, and returns the servers' numbers with
    /// how often one of several was told.
    #[track_caller]
    pub(crate) fn come_true(
        &mut self,
        lab: &Lab,
        service: &Service,
        ports: Range<u16>,
    ) -> (BTreeSet<char>, usize) {
        let (mut seen, mut several) = (BTreeSet::new(), 0);
        for port in ports {
            let at = SocketAddr::new(Lab::clients(Family::V4)[0], port);
            let told = self.explain(at, service);
            let name = lab.within(Node::Client, || talk(at, service.listen));
            let server = Value::from(format!("{}/s{name}", service.name));
            let candidates = told["candidates"].as_array().unwrap();
            assert!(told["server"] == server || candidates.contains(&server), "{at} got {server}: {told}");
            several += usize::from(!candidates.is_empty());
            seen.insert(name);
        }
        (seen, several)
    }
}

/// Which server answers this client.
pub(crate) fn talk(from: SocketAddr, to: SocketAddr) -> char {
    let socket = UdpSocket::bind(from).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut answer = [0; 64];
    // Datagrams may be lost where a machine stalls.
    for _ in 0..10 {
        let _ = socket.send(b"who");
        if let Ok(length @ 1..) = socket.recv(&mut answer) {
            assert_eq!(&answer[1..length], b"who");
            return answer[0].into();
        }
    }
    panic!("no answer to {from}");
}
