//! L7 services of several nodes in the kernel: what has a socket here stays here, and tables are exchanged whole.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test, with deadlines"
)]

mod steer_common;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aya::programs::{TestRun as _, TestRunOptions};
use ringlead_io::steer::{
    Changes, NodeTable, Nodes, Rule, RuleSet, Rules, SteerError, Steering, Verdict, verdict,
};
use ringlead_pick::{Maglev, Member};
use ringlead_wire::{Endpoint, Ip, Protocol};
use steer_common::{in_namespace, sh};

const SYN: u8 = 2;
const ACK: u8 = 16;
const KEPT: Verdict = Verdict::Kernel;
const SENT_ON: Verdict = Verdict::Ours(Rule::Node);
const ERROR_SENT_ON: Verdict = Verdict::Ours(Rule::IcmpError);

#[test]
fn what_the_kernel_has_a_connection_for_stays_whatever_the_table_says() {
    in_namespace("l7-socket", |dir| {
        sh("ip link set lo up");
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address.parse::<SocketAddr>().unwrap()).unwrap();
            let service = listener.local_addr().unwrap();
            let flow = TcpStream::connect(service).unwrap();
            let accepted = listener.accept().unwrap().0;
            let (known, unknown) = (flow.local_addr().unwrap(), SocketAddr::new(service.ip(), 9));
            let mut front = Front::new(dir, rules_of(service, elsewhere()));

            front.expect(&segment(known, service, ACK), KEPT, 1, "an established flow");
            front.expect(&icmp_error(service, known), KEPT, 1, "an error about its answers");
            front.expect(
                &segment(known, service, SYN),
                SENT_ON,
                0,
                "a segment that opens one goes by the table",
            );
            front.expect(&segment(known, service, SYN | ACK), SENT_ON, 0, "as does one with SYN and more");
            front.expect(&segment(unknown, service, ACK), SENT_ON, 0, "a listener is no connection");
            front.expect(&icmp_error(service, unknown), ERROR_SENT_ON, 0, "nor for errors");
            let cut = &segment(known, service, ACK)[..front.transport(service) + 13];
            front.expect(cut, SENT_ON, 0, "without its flags");
            // We close first: TIME-WAIT is ours to answer, too.
            drop(accepted);
            drop(flow);
            front.expect(&segment(known, service, ACK), KEPT, 1, "an ending flow");
            front.steering.detach_all().unwrap();
        }
    });
}

#[test]
fn there_is_a_connection_before_it_is_accepted_or_even_complete() {
    in_namespace("l7-new", |dir| {
        // A device that loses our answer, so that the connection stays in SYN-RECEIVED.
        sh(
            "ip link set lo up && ip link add va type veth peer name vb && ip link set va up && ip link set vb up",
        );
        sh("ip addr add 10.9.0.10/24 dev va && ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev va");
        let service: SocketAddr = "10.9.0.10:80".parse().unwrap();
        let client: SocketAddr = "10.9.0.2:40000".parse().unwrap();
        let _listener = TcpListener::bind(service).unwrap();
        let mut front = Front::new(dir, rules_of(service, elsewhere()));
        front.expect(&segment(client, service, ACK), SENT_ON, 0, "before its SYN");
        let mac = sh("ip -o link show va");
        let mac = mac.split("link/ether ").nth(1).unwrap()[..17].replace(':', "");
        let syn: String = segment(client, service, SYN)[12..].iter().map(|b| format!("{b:02x}")).collect();
        sh(&format!(
            "python3 -c \"import socket; s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW); s.bind(('vb',0x0800)); \
             s.send(bytes.fromhex('{mac}020000000002{syn}'))\""
        ));
        syn_received();
        front.expect(&segment(client, service, ACK), KEPT, 1, "the third segment");
        front.steering.detach_all().unwrap();
    });
}

