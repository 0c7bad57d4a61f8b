//! The program on a veth pair: attached, refused, killed and taken over, reconciled, cleaned up.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test")]

mod steer_common;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use ringlead_io::af_xdp::{XdpOptions, XdpSpec, open_worker};
use ringlead_io::steer::{
    Attach, Changes, Mode, Rule, Rules, SnatRange, SteerError, SteerPort, Steering, cleanup,
};
use ringlead_io::{FrameList, Port as _};
use ringlead_wire::{Endpoint, Ip, Protocol};
use steer_common::{ifindex, in_namespace, sh};

const HOLDER: &str = "RINGLEAD_TEST_HOLDER_DIR";

/// The directory of this version's maps and links.
const LAYOUT: &str = "v4";

#[test]
fn native_is_taken_when_the_driver_can() {
    in_namespace("native", |dir| {
        let steering = Steering::open(dir, &[veth(Attach::Auto)]).unwrap();
        let modes = steering.modes();
        assert_eq!((modes[0].mode, modes[0].taken_over, &modes[0].fallback), (Mode::Native, false, &None));
        assert!(sh("ip -d link show va").contains("prog/xdp id"), "iproute2 calls native plain xdp");
        steering.detach_all().unwrap();
        assert!(!sh("ip -d link show va").contains("prog/xdp"));
        assert!(!dir.exists(), "the directory goes with the last pin");
    });
}

#[test]
fn auto_falls_back_to_generic_and_says_why() {
    in_namespace("fallback", |dir| {
        // The bridge's driver has no XDP.
        sh("ip link add va type bridge && ip link set va up");
        let port = SteerPort { device: "va".into(), ifindex: ifindex("va"), queues: 1, attach: Attach::Auto };
        let native = SteerPort { attach: Attach::Native, ..port.clone() };
        let refused = Steering::open(dir, &[native]).unwrap_err().to_string();
        assert!(refused.starts_with("va: attach in native mode: "), "{refused}");
        assert!(!dir.exists(), "a refused start leaves nothing");
        let steering = Steering::open(dir, &[port]).unwrap();
        let modes = steering.modes();
        assert_eq!(modes[0].mode, Mode::Generic);
        assert!(modes[0].fallback.is_some());
        steering.detach_all().unwrap();
    });
}

#[test]
fn generic_can_be_asked_for_and_changed_to_native_later() {
    in_namespace("generic", |dir| {
        let port = veth(Attach::Generic);
        let steering = Steering::open(dir, std::slice::from_ref(&port)).unwrap();
        assert_eq!(steering.modes()[0].mode, Mode::Generic);
        assert!(sh("ip -d link show va").contains("xdpgeneric"));
        drop(steering);
        // Auto takes over what is there; native does not.
        let auto = Steering::open(dir, &[SteerPort { attach: Attach::Auto, ..port.clone() }]).unwrap();
        assert_eq!((auto.modes()[0].mode, auto.modes()[0].taken_over), (Mode::Generic, true));
        drop(auto);
        let native = Steering::open(dir, &[SteerPort { attach: Attach::Native, ..port }]).unwrap();
        assert_eq!((native.modes()[0].mode, native.modes()[0].taken_over), (Mode::Native, false));
        native.detach_all().unwrap();
    });
}

#[test]
fn a_foreign_program_is_refused_by_name_and_the_first_port_is_released() {
    in_namespace("foreign", |dir| {
        let ours = veth(Attach::Auto);
        let other = SteerPort { device: "vb".into(), ifindex: ifindex("vb"), ..ours.clone() };
        let first = Steering::open(&dir.with_file_name("first"), std::slice::from_ref(&other)).unwrap();
        let error = Steering::open(dir, &[ours, other]).unwrap_err();
        assert!(
            matches!(&error, SteerError::Foreign { device, program: Some(_), .. } if device == "vb"),
            "{error}"
        );
        assert!(error.to_string().contains("`ip link set vb xdp off`"), "{error}");
        assert!(error.to_string().contains("bpftool link detach"), "{error}");
        assert!(!sh("ip -d link show va").contains("prog/xdp"), "a refused start leaves no program behind");
        assert!(!dir.exists());
        first.detach_all().unwrap();
    });
}

