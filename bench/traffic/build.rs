//! Compiles the program of the receiving ports for the BPF machine, so that the binary carries it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("cargo::error={why}");
            ExitCode::FAILURE
        }
    }
}

fn compile() -> Result<(), String> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(|e| e.to_string())?);
    let object = PathBuf::from(env::var("OUT_DIR").map_err(|e| e.to_string())?).join("tap.o");
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".into());
    let status = Command::new(&clang)
        .args(["-O2", "-g", "-target", machine(), "-mcpu=v3", "-Wall", "-Wextra", "-Werror", "-c"])
        .arg(prefix_map(&here))
        .arg(here.join("bpf/tap.c"))
        .arg("-o")
        .arg(&object)
        .status()
        .map_err(|e| format!("{clang} does not start ({e}): install clang, or name it in CLANG"))?;
    if status.success() { Ok(()) } else { Err(format!("{clang} could not compile bpf/tap.c ({status})")) }
}

/// The byte order of the machine that loads the program, not of the one that builds it.
fn machine() -> &'static str {
    if env::var("CARGO_CFG_TARGET_ENDIAN").is_ok_and(|e| e == "big") { "bpfeb" } else { "bpfel" }
}

/// Keeps the build machine's paths out of the object.
fn prefix_map(here: &Path) -> String {
    format!("-ffile-prefix-map={}=.", here.display())
}