#[test]
fn guests_are_sent_on_and_what_opens_a_connection_or_has_one_stays() {
    in_namespace("l7-guests", |dir| {
        sh("ip link set lo up");
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address.parse::<SocketAddr>().unwrap()).unwrap();
            let service = listener.local_addr().unwrap();
            let flow = TcpStream::connect(service).unwrap();
            let (known, unknown) = (flow.local_addr().unwrap(), SocketAddr::new(service.ip(), 9));
            let mut front = Front::new(dir, rules_of(service, guests()));
            front.expect(&segment(known, service, ACK), KEPT, 1, "this node's own");
            front.expect(&icmp_error(service, known), KEPT, 1, "an error about its answers");
            for client in [known, unknown] {
                front.expect(&segment(client, service, SYN), KEPT, 0, "a new one is this node's");
            }
            front.expect(&segment(unknown, service, ACK), SENT_ON, 0, "a guest");
            front.expect(&icmp_error(service, unknown), ERROR_SENT_ON, 0, "an error about its answers");
            let cut = &segment(unknown, service, ACK)[..front.transport(service) + 13];
            front.expect(cut, KEPT, 0, "without its flags");
            front.steering.detach_all().unwrap();
        }
    });
}

/// Between the SYN and its answer there is no socket where the kernel answers by cookies (RFC 4987 section 3.6).
#[test]
fn what_answers_a_syn_cookie_is_the_kernels() {
    in_namespace("l7-cookie", |dir| {
        sh("ip link add va type veth peer name vb && ip link set va up && ip link set vb up");
        sh("echo 2 > /proc/sys/net/ipv4/tcp_syncookies");
        sh("ip addr add 10.9.0.10/24 dev va && ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev va");
        sh("ip addr add fd09::10/64 dev va nodad && ip neigh add fd09::2 lladdr 02:00:00:00:00:02 dev va");
        for (service, client) in [("10.9.0.10:80", "10.9.0.2:40000"), ("[fd09::10]:80", "[fd09::2]:40000")] {
            let (service, client): (SocketAddr, SocketAddr) =
                (service.parse().unwrap(), client.parse().unwrap());
            let listener = TcpListener::bind(service).unwrap();
            let cookie = syn_answered(&segment(client, service, SYN));
            let mut answer = segment(client, service, ACK);
            for nodes in [elsewhere(), guests()] {
                let mut front = Front::new(dir, rules_of(service, nodes));
                let tcp = front.transport(service);
                front.expect(&answer, SENT_ON, 0, "it answers another number");
                answer[tcp + 4..][..4].copy_from_slice(&2_u32.to_be_bytes());
                answer[tcp + 8..][..4].copy_from_slice(&(cookie.wrapping_add(1)).to_be_bytes());
                front.expect(&answer, KEPT, 1, "it answers the cookie");
                answer[tcp + 8..][..4].copy_from_slice(&cookie.to_be_bytes());
                front.steering.detach_all().unwrap();
            }
            drop(listener);
        }
    });
}

/// Sends a SYN to `va` by `vb`; the sequence number of the answer.
fn syn_answered(syn: &[u8]) -> u32 {
    let mac = sh("ip -o link show va");
    let mac = mac.split("link/ether ").nth(1).unwrap()[..17].replace(':', "");
    let rest: String = syn[12..].iter().map(|b| format!("{b:02x}")).collect();
    let tcp = if syn[12] == 8 { 34 } else { 54 };
    let number = sh(&format!(
        "python3 -c \"import socket; s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(3)); s.bind(('vb',3)); \
         s.settimeout(1); syn=bytes.fromhex('{mac}020000000002{rest}'); n=None\nfor i in range(50):\n  s.send(syn)\n  \
         try:\n    while n is None:\n      f=s.recv(2000)\n      if f[:6]==bytes.fromhex('020000000002') and len(f)>{tcp}+13 \
         and f[{tcp}+13]==0x12: n=int.from_bytes(f[{tcp}+4:{tcp}+8],'big')\n    break\n  except TimeoutError: pass\n\
         print(n)\""
    ));
    number.trim().parse().unwrap()
}

