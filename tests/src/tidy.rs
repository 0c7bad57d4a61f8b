//! Style as a test: what neither the compiler nor clippy holds to.
//!
//! The rules are one function a rule. They read text, not syntax: formatted code (`cargo fmt --check` runs before) has
//! its functions' braces where these rules look for them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The longest function, lines from its `fn` to its closing brace.
pub const FUNCTION_LINES_MAX: usize = 70;

/// The longest file that is not a test's, lines.
pub const FILE_LINES_MAX: usize = 600;

/// How far above an `unsafe` its reason may begin, lines.
const SAFETY_LINES_MAX: usize = 12;

/// Marks of unfinished work, in two halves so that this file does not name them.
const UNFINISHED: [(&str, &str); 5] =
    [("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("unimple", "mented!"), ("to", "do!(")];

/// A file that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, from the root of the workspace.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and the limit.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// Looks at every file of the workspace that Git tracks or would track, and returns what is wrong and how many files it
/// saw.
///
/// # Panics
/// When Git cannot tell the files.
#[must_use]
pub fn workspace(root: &Path) -> (Vec<Finding>, usize) {
    let files = tracked(root);
    let mut findings = Vec::new();
    for file in &files {
        let Ok(text) = std::fs::read_to_string(root.join(file)) else { continue }; // a capture, or just deleted
        findings.extend(unfinished(file, &text));
        if file.as_os_str() == "SPEC.md" {
            findings.extend(promises_of_one_number(file, &text));
        }
        if file.extension().is_some_and(|ending| ending == "rs") {
            findings.extend(long_functions(file, &text));
            findings.extend(long_file(file, &text));
            findings.extend(unexplained_unsafe(file, &text));
        }
    }
    findings.extend(crates_without_readme(&files));
    // Drop reasons: that each has its text is held by their one list, which makes enum, counter and text, in
    // dataplane/l4. A page that explains them to people is to be compared with that list here once there is one.
    (findings, files.len())
}

/// Functions of more than [`FUNCTION_LINES_MAX`] lines.
#[must_use]
pub fn long_functions(file: &Path, text: &str) -> Vec<Finding> {
    let lines: Vec<&str> = text.lines().collect();
    let mut findings = Vec::new();
    for (begin, line) in lines.iter().enumerate() {
        if !begins_function(line) {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let closing = format!("{}}}", " ".repeat(indent));
        let one_line = format!("{}{{", " ".repeat(indent));
        let end = lines[begin..].iter().position(|l| {
            *l == closing
                || (l.ends_with(';') || l.ends_with('}')) && is_at(l, indent) && !l.starts_with(&one_line)
        });
        let length = end.map_or(0, |end| end + 1);
        if length > FUNCTION_LINES_MAX {
            let what = format!("a function of {length} lines; {FUNCTION_LINES_MAX} are allowed");
            findings.push(finding(file, begin, what));
        }
    }
    findings
}

/// Files of more than [`FILE_LINES_MAX`] lines that are not tests. Unit tests at a file's end do not count.
#[must_use]
pub fn long_file(file: &Path, text: &str) -> Option<Finding> {
    if file.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "benches") {
        return None;
    }
    let length = text.lines().position(|line| line == "#[cfg(test)]").unwrap_or_else(|| text.lines().count());
    (length > FILE_LINES_MAX).then(|| {
        finding(file, FILE_LINES_MAX, format!("a file of {length} lines; {FILE_LINES_MAX} are allowed"))
    })
}

/// Blocks and implementations marked `unsafe` without `SAFETY:` above, and functions without `# Safety`.
#[must_use]
pub fn unexplained_unsafe(file: &Path, text: &str) -> Vec<Finding> {
    let lines: Vec<&str> = text.lines().collect();
    let keyword = concat!("un", "safe ");
    let mut findings = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let Some(at) = code.find(keyword) else { continue };
        let rest = &code[at + keyword.len()..];
        let above = &lines[number.saturating_sub(SAFETY_LINES_MAX)..=number];
        let reason = match rest {
            _ if rest.starts_with('{') || rest.starts_with("impl") => "SAFETY:",
            // A function in a trait's implementation is explained by the trait.
            _ if rest.starts_with("fn") && code.trim_start().starts_with("pub") => "# Safety",
            _ => continue,
        };
        if !above.iter().any(|line| line.contains(reason)) {
            findings.push(finding(file, number, format!("{keyword}without `{reason}` above")));
        }
    }
    findings
}

/// Marks of unfinished work.
#[must_use]
pub fn unfinished(file: &Path, text: &str) -> Vec<Finding> {
    let words = UNFINISHED.map(|(one, two)| format!("{one}{two}"));
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(word) = words.iter().find(|word| contains_word(line, word)) {
            findings.push(finding(file, number, format!("unfinished work: {word}")));
        }
    }
    findings
}

/// Rows of the specification's tables whose number another row has.
#[must_use]
pub fn promises_of_one_number(file: &Path, text: &str) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some((name, _)) = line.strip_prefix("| ").and_then(|row| row.split_once(" | ")) else { continue };
        let is_number =
            name.starts_with(|c: char| c.is_ascii_uppercase()) && name.contains(|c: char| c.is_ascii_digit());
        if is_number && !name.contains(' ') && !seen.insert(name) {
            findings.push(finding(file, number, format!("another promise is {name}, too")));
        }
    }
    findings
}

