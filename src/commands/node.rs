//! `ringlead node`: whether this node wants more traffic, and the wait until it has none.

use super::daemon;
use crate::cli::{NodeArgs, NodeCommand, NodeDrainArgs};
use crate::out;
use ringlead_control::admin::client;
use ringlead_control::engine::node_state::{NodeAnswer, NodeRequest};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// How often it is asked for the flows that are left.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Tells the daemon. Exit status 0: done; 1: flows are left after the wait; 2: refused, or no answer.
pub(crate) fn node(command: &NodeCommand) -> ExitCode {
    let done = match command {
        NodeCommand::Ready(args) => tell(args, Some(false), None).map(|_| ExitCode::SUCCESS),
        NodeCommand::Drain(args) => drain(args),
    };
    done.unwrap_or_else(|why| {
        eprintln!("ringlead node: {why}");
        ExitCode::from(2)
    })
}

fn drain(args: &NodeDrainArgs) -> Result<ExitCode, String> {
    tell(&args.node, Some(true), args.reason.as_ref())?;
    let Some(time) = args.wait else { return Ok(ExitCode::SUCCESS) };
    let begin = Instant::now();
    let answer = loop {
        let answer = ask(&args.node, None, None)?;
        if answer.flows == 0 || !answer.drains || begin.elapsed() >= time {
            break answer;
        }
        thread::sleep(ASK_EVERY.min(time.saturating_sub(begin.elapsed())));
    };
    if args.node.json {
        out::line(&json!(answer).to_string());
    } else {
        out::line(&format!("node: {} after the wait", flows_left(answer.flows)));
    }
    if !answer.drains {
        return Err("somebody made it ready meanwhile".to_owned());
    }
    Ok(if answer.flows == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Says it and prints what came of it.
fn tell(args: &NodeArgs, drain: Option<bool>, reason: Option<&String>) -> Result<NodeAnswer, String> {
    let answer = ask(args, drain, reason)?;
    if let Some(warning) = &answer.warning {
        eprintln!("ringlead node: {warning}");
    }
    if args.json {
        out::line(&json!(answer).to_string());
    } else {
        let word = |drains: bool| if drains { "drain" } else { "ready" };
        let (old, new) = (word(answer.drained), word(answer.drains));
        out::line(&format!("node: {old} -> {new}, {}", flows_left(answer.flows)));
    }
    Ok(answer)
}

fn ask(args: &NodeArgs, drain: Option<bool>, reason: Option<&String>) -> Result<NodeAnswer, String> {
    let mut request = json!(NodeRequest { drain, reason: reason.cloned() });
    if let Some(members) = request.as_object_mut() {
        members.insert("command".to_owned(), Value::String("node".to_owned()));
    }
    let control = daemon::socket(&args.daemon)?;
    let answer = client::request(&control, &request).map_err(|error| error.to_string())?;
    serde_json::from_value(answer)
        .map_err(|error| format!("the daemon's answer is of another version: {error}"))
}

fn flows_left(flows: usize) -> String {
    if flows == 1 { "1 flow left".to_owned() } else { format!("{flows} flows left") }
}