#[test]
fn the_rust_front_has_no_sockets_and_goes_by_the_table() {
    let (client, service) = ("198.51.100.7:40000".parse().unwrap(), "192.0.2.10:80".parse().unwrap());
    for (nodes, direct, error) in [
        (Nodes::Alone, KEPT, KEPT),
        (here(), KEPT, KEPT),
        (elsewhere(), SENT_ON, ERROR_SENT_ON),
        (guests(), KEPT, ERROR_SENT_ON),
        (Nodes::Several(Arc::new(NodeTable::new([1; 16], &Maglev::build(&[], 127), 0))), KEPT, KEPT),
    ] {
        let rules = RuleSet::from(&rules_of(service, nodes.clone()));
        for flags in [SYN, ACK] {
            let later = nodes == guests() && flags == ACK;
            let direct = if later { SENT_ON } else { direct };
            assert_eq!(verdict(&rules, &segment(client, service, flags)), direct, "{nodes:?}");
        }
        assert_eq!(verdict(&rules, &icmp_error(service, client)), error, "{nodes:?}");
    }
}

#[test]
fn an_l7_service_beside_l4_services_has_its_own_port_only() {
    in_namespace("l7-beside", |dir| {
        let client = "198.51.100.7:40000".parse().unwrap();
        let to = |port| SocketAddr::new("192.0.2.10".parse().unwrap(), port);
        let service = Verdict::Ours(Rule::Service);
        let any = Endpoint { ip: Ip::from(to(0).ip()), port: 0, protocol: Protocol::Tcp };
        for (nodes, direct) in [(Nodes::Alone, KEPT), (here(), KEPT), (elsewhere(), SENT_ON)] {
            let mut rules = rules_of(to(443), nodes.clone());
            rules.services.insert(any);
            let mut front = Front::new(dir, rules);
            front.expect(&segment(client, to(443), SYN), direct, 0, "its own port");
            front.expect(&segment(client, to(444), SYN), service, 0, "the L4 service on any other");
            // It has no port to tell by whose it is, and may be the L4 service's.
            front.expect(&fragment(client, to(443)), Verdict::Ours(Rule::Fragment), 0, "a fragment");
            front.steering.detach_all().unwrap();
            // Alone on the address, fragments are ours only where a worker may have to send them on.
            let mut front = Front::new(dir, rules_of(to(443), nodes.clone()));
            let fragments = if nodes == Nodes::Alone { KEPT } else { Verdict::Ours(Rule::Fragment) };
            front.expect(&fragment(client, to(443)), fragments, 0, "a fragment");
            front.expect(&segment(client, to(444), SYN), KEPT, 0, "another port");
            front.steering.detach_all().unwrap();
        }
    });
}

#[test]
fn a_table_is_exchanged_and_a_flap_brings_the_old_one_back() {
    in_namespace("l7-exchange", |dir| {
        let (client, service) = ("198.51.100.7:40000".parse().unwrap(), "192.0.2.10:80".parse().unwrap());
        let mut front = Front::new(dir, rules_of(service, elsewhere()));
        for (nodes, wanted) in [
            (here(), KEPT),
            (elsewhere(), SENT_ON),
            (Nodes::Alone, KEPT),
            (elsewhere(), SENT_ON),
            (here(), KEPT),
        ] {
            let rules = rules_of(service, nodes);
            front.steering.fits(&rules).unwrap();
            let grown = front.steering.grow(&rules).unwrap();
            assert!(grown.added >= 1 && grown.removed == 0, "{grown:?}");
            assert_eq!(front.steering.shrink(&rules).unwrap().added, 0);
            assert_eq!(front.steering.reconcile(&rules).unwrap(), Changes::default());
            front.rules = RuleSet::from(&rules);
            front.expect(&segment(client, service, SYN), wanted, 0, "by the new table");
        }
        // Its address, and itself.
        let gone = front.steering.reconcile(&Rules::default()).unwrap();
        assert_eq!(gone, Changes { added: 0, removed: 2 });
        front.steering.detach_all().unwrap();
    });
}

