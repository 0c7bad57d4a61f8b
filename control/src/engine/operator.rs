//! Operators at work: a server's state at run time, kept across restarts, and the wait for its last flow.

use super::Engine;
use super::requests::{json, tell};
use super::served::{served, unserved};
use super::state_file::{self, Earlier, Owner, Unusable};
use super::weight::WeightAnswer;
use crate::config::OperatorState;
use crate::plan::{Reach, Said, Sayings, StateChange};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

/// How often it is looked whether something that was said is over.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest that one question for a server's last flow waits: less than the door allows for an answer.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// The longest reason, in bytes.
pub(super) const REASON_MAX: usize = 256;
/// The longest that something can be said for, in seconds: a year.
const FOR_MAX_S: u64 = 366 * 24 * 3_600;

/// Who waits, and what was looked at last.
#[derive(Debug, Default)]
pub(super) struct OperatorWatch {
    looked: Option<Instant>,
    /// No more than the door has connections: each waits for one answer at a time.
    waits: Vec<Wait>,
    /// Whether the file's states are among those in force.
    earlier: Earlier,
}

#[derive(Debug)]
struct Wait {
    pool: String,
    server: String,
    until: Instant,
    answer: oneshot::Sender<Value>,
}

/// The command `server`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SayRequest {
    /// The pool's name.
    pub pool: String,
    /// The server's name.
    pub server: String,
    /// What is wanted of it; `None`: what the file says.
    pub state: Option<OperatorState>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// For how many seconds; `None`: until another command.
    #[serde(default)]
    pub for_s: Option<u64>,
}

/// Its answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct SayAnswer {
    /// `POOL/SERVER`.
    pub server: String,
    /// The state before.
    pub old: OperatorState,
    /// The state now.
    pub new: OperatorState,
    /// What the file says.
    pub file: OperatorState,
    /// The flows that the server has.
    pub flows: u32,
    /// What came of its weight by command, where `clear` took that back, too.
    #[serde(default)]
    pub weight: Option<WeightAnswer>,
    /// The services that have no server now which may get new flows, in their pool or sorry pool, and had one before.
    #[serde(default)]
    pub unserved: Vec<String>,
    /// What did not work: the state is in force, but would not survive a restart.
    pub warning: Option<String>,
}

/// The command `server-wait`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitRequest {
    /// The pool's name.
    pub pool: String,
    /// The server's name.
    pub server: String,
    /// How many milliseconds to wait for its last flow to end; at most 20 seconds are waited.
    pub wait_ms: u64,
}

/// Its answer, when there is no flow left or the time is over.
#[derive(Debug, Serialize, Deserialize)]
pub struct WaitAnswer {
    /// The flows that the server has.
    pub flows: u32,
    /// Its state: somebody else may have changed it meanwhile.
    pub state: OperatorState,
}

impl Engine {
    /// Reads what was said before the last stop. A file that cannot be used is told of once, and the start goes on without; one that
    /// could not be read is tried again, and not written over.
    pub(super) async fn load_said(&mut self) {
        let dir = self.plan.config().node.state_dir.clone();
        // A predecessor has the steering program for as long as it serves.
        let owner = if self.node.steering.is_some() { Owner::Us } else { Owner::Predecessor };
        let loaded = tokio::task::spawn_blocking(move || state_file::load(&dir, owner)).await;
        let loaded = loaded.unwrap_or_else(|error| Err(Unusable::Unread(error.to_string())));
        let before = std::mem::replace(&mut self.operator.earlier, Earlier::after(&loaded));
        let said = match loaded {
            Ok(said) => said,
            Err(_) if before == Earlier::Unread && self.operator.earlier == before => return,
            Err(unusable) => return tell_unusable(&unusable),
        };
        for said in &said.servers {
            let (server, state) = (format!("{}/{}", said.pool, said.server), said.state.name());
            tracing::info!(event = "operator", server, state, reason = said.reason, "as before the restart");
        }
        for weighed in &said.weights {
            let (server, weight) = (format!("{}/{}", weighed.pool, weighed.server), weighed.weight);
            tracing::info!(event = "operator", server, weight, "as before the restart");
        }
        if let Some(drain) = &said.node {
            tracing::info!(
                event = "operator",
                reason = drain.reason,
                "the node drains, as before the restart"
            );
        }
        let plan = Arc::make_mut(&mut self.plan);
        plan.remember(said);
        plan.end_said(unix_now());
    }

    /// Reads it again once the predecessor is gone: operators may have told it more while this process got ready.
    pub(super) async fn catch_up_said(&mut self) {
        let known = self.plan.sayings();
        self.load_said().await;
        if self.plan.sayings() != known {
            self.publish_and_steer().await;
        }
        self.note_said().await;
    }

