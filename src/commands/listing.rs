//! What listings share: they are asked page by page, printed in one of three forms, and again when watched.

use super::daemon;
use super::render::{csv_head, csv_row, table};
use crate::cli::{DaemonArgs, ListArgs};
use crate::out::print;
use ringlead_control::admin;
use ringlead_control::admin::client::{self, ClientError};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// A column of a table: its title, and a row's cell in words.
pub(super) type Column = (&'static str, fn(&Value) -> String);

/// How rows of one kind are shown.
pub(super) struct Shown {
    /// The command.
    pub(super) command: &'static str,
    /// The key of its rows in JSON.
    pub(super) name: &'static str,
    /// The table.
    pub(super) columns: Vec<Column>,
    /// The columns of CSV, as JSON pointers into a row.
    pub(super) csv: Vec<&'static str>,
    /// Whether a row is a reason to look: exit status 1.
    pub(super) degraded: fn(&Value) -> bool,
}

impl Shown {
    /// The rows as a table.
    pub(super) fn table(&self, rows: &[Value]) -> String {
        let head: Vec<&str> = self.columns.iter().map(|(title, _)| *title).collect();
        let cells = |row: &Value| self.columns.iter().map(|(_, cell)| cell(row)).collect();
        format!("{}\n", table(&head, rows.iter().map(cells).collect()))
    }

    /// The rows in the form that is asked for. `first`: nothing was printed before.
    fn text(&self, rows: &[Value], args: &ListArgs, first: bool) -> String {
        if args.json {
            let all = json!({ "format": 1, self.name: rows });
            // Watched, an object is a line.
            return if args.watch.is_some() { format!("{all}\n") } else { format!("{all:#}\n") };
        }
        if args.csv {
            let head = if first { csv_head(&self.csv) } else { String::new() };
            return head + &rows.iter().map(|row| csv_row(&self.csv, row)).collect::<String>();
        }
        self.table(rows)
    }
}

/// Asks for rows and prints them, once or again and again. Exit status 0; 1: one of them is a reason to look; 2: refused, or no
/// answer.
pub(super) fn show(
    shown: &Shown,
    args: &ListArgs,
    mut ask: impl FnMut() -> Result<Vec<Value>, String>,
) -> ExitCode {
    let mut watch = Watch::of(args.watch, !args.json && !args.csv);
    loop {
        let rows = match ask() {
            Ok(rows) => rows,
            Err(why) if watch.outlives(shown.command, &why) => continue,
            Err(why) => return refused(shown.command, &why),
        };
        let text = shown.text(&rows, args, watch.is_first());
        if !watch.show(&text) || !watch.goes_on() {
            return if rows.iter().any(shown.degraded) { ExitCode::from(1) } else { ExitCode::SUCCESS };
        }
    }
}

/// Printing again and again.
pub(super) struct Watch {
    every: Option<Duration>,
    /// Whether what was printed is painted over.
    in_place: bool,
    shown: u64,
    /// Whether it was said that nobody answers.
    away: bool,
}

impl Watch {
    /// `every`: how often; `None`: once. `words`: tables for people, not JSON or CSV.
    pub(super) fn of(every: Option<Duration>, words: bool) -> Self {
        let in_place = every.is_some() && std::io::stdout().is_terminal() && words;
        Self { every, in_place, shown: 0, away: false }
    }

    /// Whether nothing was printed yet.
    pub(super) fn is_first(&self) -> bool {
        self.shown == 0
    }

    /// Prints; `false` when nobody reads any more.
    pub(super) fn show(&mut self, text: &str) -> bool {
        self.shown += 1;
        self.away = false;
        if !self.in_place {
            return print(text);
        }
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        // To the corner; then clear what is below.
        print(&format!("\u{1b}[H\u{1b}[2J{now}\n{text}"))
    }

    /// Whether it goes on without an answer, as somebody has answered before: that is said once, and waited for.
    pub(super) fn outlives(&mut self, command: &str, why: &str) -> bool {
        let Some(every) = self.every.filter(|_| !self.is_first()) else { return false };
        if !std::mem::replace(&mut self.away, true) {
            eprintln!("ringlead {command}: {why}; asking on");
        }
        std::thread::sleep(every);
        true
    }

    /// Waits for the next time; `false`: once was enough.
    pub(super) fn goes_on(&self) -> bool {
        self.every.inspect(|every| std::thread::sleep(*every)).is_some()
    }
}

/// A daemon that is asked without changing anything: by the read-only socket where the other one is closed to this user.
pub(super) struct Asked(PathBuf);

impl Asked {
    pub(super) fn of(args: &DaemonArgs) -> Result<Self, String> {
        daemon::socket(args).map(Self)
    }

    pub(super) fn ask(&self, request: &Value) -> Result<Value, String> {
        let answer = match client::request(&self.0, request) {
            // Whoever may not change anything may still look.
            Err(ClientError::Forbidden { .. }) => client::request(&admin::read_only_path(&self.0), request),
            answer => answer,
        };
        answer.map_err(|error| error.to_string())
    }

    /// One page of rows, and where the next one begins.
    pub(super) fn page(
        &self,
        request: &mut Value,
        cursor: &Value,
    ) -> Result<(Vec<Value>, Option<Value>), String> {
        if let Some(members) = request.as_object_mut() {
            members.insert("cursor".to_owned(), cursor.clone());
        }
        let mut answer = self.ask(request)?;
        match answer.get_mut("rows").map(Value::take) {
            Some(Value::Array(rows)) => {
                Ok((rows, answer.get_mut("next").map(Value::take).filter(|next| !next.is_null())))
            }
            _ => Err("the daemon's answer is of another version: it has no rows".to_owned()),
        }
    }

    /// All rows.
    pub(super) fn rows(&self, mut request: Value, first: Value) -> Result<Vec<Value>, String> {
        let (mut all, mut cursor) = (Vec::new(), Some(first));
        while let Some(at) = cursor {
            let (rows, next) = self.page(&mut request, &at)?;
            all.extend(rows);
            cursor = next;
        }
        Ok(all)
    }
}

/// Exit status 2, with the reason.
pub(super) fn refused(name: &str, why: &str) -> ExitCode {
    eprintln!("ringlead {name}: {why}");
    ExitCode::from(2)
}
