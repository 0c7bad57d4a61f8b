//! The receiving ports' program in the kernel: which frames it takes, mode by mode. Needs root.

use super::modes::wrap;
use crate::mode::Mode;
use crate::setup::{PortRef, Prefix, Setup};
use crate::station::Station;
use nix::sched::{CloneFlags, unshare};
use ringlead_io::af_xdp::XdpPort;
use ringlead_io::{FrameList, Port};
use ringlead_wire::build::{Packet, arp_request};
use ringlead_witness::Encapsulation;
use std::process::Command;
use std::time::{Duration, Instant};

const CLIENT: &str = "198.18.0.9:2000";
const CLIENT_6: &str = "[2001:2:0:1::9]:2000";
/// How long the last frame may be on its way before the test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A case: its name, the frame, and whether the program takes it in `nat`, in `snat` and in `tunnel` mode.
type Case = (&'static str, Vec<u8>, [bool; 3]);

const ALL: [bool; 3] = [true; 3];
const NONE: [bool; 3] = [false; 3];
const SNAT: [bool; 3] = [false, true, false];
const TUNNEL: [bool; 3] = [false, false, true];

fn plain_cases() -> Vec<Case> {
    let udp = |from: &str, to: &str| Packet::udp(from, to).payload([7; 20]).build();
    let tcp = |from: &str, to: &str| Packet::tcp(from, to).payload([7; 20]).build();
    let fragments =
        Packet::udp("10.3.0.7:2500", "10.2.0.1:80").dont_fragment(false).payload([7; 600]).fragments(400);
    vec![
        ("from a client", udp(CLIENT, "10.2.0.1:80"), ALL),
        ("to a client", tcp("10.9.0.1:80", CLIENT), ALL),
        ("from an IPv6 client", tcp(CLIENT_6, "[fd02::1]:80"), ALL),
        ("others'", udp("10.1.0.1:9", "10.2.0.1:80"), NONE),
        ("others', IPv6", udp("[fd01::1]:2500", "[fd02::1]:80"), NONE),
        ("a question for an address", arp_request("10.2.0.1", "10.2.0.2"), NONE),
        ("the SNAT pool's first port", tcp("10.3.0.7:2000", "10.2.0.1:80"), SNAT),
        ("its last port", udp("10.3.0.7:2999", "10.2.0.1:80"), SNAT),
        ("a health check from below", tcp("10.3.0.7:1999", "10.2.0.1:80"), NONE),
        ("a health check from above", tcp("10.3.0.7:3000", "10.2.0.1:80"), NONE),
        ("a neighbour of the pool", tcp("10.3.1.7:2500", "10.2.0.1:80"), NONE),
        ("the pool's second prefix", tcp("10.3.9.1:2500", "10.2.0.1:80"), SNAT),
        ("the IPv6 pool", udp("[fd03::ff]:2500", "[fd02::1]:80"), SNAT),
        ("a neighbour of the IPv6 pool", udp("[fd03::100]:2500", "[fd02::1]:80"), NONE),
        ("an IPv6 health check", udp("[fd03::ff]:1999", "[fd02::1]:80"), NONE),
        ("a first fragment", fragments[0].clone(), SNAT),
        ("a second fragment", fragments[1].clone(), SNAT),
    ]
}

fn wrapped_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for encapsulation in [Encapsulation::Ipip, Encapsulation::Gue, Encapsulation::GueZero] {
        for outer_v6 in [false, true] {
            let mut add = |name, from: &str, to: &str, taken| {
                let mut frame = Packet::tcp(from, to).payload([7; 20]).build();
                wrap(&mut frame, encapsulation, outer_v6, 1, 77);
                cases.push((name, frame, taken));
            };
            add("a client's in a tunnel", CLIENT, "10.9.0.1:80", TUNNEL);
            add("an IPv6 client's in a tunnel", CLIENT_6, "[fd09::1]:80", TUNNEL);
            add("a health check in a tunnel", "10.4.0.1:2000", "10.9.0.1:80", NONE);
            add("an IPv6 health check in a tunnel", "[fd04::1]:2000", "[fd09::1]:80", NONE);
            add("to a client in a tunnel", "10.9.0.1:80", CLIENT, NONE);
        }
    }
    let mut other_port = Packet::tcp(CLIENT, "10.9.0.1:80").payload([7; 20]).build();
    wrap(&mut other_port, Encapsulation::Gue, false, 1, 77);
    other_port[37] ^= 1;
    cases.push(("a tunnel to another port", other_port, NONE));
    let mut short = Packet::udp("10.4.0.1:5", "10.2.0.1:6080").payload([0x45; 12]).build();
    cases.push(("a packet cut off in a tunnel", short.clone(), NONE));
    short.truncate(42);
    cases.push(("a tunnel with nothing in it", short, NONE));
    cases
}