#[test]
fn a_killed_daemon_is_taken_over_on_the_same_link() {
    in_namespace("kill", |dir| {
        let port = veth(Attach::Auto);
        kill_a_holder(dir);
        let (link, program) = link_of(dir, "va");
        let mut steering = Steering::open(dir, std::slice::from_ref(&port)).unwrap();
        assert!(steering.modes()[0].taken_over);
        let after = link_of(dir, "va");
        assert_eq!(after.0, link, "the link never left the device");
        assert_ne!(after.1, program, "but the program behind it is the new one");
        // The dead daemon's rules are still there, so nothing is added, and reconcile takes away what is not wanted.
        assert_eq!(steering.reconcile(&rules()).unwrap(), Changes::default());
        assert!(steering.reconcile(&Rules::default()).unwrap().removed > 0);
        assert!(
            matches!(Steering::open(dir, &[port]), Err(SteerError::InUse { .. })),
            "one daemon a directory"
        );
        assert!(matches!(cleanup(dir), Err(SteerError::InUse { .. })));
        steering.detach_all().unwrap();
    });
}

#[test]
fn a_port_no_longer_listed_is_released_and_a_new_one_gets_its_own_slots() {
    in_namespace("ports", |dir| {
        let va = veth(Attach::Auto);
        let vb = SteerPort { device: "vb".into(), ifindex: ifindex("vb"), ..va.clone() };
        drop(Steering::open(dir, &[va, vb.clone()]).unwrap());
        let bases = dump(dir, "ports");
        assert_eq!(bases.lines().filter(|l| l.contains("value")).count(), 2, "{bases}");
        let steering = Steering::open(dir, &[vb]).unwrap();
        assert!(!sh("ip -d link show va").contains("prog/xdp"));
        assert!(sh("ip -d link show vb").contains("prog/xdp"));
        assert!(dump(dir, "ports").contains("\"value\": 64"), "vb keeps its slots, 64 on");
        steering.detach_all().unwrap();
    });
}

#[test]
fn a_stale_pin_of_a_vanished_device_is_replaced() {
    in_namespace("stale", |dir| {
        drop(Steering::open(dir, &[veth(Attach::Auto)]).unwrap());
        sh("ip link del va");
        sh("ip link add va type veth peer name vb && ip link set va up");
        let port = SteerPort { device: "va".into(), ifindex: ifindex("va"), queues: 1, attach: Attach::Auto };
        // As though the new device had got the old one's index.
        let layout = dir.join(LAYOUT);
        let stale = std::fs::read_dir(&layout)
            .unwrap()
            .flatten()
            .find(|f| f.file_name().to_string_lossy().starts_with("link-"));
        std::fs::rename(stale.unwrap().path(), layout.join(format!("link-{}", port.ifindex))).unwrap();
        let steering = Steering::open(dir, &[port]).unwrap();
        assert!(!steering.modes()[0].taken_over);
        steering.detach_all().unwrap();
    });
}

#[test]
fn an_older_layout_is_taken_over_and_removed() {
    in_namespace("layout", |dir| {
        let port = veth(Attach::Auto);
        drop(Steering::open(dir, std::slice::from_ref(&port)).unwrap());
        let link = link_of(dir, "va").0;
        std::fs::rename(dir.join(LAYOUT), dir.join("v0")).unwrap();
        let steering = Steering::open_with(dir, &[port], &rules()).unwrap();
        assert!(steering.modes()[0].taken_over);
        assert_eq!(link_of(dir, "va").0, link);
        assert!(!dir.join("v0").exists());
        steering.detach_all().unwrap();
    });
}

#[test]
fn changes_grow_shrink_and_reconcile_against_what_the_kernel_holds() {
    in_namespace("changes", |dir| {
        let (mut old, mut new) = (rules(), rules());
        old.services.insert(endpoint(9, 81));
        new.services.insert(endpoint(10, 82));
        new.snat[0].last = 50_000;
        let mut steering = Steering::open(dir, &[]).unwrap();
        steering.reconcile(&old).unwrap();
        // One service each way, with its address; the shorter range: its last prefixes go, others come.
        let grown = steering.grow(&new).unwrap();
        assert!(grown.added >= 2 && grown.removed == 0, "{grown:?}");
        let shrunk = steering.shrink(&new).unwrap();
        assert!(shrunk.removed >= 2 && shrunk.added == 0, "{shrunk:?}");
        assert_eq!(steering.reconcile(&new).unwrap(), Changes::default());
        // What somebody else put in is not looked for at every change, but goes when it is.
        let key = "0 ".repeat(20);
        sh(&format!("bpftool map update pinned {}/{LAYOUT}/services key {key} value 1", dir.display()));
        assert_eq!(steering.reconcile(&new).unwrap(), Changes::default(), "a change read all maps");
        steering.distrust();
        assert_eq!(steering.reconcile(&new).unwrap(), Changes { added: 0, removed: 1 });
        steering.detach_all().unwrap();
    });
}

