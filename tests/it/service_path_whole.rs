//! Whole connections by the service's own path, to nginx: what it says counts, as by direct checks, and also whether clients reach it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Process, Protocol, Ringlead, Service, Transfer, Tunnels,
    needs_ringlead, wait_until,
};

use crate::carries;

const NAME: &str = "app.example.net";
/// Where the servers are asked: clients are served beside it.
const PORTS: [(&str, u16); 3] = [("http", 8081), ("tls", 8443), ("https", 8443)];
const PATIENT: Duration = Duration::from_secs(20);

/// The modes whose servers answer clients themselves, in both families.
fn ways() -> Vec<(Mode, Family)> {
    [Mode::Dsr, Mode::Tunnel].iter().flat_map(|mode| Family::ALL.map(|family| (*mode, family))).collect()
}

/// The services of a type of check. Those of https are the standard ones, which clients use.
fn services(kind: &str) -> Vec<Service> {
    let named = |(mode, family): (Mode, Family)| {
        let port = match kind {
            "https" => 80,
            "http" => 81,
            _ => 82,
        };
        let name = format!("{kind}-{}-{family:?}", mode.word()).to_lowercase();
        let mut service = Service::on(&name, mode, Protocol::Tcp, family, port, port).unchecked();
        service.pool_lines = format!("health = \"{kind}\"\n");
        service
    };
    ways().into_iter().map(named).collect()
}

fn file(lab: &Lab) -> String {
    let mut config = Config::empty(lab);
    config.services = PORTS.iter().flat_map(|(kind, _)| services(kind)).collect();
    let mut text = config.render();
    for (kind, port) in PORTS {
        // A machine that stalls for a second takes nobody down.
        let times = "interval = \"400ms\"\ntimeout = \"350ms\"\nrise = 1\nfall = 4\nflaps = 0\n";
        let _ = write!(
            text,
            "[health.{kind}]\ntype = \"{kind}\"\nport = {port}\nvia = \"service-path\"\n{times}"
        );
        if kind != "tls" {
            let _ = writeln!(text, "request = \"GET /well\"\nexpect = {{ body-contains = \"ok\" }}");
        }
        if kind != "http" {
            let ca = lab.files().join("ca.pem");
            let _ = writeln!(text, "sni = \"{NAME}\"\nca = \"{}\"", ca.display());
        }
    }
    text
}

/// Certificates that one authority signed: a good one, one that has ended, and one for another name.
fn certificates(lab: &Lab) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(lab.files().join("ca.pem"), issuer.pem()).unwrap();
    for (file, name, ends) in [("good", NAME, 4000), ("ended", NAME, 2001), ("other", "b.example.net", 4000)]
    {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(ends, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        fs::write(lab.files().join(file), certificate.pem() + &key.serialize_pem()).unwrap();
    }
}

/// Gives a server another certificate: its nginx reads the file with each handshake.
fn show(lab: &Lab, number: u8, certificate: &str) {
    let new = lab.files().join("new");
    fs::copy(lab.files().join(certificate), &new).unwrap();
    fs::rename(new, lab.files().join(format!("shown-{number}"))).unwrap();
}

/// Listens at all services, and is busy while a file is there.
fn nginx(lab: &Lab, number: u8) -> Process {
    show(lab, number, "good");
    let files = lab.files().display();
    let mut listen = String::new();
    for (mode, family) in ways() {
        let at = |port| SocketAddr::new(Lab::service(family, mode), port);
        // An address that is not there is listened on all the same.
        let _ = write!(listen, "listen {} bind; listen {} ssl bind; ", at(8081), at(8443));
    }
    let text = format!(
        "master_process off; daemon off; user root; pid {files}/nginx-{number}.pid; error_log stderr info; events {{}}\n\
         http {{ access_log off; client_body_temp_path {files}/t; proxy_temp_path {files}/t;\n\
         fastcgi_temp_path {files}/t; uwsgi_temp_path {files}/t; scgi_temp_path {files}/t;\n\
         map $ssl_server_name $shown {{ default {files}/shown-{number}; }} ssl_certificate $shown; ssl_certificate_key $shown;\n\
         server {{ {listen} location = /well {{ if (-f {files}/busy-{number}) {{ return 503; }} return 200 ok; }} }} }}\n"
    );
    let file = lab.files().join(format!("nginx-{number}"));
    fs::write(&file, text).unwrap();
    lab.spawn(Node::Server(number), "nginx", &["-e", "stderr", "-c", &file.display().to_string()])
}

