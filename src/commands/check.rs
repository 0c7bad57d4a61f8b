//! `ringlead config check`: what is wrong with a file, or what it means.

use super::config::colour;
use crate::cli::CheckArgs;
use crate::memory;
use ringlead_control::config::{self, Config, Diagnostics};
use ringlead_flow::FlowTable;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Prints every error and warning; exit status 0 when the file can be used, else 2.
pub(crate) fn check(args: &CheckArgs) -> ExitCode {
    let (path, colour) = (&args.file.config, colour());
    let result = config::load(path);
    let status = if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(2) };
    if args.json {
        let found = match &result {
            Ok((_, warnings)) => Diagnostics::json_of_warnings(warnings),
            Err(diagnostics) => diagnostics.to_json(),
        };
        // A closed pipe is the reader's choice.
        let _ = writeln!(std::io::stdout(), "{found:#}");
        return status;
    }
    match result {
        Ok((config, warnings)) => {
            for warning in warnings {
                eprintln!("{}\n", warning.render(colour));
            }
            if let Some(why) = memory::beyond(config.dataplane.flows_max) {
                eprintln!("warning: {why}, or start it on a larger one");
            }
            // A closed pipe is the reader's choice.
            let _ = writeln!(std::io::stdout(), "{}", summary(path, &config));
        }
        Err(diagnostics) => eprintln!("{}", diagnostics.render(colour)),
    }
    status
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
