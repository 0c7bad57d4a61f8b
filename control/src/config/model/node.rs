//! `[node]` and `[dataplane]`: this machine and its workers.

use std::path::PathBuf;

/// The control socket where `control` is absent.
pub const CONTROL_DEFAULT: &str = "/run/ringlead/control.sock";

/// `[node]`: this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeConfig {
    /// `name`; `None`: the host's own name.
    pub name: Option<String>,
    /// `state-dir`: holds the lock that keeps a second instance out. Absolute.
    pub state_dir: PathBuf,
    /// `control`: the unix socket of the command line. Absolute, at most 107 bytes (`sun_path`).
    pub control: PathBuf,
    /// `bpf-dir`: where links and maps are pinned, in a bpffs. Absolute.
    pub bpf_dir: PathBuf,
}

/// `[dataplane]`: the workers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataplaneConfig {
    /// `cores`: one worker each; 1 to 64, all different.
    pub cores: Vec<usize>,
    /// `control-core`: where everything else runs; `None`: wherever the kernel likes.
    pub control_core: Option<usize>,
    /// `idle`.
    pub idle: Idle,
    /// `max-flows`: tracked flows of each IP family, 1024 to 100 million.
    pub flows_max: usize,
    /// `hash-key`: key of the front's hash, which must be the same on every node.
    pub hash_key: [u8; 16],
    /// `frames`: frames of each worker, 2048 to 1 048 576.
    pub frames: u32,
}

/// What a worker does when no frame comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Idle {
    /// Polls without pause.
    Busy,
    /// Polls, then pauses, then sleeps in the kernel for up to milliseconds.
    #[default]
    Adaptive,
    /// Sleeps in the kernel whenever there is nothing to do.
    Sleep,
}