    /// Tries the file that could not be read again, unless something was said since.
    pub(super) async fn read_unread(&mut self) {
        if self.operator.earlier == Earlier::Unread {
            self.catch_up_said().await;
        }
    }

    /// After the file has changed: which servers of those that something was said of are gone from it, or back.
    pub(super) async fn note_said(&mut self) {
        if self.plan.sayings() != Sayings::default() && Arc::make_mut(&mut self.plan).note_absent(unix_now())
        {
            // A server's absence is noted again at the next start.
            self.save_in_passing().await;
        }
    }

    /// Does the command `server`.
    pub(super) async fn say(&mut self, arguments: &Map<String, Value>) -> Result<SayAnswer, String> {
        let request: SayRequest = parsed(arguments)?;
        check(&request)?;
        self.read_unread().await;
        let now = unix_now();
        let SayRequest { pool, server, state, reason, for_s } = request;
        if state == Some(OperatorState::Closed) {
            self.can_close(&pool, &server)?;
        }
        let served = served(&self.plan);
        // Only what takes a weight back, too, tells of them.
        let slots = state.is_none().then(|| self.plan.maglev_slots(&pool)).flatten();
        let plan = Arc::make_mut(&mut self.plan);
        let mut weight = None;
        let change = match state {
            None => plan.weigh(&pool, &server, None).and_then(|weighed| {
                weight = (weighed.old != weighed.new).then_some(weighed);
                plan.unsay(&pool, &server)
            }),
            Some(state) => {
                let until = for_s.map(|seconds| now.saturating_add(seconds));
                let (pool, server, reason) = (pool.clone(), server.clone(), reason.clone());
                plan.say(Said { pool, server, state, reason, since: now, until, absent_since: None })
            }
        };
        let change = change.map_err(|why| why.to_string())?;
        let warning = self.save_said().await.err();
        self.publish_and_steer().await;
        let name = format!("{pool}/{server}");
        let (old, new) = (change.old.name(), change.new.name());
        tracing::info!(event = "operator", server = name, old, new, reason, for_s, "told by an operator");
        let weight = weight.map(|weighed| self.weighed(&pool, &server, weighed, slots.as_deref()));
        let unserved = unserved(&served, &self.plan);
        if !unserved.is_empty() {
            let services = unserved.join(", ");
            tracing::warn!(event = "operator", services, "no server may get their new flows");
        }
        let (flows, _) = self.flows_left(&pool, &server)?;
        let StateChange { old, new, file } = change;
        Ok(SayAnswer { server: name, old, new, file, flows, weight, unserved, warning })
    }

    /// Connections of this node itself, of the nodes that share a service, are its kernel's.
    fn can_close(&self, pool: &str, server: &str) -> Result<(), String> {
        let (record, _) = self.plan.configured(pool, server).map_err(|why| why.to_string())?;
        if record.reach == Reach::Itself {
            return Err(format!(
                "{pool}/{server} is this node: its connections are its kernel's, and only what listens can end them; `offline` keeps new ones away"
            ));
        }
        Ok(())
    }

