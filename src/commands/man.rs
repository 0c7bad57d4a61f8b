//! `ringlead man`: manual pages, made from the command line's own description.

use super::listing::refused;
use crate::cli::{Cli, ManArgs};
use crate::out::print;
use clap::CommandFactory;
use clap_mangen::Man;
use std::process::ExitCode;

/// Prints `ringlead.1`, or writes it and a page for each command into a directory.
pub(crate) fn man(args: &ManArgs) -> ExitCode {
    let command = Cli::command();
    let done = match &args.directory {
        Some(directory) => clap_mangen::generate_to(command, directory),
        None => {
            let mut page = Vec::new();
            Man::new(command).render(&mut page).map(|()| {
                print(&String::from_utf8_lossy(&page));
            })
        }
    };
    done.map_or_else(|error| refused("man", &error.to_string()), |()| ExitCode::SUCCESS)
}
