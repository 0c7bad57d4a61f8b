//! `ringlead server`: an operator takes a server out and back, and waits for its flows.

use super::{daemon, server_edit};
use crate::cli::{LeaveArgs, ReportArgs, Reported, SayArgs, ServerArgs, ServerCommand, Then, WeightArgs};
use ringlead_control::admin::client;
use ringlead_control::config::OperatorState;
use ringlead_control::engine::operator::{SayAnswer, SayRequest, WaitAnswer, WaitRequest};
use ringlead_control::engine::requests::reported::{ReportAnswer, ReportRequest, ReportedHealth};
use ringlead_control::engine::weight::{WeightAnswer, WeightRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The longest that one question waits; the daemon answers before that, too.
const ASK_MAX: Duration = Duration::from_secs(20);

/// Tells the daemon. Exit status 0: done; 1: flows are left after the wait; 2: refused, or no answer.
pub(crate) fn server(command: &ServerCommand) -> ExitCode {
    let done = match command {
        ServerCommand::Ready(args) => say(args, OperatorState::Ready),
        ServerCommand::Drain(args) => leave(args, OperatorState::Drain),
        ServerCommand::Offline(args) => leave(args, OperatorState::Offline),
        ServerCommand::Weight(args) => weigh(args),
        ServerCommand::Clear(args) => clear(args),
        ServerCommand::Report(args) => report(args),
        ServerCommand::Add(args) => server_edit::add(args),
        ServerCommand::Remove(args) => server_edit::remove(args),
    };
    done.unwrap_or_else(|why| {
        eprintln!("ringlead server: {why}");
        ExitCode::from(2)
    })
}

/// One server of one daemon.
struct Told<'a> {
    control: PathBuf,
    pool: &'a str,
    server: &'a str,
    json: bool,
}

impl<'a> Told<'a> {
    fn of(args: &'a ServerArgs) -> Result<Self, String> {
        let (pool, server) = named(&args.server)?;
        Ok(Self { control: daemon::socket(&args.daemon)?, pool, server, json: args.json })
    }

    fn say(
        &self,
        state: Option<OperatorState>,
        reason: Option<&String>,
        lasting: Option<Duration>,
    ) -> Result<SayAnswer, String> {
        let request = SayRequest {
            pool: self.pool.to_owned(),
            server: self.server.to_owned(),
            state,
            reason: reason.cloned(),
            for_s: lasting.map(|time| time.as_secs()),
        };
        let answer: SayAnswer = self.ask("server", &request)?;
        if let Some(warning) = &answer.warning {
            eprintln!("ringlead server: {warning}");
        }
        if self.json {
            print(&json!(answer).to_string());
        } else {
            let (server, old, new) = (&answer.server, answer.old.name(), answer.new.name());
            print(&format!("{server}: {old} -> {new}, {}", flows_left(answer.flows)));
        }
        Ok(answer)
    }

    /// Asks again and again until no flow is left or the time is over.
    fn wait(&self, time: Duration) -> Result<WaitAnswer, String> {
        let begin = Instant::now();
        loop {
            let left = time.saturating_sub(begin.elapsed());
            let wait_ms = u64::try_from(left.min(ASK_MAX).as_millis()).unwrap_or(u64::MAX);
            let (pool, server) = (self.pool.to_owned(), self.server.to_owned());
            let answer: WaitAnswer = self.ask("server-wait", &WaitRequest { pool, server, wait_ms })?;
            if answer.flows == 0 || begin.elapsed() >= time {
                return Ok(answer);
            }
        }
    }

    fn ask<T: DeserializeOwned>(&self, command: &str, arguments: &impl Serialize) -> Result<T, String> {
        let mut request = json!(arguments);
        if let Some(members) = request.as_object_mut() {
            members.insert("command".to_owned(), Value::String(command.to_owned()));
        }
        let answer = client::request(&self.control, &request).map_err(|error| error.to_string())?;
        serde_json::from_value(answer)
            .map_err(|error| format!("the daemon's answer is of another version: {error}"))
    }
}