    /// Ends what was said for a time that is over; about once a second.
    pub(super) async fn end_said(&mut self) {
        if self.operator.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return;
        }
        self.operator.looked = Some(Instant::now());
        self.read_unread().await;
        if self.plan.all_said().next().is_none() {
            return;
        }
        let now = unix_now();
        let over = self.plan.all_said().any(|said| said.is_over(now));
        if !over {
            return;
        }
        for said in Arc::make_mut(&mut self.plan).end_said(now) {
            let server = format!("{}/{}", said.pool, said.server);
            tracing::info!(event = "operator", server, was = said.state.name(), "its time is over");
        }
        // What could not be written is over at the next start all the same.
        self.save_in_passing().await;
        self.publish_and_steer().await;
    }

    /// Begins the command `server-wait`, or gives the place for its answer back, with a reason.
    pub(super) fn wait_for_flows(
        &mut self,
        arguments: &Map<String, Value>,
        answer: oneshot::Sender<Value>,
    ) -> Result<(), (oneshot::Sender<Value>, String)> {
        let request = parsed::<WaitRequest>(arguments)
            .and_then(|request| self.flows_left(&request.pool, &request.server).map(|_| request));
        match request {
            Err(why) => Err((answer, why)),
            Ok(WaitRequest { pool, server, wait_ms }) => {
                let until = Instant::now() + Duration::from_millis(wait_ms).min(WAIT_MAX);
                self.operator.waits.push(Wait { pool, server, until, answer });
                self.answer_waits();
                Ok(())
            }
        }
    }

    /// Answers those whose server has no flow left, or whose time is over.
    pub(super) fn answer_waits(&mut self) {
        let now = Instant::now();
        let mut waits = std::mem::take(&mut self.operator.waits);
        for wait in waits.extract_if(.., |wait| {
            // A server that left the file meanwhile is an error that is told.
            let flows = self.flows_left(&wait.pool, &wait.server).map_or(0, |(flows, _)| flows);
            flows == 0 || now >= wait.until || wait.answer.is_closed()
        }) {
            let left = self.flows_left(&wait.pool, &wait.server);
            tell(wait.answer, left.and_then(|(flows, state)| json(&WaitAnswer { flows, state })));
        }
        self.operator.waits = waits;
    }

    fn flows_left(&self, pool: &str, server: &str) -> Result<(u32, OperatorState), String> {
        let (record, _) = self.plan.configured(pool, server).map_err(|why| why.to_string())?;
        Ok((self.node.shared.loads.get(record.id.0), record.operator))
    }

    /// Writes down what has changed by itself, which is no reason to give up a file that could not be read.
    async fn save_in_passing(&mut self) {
        if self.operator.earlier != Earlier::Unread {
            // What does not work is logged.
            let _ = self.save_said().await;
        }
    }

    /// Writes down what operators said, off this thread. What does not work is logged and returned.
    pub(super) async fn save_said(&mut self) -> Result<(), String> {
        let dir = self.plan.config().node.state_dir.clone();
        let said = self.plan.sayings();
        let aside = self.put_unread_aside().await;
        let saved = match aside {
            Ok(()) => tokio::task::spawn_blocking(move || state_file::save(&dir, said)).await,
            Err(error) => Ok(Err(error)),
        };
        let saved =
            saved.map_err(|error| error.to_string()).and_then(|saved| saved.map_err(|e| e.to_string()));
        saved.map_err(|error| {
            tracing::error!(event = "operator", error, "the operators' states could not be written");
            format!("it would not survive a restart: {error}")
        })
    }

    /// Something was said while the file could not be read: it stays under another name.
    async fn put_unread_aside(&mut self) -> io::Result<()> {
        self.operator.earlier = self.operator.earlier.overruled();
        if self.operator.earlier != Earlier::Overruled {
            return Ok(());
        }
        let dir = self.plan.config().node.state_dir.clone();
        let aside = tokio::task::spawn_blocking(move || state_file::put_aside(&dir)).await;
        if let Some(aside) = aside.map_err(io::Error::other)?? {
            let aside = aside.display().to_string();
            tracing::error!(
                event = "operator",
                aside,
                "the operators' states of before, never read, are set aside"
            );
        }
        self.operator.earlier = Earlier::Known;
        Ok(())
    }
}

/// Without the file the configuration's states count.
fn tell_unusable(unusable: &Unusable) {
    match unusable {
        Unusable::Unread(why) => {
            tracing::error!(event = "operator", why, "the operators' states were not read");
        }
        Unusable::Damaged { why, aside: Some(aside) } => {
            let aside = aside.display().to_string();
            tracing::error!(
                event = "operator",
                why,
                aside,
                "the operators' states cannot be read and are set aside: the configuration's count"
            );
        }
        Unusable::Damaged { why, aside: None } => {
            tracing::error!(
                event = "operator",
                why,
                "the operators' states cannot be read: the configuration's count"
            );
        }
        Unusable::Newer(format) => {
            tracing::error!(
                event = "operator",
                format,
                "a later version wrote the operators' states in its own format: the configuration's count; the file stays until something else is said"
            );
        }
    }
}

/// The arguments of a command.
pub(super) fn parsed<T: serde::de::DeserializeOwned>(arguments: &Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(arguments.clone())).map_err(|error| error.to_string())
}

fn check(request: &SayRequest) -> Result<(), String> {
    if request.state.is_none() && (request.reason.is_some() || request.for_s.is_some()) {
        return Err("`clear` takes neither a reason nor a time: the file counts again".to_owned());
    }
    if request.for_s.is_some_and(|seconds| seconds == 0 || seconds > FOR_MAX_S) {
        return Err(format!("the time must be 1 second to {} days", FOR_MAX_S / 86_400));
    }
    check_reason(request.reason.as_deref())
}

/// A reason is shown on one line.
pub(super) fn check_reason(reason: Option<&str>) -> Result<(), String> {
    let unfit = |reason: &str| reason.len() > REASON_MAX || reason.chars().any(char::is_control);
    if reason.is_some_and(unfit) {
        return Err(format!("a reason is one line of at most {REASON_MAX} bytes"));
    }
    Ok(())
}

/// Seconds since 1970.
pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
