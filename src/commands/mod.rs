//! One file a command; `run`, `demo` and `replay` have folders of their own.

mod check;
mod cleanup;
mod config;
mod daemon;
mod diff;
mod events;
mod explain;
mod reload;
mod server;
mod status;

pub(crate) use reload::seconds;

use crate::cli::{Cli, Command};
use crate::{demo, replay, run};
use ringlead_control::logs;
use std::process::ExitCode;

/// Does what the command line says.
pub(crate) fn dispatch(cli: Cli) -> ExitCode {
    let ended = obey(cli);
    logs::flush();
    ended
}

fn obey(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Run(args) => {
            log_to_stderr();
            run::run(&args.file.config, args.take_over)
        }
        Command::Config(command) => config::config(command),
        Command::Check(args) => check::check(&args),
        Command::Explain { code } => explain::explain(&code),
        Command::Reload(args) => reload::reload(&args),
        Command::Confirm(args) => reload::confirm(&args),
        Command::Undo(args) => reload::undo(&args),
        Command::Status(args) => status::status(&args),
        Command::Events(args) => events::events(&args),
        Command::Server(command) => server::server(&command),
        Command::Demo(args) => demo::run(&args),
        Command::DemoEnd(args) => demo::end(&args),
        Command::Bench(args) => ringlead_bench::cli::run(*args),
        Command::Replay(args) => replay::replay(&args),
        Command::Cleanup(file) => {
            log_to_stderr();
            cleanup::cleanup(&file.config)
        }
    }
}

/// Events to standard error until a configuration says where; `RUST_LOG` says how much, `info` by default.
fn log_to_stderr() {
    if let Err(error) = logs::install() {
        eprintln!("ringlead: nothing can be logged: {error}");
    }
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |what| {
        tracing::error!(event = "panic", "{what}");
        logs::flush();
        told(what);
    }));
}