/// Each pool's server 2: whether it is up, and why.
fn second(ringlead: &Ringlead) -> BTreeMap<String, (bool, String)> {
    let status = ringlead.status();
    let of = |pool: &serde_json::Value| {
        let server =
            pool["servers"].as_array().unwrap().iter().find(|server| server["name"] == "s2").unwrap();
        let reason = server["reason"].as_str().unwrap_or_default().to_owned();
        (pool["name"].as_str().unwrap().to_owned(), (server["health"] == "up", reason))
    };
    status["pools"].as_array().unwrap().iter().map(of).collect()
}

/// Waits until server 2 is down for these reasons, each for the services of one type, and up for those of all other types.
fn await_second(ringlead: &Ringlead, down: &[(&str, &str)]) {
    let as_wanted = || {
        second(ringlead).iter().all(|(pool, (is_up, why))| {
            match down.iter().find(|(kind, _)| pool.split('-').next() == Some(kind)) {
                Some((_, wanted)) => !is_up && why.contains(wanted),
                None => *is_up && why.starts_with("by the service's path: "),
            }
        })
    };
    let begin = Instant::now();
    while !as_wanted() {
        assert!(begin.elapsed() < PATIENT, "{down:?} is not: {:#?}", second(ringlead));
        sleep(Duration::from_millis(50));
    }
}

/// Adds server 2's addresses of the dsr services or takes them, then its decapsulation.
fn set_reachable(lab: &Lab, tunnels: &mut Tunnels, is_well: bool) {
    for (family, bits) in [(Family::V4, 32), (Family::V6, 128)] {
        let address = format!("{}/{bits}", Lab::service(family, Mode::Dsr));
        let verb = if is_well { "add" } else { "del" };
        lab.must_run(Node::Server(2), "ip", &["addr", verb, &address, "dev", "lo"]);
    }
    if is_well { tunnels.put_on(lab, 2) } else { tunnels.take_off(2) }
}

/// Ends of the connections of checks that a server has.
fn connections(lab: &Lab, number: u8) -> BTreeSet<String> {
    // The kernel's own memory of a SYN, or of an end that both have said, is no connection.
    let states = ["established", "close-wait", "fin-wait-1", "fin-wait-2", "last-ack", "closing"];
    let states = states.iter().flat_map(|state| ["state", state]);
    let ports = "( sport = 8081 or sport = 8443 )";
    let all: Vec<&str> = std::iter::once("-Htan").chain(states).chain([ports]).collect();
    let all = lab.must_run(Node::Server(number), "ss", &all);
    let ends = |line: &str| line.split_whitespace().skip(3).collect::<Vec<_>>().join(" ");
    all.lines().map(ends).collect()
}

