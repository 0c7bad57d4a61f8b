//! What is accepted means what it says.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ringlead_control::config::{
    self, Addresses, Algorithm, Attach, CheckConfig, Config, Faces, FlowLogConfig, Idle, LogConfig,
    LogFormat, LogLevel, LogTarget, Mode, NodeConfig, ObserveConfig, OnNoServer, OnServerDown, OperatorState,
    PanicConfig, PanicThen, PassiveConfig, PersistenceConfig, Profile, Queues, ReportsConfig, RxChecksum,
    ServerConfig, SourcePrefix, TunnelConfig, ZeroCopy,
};
use ringlead_control::health::{AgentProbe, DnsProbe, FlapRule, HttpProbe, Probe, TlsProbe, UdpProbe};
use ringlead_l4::ends::{Accounts, Why};
use ringlead_pick::HashBy;
use ringlead_wire::tunnel::{Encapsulation, Variant};
use ringlead_wire::{Endpoint, Protocol};

use super::folder;

fn good() -> Config {
    let (config, warnings) = config::load(folder().join("good.toml")).unwrap_or_else(|e| panic!("{e}"));
    assert!(warnings.is_empty(), "{warnings:?}");
    config
}

fn endpoint(address: &str, protocol: Protocol) -> Endpoint {
    let address: SocketAddr = address.parse().unwrap();
    Endpoint { ip: address.ip().into(), port: address.port(), protocol }
}

/// The least that is a configuration.
const LEAST: &str = r#"
version = 1
[dataplane]
cores = [1]
[port.wan]
device = "eth0"
"#;

#[test]
fn node_and_dataplane() {
    let config = good();
    let path = PathBuf::from;
    assert_eq!(
        config.node,
        NodeConfig {
            name: Some("lb1".to_owned()),
            state_dir: path("/var/lib/lb1"),
            control: path("/run/lb1.sock"),
            bpf_dir: path("/sys/fs/bpf/lb1"),
        }
    );
    assert_eq!(config.dataplane.cores, [2, 3]);
    assert_eq!(config.dataplane.control_core, Some(0));
    assert_eq!(config.dataplane.idle, Idle::Busy);
    assert_eq!(config.dataplane.flows_max, 4_000_000);
    assert_eq!(config.dataplane.hash_key, std::array::from_fn(|i| u8::try_from(i).unwrap()));
    assert_eq!(config.dataplane.frames, 32_768);
}

#[test]
fn ports() {
    let config = good();
    let [wan, lan] = &config.ports[..] else { panic!("{:?}", config.ports) };
    assert_eq!((wan.name.as_str(), wan.device.as_str()), ("wan", "ens1f0"));
    assert_eq!(wan.queues, Queues::List(vec![0, 1]));
    assert_eq!((wan.zero_copy, wan.attach), (ZeroCopy::Require, Attach::Native));
    assert_eq!((wan.rx_checksum, wan.faces), (RxChecksum::Trust, Faces::Clients));
    assert!(wan.faces.clients() && !wan.faces.servers());
    assert_eq!(lan.queues, Queues::Auto);
    assert_eq!((lan.zero_copy, lan.attach), (ZeroCopy::Prefer, Attach::Generic));
    let off = std::fs::read_to_string(folder().join("good.toml")).unwrap().replace("\"require\"", "\"off\"");
    assert_eq!(config::parse("off.toml", &off).unwrap().0.ports[0].zero_copy, ZeroCopy::Off);
    assert_eq!((lan.rx_checksum, lan.faces), (RxChecksum::FixPartial, Faces::Servers));
    assert!(!lan.faces.clients() && lan.faces.servers());
}

