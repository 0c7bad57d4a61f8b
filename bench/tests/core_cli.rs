//! What `ringlead bench core` takes and refuses.
#![allow(clippy::unwrap_used, reason = "a test")]

use clap::Parser;
use ringlead_bench::commands::core::CoreArgs;

#[derive(Parser, Debug)]
struct Cli {
    #[command(flatten)]
    core: CoreArgs,
}

fn read(line: &str) -> Result<String, String> {
    let words = std::iter::once("core").chain(line.split_whitespace());
    Cli::try_parse_from(words).map(|cli| format!("{:?}", cli.core)).map_err(|why| why.to_string())
}

#[test]
fn lists_and_numbers_are_read() {
    let line = "--quick --json --flows 1,5 --modes dsr,nat --families ipv6 --workers 1,2 --kinds new --rounds 15 --only path,maglev";
    let got = read(line).unwrap();
    for part in [
        "quick: true",
        "json: Some(\"-\")",
        "csv: None",
        "flows: [1, 5]",
        "modes: [Dsr, Nat]",
        "families: [Ipv6]",
        "workers: [1, 2]",
        "kinds: [New]",
        "rounds: Some(15)",
        "only: [Path, Maglev]",
    ] {
        assert!(got.contains(part), "{part}: {got}");
    }
}

#[test]
fn nonsense_is_refused_by_name() {
    for (line, word) in [
        ("--fast", "--fast"),
        ("--flows 0", "1 to 16000000"),
        ("--flows 1,x", "'x'"),
        ("--modes nat,bridge", "nat, dsr"),
        ("--families ipv5", "ipv4, ipv6"),
        ("--rounds 14", "15 to 500"),
        ("--workers 0", "1 to 64"),
        ("--kinds old", "existing, new"),
        ("--only everything", "scaling"),
        ("--count nat5", "nat4-new"),
        ("--instructions check", "--record"),
    ] {
        assert!(read(line).is_err_and(|why| why.contains(word)), "{line}: {:?}", read(line));
    }
}
