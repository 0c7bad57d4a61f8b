//! `ringlead server`: an operator takes a server out and back, and waits for its flows.

use super::events::is_away;
use super::listing::Asked;
use super::{daemon, flows, server_edit};
use crate::cli::{LeaveArgs, ReportArgs, Reported, SayArgs, ServerArgs, ServerCommand, Then, WeightArgs};
use crate::out;
use ringlead_control::admin::client::{self, ClientError};
use ringlead_control::admin::read_only_path;
use ringlead_control::config::OperatorState;
use ringlead_control::engine::operator::{SayAnswer, SayRequest, WaitAnswer, WaitRequest};
use ringlead_control::engine::requests::reported::{ReportAnswer, ReportRequest, ReportedHealth};
use ringlead_control::engine::weight::{WeightAnswer, WeightRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// The longest that one question waits: so soon another state is noticed.
const ASK_MAX: Duration = Duration::from_secs(1);
/// For how long one such question is unanswered before it counts as lost: a daemon that hangs does not make the wait much longer.
const ASK_PATIENCE: Duration = Duration::from_secs(6);
/// Between two tries while no daemon answers.
const RETRY: Duration = Duration::from_millis(200);
/// For how long a daemon is looked for after the wait.
const THEN_MAX: Duration = Duration::from_secs(30);

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
        patience: Duration,
    ) -> Result<SayAnswer, String> {
        let request = SayRequest {
            pool: self.pool.to_owned(),
            server: self.server.to_owned(),
            state,
            reason: reason.cloned(),
            for_s: lasting.map(whole_seconds),
        };
        let answer: SayAnswer = self.ask_within(patience, "server", &request)?;
        if let Some(warning) = &answer.warning {
            eprintln!("ringlead server: {warning}");
        }
        if self.json {
            out::line(&json!(answer).to_string());
        } else {
            let (server, old, new) = (&answer.server, answer.old.name(), answer.new.name());
            out::line(&format!("{server}: {old} -> {new}, {}", flows_left(answer.flows)));
            if let Some(weight) = &answer.weight {
                say_weight(weight);
            }
        }
        if !answer.unserved.is_empty() {
            let services = answer.unserved.join(", ");
            eprintln!("ringlead server: warning: no server may get new flows of {services} now");
        }
        Ok(answer)
    }

    /// Asks again and again until no flow is left, the state is another one or the time is over. Meanwhile the daemon may be started
    /// anew or taken over: where something comes `then`, one that is away at the end is looked for a while longer.
    fn wait(&self, time: Duration, state: OperatorState, then: bool) -> Result<WaitAnswer, String> {
        let begin = Instant::now();
        loop {
            let left = time.saturating_sub(begin.elapsed());
            let wait_ms = u64::try_from(left.min(ASK_MAX).as_millis()).unwrap_or(u64::MAX);
            let (pool, server) = (self.pool.to_owned(), self.server.to_owned());
            let request = WaitRequest { pool, server, wait_ms };
            let patience = if then { left.max(THEN_MAX) } else { left };
            let asked = of_command("server-wait", &request);
            let answer: WaitAnswer = until(patience, || self.look(&asked)).map_err(|why| {
                format!("{why}; nothing else is done: a server that a reload has removed keeps its flows until they end")
            })?;
            if answer.flows == 0 || answer.state != state || begin.elapsed() >= time {
                return Ok(answer);
            }
        }
    }

    fn ask<T: DeserializeOwned>(&self, command: &str, arguments: &impl Serialize) -> Result<T, String> {
        self.ask_within(Duration::ZERO, command, arguments)
    }

    /// Asks until somebody answers, or the patience is over: what is asked twice has the effect of once.
    fn ask_within<T: DeserializeOwned>(
        &self,
        patience: Duration,
        command: &str,
        arguments: &impl Serialize,
    ) -> Result<T, String> {
        let request = of_command(command, arguments);
        until(patience, || client::request(&self.control, &request))
    }

    /// Asks what changes nothing: who waits takes none of the places of who wants to change something, where there are others.
    fn look(&self, request: &Value) -> Result<Value, ClientError> {
        match client::request_within(&read_only_path(&self.control), request, ASK_PATIENCE) {
            Err(ClientError::NoDaemon { .. } | ClientError::Forbidden { .. }) => {
                client::request_within(&self.control, request, ASK_PATIENCE)
            }
            answer => answer,
        }
    }
}

