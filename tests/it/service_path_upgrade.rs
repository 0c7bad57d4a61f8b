//! A check by the service's own path that is under way while the daemon is replaced says nothing about its server.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, SERVERS, Service, needs_ringlead,
};

const PORT: u16 = 8081;
/// How long an answer takes: of the time between two checks, so much that some are under way at any moment.
const THINKS: Duration = Duration::from_millis(1500);
const UPGRADES_MAX: usize = 8;

fn services() -> [Service; 2] {
    Family::ALL.map(|family| {
        let mut service = Service::standard(Mode::Dsr, Protocol::Tcp, family).unchecked();
        service.pool_lines = "health = \"path\"\n".to_owned();
        service
    })
}

/// Servers that think before they answer, and count who did not wait for it. Their threads end with the test's process.
fn thinkers(lab: &Lab) -> Arc<AtomicUsize> {
    let broken_off = Arc::new(AtomicUsize::new(0));
    for number in 1..=SERVERS {
        for family in Family::ALL {
            let at = SocketAddr::new(Lab::service(family, Mode::Dsr), PORT);
            let listener = lab.within(Node::Server(number), || TcpListener::bind(at).unwrap());
            let broken_off = Arc::clone(&broken_off);
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let broken_off = Arc::clone(&broken_off);
                    thread::spawn(move || think(&stream, &broken_off));
                }
            });
        }
    }
    broken_off
}

fn think(mut stream: &TcpStream, broken_off: &AtomicUsize) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    if !lines.any(|line| line.is_empty()) {
        return;
    }
    stream.set_read_timeout(Some(THINKS)).unwrap();
    match stream.read(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        }
        _ => _ = broken_off.fetch_add(1, Ordering::Relaxed),
    }
}

#[test]
fn a_check_under_way_in_an_upgrade_takes_no_server_down() {
    needs_ringlead!();
    let lab = Lab::new("path-upgrade");
    let _farm = Farm::start(&lab);
    let broken_off = thinkers(&lab);
    lab.nobody_answers(&services());
    let mut config = Config::empty(&lab);
    config.services = services().to_vec();
    // One failure would do.
    let text = config.render()
        + &format!(
            "[health.path]\ntype = \"http\"\nport = {PORT}\nvia = \"service-path\"\ninterval = \"3s\"\n\
             timeout = \"3s\"\nrise = 1\nfall = 1\n"
        );
    let mut ringlead = Ringlead::start(&lab, &text);
    services().iter().for_each(|service| lab.await_servers(service, "123"));
    assert_eq!(broken_off.load(Ordering::Relaxed), 0, "checks wait for the answer");
    for upgrade in 1.. {
        let next = Ringlead::take_over(&lab, &text).unwrap_or_else(|refusal| panic!("{}", refusal.said));
        let last = ringlead.log();
        assert!(!last.contains("up=false"), "{last}");
        assert!(ringlead.ended().success());
        services().iter().for_each(|service| lab.await_servers(service, "123"));
        assert!(!next.log().contains("up=false"), "{}", next.log());
        ringlead = next;
        if broken_off.load(Ordering::Relaxed) > 0 {
            break;
        }
        assert!(upgrade < UPGRADES_MAX, "no check was under way in {upgrade} upgrades");
    }
    assert!(ringlead.stop().success());
}