#[test]
fn services() {
    let config = good();
    let [web, dns, everything, ..] = &config.services[..] else { panic!("{:?}", config.services) };
    assert_eq!(web.name, "web", "in the file's order");
    let tcp = |a| endpoint(a, Protocol::Tcp);
    assert_eq!(web.listen, [tcp("192.0.2.10:80"), tcp("192.0.2.10:8080")]);
    assert_eq!((web.mode, web.on_no_server), (Mode::Nat, OnNoServer::Drop));
    assert_eq!((web.addresses, web.profile), (Addresses::Expect, Profile::Rfc5382));
    assert_eq!(config.pools[web.pool].name, "web");
    assert_eq!(dns.listen, [endpoint("[2001:db8::53]:53", Protocol::Udp)]);
    assert_eq!((dns.mode, dns.protocol), (Mode::Dsr, Protocol::Udp));
    assert_eq!((dns.on_no_server, dns.addresses), (OnNoServer::Unreachable, Addresses::Manage));
    assert_eq!(config.persistence[dns.persistence.unwrap()].name, "defaults");
    assert_eq!((web.sorry, dns.sorry), (None, None));
    assert_eq!(dns.profile, Profile::Lb);
    assert_eq!(config.pools[dns.pool].name, "dns6");
    assert_eq!(everything.on_no_server, OnNoServer::Reset, "TCP's default, behind the sorry pool");
    assert_eq!(config.pools[everything.sorry.unwrap()].name, "sorry");
    assert_eq!(everything.persistence, None);
    assert_eq!(everything.listen, [tcp("192.0.2.11:0")]);
}

#[test]
fn services_of_layer_l7_are_this_nodes_or_have_nodes() {
    let config = good();
    let tcp = |a| endpoint(a, Protocol::Tcp);
    let [alone] = &config.local[..] else { panic!("{:?}", config.local) };
    assert_eq!((alone.name.as_str(), alone.addresses), ("proxy", Addresses::Expect));
    assert_eq!(alone.listen, [tcp("192.0.2.10:443"), tcp("[2001:db8::10]:443")]);
    let [.., proxies, direct] = &config.services[..] else { panic!("{:?}", config.services) };
    assert_eq!(proxies.listen, [tcp("192.0.2.10:8443"), tcp("[2001:db8::10]:8443")]);
    let Mode::Tunnel { tunnel } = proxies.mode else { panic!("{:?}", proxies.mode) };
    assert_eq!(config.tunnels[tunnel].name, "ipip");
    assert_eq!((direct.mode, direct.profile), (Mode::Dsr, Profile::Lb));
    for service in [proxies, direct] {
        assert_eq!((service.layer(), config.pools[service.pool].name.as_str()), ("l7", "edge"));
        let own = service.own_node.map(|own| config.pools[service.pool].servers[own].name.as_str());
        assert_eq!(own, Some("lb1"), "by [node] name, wherever it stands");
    }
    assert_eq!(proxies.profile, Profile::Rfc5382);
    assert!(config.services[..3].iter().all(|service| service.own_node.is_none() && service.layer() == "l4"));
}

#[test]
fn tunnels_are_built_in_or_tables_of_any_family() {
    let text = r#"
version = 1
[dataplane]
cores = [0]
hash-key = "000102030405060708090a0b0c0d0e0f"
[port.lan]
device = "eth1"
[service.default]
listen = ["192.0.2.10:80", "[2001:db8::10]:80"]
protocol = "tcp"
mode = "tunnel"
pool = "app"
[service.plain]
listen = "192.0.2.11:80"
protocol = "tcp"
mode = "tunnel"
tunnel = "ipip"
pool = "app"
[service.own]
listen = "192.0.2.12:80"
protocol = "tcp"
mode = "tunnel"
tunnel = "far"
pool = "app"
[tunnel.far]
type = "gue"
variant = 0
port = 9886
source = ["10.0.13.37", "fc00:2307::/32"]
[pool.app]
algorithm = "maglev"
server = [{ name = "s1", address = "[fd00::1]:80" }]
"#;
    let (config, _) = config::parse("tunnels.toml", text).unwrap_or_else(|e| panic!("{e}"));
    let of = |n: usize| match config.services[n].mode {
        Mode::Tunnel { tunnel } => &config.tunnels[tunnel],
        mode @ (Mode::Nat | Mode::Dsr | Mode::Snat { .. }) => panic!("{mode:?}"),
    };
    let [default, plain, own] = [of(0), of(1), of(2)];
    assert_eq!(default.encapsulation, Encapsulation::Gue { variant: Variant::One, port: 6080 });
    assert_eq!((plain.name.as_str(), plain.encapsulation), ("ipip", Encapsulation::Ipip));
    assert_eq!(own.encapsulation, Encapsulation::Gue { variant: Variant::Zero, port: 9886 });
    let prefix = |ip: &str, bits| SourcePrefix { ip: ip.parse::<std::net::IpAddr>().unwrap().into(), bits };
    let sources = |t: &TunnelConfig| (t.source_v4, t.source_v6);
    assert_eq!(sources(default), (prefix("172.16.0.0", 16), prefix("100::", 64)));
    assert_eq!(sources(own), (prefix("10.0.13.37", 32), prefix("fc00:2307::", 32)));
}

