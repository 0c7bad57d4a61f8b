//! Compiles the decapsulating program for the BPF machine, so that the binary carries it.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringlead_bpf::compile("bpf/decap.c")
}
