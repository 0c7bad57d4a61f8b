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

mod advice;
mod check;
pub mod codes;
pub mod diagnostics;
mod diff;
pub mod edit;
mod effective;
mod files;
pub mod model;
mod origin;
mod raw;
mod render;
pub mod schema;
mod socket;
mod source;
mod strangers;
mod tree;
mod values;
mod vocabulary;
mod walk;

use std::path::Path;
use std::sync::Arc;

pub use diagnostics::{Diagnostic, Diagnostics, Mark, Severity, Warning};
pub use diff::{Affected, Diff, Fate, FlowGroup, Side, diff, needs_restart};
pub use effective::{effective, shown};
pub use files::{FILE_BYTES_MAX, INCLUDES_MAX};
pub use model::*;
pub use origin::Origin;
pub(crate) use origin::Places;
pub use socket::control_socket;

use diagnostics::Findings;
use source::Source;

/// The key of the front's hash where `hash-key` is absent: the bytes of `ringlead-default`.
///
/// Nodes that share their services must share the key; a key of one's own keeps strangers from finding flows
/// that all land on one server.
pub const HASH_KEY_DEFAULT: [u8; 16] = *b"ringlead-default";

/// A configuration that shows everything of this version, with comments; `config check` accepts it on any machine.
pub const EXAMPLE: &str = include_str!("../../../examples/ringlead.toml");

/// Reads and checks a file and those that it includes.
///
/// # Errors
/// Everything that is wrong with it, with the warnings; or that it cannot be read (C000).
pub fn load(path: impl AsRef<Path>) -> Result<(Config, Vec<Warning>), Diagnostics> {
    read_source(&Arc::new(files::read(path.as_ref())?))?.check()
}

/// A configuration, and its text for who has to give it away or to compare it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it means.
    pub config: Config,
    /// What is worth a word.
    pub warnings: Vec<Warning>,
    /// As [`effective`] writes it.
    pub effective: String,
    /// What it was read from.
    pub origin: Origin,
}

/// [`load`], with the text.
///
/// # Errors
/// Everything that is wrong with it, with the warnings; or that it cannot be read (C000).
pub fn load_whole(path: impl AsRef<Path>) -> Result<Loaded, Diagnostics> {
    whole(&Arc::new(files::read(path.as_ref())?))
}

/// [`parse`], with the text.
///
/// # Errors
/// Everything that is wrong with it, with the warnings.
pub fn parse_whole(name: &str, text: &str) -> Result<Loaded, Diagnostics> {
    whole(&Arc::new(Source::new(name, text)))
}

fn whole(source: &Arc<Source>) -> Result<Loaded, Diagnostics> {
    let (config, warnings) = read_source(source)?.check()?;
    let effective = effective::write_accepted(source, true);
    Ok(Loaded { config, warnings, effective, origin: Origin::new(source) })
}

/// Reads a file and those that it includes and writes them down again as one, as [`effective`] does or as [`shown`].
///
/// # Errors
/// Everything that is wrong with it; or that it cannot be read (C000).
pub fn show(path: impl AsRef<Path>, defaults: bool) -> Result<String, Diagnostics> {
    let source = Arc::new(files::read(path.as_ref())?);
    read_source(&source)?.check()?;
    Ok(effective::write_accepted(&source, defaults))
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
    read_source(&Arc::new(Source::new(name, text)))
}

fn read_source(source: &Arc<Source>) -> Result<Text, Diagnostics> {
    let mut findings = Findings::new(Arc::clone(source));
    match tree::read(source, &mut findings) {
        Some(tree) => Ok(Text { raw: walk::walk(tree, &mut findings), findings }),
        None => Err(findings.into_diagnostics()),
    }
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
