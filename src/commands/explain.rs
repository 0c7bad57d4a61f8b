//! `ringlead explain CODE`: what a code of the configuration or a reason of a drop means, how it comes about and what to do. Of a
//! flow: `explain_flow`.

use super::explain_flow;
use super::listing::refused;
use crate::cli::ExplainArgs;
use crate::out::print;
use ringlead_control::config::codes;
use ringlead_l4::drops::Drop;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Of a code or of a flow, by the number of words.
pub(crate) fn explain(args: &ExplainArgs) -> ExitCode {
    match args.what.as_slice() {
        [_] if args.csv => refused("explain", "a code has no rows: `--json`, or without"),
        [code] => explain_code(code, args.json),
        [protocol, client, service] => explain_flow::explain(args, protocol, client, service),
        _ => refused("explain", "a flow is: tcp or udp, the client's ADDRESS:PORT, the service"),
    }
}

/// Prints it; exit status 2 when there is none.
fn explain_code(code: &str, json: bool) -> ExitCode {
    let Some(meant) = meant(code) else {
        let asked = code.escape_debug();
        return refused(
            "explain",
            &format!(
                "there is no code {asked}: configuration codes are C000 and on, drops D000 and on, or names"
            ),
        );
    };
    print(&if json { format!("{:#}\n", meant.json()) } else { format!("{}\n", meant.text()) });
    ExitCode::SUCCESS
}

/// What a code stands for.
struct Meant {
    code: String,
    /// Of a drop.
    name: Option<&'static str>,
    what: String,
    advice: String,
}

impl Meant {
    fn text(&self) -> String {
        let name = self.name.map(|name| format!(" {name}")).unwrap_or_default();
        format!("{}{name}: {}\n{}", self.code, self.what, self.advice)
    }

    fn json(&self) -> Value {
        json!({ "format": 1, "code": self.code, "name": self.name, "what": self.what, "advice": self.advice })
    }
}

/// Of a code in capital or small letters, or of a drop's name.
fn meant(code: &str) -> Option<Meant> {
    let upper = code.to_ascii_uppercase();
    if let (Some(what), Some(advice)) = (codes::explain(&upper), codes::advice(&upper)) {
        let (what, advice) = (what.to_owned(), advice.to_owned());
        return Some(Meant { code: upper, name: None, what, advice });
    }
    let drop = Drop::all().find(|drop| number(*drop) == upper || drop.name().eq_ignore_ascii_case(code))?;
    let (what, advice) = ("frames that are dropped for this reason".to_owned(), drop.text().to_owned());
    Some(Meant { code: number(drop), name: Some(drop.name()), what, advice })
}

/// Of this version: the place in its list.
fn number(drop: Drop) -> String {
    format!("D{:03}", drop.index())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(code: &str) -> Option<String> {
        meant(code).map(|meant| meant.text())
    }

    #[test]
    fn a_code_is_explained_in_json_too() {
        let drop = meant("no-server").unwrap().json();
        assert!(drop["name"] == "no-server" && drop["code"].as_str().unwrap().starts_with('D'), "{drop}");
        assert!(drop["advice"].as_str().unwrap().len() > 20, "{drop}");
        let code = meant("c120").unwrap().json();
        assert!(code["code"] == "C120" && code["name"].is_null() && code["what"].is_string(), "{code}");
    }

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