#[test]
fn rules_that_do_not_fit_change_nothing() {
    in_namespace("full", |dir| {
        let mut steering = Steering::open(dir, &[]).unwrap();
        steering.reconcile(&rules()).unwrap();
        let mut many = Rules::default();
        many.local.extend((0..=65_536_u32).map(|i| Ip::from_v4((0x0a00_0000 + i).to_be_bytes())));
        let full = |error| matches!(error, SteerError::Full { map: "local_addresses", max: 65_536, .. });
        assert!(full(steering.reconcile(&many).unwrap_err()));
        assert!(full(steering.fits(&many).unwrap_err()));
        assert_eq!(steering.reconcile(&rules()).unwrap(), Changes::default());
        many.local.pop_first();
        assert!(full(steering.fits(&many).unwrap_err()), "beside those that are there");
        steering.fits(&rules()).unwrap();
        assert_eq!(steering.reconcile(&many).unwrap().added, 65_536, "a full map can be exchanged");
        steering.detach_all().unwrap();
    });
}

#[test]
fn cleanup_leaves_nothing_and_says_what_it_removed() {
    in_namespace("cleanup", |dir| {
        veth(Attach::Auto);
        kill_a_holder(dir);
        assert!(sh("ip -d link show va").contains("prog/xdp"), "a dead daemon's program stays");
        // Even while somebody else looks at the link.
        let pin = dir.join(format!("{LAYOUT}/link-{}", ifindex("va")));
        let _looking = aya::programs::links::PinnedLink::from_pin(pin).unwrap();
        let removed = cleanup(dir).unwrap();
        assert!(removed.iter().any(|l| l.contains("link-")), "{removed:?}");
        assert!(removed.iter().any(|l| l.contains("map ") && l.contains("services")), "{removed:?}");
        assert!(!sh("ip -d link show va").contains("prog/xdp"));
        assert!(!dir.exists());
        assert!(cleanup(dir).unwrap().is_empty(), "a second time there is nothing");
    });
}

#[test]
fn without_a_socket_ours_is_dropped_and_the_rest_passes() {
    in_namespace("dead", |dir| {
        let port = veth(Attach::Auto);
        sh("ip addr add 10.9.0.1/24 dev va && ip addr add 10.9.0.10/32 dev va");
        sh("ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev va");
        let mut rules = Rules::default();
        let ip = Ip::from_v4([10, 9, 0, 10]);
        rules.services.insert(Endpoint { ip, port: 80, protocol: Protocol::Udp });
        let steering = Steering::open_with(dir, std::slice::from_ref(&port), &rules).unwrap();
        let before = steering.counters().unwrap();
        let mac = sh("ip -o link show va").split("link/ether ").nth(1).unwrap()[..17].to_owned();
        for (port, times) in [(80, 3), (81, 2)] {
            send_udp("vb", &mac, port, times);
        }
        let after = steering.counters().unwrap();
        assert_eq!(after.unowned - before.unowned, 3);
        assert_eq!(after.redirected, before.redirected);
        assert!(after.passed - before.passed >= 2);
        steering.detach_all().unwrap();
    });
}

#[test]
fn a_socket_gets_what_is_ours_and_its_end_is_a_drop() {
    in_namespace("socket", |dir| {
        let port = veth(Attach::Auto);
        let mut rules = Rules::default();
        let ip = Ip::from_v4([10, 9, 0, 10]);
        rules.services.insert(Endpoint { ip, port: 80, protocol: Protocol::Udp });
        let mut steering = Steering::open_with(dir, std::slice::from_ref(&port), &rules).unwrap();
        let mac = sh("ip -o link show va").split("link/ether ").nth(1).unwrap()[..17].to_owned();
        let (mut frames, mut sockets, _) =
            open_worker(&[XdpSpec::of_device("va", 0).unwrap()], &XdpOptions::default()).unwrap();
        sockets[0].refill(&mut frames);
        steering.set_socket(port.ifindex, 0, sockets[0].socket_fd()).unwrap();
        let unknown = steering.set_socket(port.ifindex, 1, sockets[0].socket_fd());
        assert!(matches!(unknown, Err(SteerError::UnknownQueue { queue: 1, .. })));

        send_udp("vb", &mac, 81, 2);
        send_udp("vb", &mac, 80, 3);
        let mut list = FrameList::new();
        assert_eq!(sockets[0].rx(&mut frames, &mut list), 3);
        for frame in list.drain(..) {
            assert_eq!(frames.bytes(&frame)[36..38], 80_u16.to_be_bytes());
            frames.free(frame);
        }
        assert_eq!((steering.counters().unwrap().redirected, steering.counters().unwrap().unowned), (3, 0));
        steering.clear_sockets().unwrap();
        send_udp("vb", &mac, 80, 4);
        assert_eq!((steering.counters().unwrap().redirected, steering.counters().unwrap().unowned), (3, 4));
        assert_eq!(steering.counters().unwrap().of(Rule::Service), 7);
        steering.detach_all().unwrap();
    });
}

