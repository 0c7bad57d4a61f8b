//! Two network namespaces made by the test, joined by a veth pair: `p0` here, where a balancer would be, and `p1` at the
//! server. They have no names, so they end with the process, however it ends.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(unreachable_pub, reason = "a module of a test binary")]

pub mod frames;
pub mod sockets;

use std::io::Write;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use nix::sched::{CloneFlags, CpuSet, sched_getcpu, sched_setaffinity, unshare};
use nix::unistd::{Pid, geteuid, gettid};

/// Transmit queues of `p0`. More than the one receive queue of `p1` make native XDP impossible there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Driver {
    Native,
    Generic,
}

/// Runs a test in a namespace of its own. Without root, says so and passes, but not where everything must run.
pub fn run(driver: Driver, test: impl FnOnce(Lab) + Send + 'static) {
    if !geteuid().is_root() {
        assert!(
            std::env::var_os("RINGLEAD_NO_SKIP").is_none(),
            "a test may not be left out here: needs root"
        );
        let _ = writeln!(std::io::stderr(), "SKIPPED: network namespaces need root");
        return;
    }
    let body = move || {
        // Frames sent from two processors may overtake one another.
        let mut processor = CpuSet::new();
        processor.set(sched_getcpu().unwrap()).unwrap();
        sched_setaffinity(Pid::from_raw(0), &processor).unwrap();
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        test(Lab::new(driver));
    };
    if let Err(panic) = thread::spawn(body).join() {
        std::panic::resume_unwind(panic);
    }
}

pub struct Lab {
    server: mpsc::Sender<Job>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Lab {
    fn new(driver: Driver) -> Self {
        let (server, tid) = start_server();
        let lab = Self { server };
        let queues = if driver == Driver::Native { 1 } else { 2 };
        lab.here(&format!(
            "ip link add p0 address 02:00:00:00:00:01 numtxqueues {queues} type veth \
             peer name p1 address 02:00:00:00:00:02 numrxqueues 1 netns {tid}"
        ));
        lab.here("ip link set lo up");
        lab.here("ip address add 10.1.0.9/32 dev lo; ip address add fd01::9/128 dev lo");
        lab.here("ip address add 10.2.0.1/24 dev p0; ip address add fd02::1/64 dev p0 nodad");
        lab.here("ip link set p0 up");
        // As a server in tunnel mode is set up: the service address on lo, no filter by source.
        lab.at_server("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0");
        lab.at_server("sysctl -qw net.ipv4.conf.p1.rp_filter=0");
        lab.at_server("ip link set lo up");
        lab.at_server("ip address add 10.9.0.3/32 dev lo; ip address add fd09::3/128 dev lo");
        lab.at_server("ip address add 10.2.0.11/24 dev p1; ip address add fd02::11/64 dev p1 nodad");
        lab.at_server("ip link set p1 up");
        // Neighbours are fixed, so that the kernels send nothing of their own between the test's frames.
        for address in ["10.2.0.1", "fd02::1"] {
            lab.at_server(&format!("ip neighbour replace {address} lladdr 02:00:00:00:00:01 dev p1"));
            lab.at_server(&format!("ip route add default via {address}"));
        }
        // Until the kernel has noticed the carrier, a port swallows what it is given to send.
        lab.here(&until_up("p0"));
        lab.at_server(&until_up("p1"));
        lab
    }

    /// Runs a command in this namespace.
    pub fn here(&self, command: &str) {
        shell(command);
    }

    /// Runs a command in the server's namespace.
    pub fn at_server(&self, command: &str) {
        let command = command.to_owned();
        self.server(move || shell(&command));
    }

    /// Does something in the server's namespace. A socket opened there belongs there for good.
    pub fn server<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, answered) = mpsc::channel();
        let job = move || answer.send(job()).unwrap_or_default();
        self.server.send(Box::new(job)).unwrap();
        answered.recv().unwrap()
    }
}

/// A thread in another namespace that does jobs until the lab is dropped.
fn start_server() -> (mpsc::Sender<Job>, i32) {
    let (sender, jobs) = mpsc::channel::<Job>();
    let (ready, is_ready) = mpsc::channel();
    thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        ready.send(gettid().as_raw()).unwrap();
        jobs.into_iter().for_each(|job| job());
    });
    (sender, is_ready.recv().unwrap())
}

fn until_up(device: &str) -> String {
    format!(
        "for _ in $(seq 1000); do case $(ip link show {device}) in *'qdisc noqueue state UP'*) exit 0;; esac; \
         sleep 0.01; done; ip link show {device} >&2; exit 1"
    )
}

fn shell(command: &str) {
    let output = Command::new("sh").args(["-ec", command]).output().expect("sh");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{command}` failed: {errors}");
}
