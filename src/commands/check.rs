//! `ringlead config check`: what is wrong with a file, here or anywhere, or what it means.

use super::config::colour;
use super::daemon::running;
use crate::cli::CheckArgs;
use crate::out;
use ringlead_control::config::{self, Config, Diagnostics, Loaded};
use ringlead_control::engine::{EngineError, look, places};
use ringlead_control::machine::Machine;
use ringlead_flow::FlowTable;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

/// Prints every error and warning; exit status 0 when the file can be used, else 2, also when this machine cannot be asked.
pub(crate) fn check(args: &CheckArgs) -> ExitCode {
    let path = &args.file.config;
    let checked = match config::load_whole(path) {
        Ok(loaded) if args.here => {
            here(&loaded).map(|found| (Some(loaded.config), warnings(loaded.warnings).and(found)))
        }
        Ok(loaded) => Ok((Some(loaded.config), warnings(loaded.warnings))),
        Err(found) => Ok((None, found)),
    };
    match checked {
        Ok((config, found)) => {
            say(args, config.as_ref(), &found);
            if found.has_errors() { ExitCode::from(2) } else { ExitCode::SUCCESS }
        }
        Err(why) => {
            eprintln!("ringlead config check: {why}");
            ExitCode::from(2)
        }
    }
}

fn warnings(warnings: Vec<config::Warning>) -> Diagnostics {
    Diagnostics::of_warnings(warnings)
}

/// What this machine says of it.
fn here(loaded: &Loaded) -> Result<Diagnostics, String> {
    let machine = Machine::ask(&loaded.config, false);
    let served = served(&loaded.config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start a runtime: {error}"))?;
    runtime.block_on(look(loaded, &machine, &served)).map_err(|EngineError(why)| why)
}

/// Where the daemon that runs here listens, if one answers and says so.
fn served(config: &Config) -> Vec<SocketAddr> {
    let text = running(&config.node.control);
    let running = text.ok().and_then(|text| config::parse("the daemon's configuration", &text).ok());
    running.map_or_else(Vec::new, |(config, _)| places(&config).map(|(_, at)| at).collect())
}

fn say(args: &CheckArgs, config: Option<&Config>, found: &Diagnostics) {
    if args.json {
        out::line(&format!("{:#}", found.to_json()));
    } else if found.has_errors() {
        eprintln!("{}", found.render(colour()));
    } else {
        for warning in found.entries() {
            eprintln!("{}\n", warning.render(colour()));
        }
        if let Some(config) = config {
            out::line(&summary(&args.file.config, config, args.here));
        }
    }
}

fn summary(path: &Path, config: &Config, here: bool) -> String {
    let servers: usize = config.pools.iter().map(|pool| pool.servers.len()).sum();
    let flows_max = config.dataplane.flows_max;
    let counts = if config.observe.keeps_accounts() { FlowTable::account_bytes_for(flows_max) } else { 0 };
    let mib = (FlowTable::bytes_for(flows_max) + counts) >> 20;
    let whose = if here { "ok here" } else { "ok" };
    format!(
        "{}: {whose}: {} services, {} pools, {servers} servers, {} ports, {} workers; {} flows of each family take {mib} MiB",
        path.display(),
        config.services.len() + config.local.len(),
        config.pools.len(),
        config.ports.len(),
        config.dataplane.cores.len(),
        config.dataplane.flows_max,
    )
}