/// `POOL/SERVER`.
pub(super) fn named(text: &str) -> Result<(&str, &str), String> {
    let parts = text.split_once('/').filter(|(pool, server)| !pool.is_empty() && !server.is_empty());
    parts.ok_or_else(|| format!("`{text}` is no POOL/SERVER; `ringlead status` lists them"))
}

/// A line. A closed pipe is the reader's choice.
pub(super) fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn say(args: &SayArgs, state: OperatorState) -> Result<ExitCode, String> {
    Told::of(&args.server)?.say(Some(state), args.reason.as_ref(), args.lasting)?;
    Ok(ExitCode::SUCCESS)
}

fn weigh(args: &WeightArgs) -> Result<ExitCode, String> {
    let told = Told::of(&args.server)?;
    let (pool, server) = (told.pool.to_owned(), told.server.to_owned());
    let answer: WeightAnswer =
        told.ask("server-weight", &WeightRequest { pool, server, weight: args.weight })?;
    if let Some(warning) = &answer.warning {
        eprintln!("ringlead server: {warning}");
    }
    if told.json {
        print(&json!(answer).to_string());
    } else {
        let moved = answer.slots_moved_percent.map_or_else(String::new, |percent| {
            format!(": {percent:.1} % of Maglev slots move, 0 established flows move")
        });
        print(&format!("{}: weight {} -> {}{moved}", answer.server, answer.old, answer.new));
    }
    Ok(ExitCode::SUCCESS)
}

fn clear(args: &ServerArgs) -> Result<ExitCode, String> {
    Told::of(args)?.say(None, None, None)?;
    Ok(ExitCode::SUCCESS)
}

/// Says for somebody else whether a server is up.
fn report(args: &ReportArgs) -> Result<ExitCode, String> {
    let told = Told::of(&args.server)?;
    let request = ReportRequest {
        pool: told.pool.to_owned(),
        server: told.server.to_owned(),
        health: match args.health {
            Reported::Up => ReportedHealth::Up,
            Reported::Down => ReportedHealth::Down,
            Reported::Clear => ReportedHealth::Clear,
        },
        for_s: args.lasting.map(|time| time.as_secs()),
        reason: args.reason.clone(),
    };
    let answer: ReportAnswer = told.ask("report", &request)?;
    if told.json {
        print(&json!(answer).to_string());
    } else {
        let lasting = answer.for_s.map(|seconds| format!(", reported for {seconds} s")).unwrap_or_default();
        print(&format!("{}: {} -> {}{lasting}", answer.server, answer.old, answer.new));
    }
    Ok(ExitCode::SUCCESS)
}

fn leave(args: &LeaveArgs, state: OperatorState) -> Result<ExitCode, String> {
    let told = Told::of(&args.say.server)?;
    let (reason, lasting) = (args.say.reason.as_ref(), args.say.lasting);
    told.say(Some(state), reason, lasting)?;
    let Some(time) = args.wait else { return Ok(ExitCode::SUCCESS) };
    let begin = Instant::now();
    let waited = told.wait(time)?;
    if told.json {
        print(&json!(waited).to_string());
    } else {
        print(&format!("{}/{}: {} after the wait", told.pool, told.server, flows_left(waited.flows)));
    }
    if waited.state != state {
        return Err(format!("somebody made it {} meanwhile: nothing else is done", waited.state.name()));
    }
    let then = args.then.map(|then| match then {
        Then::Offline => OperatorState::Offline,
        Then::Close => OperatorState::Closed,
    });
    if then.is_some() {
        // The time began with the first command.
        let left = lasting.map(|time| time.saturating_sub(begin.elapsed()));
        told.say(then, reason, left)?;
    }
    // Whoever closes has decided what becomes of the flows that are left.
    let done = waited.flows == 0 || then == Some(OperatorState::Closed);
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

pub(super) fn flows_left(flows: u32) -> String {
    if flows == 1 { "1 flow left".to_owned() } else { format!("{flows} flows left") }
}