fn setup(mode: Mode) -> Setup {
    let mut setup = Setup::new(mode);
    let nets = ["10.3.0.0/24", "fd03::/120", "10.3.9.1/32"];
    setup.snat.sources = nets.map(|text| text.parse::<Prefix>().unwrap().into()).to_vec();
    setup.snat.ports = 2000..=2999;
    setup
}

/// Both ends of a link, in a namespace that ends with the thread.
struct Link {
    here: Station<XdpPort>,
    there: Station<XdpPort>,
    mac: [u8; 6],
}

impl Link {
    fn new(setup: &Setup) -> Self {
        for line in ["add t0 type veth peer name t1", "set t0 up", "set t1 up"] {
            let ip = Command::new("ip").arg("link").args(line.split(' ')).output().unwrap();
            assert!(ip.status.success(), "ip link {line}: {}", String::from_utf8_lossy(&ip.stderr));
        }
        let ports: Vec<PortRef> = ["t0", "t1"].map(|name| name.parse().unwrap()).to_vec();
        let (here, infos) = Station::open(setup, &ports, &[0]).unwrap();
        let (there, _) = Station::open(setup, &ports, &[1]).unwrap();
        Self { here, there, mac: infos[0].mac }
    }

    fn send(&mut self, bytes: &[u8], mac: [u8; 6]) {
        self.there.begin();
        let frames = &mut self.there.frames;
        let mut frame = frames.alloc().unwrap();
        assert!(frames.copy_in(&mut frame, bytes));
        frames.bytes_mut(&mut frame)[..6].copy_from_slice(&mac);
        let mut list = FrameList::new();
        list.push(frame);
        assert_eq!(self.there.lanes[0].io.tx(frames, &mut list), 1);
        self.there.kick();
    }

    /// Every frame that was taken up to the one that ends with `last`, the Ethernet destination left out.
    fn taken(&mut self, last: &[u8]) -> Vec<Vec<u8>> {
        let (mut taken, begun) = (Vec::new(), Instant::now());
        while taken.last().is_none_or(|frame: &Vec<u8>| frame != last) {
            assert!(begun.elapsed() < PATIENCE, "the last frame never came");
            self.here.begin();
            self.there.begin();
            self.there.kick();
            let mut list = FrameList::new();
            self.here.lanes[0].io.rx(&mut self.here.frames, &mut list);
            for frame in list.drain(..) {
                taken.push(self.here.frames.bytes(&frame)[6..].to_vec());
                self.here.frames.free(frame);
            }
            self.here.kick();
        }
        taken
    }
}

fn takes(mode: Mode, column: usize) {
    let mut link = Link::new(&setup(mode));
    let cases: Vec<Case> = plain_cases().into_iter().chain(wrapped_cases()).collect();
    let last = Packet::udp(CLIENT, "10.2.0.1:81").payload(b"the last one").build();
    let stranger = Packet::udp(CLIENT, "10.2.0.1:82").payload(b"to another port").build();
    let mac = link.mac;
    link.send(&stranger, [2, 0, 0, 0, 9, 9]);
    cases.iter().for_each(|(_, frame, _)| link.send(frame, mac));
    link.send(&last, mac);
    let taken = link.taken(&last[6..]);
    assert!(!taken.contains(&stranger[6..].to_vec()), "{mode}: sent to another Ethernet address");
    for (name, frame, wanted) in &cases {
        assert_eq!(taken.contains(&frame[6..].to_vec()), wanted[column], "{mode}: {name}");
    }
    let wanted = cases.iter().filter(|(_, _, wanted)| wanted[column]).count();
    assert_eq!(taken.len(), wanted + 1, "{mode}");
}

#[test]
fn the_program_takes_its_modes_frames_and_no_others() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: it needs root");
        return;
    }
    for (column, mode) in [Mode::Nat, Mode::Snat, Mode::Tunnel].into_iter().enumerate() {
        let test = move || {
            // A thread's unshare moves only the thread, and what it starts.
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            takes(mode, column);
        };
        std::thread::spawn(test).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}
