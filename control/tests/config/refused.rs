//! Golden files: `NAME.toml` gives exactly `NAME.stderr`. `RINGLEAD_BLESS=1` writes them anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ringlead_control::config::{self, Severity, codes};

use super::folder;

/// What the command line would print.
fn printed(name: &str, text: &str) -> String {
    match config::parse(name, text) {
        Ok((_, warnings)) => warnings.iter().map(|w| format!("{w}\n")).collect(),
        Err(found) => found.to_string(),
    }
}

#[test]
fn every_file_gives_its_messages() {
    let mut files: Vec<_> = fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "toml"));
    files.sort();
    assert!(files.len() >= 30, "{} files", files.len());
    let mut wrong = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let got = printed(name, &fs::read_to_string(file).unwrap());
        let golden = file.with_extension("stderr");
        if std::env::var_os("RINGLEAD_BLESS").is_some() {
            fs::write(&golden, &got).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if got != expected {
            wrong.push(format!("--- {name}: expected\n{expected}\n--- {name}: got\n{got}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_code_is_shown_by_a_file() {
    let files = fs::read_dir(folder()).unwrap().chain(fs::read_dir(folder().join("../machine")).unwrap());
    let shown: BTreeSet<_> = files
        .filter_map(|e| fs::read_to_string(e.unwrap().path()).ok().filter(|t| t.contains(" --> ")))
        .flat_map(|text| {
            let codes: Vec<_> = codes::ALL.iter().map(|(c, _)| *c).collect();
            codes.into_iter().filter(move |c| text.contains(&format!("[{c}]:"))).collect::<Vec<_>>()
        })
        .collect();
    // These need files too large, several or no file at all: see limits.rs, included.rs and below.
    let elsewhere =
        [codes::UNREADABLE, codes::TOO_MANY, codes::TABLE_TOO_SMALL, codes::INCLUDE, codes::TWICE];
    let missing: Vec<_> =
        codes::ALL.iter().map(|(c, _)| *c).filter(|c| !shown.contains(c) && !elsewhere.contains(c)).collect();
    assert!(missing.is_empty(), "no file shows {missing:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_c000() {
    let error = config::load("/nonexistent/ringlead.toml").unwrap_err();
    let text = error.to_string();
    assert!(text.contains("error[C000]: cannot read the configuration"), "{text}");
    assert!(text.contains("--> /nonexistent/ringlead.toml:1:1"), "{text}");
    let error = config::load(Path::new("/")).unwrap_err();
    assert_eq!(error.entries()[0].code, codes::UNREADABLE);
}

#[test]
fn a_file_that_is_not_utf8_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("latin1.toml");
    fs::write(&path, b"version = 1\n# Gr\xfc\xdfe\n").unwrap();
    let error = config::load(&path).unwrap_err();
    let entry = &error.entries()[0];
    assert_eq!((entry.code, entry.line(), entry.column()), (codes::UNREADABLE, 2, 5));
}

#[test]
fn json_carries_the_same() {
    let text = fs::read_to_string(folder().join("dsr-port.toml")).unwrap();
    let json = config::parse("a.toml", &text).unwrap_err().to_json();
    assert_eq!(json["errors"], 2);
    assert_eq!(json["warnings"], 0);
    let entry = &json["entries"][0];
    assert_eq!(entry["code"], "C120");
    assert_eq!(entry["severity"], "error");
    assert_eq!(entry["file"], "a.toml");
    assert_eq!(entry["place"]["line"], 19);
    assert_eq!(entry["place"]["column"], 28);
    assert_eq!(entry["place"]["line_end"], 19);
    assert_eq!(entry["place"]["column_end"], 44);
    assert_eq!(entry["related"][0]["line"], 10);
    assert_eq!(entry["help"].as_array().unwrap().len(), 1);
}

#[test]
fn colour_only_when_asked_for() {
    let error = config::parse("a.toml", "version = 2\n").unwrap_err();
    assert!(!error.to_string().contains('\u{1b}'));
    assert!(!error.render(false).contains('\u{1b}'));
    assert!(error.render(true).contains('\u{1b}'));
}

#[test]
fn warnings_do_not_refuse() {
    let text = fs::read_to_string(folder().join("warnings.toml")).unwrap();
    let (_, warnings) = config::parse("warnings.toml", &text).unwrap();
    assert!(warnings.iter().all(|w| w.severity == Severity::Warning));
    let codes: Vec<_> = warnings.iter().map(|w| w.code).collect();
    assert_eq!(codes[..2], [codes::CORE_SHARED, codes::TABLE_UNEVEN]);
    assert_eq!(codes[2..], [codes::UNUSED; 3]);
}