fn of_command(command: &str, arguments: &impl Serialize) -> Value {
    let mut request = json!(arguments);
    if let Some(members) = request.as_object_mut() {
        members.insert("command".to_owned(), Value::String(command.to_owned()));
    }
    request
}

fn until<T: DeserializeOwned>(
    patience: Duration,
    ask: impl Fn() -> Result<Value, ClientError>,
) -> Result<T, String> {
    let begin = Instant::now();
    let answer = loop {
        match ask() {
            Ok(answer) => break answer,
            Err(error) if is_away(&error) && begin.elapsed() < patience => thread::sleep(RETRY),
            Err(error) => return Err(error.to_string()),
        }
    };
    serde_json::from_value(answer)
        .map_err(|error| format!("the daemon's answer is of another version: {error}"))
}

/// What the daemon is told of a time: no state ends early.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

/// What is left of the time that a state was to last, as the daemon can be told it: 0 s is no time.
fn rest_of(lasting: Duration, gone: Duration) -> Duration {
    lasting.saturating_sub(gone).max(Duration::from_secs(1))
}

/// `POOL/SERVER`.
pub(super) fn named(text: &str) -> Result<(&str, &str), String> {
    let parts = text.split_once('/').filter(|(pool, server)| !pool.is_empty() && !server.is_empty());
    parts.ok_or_else(|| format!("`{text}` is no POOL/SERVER; `ringlead status` lists them"))
}

fn say(args: &SayArgs, state: OperatorState) -> Result<ExitCode, String> {
    Told::of(&args.server)?.say(Some(state), args.reason.as_ref(), args.lasting, Duration::ZERO)?;
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
        out::line(&json!(answer).to_string());
    } else {
        say_weight(&answer);
    }
    Ok(ExitCode::SUCCESS)
}

fn say_weight(answer: &WeightAnswer) {
    let moved = answer.slots_moved_percent.map_or_else(String::new, |percent| {
        format!(": {percent:.1} % of Maglev slots move, 0 established flows move")
    });
    out::line(&format!("{}: weight {} -> {}{moved}", answer.server, answer.old, answer.new));
}

fn clear(args: &ServerArgs) -> Result<ExitCode, String> {
    Told::of(args)?.say(None, None, None, Duration::ZERO)?;
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
        out::line(&json!(answer).to_string());
    } else {
        let lasting = answer.for_s.map(|seconds| format!(", reported for {seconds} s")).unwrap_or_default();
        out::line(&format!("{}: {} -> {}{lasting}", answer.server, answer.old, answer.new));
    }
    Ok(ExitCode::SUCCESS)
}

