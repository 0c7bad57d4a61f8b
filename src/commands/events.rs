//! `ringlead events`: what happened, and with `-f` what happens.

use super::daemon;
use super::render::{csv_head, csv_row};
use crate::cli::EventsArgs;
use crate::out;
use ringlead_control::admin::client::{self, ClientError};
use ringlead_control::logs::{EventsAnswer, EventsRequest, WAIT_MAX, tame};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

/// Between two tries while no daemon answers.
const RETRY: Duration = Duration::from_millis(500);

const CSV: [&str; 6] = ["/seq", "/time", "/level", "/event", "/message", "/fields"];

/// Prints events. Exit status: 0; 2 when nobody answers, or the question is refused.
pub(crate) fn events(args: &EventsArgs) -> ExitCode {
    match show(args) {
        Ok(()) | Err(Ended::Unread) => ExitCode::SUCCESS,
        Err(Ended::Refused(why)) => {
            eprintln!("ringlead events: {why}");
            ExitCode::from(2)
        }
    }
}

/// How events are printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Words,
    Json,
    Csv,
}

impl Form {
    fn of(args: &EventsArgs) -> Self {
        match (args.json, args.csv) {
            (true, _) => Self::Json,
            (_, true) => Self::Csv,
            _ => Self::Words,
        }
    }

    /// Something that is no event.
    fn note(self, object: &Value, words: &str) -> String {
        match self {
            Self::Words => format!("({words})\n"),
            Self::Json => format!("{object}\n"),
            // It is no row.
            Self::Csv => {
                eprintln!("ringlead events: {words}");
                String::new()
            }
        }
    }

    fn event(self, event: &Value) -> String {
        match self {
            Self::Words => format!("{}\n", in_words(event)),
            Self::Json => format!("{event}\n"),
            Self::Csv => csv_row(&CSV, event),
        }
    }
}

/// Why there is nothing more to print.
enum Ended {
    Unread,
    Refused(String),
}

fn show(args: &EventsArgs) -> Result<(), Ended> {
    let socket = daemon::socket(&args.daemon).map_err(Ended::Refused)?;
    let (mut since, mut started, mut away, mut headed) = (args.since, None, false, false);
    let form = Form::of(args);
    loop {
        let wait = if args.follow && started.is_some() { WAIT_MAX } else { Duration::ZERO };
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let answer = match ask(&socket, &EventsRequest { since, kinds: args.kind.clone(), wait_ms }) {
            Ok(answer) => answer,
            Err(error) if args.follow && started.is_some() && is_away(&error) => {
                if !std::mem::replace(&mut away, true) {
                    eprintln!("ringlead events: {error}; waiting for the next one");
                }
                sleep(RETRY);
                continue;
            }
            Err(error) => return Err(Ended::Refused(error.to_string())),
        };
        away = false;
        if started.as_ref().is_some_and(|known| *known != answer.started) {
            print(&of_another(&answer.started, since, form))?;
            // It counts from the start.
            if std::mem::take(&mut since) != 0 {
                started = Some(answer.started);
                continue;
            }
        }
        print(&text(&answer, form, !std::mem::replace(&mut headed, true)))?;
        (since, started) = (answer.next, Some(answer.started));
        if !answer.more && !args.follow {
            return Ok(());
        }
    }
}

/// What the last daemon said after the last answer is known to nobody: its events went with it.
fn of_another(started: &str, after: u64, form: Form) -> String {
    let object = json!({ "restarted": started, "unknown-after": after });
    let words =
        format!("another daemon since {started}; events of the last one after {after} may be missing");
    form.note(&object, &words)
}

/// Whether the same question may be answered a little later.
pub(super) fn is_away(error: &ClientError) -> bool {
    match error {
        ClientError::NoDaemon { .. }
        | ClientError::Busy(_)
        | ClientError::Stopping(_)
        | ClientError::NoAnswer
        | ClientError::BadAnswer(_)
        | ClientError::Io(_) => true,
        ClientError::Refused(_) | ClientError::Forbidden { .. } => false,
    }
}

fn ask(socket: &Path, request: &EventsRequest) -> Result<EventsAnswer, ClientError> {
    let mut request = json!(request);
    if let Some(members) = request.as_object_mut() {
        members.insert("command".to_owned(), "events".into());
    }
    // Who waits takes none of the places of who wants to change something.
    let answer = client::request(&ringlead_control::admin::read_only_path(socket), &request)?;
    serde_json::from_value(answer).map_err(|error| ClientError::BadAnswer(error.to_string()))
}

fn print(text: &str) -> Result<(), Ended> {
    if out::print(text) { Ok(()) } else { Err(Ended::Unread) }
}

/// `first`: nothing was printed before.
fn text(answer: &EventsAnswer, form: Form, first: bool) -> String {
    let mut text = if first && form == Form::Csv { csv_head(&CSV) } else { String::new() };
    if answer.lost > 0 {
        let lost = answer.lost;
        text.push_str(&form.note(&json!({ "lost": lost }), &format!("{lost} older events are kept no more")));
    }
    answer.events.iter().for_each(|event| text.push_str(&form.event(event)));
    text
}

/// `12  2026-11-21T12:04:00.123456Z  info   health  server="app/s1" up=false …`.
fn in_words(event: &Value) -> String {
    let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
    let seq = event.get("seq").and_then(Value::as_u64).unwrap_or_default();
    let mut line = format!("{seq:>5}  {}  {:<5}  {:<9}", text("time"), text("level"), text("event"));
    if !text("message").is_empty() {
        line.push_str("  ");
        // What a server or file says must not steer the terminal.
        line.push_str(&tame(text("message")));
    }
    for (name, value) in event.get("fields").and_then(Value::as_object).into_iter().flatten() {
        line.push_str(&format!("  {name}={}", tame(&value.to_string())));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_row_and_what_is_none_is_not() {
        let event = json!({ "seq": 7, "time": "t", "level": "info", "event": "health", "message": "", "fields": { "up": "false" } });
        assert_eq!(Form::Csv.note(&json!({ "lost": 3 }), "3 older events are kept no more"), "");
        assert_eq!(Form::Csv.event(&event), "7,t,info,health,,\"{\"\"up\"\":\"\"false\"\"}\"\n");
        assert_eq!(Form::Json.note(&json!({ "lost": 3 }), "3 older"), "{\"lost\":3}\n");
    }
}
