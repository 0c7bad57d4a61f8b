//! The laboratory: `tools/lab` as a guard, and its addresses as constants.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::config::{Family, Mode};
use crate::{Process, in_namespace, workspace_root};

/// How many servers a lab has: `Node::Server(1)` to `Node::Server(SERVERS)`.
pub const SERVERS: u8 = 3;

/// The last number of the client's source addresses, which begin at 2: 10.1.0.2 to 10.1.0.60, fd01::2 to fd01::60.
pub const CLIENT_SOURCES: u8 = 60;

/// A namespace of the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// Where clients run: c0 faces the balancer, c1 takes the replies of dsr servers.
    Client,
    /// Where ringlead runs: l0 faces the client, l1 the servers.
    Balancer,
    /// Where the second ringlead runs, in a lab of two nodes: as the first one.
    Second,
    /// The bridge between balancer, servers and the client's c1.
    Switch,
    /// A server, counted from 1: e0.
    Server(u8),
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("c"),
            Self::Balancer => f.write_str("lb"),
            Self::Second => f.write_str("lb2"),
            Self::Switch => f.write_str("sw"),
            Self::Server(number) => write!(f, "s{number}"),
        }
    }
}

/// What may differ between labs.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    /// Receive queues of the balancer's ports.
    pub queues: u8,
    /// Transmit queues of the ends that face them. More than `queues` makes native XDP impossible on veth.
    pub far_queues: u8,
    /// MTU of every port, bytes.
    pub mtu: u16,
    /// Balancers, 1 or 2.
    pub nodes: u8,
    /// Leave offloads on: frames from local sockets then carry partial checksums.
    pub offload: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self { queues: 2, far_queues: 2, mtu: 1500, nodes: 1, offload: false }
    }
}

/// A laboratory of namespaces. Dropping it ends the processes inside and removes it, unless the test failed and
/// `RINGLEAD_KEEP_LAB` is set.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    network: Network,
    files: TempDir,
    outputs: AtomicU32,
}

impl Lab {
    /// Whether this process may build labs: it must be root.
    #[must_use]
    pub fn possible() -> bool {
        nix::unistd::geteuid().is_root()
    }

