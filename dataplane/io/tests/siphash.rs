//! The programs' hash in C is the front's: held against the vectors of a separate implementation, all 64 bits.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::fmt::Write as _;
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ringlead_wire::Ip;

#[test]
fn the_hash_in_c_follows_the_vectors() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let vectors = std::fs::read_to_string(home.join("../pick/tests/vectors/hash_by.txt")).unwrap();
    let (mut input, mut wanted) = (String::new(), Vec::new());
    for line in vectors.lines().filter(|line| line.starts_with("5-tuple ")) {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, key, source, destination, source_port, destination_port, protocol, hash] = fields[..] else {
            panic!("{line}")
        };
        // The key's halves are numbers whose first byte is the lowest.
        let half = |text: &str| u64::from_str_radix(text, 16).unwrap().swap_bytes();
        let ip = |text: &str| u128::from_be_bytes(Ip::from(text.parse::<IpAddr>().unwrap()).octets());
        let number = |text: &str| text.parse::<u16>().unwrap();
        writeln!(
            input,
            "{:x} {:x} {:032x}{:032x}{:04x}{:04x}{:02x}",
            half(&key[..16]),
            half(&key[16..]),
            ip(source),
            ip(destination),
            number(source_port),
            number(destination_port),
            number(protocol)
        )
        .unwrap();
        wanted.push(hash);
    }
    assert!(wanted.len() >= 10, "{} vectors", wanted.len());
    let said = hashes(home, &input);
    assert_eq!(said.lines().collect::<Vec<_>>(), wanted);
}

/// What the C function says of each line.
fn hashes(home: &Path, input: &str) -> String {
    let scratch = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (program, lines) = (scratch.join("siphash"), scratch.join("siphash.txt"));
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".into());
    let status = Command::new(clang)
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-const-variable"])
        .arg(format!("-I{}", home.join("bpf").display()))
        .arg(format!("-I{}", home.join("../bpf/include").display()))
        .arg(home.join("tests/siphash/main.c"))
        .arg("-o")
        .arg(&program)
        .status()
        .unwrap();
    assert!(status.success());
    std::fs::write(&lines, input).unwrap();
    let output =
        Command::new(program).stdin(File::open(lines).unwrap()).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}
