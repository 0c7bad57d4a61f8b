//! Two network namespaces made by the test, joined by a veth pair: `p0` here (10.1.0.1, fd00:1::1) and `p1` at the
//! peer (10.1.0.2, fd00:1::2).
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(unreachable_pub, reason = "a module of a test binary")]

use std::process::{Command, Output};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Uid, gettid};

pub const HERE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Run a test in a namespace of its own, on a current_thread runtime. Without root, say so and pass.
pub fn run(test: impl AsyncFnOnce(Lab) + Send + 'static) {
    if !Uid::effective().is_root() {
        eprintln!("SKIPPED: network namespaces need root");
        return;
    }
    let body = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let lab = Lab::new();
            tokio::time::timeout(Duration::from_secs(60), test(lab)).await.expect("the test took 60 s");
        });
    };
    if let Err(panic) = thread::spawn(body).join() {
        std::panic::resume_unwind(panic);
    }
}

pub struct Lab {
    peer: mpsc::Sender<Job>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Lab {
    fn new() -> Self {
        let (peer, tid) = start_peer();
        let lab = Self { peer };
        lab.here("ip link set lo up");
        lab.here("ip link add p0 address 02:00:00:00:00:01 type veth peer name p1 address 02:00:00:00:00:02");
        lab.here(&format!("ip link set p1 netns {tid}"));
        lab.here("ip address add 10.1.0.1/24 dev p0");
        lab.here("ip address add fd00:1::1/64 dev p0 nodad");
        lab.peer("ip address add 10.1.0.2/24 dev p1");
        lab.peer("ip address add fd00:1::2/64 dev p1 nodad");
        lab.here("ip link set p0 up");
        lab.peer("ip link set lo up");
        lab.peer("ip link set p1 up");
        lab
    }

    /// Run a command in this namespace; give what it printed.
    pub fn here(&self, command: &str) -> String {
        printed(command, run_command(command))
    }

    /// Run a command in the peer's namespace; give what it printed.
    pub fn peer(&self, command: &str) -> String {
        let job = command.to_owned();
        printed(command, self.at_peer(move || run_command(&job)))
    }

    /// Run something in the peer's namespace. A socket opened there belongs there for good.
    pub fn at_peer<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, answered) = mpsc::channel();
        let job = move || answer.send(job()).unwrap_or_default();
        self.peer.send(Box::new(job)).unwrap();
        answered.recv().unwrap()
    }

    /// The index of an interface here.
    pub fn ifindex(&self, name: &str) -> u32 {
        nix::net::if_::if_nametoindex(name).expect("the interface")
    }
}

/// A thread in another namespace that does jobs until the lab is dropped.
fn start_peer() -> (mpsc::Sender<Job>, i32) {
    let (sender, jobs) = mpsc::channel::<Job>();
    let (ready, is_ready) = mpsc::channel();
    thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        ready.send(gettid().as_raw()).unwrap();
        jobs.into_iter().for_each(|job| job());
    });
    (sender, is_ready.recv().unwrap())
}

fn run_command(command: &str) -> Output {
    Command::new("sh").args(["-c", command]).output().expect("sh")
}

fn printed(command: &str, output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{command}` failed: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
