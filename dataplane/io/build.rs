//! Compiles the programs that steer frames and connections for the BPF machine, so that the binary carries them.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringlead_bpf::compile_all(&["bpf/steer.c", "bpf/listen.c"])
}
