//! Programs that people use, in every mode: curl and nginx, dig and dnsmasq, iperf3, redis.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use ringlead_tests::{
    Config, Family, Lab, Mode, Node, Pattern, Process, Protocol, Ringlead, Service, Tunnels, needs_ringlead,
    wait_until,
};
use serde_json::Value;

#[test]
fn curl_and_nginx() {
    needs_ringlead!();
    let lab = Lab::new("nginx");
    let mut blob = vec![0; 3_000_001];
    Pattern::new(80).fill(0, &mut blob);
    let _tunnels = Tunnels::start(&lab);
    let _servers = [1, 2, 3].map(|n| nginx(&lab, n, &blob));
    let _ringlead = Ringlead::start(&lab, &Config::standard(&lab).render());
    for mode in Mode::ALL {
        for family in Family::ALL {
            let service = Service::standard(mode, Protocol::Tcp, family);
            let url = format!("http://{}/blob", service.listen);
            wait_until(Duration::from_secs(10), &url, || {
                lab.run(Node::Client, "curl", &["-sS", "-m", "1", "-o", "/dev/null", &url]).status.success()
            });
            let file = lab.files().join("got").display().to_string();
            let mut names = BTreeSet::new();
            for _ in 0..12 {
                let said = ["-sS", "-m", "20", "--fail", "-o", &file, "-w", "%header{x-server}", &url];
                names.insert(lab.must_run(Node::Client, "curl", &said));
                assert!(fs::read(&file).unwrap() == blob, "{url}: other bytes than the server's file");
            }
            assert!(names.len() >= 2, "{url}: only {names:?} served");
        }
    }
}

#[test]
fn dig_and_dnsmasq() {
    needs_ringlead!();
    let lab = Lab::new("dnsmasq");
    let mut config = Config::empty(&lab);
    let mut services = Vec::new();
    for mode in Mode::ALL {
        for family in Family::ALL {
            for (protocol, word) in [(Protocol::Tcp, "tcp"), (Protocol::Udp, "udp")] {
                let name = format!("dns-{mode:?}-{word}-{family:?}").to_lowercase();
                services.push(Service::on(&name, mode, protocol, family, 53, 53).unchecked());
            }
        }
    }
    config.services.clone_from(&services);
    let _tunnels = Tunnels::start(&lab);
    let _servers = [1, 2, 3].map(|n| dnsmasq(&lab, n));
    let _ringlead = Ringlead::start(&lab, &config.render());
    for service in &services {
        let at = format!("@{}", service.listen.ip());
        let way = if service.protocol == Protocol::Tcp { "+tcp" } else { "+notcp" };
        // Each question from a port, or by a connection, of its own.
        let asked = [&[&*at, way, "+short", "+time=2", "+tries=3"][..], &["who.test"; 12]].concat();
        let said = lab.must_run(Node::Client, "dig", &asked);
        assert_eq!(said.lines().count(), 12, "{}: {said}", service.name);
        let answers: BTreeSet<&str> = said.lines().collect();
        assert!(answers.iter().all(|answer| answer.starts_with("192.0.2.")), "{}: {answers:?}", service.name);
        assert!(answers.len() >= 2, "{}: only {answers:?}", service.name);
    }
}

/// iperf3 opens two connections that must meet: its pools have one server.
#[test]
fn iperf3_both_ways() {
    needs_ringlead!();
    let lab = Lab::new("iperf3");
    let mut config = Config::empty(&lab);
    for mode in Mode::ALL {
        for family in Family::ALL {
            for (protocol, word) in [(Protocol::Tcp, "tcp"), (Protocol::Udp, "udp")] {
                let name = format!("iperf-{mode:?}-{word}-{family:?}").to_lowercase();
                let service = Service::on(&name, mode, protocol, family, 5201, 5201);
                config.services.push(service.with_servers(&[1]).unchecked());
            }
        }
    }
    let _tunnels = Tunnels::start(&lab);
    // One for each address: by UDP, a dsr server on a wildcard socket answers from the wrong one.
    let _servers: Vec<Process> = addresses(1)
        .iter()
        .map(|address| lab.spawn(Node::Server(1), "iperf3", &["-s", "-B", &address.to_string()]))
        .collect();
    let _ringlead = Ringlead::start(&lab, &config.render());
    for mode in Mode::ALL {
        for family in Family::ALL {
            let to = Lab::service(family, mode).to_string();
            for more in [
                vec!["-n", "16M"],
                vec!["-n", "16M", "-R"],
                vec!["-n", "1M", "-u", "-b", "20M", "-l", "1200"],
            ] {
                let said = [vec!["-c", &to, "-J", "--connect-timeout", "3000"], more.clone()].concat();
                let mut result = Value::Null;
                // Between two tests its server closes its listener and opens it again: a client in between is turned away.
                wait_until(Duration::from_secs(10), "iperf3's server to take the test", || {
                    let said = lab.run(Node::Client, "iperf3", &said).stdout;
                    result = serde_json::from_slice(&said).unwrap();
                    result["error"].is_null()
                });
                let sum = &result["end"][if more.contains(&"-u") { "sum" } else { "sum_received" }];
                let bytes = sum["bytes"].as_u64().unwrap_or_default();
                assert!(bytes > 500_000, "{to} {more:?}: {bytes} bytes\n{result}");
            }
        }
    }
}