#[test]
fn what_nginx_says_and_whether_clients_reach_it_take_a_server_out_and_back() {
    needs_ringlead!();
    let lab = Lab::new("path-whole");
    certificates(&lab);
    let mut tunnels = Tunnels::start(&lab);
    let _farm = Farm::start(&lab);
    let others = [1, 3].map(|number| nginx(&lab, number));
    let good = nginx(&lab, 2);
    for service in services("https") {
        assert!(lab.servers_seen(&service).contains(&Lab::NOBODY), "without a balancer: {}", service.name);
    }
    let ringlead = Ringlead::start(&lab, &file(&lab));
    await_second(&ringlead, &[]);
    let users = services("https");
    let held: Vec<_> =
        (0..12).map(|n| lab.within(Node::Client, || hold(users[n % users.len()].listen))).collect();

    let busy = lab.files().join("busy-2");
    fs::write(&busy, "").unwrap();
    await_second(
        &ringlead,
        &[("http", "HTTP 503, expected 200-299"), ("https", "HTTP 503, expected 200-299")],
    );
    users.iter().for_each(|service| carries::tcp(&lab, service));
    fs::remove_file(busy).unwrap();
    await_second(&ringlead, &[]);

    set_reachable(&lab, &mut tunnels, false);
    // Those under way hear nothing any more, not even of their end: TCP keeps them for minutes.
    let cut_off = connections(&lab, 2);
    let silent = ":8443 within 350 ms";
    await_second(&ringlead, &[("http", ":8081 within 350 ms"), ("tls", silent), ("https", silent)]);
    for (name, (_, why)) in second(&ringlead) {
        let asks = if name.contains("tunnel") {
            "does it take the tunnel's packets, and has it"
        } else {
            ": has it"
        };
        assert!(why.contains(asks), "{name}: {why}");
    }
    set_reachable(&lab, &mut tunnels, true);
    await_second(&ringlead, &[]);

    drop(good);
    let refused = "connection refused";
    await_second(&ringlead, &[("http", refused), ("tls", refused), ("https", refused)]);
    let _again = nginx(&lab, 2);
    await_second(&ringlead, &[]);
    for (certificate, why) in
        [("ended", "certificate expired"), ("other", "certificate is not for app.example.net")]
    {
        show(&lab, 2, certificate);
        await_second(&ringlead, &[("https", why), ("tls", why)]);
        show(&lab, 2, "good");
        await_second(&ringlead, &[]);
    }
    for transfer in held {
        lab.within(Node::Client, || transfer.finish()).unwrap();
    }
    let times = &ringlead.status()["pools"][0]["servers"][1]["check_times"];
    let [checks, p50, p99] = ["checks", "p50_ms", "p99_ms"].map(|key| times[key].as_f64().unwrap());
    assert!(checks >= 5.0 && p50 > 0.0 && p50 <= p99, "{times}");
    the_kernel_meddled_in_none(&lab);
    stop_keeps_nothing(&lab, ringlead, &others[1], &cut_off);
}

fn hold(to: SocketAddr) -> ringlead_tests::Held {
    Transfer::new(to).bytes(10_000, 10_000).timeout(Duration::from_secs(60)).hold().unwrap()
}

fn the_kernel_meddled_in_none(lab: &Lab) {
    let snmp = lab.must_run(Node::Balancer, "cat", &["/proc/net/snmp"]);
    let mut tcp = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: ")).map(str::split_whitespace);
    let (names, values) = (tcp.next().unwrap(), tcp.next().unwrap());
    let resets = names.zip(values).find(|(name, _)| *name == "OutRsts").unwrap();
    let resets: u64 = resets.1.parse().unwrap();
    // What crosses with the end of a check that has timed out may find its port given back.
    assert!(resets < 100, "{resets} resets of the kernel of what is not its own, one a check");
}

/// The end of the daemon is the end of its checks' connections, also at server 3, whose program does nothing any more: what it does not
/// answer is under way nearly always.
fn stop_keeps_nothing(lab: &Lab, ringlead: Ringlead, third: &Process, cut_off: &BTreeSet<String>) {
    third.signal(Signal::SIGSTOP);
    wait_until(PATIENT, "checks to wait for server 3", || connections(lab, 3).len() >= services("tls").len());
    assert!(ringlead.stop().success());
    let packet = lab.must_run(Node::Balancer, "cat", &["/proc/net/packet"]);
    assert_eq!(packet.lines().count(), 1, "packet sockets: {packet}");
    for number in 1..=3 {
        let begin = Instant::now();
        loop {
            let left: Vec<_> = connections(lab, number).difference(cut_off).cloned().collect();
            if left.is_empty() {
                break;
            }
            let all = || lab.must_run(Node::Server(number), "ss", &["-tan"]);
            assert!(begin.elapsed() < Duration::from_secs(5), "server {number} keeps {left:?} of {}", all());
            sleep(Duration::from_millis(20));
        }
    }
}