#[test]
fn a_directory_off_bpffs_and_a_device_that_is_not_there_are_named() {
    in_namespace("wrong", |dir| {
        let elsewhere = Path::new("/tmp/ringlead-not-bpffs");
        let error = Steering::open(elsewhere, &[]).unwrap_err().to_string();
        assert!(error.contains("mount -t bpf bpf /tmp/ringlead-not-bpffs"), "{error}");
        let mut port = SteerPort { device: "nope".into(), ifindex: 4242, queues: 1, attach: Attach::Auto };
        let error = Steering::open(dir, std::slice::from_ref(&port)).unwrap_err();
        assert!(matches!(&error, SteerError::NoDevice { device, .. } if device == "nope"), "{error}");
        port.queues = 65;
        assert!(matches!(Steering::open(dir, &[port]), Err(SteerError::TooManyQueues { .. })));
    });
}

/// The daemon that the tests above kill: a second run of this test binary.
#[test]
fn holder() {
    let Ok(dir) = std::env::var(HOLDER) else { return };
    let port = SteerPort { device: "va".into(), ifindex: ifindex("va"), queues: 1, attach: Attach::Auto };
    let _steering = Steering::open_with(Path::new(&dir), &[port], &rules()).unwrap();
    println!("\nheld");
    loop {
        std::thread::park();
    }
}

/// Starts a daemon on `va`, and kills it (SIGKILL) once it steers.
fn kill_a_holder(dir: &Path) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holder", "--nocapture"])
        .env(HOLDER, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "held"), "the holder ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A veth pair va, vb in the test's namespace; the port is va.
fn veth(attach: Attach) -> SteerPort {
    sh("ip link add va type veth peer name vb && ip link set va up && ip link set vb up");
    SteerPort { device: "va".into(), ifindex: ifindex("va"), queues: 1, attach }
}

/// (link id, program id) of a pinned link, as bpftool sees it.
fn link_of(dir: &Path, device: &str) -> (u32, u32) {
    let text = sh(&format!("bpftool link show pinned {}/{LAYOUT}/link-{}", dir.display(), ifindex(device)));
    let (id, rest) = text.split_once(": xdp").unwrap();
    (id.trim().parse().unwrap(), rest.split_whitespace().nth(1).unwrap().parse().unwrap())
}

fn dump(dir: &Path, map: &str) -> String {
    sh(&format!("bpftool map dump pinned {}/{LAYOUT}/{map}", dir.display()))
}

/// Sends UDP frames to 10.9.0.10 out of a device, by a packet socket of the tool at hand.
fn send_udp(device: &str, mac: &str, port: u16, times: u32) {
    let script = format!(
        "import socket,struct\n\
         s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\n\
         s.bind(('{device}',0x0800))\n\
         eth=bytes.fromhex('{mac}'.replace(':',''))+b'\\2\\0\\0\\0\\0\\2'+b'\\x08\\0'\n\
         ip=struct.pack('!BBHHHBBH4s4s',0x45,0,28,1,0,64,17,0,bytes([10,9,0,2]),bytes([10,9,0,10]))\n\
         [s.send(eth+ip+struct.pack('!HHHH',1234,{port},8,0)+bytes(18)) for _ in range({times})]\n"
    );
    let status = Command::new("python3").args(["-c", &script]).status().unwrap();
    assert!(status.success());
}

fn endpoint(last: u8, port: u16) -> Endpoint {
    Endpoint { ip: Ip::from_v4([192, 0, 2, last]), port, protocol: Protocol::Tcp }
}

fn rules() -> Rules {
    Rules {
        services: BTreeSet::from([endpoint(1, 80), endpoint(2, 443)]),
        nat_servers: BTreeSet::from([endpoint(101, 8080)]),
        local: BTreeSet::from([Ip::from(std::net::IpAddr::from(Ipv4Addr::new(192, 0, 2, 254)))]),
        snat: vec![SnatRange { ip: Ip::from_v4([192, 0, 2, 3]), protocol: None, first: 1024, last: 60_999 }],
        ..Rules::default()
    }
}