#[test]
fn tables_and_services_that_do_not_fit_change_nothing() {
    in_namespace("l7-full", |dir| {
        let tables = |first: u8, count: u8| Rules {
            l7: (0..count).map(|n| (endpoint(0x0a00_0000 + u32::from(n)), table(first + n))).collect(),
            ..Rules::default()
        };
        let mut steering = Steering::open(dir, &[]).unwrap();
        assert_eq!(steering.reconcile(&tables(0, 64)).unwrap().added, 128, "and their addresses");
        let error = steering.reconcile(&tables(64, 65)).unwrap_err();
        assert!(matches!(error, SteerError::Full { map: "node_tables", wanted: 65, max: 64 }), "{error}");
        assert_eq!(steering.reconcile(&tables(0, 64)).unwrap(), Changes::default());
        assert_eq!(steering.grow(&tables(64, 64)).unwrap().added, 64, "all can be exchanged at once");

        // As many as there are slots, as services that are not removed yet hold their tables.
        let others = |first: u8, at: u32| Rules {
            l7: (0..64).map(|n| (endpoint(at + u32::from(n)), table(first + n))).collect(),
            ..Rules::default()
        };
        steering.grow(&others(128, 0x0a01_0000)).unwrap();
        let third = others(192, 0x0a02_0000);
        for error in [steering.fits(&third).unwrap_err(), steering.grow(&third).unwrap_err()] {
            assert!(
                matches!(error, SteerError::Full { map: "node_tables", wanted: 192, max: 128 }),
                "{error}"
            );
        }
        assert_eq!(steering.reconcile(&others(128, 0x0a01_0000)).unwrap().added, 0);

        let many = Rules {
            l7: (0..4097).map(|n| (endpoint(0x0a00_0000 + n), Nodes::Alone)).collect(),
            ..Rules::default()
        };
        let error = steering.reconcile(&many).unwrap_err();
        assert!(matches!(error, SteerError::Full { map: "l7_services", wanted: 4097, max: 4096 }), "{error}");
        assert_eq!(steering.reconcile(&others(128, 0x0a01_0000)).unwrap(), Changes::default());
        steering.detach_all().unwrap();
    });
}

#[test]
fn a_dead_daemons_tables_are_replaced() {
    in_namespace("l7-dead", |dir| {
        let (client, service) = ("198.51.100.7:40000".parse().unwrap(), "192.0.2.10:80".parse().unwrap());
        drop(Front::new(dir, rules_of(service, here())));
        let mut front = Front::new(dir, rules_of(service, elsewhere()));
        front.expect(&segment(client, service, SYN), SENT_ON, 0, "by the new one's");
        front.steering.detach_all().unwrap();
    });
}

/// Until the kernel has a connection in SYN-RECEIVED (state 03).
fn syn_received() {
    let deadline = Instant::now() + Duration::from_secs(10);
    let here = || std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    while !here().lines().any(|line| line.split_whitespace().nth(3) == Some("03")) {
        assert!(Instant::now() < deadline, "{}", here());
        std::thread::yield_now();
    }
}

/// The program in the kernel, and its twin where no socket counts.
struct Front {
    steering: Steering,
    rules: RuleSet,
}

impl Front {
    fn new(dir: &Path, rules: Rules) -> Self {
        let steering = Steering::open_with(dir, &[], &rules).unwrap();
        Self { steering, rules: RuleSet::from(&rules) }
    }

    /// `kept`: how often a socket was the reason. Where none was, the Rust front says the same.
    fn expect(&mut self, frame: &[u8], wanted: Verdict, kept: u64, why: &str) {
        let before = self.steering.counters().unwrap();
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        let action = self.steering.program().unwrap().test_run(options).unwrap().return_value;
        let after = self.steering.counters().unwrap();
        let by = Rule::ALL.into_iter().find(|r| after.of(*r) != before.of(*r));
        assert_eq!(by.map_or(Verdict::Kernel, Verdict::Ours), wanted, "{why}");
        assert_eq!(action, if wanted == Verdict::Kernel { 2 } else { 1 }, "{why}: PASS or DROP");
        assert_eq!(after.kept - before.kept, kept, "{why}: for its socket");
        if kept == 0 {
            assert_eq!(verdict(&self.rules, frame), wanted, "{why}: the Rust front");
        }
    }

