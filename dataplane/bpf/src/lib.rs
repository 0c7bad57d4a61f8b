//! For build scripts: compiles C programs for the BPF machine, so that the binary carries them.
#![allow(clippy::print_stdout, reason = "how a build script speaks to cargo")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The headers that come with this crate.
const INCLUDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/include");

/// The whole `main` of a build script: compiles `source`, a path inside the crate that is built, to `OUT_DIR/<name>.o`, and
/// runs again when its folder or the shared headers change. `CLANG` names another clang.
#[must_use]
pub fn compile(source: &str) -> ExitCode {
    compile_all(&[source])
}

/// [`compile`], of several programs.
#[must_use]
pub fn compile_all(sources: &[&str]) -> ExitCode {
    println!("cargo::rerun-if-changed={INCLUDE}");
    println!("cargo::rerun-if-env-changed=CLANG");
    for source in sources.iter().map(Path::new) {
        let folder = source.parent().unwrap_or(Path::new("."));
        println!("cargo::rerun-if-changed={}", folder.display());
        if let Err(why) = run(source) {
            println!("cargo::error={why}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run(source: &Path) -> Result<(), String> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(|e| e.to_string())?);
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|e| e.to_string())?);
    let name = source.file_stem().ok_or_else(|| format!("{} is no source file", source.display()))?;
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".into());
    let status = Command::new(&clang)
        .args(["-O2", "-g", "-target", machine(), "-mcpu=v3", "-Wall", "-Wextra", "-Werror", "-c"])
        .arg(format!("-I{INCLUDE}"))
        .args([prefix_map(&here, "."), prefix_map(Path::new(INCLUDE), "include")])
        .arg(here.join(source))
        .arg("-o")
        .arg(out.join(name).with_extension("o"))
        .status()
        .map_err(|e| format!("{clang} does not start ({e}): install clang, or name it in CLANG"))?;
    let failed = || format!("{clang} could not compile {} ({status})", source.display());
    status.success().then_some(()).ok_or_else(failed)
}

/// The byte order of the machine that loads the program, not of the one that builds it.
fn machine() -> &'static str {
    if env::var("CARGO_CFG_TARGET_ENDIAN").is_ok_and(|e| e == "big") { "bpfeb" } else { "bpfel" }
}

/// Keeps the build machine's paths out of the object.
fn prefix_map(from: &Path, to: &str) -> String {
    format!("-ffile-prefix-map={}={to}", from.display())
}
