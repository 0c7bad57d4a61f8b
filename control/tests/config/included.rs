//! `include`: the tables of several files are one configuration.

use std::fs;
use std::path::{Path, PathBuf};

use ringlead_control::config::{self, codes};

const HEAD: &str = "version = 1\n[dataplane]\ncores = [1]\n[port.wan]\ndevice = \"eth0\"\n";

fn service(name: &str, port: u16) -> String {
    format!(
        "[service.{name}]\nlisten = \"192.0.2.10:{port}\"\nprotocol = \"tcp\"\nmode = \"nat\"\npool = \"{name}\"\n\
         [pool.{name}]\nalgorithm = \"maglev\"\nserver = [{{ name = \"s1\", address = \"10.0.0.1:{port}\" }}]\n"
    )
}

/// A folder with these files, and the first one's path.
fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let first = dir.path().join(files[0].0);
    (dir, first)
}

fn with(include: &str) -> String {
    format!("version = 1\ninclude = {include}\n{}", HEAD.trim_start_matches("version = 1\n"))
}

/// What is said, without the folder's name.
fn said(path: &Path) -> String {
    let found = config::load(path).unwrap_err().to_string();
    found.replace(&format!("{}/", path.parent().unwrap().display()), "")
}

#[test]
fn files_by_name_and_by_pattern_are_one_configuration() {
    let (_dir, first) = folder(&[
        ("main.toml", &with("[\"one.toml\", \"more/*.toml\"]")),
        ("one.toml", &format!("version = 1\n{}", service("one", 80))),
        ("more/b.toml", &service("b", 82)),
        ("more/a.toml", &service("a", 81)),
        ("more/notes.txt", "no part of it"),
        ("more/.#a.toml", "an editor's lock"),
    ]);
    let loaded = config::load_whole(&first).unwrap();
    let names: Vec<_> = loaded.config.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["one", "a", "b"], "in the list's order, and by name below a pattern");
    let alone = [HEAD, &service("one", 80), &service("a", 81), &service("b", 82)].concat();
    assert_eq!(loaded.effective, config::effective("alone.toml", &alone).unwrap(), "as if it were one file");
    assert_eq!(config::show(&first, true).unwrap(), loaded.effective);
}

#[test]
fn a_pattern_may_match_nothing_and_the_file_itself() {
    for include in ["\"none/*.toml\"", "\"*.toml\"", "[]"] {
        let (_dir, first) = folder(&[("main.toml", &(with(include) + &service("web", 80)))]);
        assert_eq!(config::load(&first).unwrap().0.services.len(), 1, "{include}");
    }
}

#[test]
fn findings_point_into_their_files() {
    let wrong = service("one", 80).replace("mode = ", "mood = ");
    let (_dir, first) = folder(&[("main.toml", &with("\"one.toml\"")), ("one.toml", &wrong)]);
    let text = said(&first);
    assert!(text.contains(" --> one.toml:4:1\n"), "{text}");
    assert!(text.contains("4 | mood = \"nat\"") && text.contains("main.toml: "), "{text}");
    let (_dir, first) = folder(&[("main.toml", &with("\"one.toml\"")), ("one.toml", "\n\nx = = 1\n")]);
    let text = said(&first);
    assert!(text.contains("error[C004]") && text.contains(" --> one.toml:3:5\n"), "{text}");
}

#[test]
fn a_table_is_in_one_file_only() {
    let two = service("web", 81).replace("[pool.web]", "[pool.other]");
    let (_dir, first) =
        folder(&[("main.toml", &(with("\"two.toml\"") + &service("web", 80))), ("two.toml", &two)]);
    let text = said(&first);
    assert!(text.contains("error[C012]: [service.web] is in two files"), "{text}");
    assert!(text.contains("--> two.toml:1:10") && text.contains("::: main.toml:7:10"), "{text}");
    let (_dir, first) =
        folder(&[("main.toml", &with("\"two.toml\"")), ("two.toml", "[dataplane]\ncores = [2]\n")]);
    assert!(said(&first).contains("error[C012]: `dataplane` is in two files"));
}

#[test]
fn what_cannot_be_included_is_told_at_once() {
    let (_dir, first) = folder(&[
        ("main.toml", &with("[\"gone.toml\", \"one.toml\", \"./one.toml\", \"bad.toml\", \"a[\"]")),
        ("one.toml", "include = \"main.toml\"\n"),
    ]);
    fs::write(first.with_file_name("bad.toml"), b"# \xff").unwrap();
    let text = said(&first);
    for message in [
        "cannot include gone.toml: No such file or directory",
        "./one.toml is included already",
        "cannot include bad.toml: is not UTF-8 text",
        "not a pattern",
    ] {
        assert!(text.contains(message), "{message}: {text}");
    }
    assert_eq!(text.matches("error[C011]").count(), 4, "{text}");
    let (_dir, first) =
        folder(&[("main.toml", &with("\"one.toml\"")), ("one.toml", "include = \"main.toml\"\n")]);
    let text = said(&first);
    assert!(
        text.contains("error[C011]: an included file cannot include others\n --> one.toml:1:1"),
        "{text}"
    );
}

#[test]
fn a_text_of_no_file_includes_nothing() {
    let found = config::parse("text", &with("\"one.toml\"")).unwrap_err();
    assert_eq!(found.entries()[0].code, codes::INCLUDE, "{found}");
}

#[test]
fn all_files_together_are_bounded() {
    let big = format!("#{}\n", "x".repeat(20 << 20));
    let (_dir, first) = folder(&[
        ("main.toml", &with("[\"one.toml\", \"two.toml\"]")),
        ("one.toml", &big),
        ("two.toml", &big),
    ]);
    assert!(said(&first).contains("cannot include two.toml: all files together are larger than 32 MiB"));
}
