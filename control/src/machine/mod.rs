//! What this machine says of a configuration that is right in itself: devices, cores, memory, files, routes, addresses.
//!
//! Every finding has a code (C201 and up), the places in the file that it is about, and what to do. `run`, a reload, a take-over
//! and `config check --here` come by the same functions: whoever finds something out hands it to a [`Judge`], which has the words.
//! Nothing here changes anything on the machine.

mod cores;
mod devices;
mod facts;
mod files;
mod memory;
mod network;
mod servers;
mod tell;

pub use facts::{Machine, ephemeral};
pub use memory::Memory;
pub(crate) use memory::memory_left;
pub use tell::tell;

use crate::config::diagnostics::Findings;
use crate::config::{Config, Diagnostic, Diagnostics, Loaded, Origin};
use std::cell::OnceCell;
use std::ops::Range;

/// Of a kind of finding about services, so many are told: thousands may have the same cause.
const TOLD_MAX: usize = 16;

/// Collects what is found out about one configuration.
pub struct Judge<'o> {
    config: &'o Config,
    origin: &'o Origin,
    /// Read when the first finding needs them.
    places: OnceCell<crate::config::Places<'o>>,
    findings: Findings,
}

impl<'o> Judge<'o> {
    /// Without findings. `origin` is what `config` was read from.
    #[must_use]
    pub fn new(config: &'o Config, origin: &'o Origin) -> Self {
        Self { config, origin, places: OnceCell::new(), findings: origin.findings() }
    }

    /// All that was found.
    #[must_use]
    pub fn end(self) -> Diagnostics {
        self.findings.into_diagnostics()
    }

    /// Where a value is, or what is around the place where it would be.
    fn at(&self, path: &[&str]) -> Range<usize> {
        self.places.get_or_init(|| self.origin.places()).of(path)
    }

    fn error(&mut self, code: &'static str, path: &[&str], message: impl Into<String>) -> &mut Diagnostic {
        let span = self.at(path);
        self.findings.error(code, span, message)
    }

    fn warning(&mut self, code: &'static str, path: &[&str], message: impl Into<String>) -> &mut Diagnostic {
        let span = self.at(path);
        self.findings.warning(code, span, message)
    }
}

impl std::fmt::Debug for Judge<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge").finish_non_exhaustive()
    }
}

/// What can be said before anything is opened: memory, cores, devices and files.
#[must_use]
pub fn before(loaded: &Loaded, machine: &Machine) -> Diagnostics {
    let mut judge = Judge::new(&loaded.config, &loaded.origin);
    judge.memory(machine.memory);
    judge.cores(&machine.cores_missing);
    judge.devices(&machine.devices);
    judge.files();
    judge.end()
}
