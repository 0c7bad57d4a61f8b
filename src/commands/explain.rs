//! `ringlead explain CODE`: what a code of the configuration or a reason of a drop means, how it comes about and what to do. Of a
//! flow: `explain_flow`.

use super::explain_flow;
use super::listing::refused;
use crate::cli::ExplainArgs;
use crate::out;
use ringlead_control::config::codes;
use ringlead_l4::drops::Drop;
use std::process::ExitCode;

/// Of a code or of a flow, by the number of words.
pub(crate) fn explain(args: &ExplainArgs) -> ExitCode {
    match args.what.as_slice() {
        [code] => explain_code(code),
        [protocol, client, service] => explain_flow::explain(args, protocol, client, service),
        _ => refused("explain", "a flow is: tcp or udp, the client's ADDRESS:PORT, the service"),
    }
}

/// Prints it; exit status 2 when there is none.
fn explain_code(code: &str) -> ExitCode {
    match text(code) {
        Some(text) => {
            out::line(&text);
            ExitCode::SUCCESS
        }
        None => {
            let asked = code.escape_debug();
            eprintln!(
                "ringlead explain: there is no code {asked}: configuration codes are C000 and on, drops D000 and on, or names"
            );
            ExitCode::from(2)
        }
    }
}

/// Of a code in capital or small letters, or of a drop's name.
fn text(code: &str) -> Option<String> {
    let upper = code.to_ascii_uppercase();
    if let (Some(what), Some(advice)) = (codes::explain(&upper), codes::advice(&upper)) {
        return Some(format!("{upper}: {what}\n{advice}"));
    }
    let drop = Drop::all().find(|drop| number(*drop) == upper || drop.name().eq_ignore_ascii_case(code))?;
    Some(format!(
        "{} {}: frames that are dropped for this reason\n{}",
        number(drop),
        drop.name(),
        drop.text()
    ))
}

/// Of this version: the place in its list.
fn number(drop: Drop) -> String {
    format!("D{:03}", drop.index())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_and_every_drop_is_explained_by_number_and_name() {
        for (code, what) in codes::ALL {
            let said = text(&code.to_lowercase()).unwrap();
            assert!(said.contains(what) && said.lines().count() == 2, "{said}");
        }
        for drop in Drop::all() {
            let said = text(&number(drop)).unwrap();
            assert!(drop.text().len() > 20 && said.contains(drop.text()), "{said}");
            assert_eq!(text(drop.name()), Some(said));
        }
        for unknown in ["", "C999", "D999", "D1", "nothing"] {
            assert_eq!(text(unknown), None);
        }
    }
}
