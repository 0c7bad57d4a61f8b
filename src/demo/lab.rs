//! The lab as a guard: the script `tools/lab`, carried inside the program, and a folder for files.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::stop::{During, Step, failed};

/// What builds and removes the namespaces.
pub(super) const SCRIPT: &str = include_str!("../../tools/lab");

/// How many servers a lab has: `s1` to `s3`.
pub(super) const SERVERS: u8 = 3;

/// A server's network interface, in its namespace.
pub(super) const SERVER_DEVICE: &str = "e0";

/// How the prefixes of the demo's labs begin; the demo's process id follows.
const PREFIX: &str = "demo";

/// A namespace of the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    /// Where clients run.
    Client,
    /// Where ringlead runs.
    Balancer,
    /// A server, counted from 1.
    Server(u8),
}

/// Namespaces and a folder. Dropping it ends every process inside and removes both.
#[derive(Debug)]
pub(super) struct Lab {
    prefix: String,
    files: PathBuf,
    queues: usize,
    removed: bool,
}

impl Lab {
    /// Builds a lab whose ports have these many queues, and first removes labs of demos that were killed.
    ///
    /// # Errors
    /// What the script says.
    pub(super) fn new(queues: usize) -> Step<Self> {
        remove_left_overs();
        let prefix = format!("{PREFIX}{}", std::process::id());
        let files = folder(&prefix);
        let lab = Self { prefix, files, queues, removed: false };
        let _ = fs::remove_dir_all(&lab.files); // of a process that had our id before
        DirBuilder::new().mode(0o700).create(&lab.files).during("make a folder for the demo")?;
        fs::create_dir(lab.files.join("state")).during("make a folder for the demo")?;
        lab.script("up")?;
        Ok(lab)
    }

    /// A folder that goes with the lab.
    pub(super) fn files(&self) -> &Path {
        &self.files
    }

    /// Where a balancer in this lab pins its programs and maps.
    pub(super) fn bpf_dir(&self) -> PathBuf {
        PathBuf::from(format!("/sys/fs/bpf/ringlead-{}", self.prefix))
    }

    /// A program to start inside a namespace, in a process group of its own: Ctrl-C at the terminal is the demo's
    /// business, which ends the others in order.
    pub(super) fn command(&self, node: Node, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}-{}", self.prefix, node.word()));
        command.arg(program.as_ref()).process_group(0).stdin(Stdio::null());
        command
    }

    /// A file under /proc as a namespace sees it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(&self, node: Node, file: &str) -> Step<String> {
        let output = self.command(node, "cat").arg(file).output().during("run nsenter")?;
        if !output.status.success() {
            return failed(format!("read {file}: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// AF_XDP sockets in the balancer's namespace, as its kernel counts them.
    ///
    /// # Errors
    /// When the kernel's list cannot be read.
    pub(super) fn xdp_sockets(&self) -> Step<u64> {
        Ok(sockets_of("XDP", &self.read(Node::Balancer, "/proc/net/protocols")?))
    }

    /// Removes the lab and looks whether anything is left.
    ///
    /// # Errors
    /// What the script says, or what is left.
    pub(super) fn remove(mut self) -> Step<()> {
        self.removed = true;
        let script = self.script("down");
        let folder = fs::remove_dir_all(&self.files);
        script?;
        folder.during("remove the demo's folder")?;
        match names_of(&self.prefix).first() {
            Some(name) => failed(format!("the namespace {name} is left")),
            None => Ok(()),
        }
    }

    fn script(&self, verb: &str) -> Step<()> {
        let output = script(&self.prefix, verb, self.queues).during("run the lab's script")?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        failed(format!("the lab's script, {verb}: {}\n{}", output.status, said.trim()))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.removed {
            let _ = self.script("down"); // an error is on its way already, or somebody pressed Ctrl-C
            let _ = fs::remove_dir_all(&self.files);
        }
    }
}

impl Node {
    /// As the script names it.
    fn word(self) -> String {
        match self {
            Self::Client => "c".to_owned(),
            Self::Balancer => "lb".to_owned(),
            Self::Server(number) => format!("s{number}"),
        }
    }
}

/// Feeds the script to a shell, with every setting given: the caller's environment shall not change the lab.
fn script(prefix: &str, verb: &str, queues: usize) -> io::Result<Output> {
    let mut child = Command::new("bash")
        .args(["-s", "--", prefix, verb])
        .env("QUEUES", queues.to_string())
        .env("FAR_QUEUES", queues.to_string())
        .env("MTU", "1500")
        .env("OFFLOAD", "0")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(SCRIPT.as_bytes())?;
    }
    child.wait_with_output()
}

/// Removes the labs of demos whose process is gone, killed before it could do so itself.
fn remove_left_overs() {
    for name in names_of(PREFIX) {
        let Some((prefix, _)) = name.split_once('-') else { continue };
        let Some(id) = prefix.strip_prefix(PREFIX).and_then(|id| id.parse::<u32>().ok()) else { continue };
        if !Path::new("/proc").join(id.to_string()).exists() {
            let _ = script(prefix, "down", 1);
            let _ = fs::remove_dir_all(folder(prefix));
        }
    }
}

/// The namespaces whose names begin so.
fn names_of(prefix: &str) -> Vec<String> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(prefix)).collect()
}

fn folder(prefix: &str) -> PathBuf {
    std::env::temp_dir().join(format!("ringlead-{prefix}"))
}

/// The sockets of a protocol in `/proc/net/protocols`, whose third column they are.
fn sockets_of(protocol: &str, list: &str) -> u64 {
    let lines = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|words| words.first() == Some(&protocol))
        .filter_map(|words| words.get(2)?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_read_from_the_kernels_list() {
        let list = "protocol  size sockets  memory press maxhdr\nXDP        960      4      -1   NI       0   no\n\
                    TCPv6     2432     17      0   no     320   yes\n";
        assert_eq!((sockets_of("XDP", list), sockets_of("TCPv6", list), sockets_of("UDP", list)), (4, 17, 0));
    }
}