#[test]
fn pools_and_checks() {
    let config = good();
    let [web, dns, everything, sorry] = &config.pools[..4] else { panic!("{:?}", config.pools) };
    assert_eq!(web.algorithm, Algorithm::Maglev { size: Some(509), hash: HashBy::SourceAndPort });
    let server = |name: &str, address: &str, weight, state| ServerConfig {
        name: name.to_owned(),
        address: address.parse().unwrap(),
        weight,
        state,
        flows_max: None,
        backup: false,
    };
    assert_eq!(
        web.servers,
        [
            server("s1", "10.0.0.1:8080", 256, OperatorState::Ready),
            server("s2", "10.0.0.2:8080", 1, OperatorState::Drain),
            ServerConfig { backup: true, ..server("s3", "10.0.0.3:8081", 1, OperatorState::Offline) },
        ]
    );
    assert_eq!((web.servers_min, web.slow_start), (2, None));
    assert_eq!((web.on_server_down, dns.on_server_down), (OnServerDown::Reset, OnServerDown::Keep));
    assert_eq!((dns.servers_min, dns.slow_start), (1, Some(Duration::from_secs(30))));
    assert_eq!((dns.algorithm, sorry.algorithm), (Algorithm::LeastFlows, Algorithm::RandomTwo));
    let limited = ServerConfig {
        flows_max: Some(100_000),
        ..server("ns1", "[2001:db8:1::1]:53", 1, OperatorState::Ready)
    };
    assert_eq!(dns.servers, [limited]);
    assert_eq!(everything.algorithm, Algorithm::Maglev { size: None, hash: HashBy::FiveTuple });
    assert_eq!(everything.health, None);
    assert_eq!(config.checks[everything.agent.unwrap()].name, "words");
    let flaps = |name: &str| {
        let rule = |downs, window, hold, longest| {
            let [window, hold, hold_max] = [window, hold, longest].map(Duration::from_secs);
            FlapRule { downs, window, hold, hold_max }
        };
        if name == "web" { rule(3, 120, 20, 3_600) } else { rule(5, 60, 10, 300) }
    };
    let check = |name: &str, interval, timeout, rise, fall, port| CheckConfig {
        name: name.to_owned(),
        probe: Some(Arc::new(Probe::Tcp)),
        interval: Duration::from_millis(interval),
        interval_changing: (name == "web").then_some(Duration::from_millis(500)),
        timeout: Duration::from_millis(timeout),
        rise,
        fall,
        flaps: flaps(name),
        port,
        passive: (name == "web").then_some(PassiveConfig { errors: 20, window: Duration::from_secs(30) }),
        unreported_up: true,
        via: config::Via::Direct,
    };
    assert_eq!(
        web.panic,
        Some(PanicConfig { below: 40, then: PanicThen::All }),
        "none where it is not written: {:?}",
        dns.panic
    );
    assert_eq!(dns.panic, None);
    let reported = config.checks.iter().find(|check| check.name == "agent").unwrap();
    assert_eq!((&reported.probe, reported.unreported_up), (&None, false));
    assert_eq!(config.checks[web.health.unwrap()], check("web", 5_000, 1_500, 1, 5, Some(8_081)));
    let quick = &config.checks[dns.health.unwrap()];
    assert_eq!(quick, &check("quick", 250, 250, 2, 3, None), "a short interval shortens the timeout");
}

