//! `ringlead config check`: what is wrong with a file, or what it means.

use crate::memory;
use ringlead_control::config::{self, Config};
use ringlead_flow::FlowTable;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

/// Prints every error and warning; exit status 0 when the file can be used, else 2.
pub(crate) fn check(path: &Path) -> ExitCode {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match config::load(path) {
        Ok((config, warnings)) => {
            for warning in warnings {
                eprint!("{}", warning.render(colour));
            }
            if let Some(why) = memory::beyond(config.dataplane.flows_max) {
                eprintln!("warning: {why}, or start it on a larger one");
            }
            // A closed pipe is the reader's choice.
            let _ = writeln!(std::io::stdout(), "{}", summary(path, &config));
            ExitCode::SUCCESS
        }
        Err(diagnostics) => {
            eprint!("{}", diagnostics.render(colour));
            ExitCode::from(2)
        }
    }
}

fn summary(path: &Path, config: &Config) -> String {
    let servers: usize = config.pools.iter().map(|pool| pool.servers.len()).sum();
    let mib = FlowTable::bytes_for(config.dataplane.flows_max) >> 20;
    format!(
        "{}: ok: {} services, {} pools, {servers} servers, {} ports, {} workers; {} flows of each family take {mib} MiB",
        path.display(),
        config.services.len() + config.local.len(),
        config.pools.len(),
        config.ports.len(),
        config.dataplane.cores.len(),
        config.dataplane.flows_max,
    )
}
