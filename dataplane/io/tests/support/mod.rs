//! Two network namespaces joined by two veth pairs, and a program that redirects everything to AF_XDP.

mod counting;

pub(crate) use counting::allocations;

use aya::maps::XskMap;
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use nix::sched::{CloneFlags, setns};
use ringlead_io::Port;
use ringlead_io::af_xdp::XdpPort;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Says why there is nothing to test here, or `None`.
pub(crate) fn reason_to_skip() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root for namespaces and AF_XDP");
    }
    ["ip", "clang"]
        .into_iter()
        .find(|tool| Command::new(tool).arg("-V").output().is_err())
        .map(|_| "needs ip and clang")
}

/// Namespaces `near` and `far`, with `a0` and `b0` in near joined to `a1` and `b1` in far. Gone when dropped.
pub(crate) struct Lab {
    near: String,
    far: String,
    home: File,
    scratch: PathBuf,
}

impl Lab {
    /// `name` tells the tests of one process apart. Each end has `queues` queues.
    pub(crate) fn new(name: &str, queues: u32) -> Self {
        let tag = format!("rlio{}{name}", std::process::id());
        let scratch = std::env::temp_dir().join(&tag);
        std::fs::create_dir_all(&scratch).unwrap();
        let home = File::open("/proc/thread-self/ns/net").unwrap();
        let lab = Self { near: format!("{tag}n"), far: format!("{tag}f"), home, scratch };
        ip(&["netns", "add", &lab.near]);
        ip(&["netns", "add", &lab.far]);
        let queues = queues.to_string();
        for pair in ["a", "b"] {
            let (near_end, far_end) = (format!("{pair}0"), format!("{pair}1"));
            ip(&[
                "-n",
                &lab.near,
                "link",
                "add",
                &near_end,
                "numrxqueues",
                &queues,
                "numtxqueues",
                &queues,
                "type",
                "veth",
                "peer",
                "name",
                &far_end,
                "netns",
                &lab.far,
                "numrxqueues",
                &queues,
                "numtxqueues",
                &queues,
            ]);
            for (namespace, device) in [(&lab.near, &near_end), (&lab.far, &far_end)] {
                // Otherwise the kernel's own neighbour discovery mixes with what the test counts.
                let quiet = format!("net.ipv6.conf.{device}.disable_ipv6=1");
                let status =
                    Command::new("ip").args(["netns", "exec", namespace, "sysctl", "-qw", &quiet]).status();
                assert!(status.unwrap().success());
                ip(&["-n", namespace, "link", "set", device, "up"]);
            }
        }
        lab
    }

    /// Runs `work` with this thread in the near (`true`) or far namespace.
    pub(crate) fn inside<T>(&self, near: bool, work: impl FnOnce() -> T) -> T {
        let name = if near { &self.near } else { &self.far };
        let namespace = File::open(Path::new("/run/netns").join(name)).unwrap();
        setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
        let result = work();
        setns(&self.home, CloneFlags::CLONE_NEWNET).unwrap();
        result
    }

    /// Redirects what arrives at each port's device to the port; call inside the ports' namespace. Detaches when dropped.
    pub(crate) fn redirect(&self, ports: &[XdpPort]) -> Vec<Ebpf> {
        let object = self.scratch.join("redirect.o");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/redirect.c");
        let status = Command::new("clang")
            .args(["-O2", "-g", "-target", "bpf", "-c"])
            .arg(&source)
            .arg("-o")
            .arg(&object)
            .status()
            .unwrap();
        assert!(status.success(), "clang on {}", source.display());
        let mut devices: Vec<&str> = ports.iter().map(|port| port.caps().device.as_str()).collect();
        devices.dedup();
        devices.iter().map(|device| attach(&object, device, ports)).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = setns(&self.home, CloneFlags::CLONE_NEWNET);
        for namespace in [&self.near, &self.far] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

fn attach(object: &Path, device: &str, ports: &[XdpPort]) -> Ebpf {
    let mut program = EbpfLoader::new().load_file(object).unwrap();
    let mut sockets = XskMap::try_from(program.map_mut("sockets").unwrap()).unwrap();
    for port in ports.iter().filter(|port| port.caps().device == device) {
        sockets.set(port.caps().queue, port.socket_fd(), 0).unwrap();
    }
    let xdp: &mut Xdp = program.program_mut("redirect").unwrap().try_into().unwrap();
    xdp.load().unwrap();
    xdp.attach(device, XdpMode::Driver).unwrap();
    program
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