#[test]
fn checks_of_every_type() {
    let probe = |name: &str| {
        (**good().checks.iter().find(|c| c.name == name).unwrap().probe.as_ref().unwrap()).clone()
    };
    assert_eq!(probe("ping"), Probe::Icmp);
    assert_eq!(probe("words"), Probe::Agent(AgentProbe { send: "who".to_owned() }));
    let page = HttpProbe {
        method: "HEAD".to_owned(),
        path: "/healthz?full=1".to_owned(),
        host: Some("app.example.net".to_owned()),
        headers: vec![("x-probe".to_owned(), "1".to_owned()), ("accept".to_owned(), "*/*".to_owned())],
        statuses: vec![(200, 299), (301, 301)],
        body_contains: Some("ok".to_owned()),
        ..HttpProbe::default()
    };
    assert_eq!(probe("page"), Probe::Http(page));
    let tls = TlsProbe { ca: Some("/etc/ca.pem".into()), sni: Some("app.example.net".to_owned()) };
    assert_eq!(probe("handshake"), Probe::Tls(tls));
    let Probe::Http(secure) = probe("secure") else { panic!("https is http inside TLS") };
    assert_eq!(secure.tls, Some(TlsProbe::default()), "any certificate unless `ca` says whose");
    assert_eq!((secure.method.as_str(), secure.path.as_str()), ("GET", "/"));
    assert_eq!((secure.host, secure.statuses, secure.body_contains), (None, vec![(200, 299)], None));
    let udp = UdpProbe { send: "ping".to_owned(), reply: Some("pong".to_owned()) };
    assert_eq!(probe("datagram"), Probe::Udp(udp));
    let dns = DnsProbe {
        name: "example.net".to_owned(),
        kind: "A",
        rcode: "NOERROR",
        answer: Some("192.0.2.7".to_owned()),
    };
    assert_eq!(probe("name"), Probe::Dns(dns));
}

#[test]
fn places_for_metrics() {
    assert_eq!(good().observe.metrics, Some("127.0.0.1:9090".parse().unwrap()));
    let (least, _) = config::parse("least.toml", LEAST).unwrap();
    assert_eq!(least.observe.metrics, None);
    for place in ["[::1]:1", "0.0.0.0:65535", "[2001:db8::1]:9090"] {
        let (config, warnings) =
            config::parse("place.toml", &format!("{LEAST}[observe]\nmetrics = \"{place}\"\n")).unwrap();
        assert_eq!(config.observe.metrics, Some(place.parse().unwrap()));
        assert!(warnings.is_empty());
    }
}

#[test]
fn logs() {
    let log = LogConfig {
        to: LogTarget::File(PathBuf::from("/var/log/ringlead/ringlead.log")),
        format: LogFormat::Json,
        level: LogLevel::Debug,
    };
    let flow_log = FlowLogConfig {
        to: LogTarget::Journal,
        format: LogFormat::Text,
        sample: 1_000,
        always: vec![Why::Reset, Why::ChosenAgain],
        count: Accounts::All,
    };
    let metrics = Some("127.0.0.1:9090".parse().unwrap());
    let reports = Some(ReportsConfig {
        at: "127.0.0.1:9091".parse().unwrap(),
        tokens: PathBuf::from("/etc/ringlead/report-tokens"),
    });
    assert_eq!(good().observe, ObserveConfig { metrics, reports, log, flow_log: Some(flow_log) });
    let (least, _) = config::parse("least.toml", LEAST).unwrap();
    assert_eq!(least.observe, ObserveConfig::default());
    let text = format!("{LEAST}[observe]\nlog = {{ to = \"journal\" }}\n");
    let (journal, _) = config::parse("journal.toml", &text).unwrap();
    assert_eq!(journal.observe.log.to, LogTarget::Journal);
    let effective = config::effective("journal.toml", &text).unwrap();
    assert!(effective.contains("log = { to = \"journal\", level = \"info\" }"), "{effective}");
    assert_eq!(config::parse("effective.toml", &effective).unwrap().0, journal);
}

#[test]
fn persistence_tables() {
    let table = |name: &str, mask_v4, mask_v6, seconds, entries| PersistenceConfig {
        name: name.to_owned(),
        mask_v4,
        mask_v6,
        timeout: Duration::from_secs(seconds),
        entries,
    };
    let expected = [table("source-24", 24, 48, 7 * 86_400, 100_000), table("defaults", 32, 64, 600, 131_072)];
    assert_eq!(good().persistence, expected);
}