/// A long-lived connection with many small requests, in every mode and family: what is written by one is read by all others.
#[test]
fn redis_and_its_benchmark() {
    needs_ringlead!();
    let lab = Lab::new("redis");
    let mut config = Config::empty(&lab);
    let mut services = Vec::new();
    for mode in Mode::ALL {
        for family in Family::ALL {
            let name = format!("redis-{mode:?}-{family:?}").to_lowercase();
            services.push(Service::on(&name, mode, Protocol::Tcp, family, 6379, 6379).with_servers(&[1]));
        }
    }
    config.services.clone_from(&services);
    let _tunnels = Tunnels::start(&lab);
    let bind = addresses(1).iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ");
    let memory = ["--save", "", "--appendonly", "no", "--protected-mode", "no", "--bind", &bind];
    let _server = lab.spawn(Node::Server(1), "redis-server", &memory);
    let _ringlead = Ringlead::start(&lab, &config.render());
    let ask = |service: &Service, more: &[&str]| {
        let host = service.listen.ip().to_string();
        let said = lab.run(Node::Client, "timeout", &[&["3", "redis-cli", "-h", &host][..], more].concat());
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    };
    for (number, service) in services.iter().enumerate() {
        wait_until(Duration::from_secs(10), "redis to answer", || ask(service, &["ping"]) == "PONG");
        let (key, value) = (format!("key-{number}"), "x".repeat(20_000 + number));
        assert_eq!(ask(service, &["set", &key, &value]), "OK", "{}", service.name);
        let host = service.listen.ip().to_string();
        let load = ["-h", &host, "-n", "5000", "-c", "20", "-P", "4", "-t", "set,get", "-q"];
        let said = lab.must_run(Node::Client, "redis-benchmark", &load);
        assert_eq!(said.matches("requests per second").count(), 2, "{}: {said}", service.name);
    }
    for (number, service) in services.iter().enumerate() {
        let written = (number + 1) % services.len();
        let got = ask(service, &["get", &format!("key-{written}")]);
        assert!(got == "x".repeat(20_000 + written), "{}: {} bytes", service.name, got.len());
    }
    let asked: u64 = ask(&services[0], &["info", "commandstats"])
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_set:calls=")?.split(',').next()?.parse::<u64>().ok())
        .sum();
    assert_eq!(asked, 8 * 5001, "each command was carried out once");
}

/// A server's own addresses, where nat and snat reach it, and those of the services that it has on lo.
fn addresses(n: u8) -> Vec<IpAddr> {
    let of = |family| {
        [Lab::server(family, n), Lab::service(family, Mode::Dsr), Lab::service(family, Mode::Tunnel)]
    };
    Family::ALL.map(of).concat()
}

/// nginx as one process, listening for every mode. The name goes into a header, the file is the same on all.
fn nginx(lab: &Lab, n: u8, blob: &[u8]) -> Process {
    let root = lab.files().join(format!("nginx-{n}"));
    fs::create_dir(&root).unwrap();
    fs::write(root.join("blob"), blob).unwrap();
    let ports = |ip: &IpAddr| [(*ip, 8080), (*ip, 80)];
    let listen: String = addresses(n)
        .iter()
        .flat_map(ports)
        .map(|at| format!("listen {};", std::net::SocketAddr::from(at)))
        .collect();
    let dir = root.display();
    let text = format!(
        "master_process off; daemon off; user root; pid {dir}/pid; error_log stderr; events {{}}\n\
         http {{ access_log off; client_body_temp_path {dir}/t; proxy_temp_path {dir}/t; fastcgi_temp_path {dir}/t;\n\
         uwsgi_temp_path {dir}/t; scgi_temp_path {dir}/t;\n\
         server {{ {listen} root {dir}; add_header X-Server s{n}; }} }}\n"
    );
    let file = root.join("conf");
    fs::write(&file, text).unwrap();
    lab.spawn(Node::Server(n), "nginx", &["-e", "stderr", "-c", &file.display().to_string()])
}

/// dnsmasq that answers with its own number, on its own and the services' addresses.
fn dnsmasq(lab: &Lab, n: u8) -> Process {
    let listen: Vec<String> = addresses(n).iter().map(IpAddr::to_string).collect();
    let listen = format!("--listen-address={}", listen.join(","));
    let answer = format!("--address=/who.test/192.0.2.{n}");
    let others = ["--no-daemon", "--no-resolv", "--no-hosts", "--bind-interfaces", "--user=root"];
    let files = ["--conf-file=/dev/null", "--pid-file="];
    let said = [&others[..], &files, &[&listen, &answer]].concat();
    lab.spawn(Node::Server(n), "dnsmasq", &said)
}
