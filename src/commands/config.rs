//! `ringlead config show | schema | example`: configurations on paper.

use crate::cli::{ConfigCommand, ShowArgs};
use crate::out;
use ringlead_control::config;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Does what is asked; exit status 2 when a file cannot be used.
pub(crate) fn config(command: ConfigCommand) -> ExitCode {
    match command {
        ConfigCommand::Check(args) => super::check::check(&args),
        ConfigCommand::Diff(args) => super::diff::run(&args),
        ConfigCommand::Show(args) => show(&args),
        ConfigCommand::Schema => print(&format!("{:#}\n", config::schema::schema())),
        ConfigCommand::Example => print(config::EXAMPLE),
    }
}

fn show(args: &ShowArgs) -> ExitCode {
    match config::show(&args.file.config, args.effective) {
        Ok(text) => print(&text),
        Err(diagnostics) => {
            eprintln!("{}", diagnostics.render(colour()));
            ExitCode::from(2)
        }
    }
}

/// Whether messages are for a terminal whose owner wants colours.
pub(crate) fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn print(text: &str) -> ExitCode {
    out::print(text);
    ExitCode::SUCCESS
}