#[test]
fn defaults() {
    let (config, warnings) = config::parse("least.toml", LEAST).unwrap_or_else(|e| panic!("{e}"));
    assert!(warnings.is_empty());
    assert_eq!(config.node.name, None);
    assert_eq!(config.node.state_dir, Path::new("/var/lib/ringlead"));
    assert_eq!(config.node.control, Path::new("/run/ringlead/control.sock"));
    assert_eq!(config.node.bpf_dir, Path::new("/sys/fs/bpf/ringlead"));
    assert_eq!(config.dataplane.control_core, None);
    assert_eq!(config.dataplane.idle, Idle::Adaptive);
    assert_eq!(config.dataplane.flows_max, 1_000_000);
    assert_eq!(config.dataplane.hash_key, *b"ringlead-default");
    assert_eq!(config.dataplane.frames, 16_384);
    let port = &config.ports[0];
    assert_eq!((&port.queues, port.zero_copy), (&Queues::Auto, ZeroCopy::Prefer));
    assert_eq!((port.attach, port.rx_checksum), (Attach::Auto, RxChecksum::Auto));
    assert_eq!(port.faces, Faces::Both);
    assert!(config.services.is_empty() && config.pools.is_empty() && config.checks.is_empty());
}

#[test]
fn one_server_may_serve_two_pools_and_services() {
    let text = format!(
        r#"{LEAST}
[service.a]
listen = "192.0.2.1:80"
protocol = "tcp"
mode = "nat"
pool = "a"
[service.b]
listen = "192.0.2.2:80"
protocol = "tcp"
mode = "nat"
pool = "b"
[service.c]
listen = "192.0.2.1:80"
protocol = "udp"
mode = "nat"
pool = "b"
[pool.a]
algorithm = "maglev"
server = [ {{ name = "s1", address = "10.0.0.1:80" }} ]
[pool.b]
algorithm = "maglev"
server = [ {{ name = "s1", address = "10.0.0.1:80" }} ]
"#
    );
    let (config, warnings) = config::parse("shared.toml", &text).unwrap_or_else(|e| panic!("{e}"));
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(config.services.iter().map(|s| s.pool).collect::<Vec<_>>(), [0, 1, 1]);
}

/// Where a flow of another mode may be in the table, or nobody asked for a size, source ports say nothing about it.
#[test]
fn source_ports_are_counted_where_all_flows_need_one() {
    let warned = |max_flows: &str, mode: &str| {
        let text = format!(
            r#"{}{max_flows}
[port.wan]
device = "eth0"
[snat.out]
addresses = "10.0.0.200"
ports = "10000-12999"
[service.a]
listen = "192.0.2.1:80"
protocol = "tcp"
mode = "snat"
pool = "a"
[service.b]
listen = "192.0.2.1:81"
protocol = "tcp"
mode = "{mode}"
pool = "a"
[pool.a]
algorithm = "maglev"
server = [ {{ name = "s1", address = "10.0.0.1:80" }} ]
"#,
            "version = 1\n[dataplane]\ncores = [1]\n"
        );
        let (_, warnings) = config::parse("ports.toml", &text).unwrap_or_else(|e| panic!("{e}"));
        warnings.iter().map(|warning| warning.code).collect::<Vec<_>>()
    };
    assert_eq!(warned("max-flows = 3001", "snat"), [config::codes::SNAT_SMALL]);
    assert!(warned("max-flows = 3000", "snat").is_empty());
    assert!(warned("max-flows = 3001", "nat").is_empty());
    assert!(warned("", "snat").is_empty());
}

#[test]
fn the_sample_file_is_accepted_and_shows_both_modes_and_families() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ringlead.toml");
    let (config, warnings) = config::load(path).unwrap_or_else(|e| panic!("{e}"));
    assert!(warnings.is_empty(), "{warnings:?}");
    for mode in [Mode::Nat, Mode::Dsr] {
        for v4 in [true, false] {
            let shown = config.services.iter().any(|s| s.mode == mode && s.listen[0].ip.is_v4() == v4);
            assert!(shown, "{mode:?}, IPv4: {v4}");
        }
    }
}
