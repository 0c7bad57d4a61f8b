//! The daemon's door for its own commands: JSON lines over a unix socket.
//!
//! One JSON object a line in (`{"command":"status", …}`), one JSON object a line out; a refused request is answered
//! by `{"error":"…"}`, with `"late"`, `"busy"` or `"stopping":true` where it is the daemon's state and no refusal. Who may ask what is decided by the sockets' file modes alone: there are two, one for everything and one
//! for what changes nothing ([`read_only_path`]). Everything is bounded: the size of a
//! request, the number of connections, the time to send a request, to answer it and to take the answer.
//!
//! The protocol knows no commands but [`HAND_OVER`], which only root may give and whose answer brings a file. Any other: a [`Request`] goes to the control loop through a channel, together with the place
//! for its answer.

pub mod client;
mod server;
mod socket;
mod successor;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

pub use server::{Server, serve, serve_successors};
pub use socket::ServeError;
pub use successor::{ACKNOWLEDGES, HAND_OVER, STREAM, Successor, TAKEN, Taken};

/// File mode of the socket that may change things: its owner's alone, so root's.
pub const ADMIN_MODE: u32 = 0o600;
/// File mode of the read-only socket: the owner and the group may ask, nobody else.
pub const READ_ONLY_MODE: u32 = 0o660;
/// Longest request line in bytes, its newline included.
pub const REQUEST_MAX: usize = 64 * 1024;
/// Connections served at one time; one more is told so and closed.
pub const CONNECTIONS_MAX: usize = 16;
/// Seconds a client has to send a whole request, and to take its whole answer.
pub const READ_MAX_S: u64 = 5;
/// Seconds the control loop has to answer.
pub const ANSWER_MAX_S: u64 = 30;

/// `true` in an answer with an `error`: the control loop has the request, and may carry it out after [`ANSWER_MAX_S`].
const LATE: &str = "late";
/// `true` in an answer with an `error`: [`CONNECTIONS_MAX`] are served, and the request was not read.
const BUSY: &str = "busy";
/// `true` in an answer with an `error`: the daemon ends.
const STOPPING: &str = "stopping";

/// Where requests go: the control loop receives the request and the place for its answer.
pub type Handler = mpsc::Sender<(Request, oneshot::Sender<Value>)>;

/// Where processes go that want to take this one's place.
pub type Successors = mpsc::Sender<Successor>;

/// What a socket's clients may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Ask.
    ReadOnly,
    /// Ask and change.
    Admin,
}

/// Where the read-only socket is: beside the other one, `control.sock` and `control-ro.sock`.
#[must_use]
pub fn read_only_path(control: &Path) -> PathBuf {
    let mut name = control.file_stem().unwrap_or_default().to_owned();
    name.push("-ro");
    if let Some(extension) = control.extension() {
        name.push(".");
        name.push(extension);
    }
    control.with_file_name(name)
}

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The member `command`.
    pub command: String,
    /// Every other member.
    pub arguments: Map<String, Value>,
    /// What the socket that it came by allows.
    pub access: Access,
    /// Who is at the other end, as the kernel says (`SO_PEERCRED`); `None` where it does not.
    pub caller: Option<Caller>,
}

/// A process that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Its user.
    pub uid: u32,
    /// Its process id, in this process's namespace.
    pub pid: Option<i32>,
}

impl Request {
    /// Read one line that came by a socket with this access.
    ///
    /// # Errors
    /// A sentence for the client when it is not a JSON object with a string `command`.
    pub fn parse(line: &[u8], access: Access) -> Result<Self, String> {
        let value = serde_json::from_slice(line).map_err(|error| format!("not JSON: {error}"))?;
        let Value::Object(mut arguments) = value else { return Err("not a JSON object".to_owned()) };
        match arguments.remove("command") {
            Some(Value::String(command)) => Ok(Self { command, arguments, access, caller: None }),
            Some(_) => Err("`command` is not a string".to_owned()),
            None => Err("no `command`".to_owned()),
        }
    }
}
