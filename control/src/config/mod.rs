//! The configuration file: TOML text -> raw (shape) -> model (cannot be wrong).
//!
//! ```text
//! text ─ toml ─> tree ─ walk ─> raw ─ check ─> model
//!          │             │             │
//!          └─────────────┴── findings ─┴──> Diagnostics: all of them at once, each with a code and a place
//! ```
//!
//! Nothing is accepted and ignored: what a later version will know is refused by name ([`codes::LATER`]), what no
//! version knows is refused with the nearest name ([`codes::UNKNOWN_KEY`]).

mod check;
pub mod codes;
pub mod diagnostics;
pub mod model;
mod raw;
mod render;
mod source;
mod values;
mod vocabulary;
mod walk;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use toml::de::DeTable;

pub use diagnostics::{Diagnostic, Diagnostics, Mark, Severity, Warning};
pub use model::*;

use diagnostics::Findings;
use source::Source;

/// The largest configuration file, in bytes: several times what 65 535 servers need.
pub const FILE_BYTES_MAX: u64 = 32 << 20;

/// The key of the front's hash where `hash-key` is absent: the bytes of `ringlead-default`.
///
/// Nodes that share their services must share the key; a key of one's own keeps strangers from finding flows
/// that all land on one server.
pub const HASH_KEY_DEFAULT: [u8; 16] = *b"ringlead-default";

/// Reads and checks a file.
///
/// # Errors
/// Everything that is wrong with it, with the warnings; or that it cannot be read (C000).
pub fn load(path: impl AsRef<Path>) -> Result<(Config, Vec<Warning>), Diagnostics> {
    let path = path.as_ref();
    let name = path.display().to_string();
    match read(path) {
        Ok(bytes) => match std::str::from_utf8(&bytes) {
            Ok(text) => parse(&name, text),
            Err(e) => Err(not_text(&name, &bytes, e.valid_up_to())),
        },
        Err(e) => {
            let mut findings = Findings::new(Arc::new(Source::new(&name, "")));
            findings.error(codes::UNREADABLE, 0..0, format!("cannot read the configuration: {e}"));
            Err(findings.into_diagnostics())
        }
    }
}

/// Checks a text; `name` is what messages call it.
///
/// # Errors
/// Everything that is wrong with it, with the warnings.
pub fn parse(name: &str, text: &str) -> Result<(Config, Vec<Warning>), Diagnostics> {
    read_text(name, text)?.check()
}

/// A text that has been read, but not checked.
pub struct Text {
    raw: raw::File,
    findings: Findings,
}

/// The first of [`parse`]'s two steps, for who measures them apart.
///
/// # Errors
/// What is not TOML about it.
pub fn read_text(name: &str, text: &str) -> Result<Text, Diagnostics> {
    let mut findings = Findings::new(Arc::new(Source::new(name, text)));
    let (tree, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        syntax(&mut findings, &errors);
        return Err(findings.into_diagnostics());
    }
    Ok(Text { raw: walk::walk(tree, &mut findings), findings })
}

impl Text {
    /// The second step.
    ///
    /// # Errors
    /// Everything that is wrong with it, with the warnings.
    pub fn check(mut self) -> Result<(Config, Vec<Warning>), Diagnostics> {
        let config = check::check(&self.raw, &mut self.findings);
        let found = self.findings.into_diagnostics();
        match config {
            Some(config) if !found.has_errors() => Ok((config, found.into_entries())),
            _ => Err(found),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {} MiB", FILE_BYTES_MAX >> 20)));
    }
    Ok(bytes)
}

fn not_text(name: &str, bytes: &[u8], valid: usize) -> Diagnostics {
    let text = String::from_utf8_lossy(bytes);
    let mut findings = Findings::new(Arc::new(Source::new(name, &text)));
    findings
        .error(codes::UNREADABLE, valid..valid + 1, "the configuration is not UTF-8 text")
        .label("the first byte that is not")
        .help("TOML files are UTF-8; save it again as that");
    findings.into_diagnostics()
}

/// One entry a line: what a slip makes of the rest of its line is noise.
fn syntax(findings: &mut Findings, errors: &[toml::de::Error]) {
    let mut line_last = None;
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let line = findings.line(span.start);
        if line_last.replace(line) != Some(line) {
            findings.error(codes::SYNTAX, span, format!("not TOML: {}", error.message()));
        }
    }
}
