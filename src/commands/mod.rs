//! One file a command; `run`, `demo` and `replay` have folders of their own.

mod check;
mod cleanup;
pub(crate) mod complete;
mod config;
mod daemon;
mod diff;
mod drops;
mod events;
mod explain;
mod explain_flow;
mod flows;
mod kill;
mod listing;
mod listings;
mod man;
mod node;
mod persist;
mod reload;
mod render;
mod server;
mod server_edit;
mod signals;
mod status;

pub(crate) use flows::sorting;
pub(crate) use reload::seconds;

use crate::cli::{Cli, Command, FlowCommand};
use crate::{demo, out, replay, run};
use ringlead_control::logs;
use std::process::ExitCode;

/// Does what the command line says. Exit status 2 also when not all of its output could be written.
pub(crate) fn dispatch(cli: Cli) -> ExitCode {
    let ended = obey(cli);
    logs::flush();
    match out::failure() {
        None => ended,
        Some(why) => {
            eprintln!("ringlead: the output could not be written: {why}");
            ExitCode::from(2)
        }
    }
}

fn obey(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Run(args) => {
            log_to_stderr();
            run::run(&args.file.config, args.take_over)
        }
        Command::Config(command) => config::config(command),
        Command::Check(args) => check::check(&args),
        Command::Services(args) => listings::services(&args),
        Command::Pools(args) => listings::pools(&args),
        Command::Servers(args) => listings::servers(&args),
        Command::Workers(args) => listings::workers(&args),
        Command::Ports(args) => listings::ports(&args),
        Command::Drops(args) => drops::drops(&args),
        Command::Snat(args) => listings::snat(&args),
        Command::Persist(args) => persist::persist(&args),
        Command::Flows(args) => flows::flows(&args),
        Command::Flow(FlowCommand::Kill(args)) => kill::kill(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Completions(args) => complete::register(&args),
        Command::Man(args) => man::man(&args),
        Command::Reload(args) => reload::reload(&args),
        Command::Confirm(args) => reload::confirm(&args),
        Command::Undo(args) => reload::undo(&args),
        Command::Status(args) => status::status(&args),
        Command::Events(args) => events::events(&args),
        Command::Server(command) => server::server(&command),
        Command::Node(command) => node::node(&command),
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
        // What dies must not wait for a terminal that hangs.
        if logs::takes_more() {
            told(what);
        }
    }));
}
