//! Tells the crate what it was built from and with; see src/environment/built.rs.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RINGLEAD_COMMIT");
    set("RINGLEAD_BUILT_COMMIT", commit());
    set("RINGLEAD_BUILT_RUSTC", output(Command::new(env("RUSTC").unwrap_or_default()).arg("--version")));
    set("RINGLEAD_BUILT_TARGET", env("TARGET"));
    set("RINGLEAD_BUILT_TARGET_CPU", target_cpu(&env("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default()));
    set("RINGLEAD_BUILT_OPT_LEVEL", env("OPT_LEVEL"));
}

fn set(name: &str, value: Option<String>) {
    println!("cargo::rustc-env={name}={}", value.unwrap_or_default());
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The commit that a packager names, or the checkout's, with `+changes` where tracked files differed from it.
fn commit() -> Option<String> {
    if let Some(named) = env("RINGLEAD_COMMIT") {
        return Some(named);
    }
    // Only what moves when a commit is made: the index changes far too often.
    let head = git(&["rev-parse", "--git-path", "HEAD"])?;
    watch(&head);
    if let Some(branch) = git(&["symbolic-ref", "--quiet", "HEAD"]) {
        for file in [branch.as_str(), "packed-refs"] {
            if let Some(path) = git(&["rev-parse", "--git-path", file]) {
                watch(&path);
            }
        }
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    // Without optional locks: a build must not get in the way of whoever commits.
    let changes = git(&["--no-optional-locks", "status", "--porcelain", "--untracked-files=no"]);
    Some(commit + if changes.is_some() { "+changes" } else { "" })
}

/// A missing file would count as changed on each build.
fn watch(path: &str) {
    if Path::new(path).exists() {
        println!("cargo::rerun-if-changed={path}");
    }
}

fn git(args: &[&str]) -> Option<String> {
    output(Command::new("git").args(args))
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (!text.is_empty()).then_some(text)
}

/// The last `-C target-cpu=…` among flags that are separated by 0x1f.
fn target_cpu(flags: &str) -> Option<String> {
    flags
        .split('\x1f')
        .filter_map(|flag| flag.rsplit_once("target-cpu="))
        .map(|(_, cpu)| cpu.to_string())
        .next_back()
}