    fn transport(&self, service: SocketAddr) -> usize {
        14 + if service.is_ipv4() { 20 } else { 40 }
    }
}

fn rules_of(service: SocketAddr, nodes: Nodes) -> Rules {
    let at = Endpoint { ip: Ip::from(service.ip()), port: service.port(), protocol: Protocol::Tcp };
    Rules { l7: BTreeMap::from([(at, nodes)]), ..Rules::default() }
}

fn endpoint(address: u32) -> Endpoint {
    Endpoint { ip: Ip::from_v4(address.to_be_bytes()), port: 80, protocol: Protocol::Tcp }
}

/// Every flow is this node's.
fn here() -> Nodes {
    Nodes::Several(Arc::new(NodeTable::new([1; 16], &Maglev::build(&[MEMBER], 127), 0)))
}

/// New ones are this node's, others may be other nodes'.
fn guests() -> Nodes {
    let table = NodeTable::new([1; 16], &Maglev::build(&[MEMBER], 509), 0);
    Nodes::Several(Arc::new(table.with_guests(&[u64::MAX; 8])))
}

/// None is.
fn elsewhere() -> Nodes {
    Nodes::Several(Arc::new(NodeTable::new([1; 16], &Maglev::build(&[MEMBER], 251), 1)))
}

/// One of 256 different tables.
fn table(key: u8) -> Nodes {
    Nodes::Several(Arc::new(NodeTable::new([key; 16], &Maglev::build(&[MEMBER], 127), 0)))
}

const MEMBER: Member = Member { identity: 1, weight: 1 };

fn segment(from: SocketAddr, to: SocketAddr, flags: u8) -> Vec<u8> {
    let mut tcp = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    tcp.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    let sum = checksum(&[&pseudo(from, to, 6, 20)[..], &tcp].concat());
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    frame(packet(from, to, 6, 58, &tcp))
}

/// A later fragment.
fn fragment(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut frame = segment(from, to, ACK);
    frame[20..22].copy_from_slice(&185_u16.to_be_bytes());
    frame
}

/// A router's error about a segment of the service to its client.
fn icmp_error(service: SocketAddr, client: SocketAddr) -> Vec<u8> {
    let v6 = service.is_ipv6();
    let mut icmp = vec![if v6 { 1 } else { 3 }, 1, 0, 0, 0, 0, 0, 0];
    icmp.extend(&segment(service, client, ACK)[14..]);
    frame(packet(client, service, if v6 { 58 } else { 1 }, 255, &icmp))
}

fn frame(packet: Vec<u8>) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend(if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] });
    frame.extend(packet);
    frame
}

fn packet(from: SocketAddr, to: SocketAddr, protocol: u8, ttl: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    let mut header = match (from.ip(), to.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            let mut h = vec![0x45, 0];
            h.extend((20 + length).to_be_bytes());
            h.extend([0, 1, 0x40, 0, ttl, protocol, 0, 0]);
            h
        }
        _ => {
            let mut h = vec![0x60, 0, 0, 0];
            h.extend(length.to_be_bytes());
            h.extend([protocol, ttl]);
            h
        }
    };
    header.extend(addresses(from, to));
    if header[0] == 0x45 {
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    header.extend(body);
    header
}

fn addresses(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let octets = |a: SocketAddr| match a.ip() {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    };
    [octets(from), octets(to)].concat()
}

fn pseudo(from: SocketAddr, to: SocketAddr, protocol: u8, length: u8) -> Vec<u8> {
    [addresses(from, to), vec![0, protocol, 0, length]].concat()
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|b| u32::from(u16::from_be_bytes([b[0], b[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}