fn leave(args: &LeaveArgs, state: OperatorState) -> Result<ExitCode, String> {
    let told = Told::of(&args.say.server)?;
    let (reason, lasting) = (args.say.reason.as_ref(), args.say.lasting);
    if let (Some(lasting), Some(wait)) = (lasting, args.wait)
        && lasting <= wait
    {
        return Err(
            "`--for` must be longer than `--wait`: the state would end while its flows are waited for"
                .to_owned(),
        );
    }
    told.say(Some(state), reason, lasting, Duration::ZERO)?;
    let Some(time) = args.wait else { return Ok(ExitCode::SUCCESS) };
    let begin = Instant::now();
    let waited = told.wait(time, state, args.then.is_some())?;
    // It is only told: without it, what comes then is done all the same.
    let over = if waited.flows == 0 { 0 } else { flows_over(&args.say.server).unwrap_or_default() };
    if told.json {
        let mut waited = json!(waited);
        if let Some(members) = waited.as_object_mut() {
            members.insert("flows_over".to_owned(), json!(over));
        }
        out::line(&waited.to_string());
    } else {
        let left = flows_after(waited.flows, over);
        out::line(&format!("{}/{}: {left} after the wait", told.pool, told.server));
    }
    if waited.state != state {
        let (now, was) = (waited.state.name(), state.name());
        return Err(format!(
            "it is {now} now and no more {was}: somebody has changed that meanwhile, nothing else is done"
        ));
    }
    let then = args.then.map(|then| match then {
        Then::Offline => OperatorState::Offline,
        Then::Close => OperatorState::Closed,
    });
    if then.is_some() {
        // The time began with the first command.
        let left = lasting.map(|time| rest_of(time, begin.elapsed()));
        told.say(then, reason, left, THEN_MAX)?;
    }
    // Whoever closes has decided what becomes of the flows that are left.
    let done = u64::from(waited.flows) <= over || then == Some(OperatorState::Closed);
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Those of a server's flows that nobody misses: both ends closed them, or one reset them. They stay for late segments.
fn flows_over(args: &ServerArgs) -> Result<u64, String> {
    let asked = Asked::of(&args.daemon)?;
    let of = |state: &str| {
        let filter = json!({ "server": args.server, "state": state });
        flows::count(&asked, json!({ "command": "flows", "filter": filter, "count": true }))
    };
    Ok(of("closed")? + of("reset")?)
}

/// How many flows are left, `over` of them over.
fn flows_after(flows: u32, over: u64) -> String {
    let left = flows_left(flows);
    match over {
        0 => left,
        _ if over >= u64::from(flows) => format!("{left}, all of them closed and kept for late segments"),
        _ => format!("{left}, {over} of them closed and kept for late segments"),
    }
}

pub(super) fn flows_left(flows: u32) -> String {
    if flows == 1 { "1 flow left".to_owned() } else { format!("{flows} flows left") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_is_left_of_a_time_is_told_in_whole_seconds_and_is_never_none() {
        let gone = [0, 8_000, 8_999, 9_000, 9_100, 10_000, 11_000].map(Duration::from_millis);
        let told = gone.map(|gone| whole_seconds(rest_of(Duration::from_secs(10), gone)));
        assert_eq!(told, [10, 2, 2, 1, 1, 1, 1]);
        assert_eq!(whole_seconds(Duration::ZERO), 0, "what is asked for is left for the daemon to refuse");
    }

    /// Only by the read-only door is there a daemon, and only after the wait.
    #[test]
    fn a_daemon_that_is_away_when_the_wait_ends_is_waited_for_where_something_comes_then() {
        let dir = tempfile::tempdir().unwrap();
        let told = Told { control: dir.path().join("c.sock"), pool: "web", server: "web1", json: false };
        let lost = told.wait(Duration::ZERO, OperatorState::Drain, false).unwrap_err();
        assert!(lost.contains("no daemon listens"), "{lost}");
        let door = read_only_path(&told.control);
        let daemon = thread::spawn(move || {
            thread::sleep(2 * RETRY);
            let (mut stream, _) = UnixListener::bind(door).unwrap().accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let answer = WaitAnswer { state: OperatorState::Drain, flows: 0 };
            writeln!(stream, "{}", json!(answer)).unwrap();
            line
        });
        assert_eq!(told.wait(Duration::ZERO, OperatorState::Drain, true).unwrap().flows, 0);
        assert!(daemon.join().unwrap().contains("server-wait"));
    }

    #[test]
    fn flows_that_are_over_are_told_apart() {
        let said = [(0, 0), (1, 0), (20, 3), (20, 20)].map(|(flows, over)| flows_after(flows, over));
        let [none, one, some, all] = said;
        assert_eq!((&*none, &*one), ("0 flows left", "1 flow left"));
        assert_eq!(some, "20 flows left, 3 of them closed and kept for late segments");
        assert_eq!(all, "20 flows left, all of them closed and kept for late segments");
    }
}