/// Folders with a `Cargo.toml` and no `README.md`.
#[must_use]
pub fn crates_without_readme(files: &[PathBuf]) -> Vec<Finding> {
    let manifests = files.iter().filter(|file| file.ends_with("Cargo.toml"));
    manifests
        .filter(|manifest| !files.contains(&manifest.with_file_name("README.md")))
        .map(|manifest| finding(manifest, 0, "a crate without README.md".to_owned()))
        .collect()
}

fn finding(file: &Path, index: usize, what: String) -> Finding {
    Finding { file: file.to_owned(), line: index + 1, what }
}

/// Whether a line begins a function's definition: `fn` after nothing but its qualifiers.
fn begins_function(line: &str) -> bool {
    let before = line.trim_start().split("fn ").next().unwrap_or_default();
    line.contains("fn ")
        && before.split_whitespace().all(|word| {
            matches!(word, "pub" | "const" | "async" | "unsafe" | "extern" | "\"C\"" | "default")
                || word.starts_with("pub(")
        })
}

fn is_at(line: &str, indent: usize) -> bool {
    line.len() - line.trim_start().len() == indent
}

/// Whether `word` stands in `line` with no letter or digit beside it.
fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        !is_letter(before) && (!is_letter(after) || word.ends_with('('))
    })
}

fn tracked(root: &Path) -> Vec<PathBuf> {
    let arguments = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().expect("run git");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8_lossy(&output.stdout);
    names.split_terminator('\0').map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(lines: usize) -> String {
        format!(
            "impl A {{\n    pub(crate) fn f(\n        a: u8,\n    ) {{\n{}    }}\n}}\n",
            "        g();\n".repeat(lines - 4)
        )
    }

    #[test]
    fn each_promise_has_a_number_of_its_own() {
        let text = "| no. | promise |\n| A1 | one |\n| A1a | two |\n| A1 | three |\n";
        let found = promises_of_one_number(Path::new("SPEC.md"), text);
        assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn a_function_is_measured_from_its_name_to_its_brace() {
        let file = Path::new("a.rs");
        assert_eq!(long_functions(file, &function(70)), []);
        let found = long_functions(file, &function(71));
        assert_eq!((found.len(), found[0].line), (1, 2));
        assert!(found[0].what.contains("71 lines"), "{}", found[0].what);
        assert_eq!(long_functions(file, &format!("fn declared();\n{}", "// one\n".repeat(100))), []);
        assert_eq!(long_functions(file, &format!("fn short() {{ 1 }}\n{}", "// one\n".repeat(100))), []);
    }

    #[test]
    fn a_long_file_is_found_and_its_unit_tests_do_not_count() {
        let long = "// a line\n".repeat(601);
        assert!(long_file(Path::new("src/a.rs"), &long).is_some());
        assert_eq!(long_file(Path::new("tests/it/a.rs"), &long), None);
        let tested = format!("{}#[cfg(test)]\n{long}", "// a line\n".repeat(600));
        assert_eq!(long_file(Path::new("src/a.rs"), &tested), None);
    }

    #[test]
    fn unsafe_wants_its_reason() {
        let file = Path::new("a.rs");
        let block = concat!("let a = un", "safe { b() };\n");
        assert_eq!(unexplained_unsafe(file, block).len(), 1);
        assert_eq!(unexplained_unsafe(file, &format!("// SAFETY: b is fine\n{block}")), []);
        let function = concat!("pub un", "safe fn f() {\n");
        assert_eq!(unexplained_unsafe(file, function).len(), 1);
        assert_eq!(unexplained_unsafe(file, &format!("/// # Safety\n/// Fine.\n{function}")), []);
        assert_eq!(unexplained_unsafe(file, concat!("// un", "safe { in words }\n")), []);
    }

    #[test]
    fn unfinished_work_is_found_as_a_word() {
        let file = Path::new("a.md");
        let mark = concat!("TO", "DO");
        assert_eq!(unfinished(file, &format!("one\n// {mark}: two\n"))[0].line, 2);
        assert_eq!(unfinished(file, &format!("MY{mark}S\n")), []);
    }

    #[test]
    fn a_crate_wants_a_readme() {
        let files = ["a/Cargo.toml", "b/Cargo.toml", "b/README.md"].map(PathBuf::from);
        let found = crates_without_readme(&files);
        assert_eq!((found.len(), found[0].file.as_path()), (1, Path::new("a/Cargo.toml")));
    }

    #[test]
    fn the_workspace_is_looked_at() {
        let (findings, files) = workspace(crate::workspace_root());
        assert!(files > 20, "only {files} files");
        let ours: Vec<_> = findings.iter().filter(|f| f.file.starts_with("tests")).collect();
        assert!(ours.is_empty(), "{ours:?}");
    }
}