    /// Builds a lab with the usual network. `name` tells apart the labs of one process.
    ///
    /// # Panics
    /// When it cannot be built.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::with(name, Network::default())
    }

    /// Builds a lab.
    ///
    /// # Panics
    /// When it cannot be built.
    #[must_use]
    pub fn with(name: &str, network: Network) -> Self {
        remove_left_overs();
        let prefix = format!("{}{}-{name}", family_of_prefixes(), std::process::id());
        let files = tempfile::Builder::new().prefix(&prefix).tempdir().expect("make a folder for the lab");
        let lab = Self { prefix, network, files, outputs: AtomicU32::new(0) };
        fs::create_dir(lab.files().join("state")).expect("make the state folder");
        script(&lab.prefix, "up", network);
        lab
    }

    /// The prefix of the namespaces' names.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What the lab was built with.
    #[must_use]
    pub fn network(&self) -> Network {
        self.network
    }

    /// A folder that lives as long as the lab.
    #[must_use]
    pub fn files(&self) -> &Path {
        self.files.path()
    }

    /// Where a balancer in this lab pins its programs and maps.
    #[must_use]
    pub fn bpf_dir(&self) -> PathBuf {
        PathBuf::from(format!("/sys/fs/bpf/ringlead-{}", self.prefix))
    }

    /// Where the second balancer does.
    #[must_use]
    pub fn second_bpf_dir(&self) -> PathBuf {
        PathBuf::from(format!("{}-2", self.bpf_dir().display()))
    }

    /// Runs `work` in a thread inside a namespace.
    pub fn within<T: Send>(&self, node: Node, work: impl FnOnce() -> T + Send) -> T {
        in_namespace(&format!("{}-{node}", self.prefix), work)
    }

    /// Starts a program inside a namespace.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use = "dropping the process ends it"]
    pub fn spawn(&self, node: Node, program: impl AsRef<Path>, args: &[&str]) -> Process {
        let program = program.as_ref();
        let name = program.file_name().unwrap_or_default().display().to_string();
        let number = self.outputs.fetch_add(1, Ordering::Relaxed);
        let output = self.files().join(format!("{number:02}-{node}-{name}.log"));
        self.within(node, || Process::start(Command::new(program).args(args), &output))
            .unwrap_or_else(|e| panic!("start {} in {node}: {e}", program.display()))
    }

    /// Runs a program inside a namespace to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run(&self, node: Node, program: impl AsRef<Path>, args: &[&str]) -> Output {
        let program = program.as_ref();
        self.within(node, || Command::new(program).args(args).stdin(Stdio::null()).output())
            .unwrap_or_else(|e| panic!("run {} in {node}: {e}", program.display()))
    }

    /// Runs a program that must succeed inside a namespace and returns what it wrote to standard output.
    ///
    /// # Panics
    /// When it cannot be started or fails.
    pub fn must_run(&self, node: Node, program: impl AsRef<Path>, args: &[&str]) -> String {
        let output = self.run(node, &program, args);
        assert!(
            output.status.success(),
            "{} {args:?} in {node}: {}\n{}{}",
            program.as_ref().display(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The balancer's own address: facing the client, 10.1.0.1 or fd01::1.
    #[must_use]
    pub fn balancer(family: Family) -> IpAddr {
        address(family, 1, 1)
    }

    /// A server's own address, 10.2.0.11 or fd02::11 for the first.
    #[must_use]
    pub fn server(family: Family, number: u8) -> IpAddr {
        address(family, 2, 10 + number)
    }

    /// The address of the services of a mode: nat 10.9.0.1 or fd09::1, dsr .2, tunnel .3, snat .4.
    #[must_use]
    pub fn service(family: Family, mode: Mode) -> IpAddr {
        let host = match mode {
            Mode::Nat => 1,
            Mode::Dsr => 2,
            Mode::Tunnel => 3,
            Mode::Snat => 4,
        };
        address(family, 9, host)
    }

    /// The address of services of layer l7: 10.9.0.5 or fd09::5.
    #[must_use]
    pub fn l7_service(family: Family) -> IpAddr {
        address(family, 9, 5)
    }

    /// A balancer's address in the servers' network, 10.2.0.1 or fd02::1 for the first.
    #[must_use]
    pub fn node(family: Family, number: u8) -> IpAddr {
        address(family, 2, number)
    }

    /// Lets the client reach an address by the first or the second balancer.
    ///
    /// # Panics
    /// When the route cannot be set.
    pub fn route_by(&self, to: IpAddr, number: u8) {
        let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
        let via = address(family, if number == 1 { 1 } else { 3 }, 1).to_string();
        let source = address(family, 1, 2).to_string();
        let to = format!("{to}/{}", if to.is_ipv4() { 32 } else { 128 });
        self.must_run(Node::Client, "ip", &["route", "replace", &to, "via", &via, "src", &source]);
    }

    /// What servers of snat services see in place of IPv4 clients: addresses of the servers' own network.
    pub const SNAT_V4: &str = "10.2.0.200-10.2.0.203";

    /// What they see in place of IPv6 clients.
    pub const SNAT_V6: &str = "fd02::c8";

    /// The client's source addresses, facing the balancer.
    #[must_use]
    pub fn clients(family: Family) -> Vec<IpAddr> {
        (2..=CLIENT_SOURCES).map(|number| address(family, 1, number)).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("RINGLEAD_KEEP_LAB").is_some() {
            eprintln!("the lab is kept: tools/lab {} show, tools/lab {0} down", self.prefix);
        } else if std::thread::panicking() {
            let _ = command(&self.prefix, "down").status(); // a second panic would hide the first
        } else {
            script(&self.prefix, "down", self.network);
        }
    }
}

/// Removes labs whose process is gone, killed before it could do so itself.
fn remove_left_overs() {
    let Ok(entries) = fs::read_dir("/run/netns") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((prefix, _)) = name.rsplit_once('-') else { continue };
        let Some(rest) = prefix.strip_prefix(&family_of_prefixes()) else { continue };
        let Some((id, _)) = rest.split_once('-') else { continue };
        if id.parse::<u32>().is_ok() && !Path::new("/proc").join(id).exists() {
            let _ = command(prefix, "down").status();
        }
    }
}

/// How the prefixes of all labs of this run begin, so that whoever started the run can remove them.
fn family_of_prefixes() -> String {
    std::env::var("RINGLEAD_LAB").unwrap_or_else(|_| "rl".to_owned())
}

fn script(prefix: &str, verb: &str, network: Network) {
    let output = command(prefix, verb)
        .env("QUEUES", network.queues.to_string())
        .env("FAR_QUEUES", network.far_queues.to_string())
        .env("MTU", network.mtu.to_string())
        .env("NODES", network.nodes.to_string())
        .env("OFFLOAD", u8::from(network.offload).to_string())
        .output()
        .expect("run tools/lab");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tools/lab {prefix} {verb}: {}\n{said}", output.status);
}

fn command(prefix: &str, verb: &str) -> Command {
    let mut command = Command::new(workspace_root().join("tools/lab"));
    command.args([prefix, verb]).stdin(Stdio::null());
    command
}

/// 10.NETWORK.0.HOST, or fd0NETWORK::HOST where the host's decimal digits are read as they stand (10 is ::10).
fn address(family: Family, network: u8, host: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, network, 0, host).into(),
        Family::V6 => {
            let digits = u16::from(host / 10) * 16 + u16::from(host % 10);
            Ipv6Addr::new(0xfd00 + u16::from(network), 0, 0, 0, 0, 0, 0, digits).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_script() {
        assert_eq!(Lab::server(Family::V4, 1).to_string(), "10.2.0.11");
        assert_eq!(Lab::server(Family::V6, 3).to_string(), "fd02::13");
        assert_eq!(Lab::service(Family::V6, Mode::Dsr).to_string(), "fd09::2");
        assert_eq!(Lab::service(Family::V4, Mode::Snat).to_string(), "10.9.0.4");
        assert_eq!(Lab::clients(Family::V6).last().unwrap().to_string(), "fd01::60");
        assert_eq!(Lab::clients(Family::V4).len(), 59);
    }
}
