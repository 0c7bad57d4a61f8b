//! The daemon's side: accept, read a line, ask the control loop, answer.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::{
    ADMIN_MODE, ANSWER_MAX_S, Access, BUSY, CONNECTIONS_MAX, Caller, HAND_OVER, Handler, LATE, READ_MAX_S,
    READ_ONLY_MODE, REQUEST_MAX, Request, STOPPING, ServeError, Successor, Successors, TAKEN, socket,
};

const READ_MAX: Duration = Duration::from_secs(READ_MAX_S);
const ANSWER_MAX: Duration = Duration::from_secs(ANSWER_MAX_S);
/// Pause after a failed accept (no file descriptor left), so that it is no busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listening socket. Dropping it closes its connections and removes its file.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    file: Option<(u64, u64)>,
    task: JoinHandle<()>,
}

/// Listen at `path` and pass requests to `handler`, which sees by which access they came. The file's mode is
/// [`super::ADMIN_MODE`] or [`super::READ_ONLY_MODE`].
///
/// The socket file of a dead daemon is replaced. Must be called on a runtime.
///
/// # Errors
/// When a living daemon listens there, when something else has that name, or what the system said.
pub fn serve(path: &Path, access: Access, handler: Handler) -> Result<Server, ServeError> {
    listen(path, Door { access, handler, successors: None })
}

/// As [`serve`] by [`Access::Admin`], and a process of root's that asks may take this one's place.
///
/// # Errors
/// As [`serve`].
pub fn serve_successors(path: &Path, handler: Handler, successors: Successors) -> Result<Server, ServeError> {
    listen(path, Door { access: Access::Admin, handler, successors: Some(successors) })
}

/// Who may come in, and where requests go.
#[derive(Clone)]
struct Door {
    access: Access,
    handler: Handler,
    successors: Option<Successors>,
}

fn listen(path: &Path, door: Door) -> Result<Server, ServeError> {
    let mode = match door.access {
        Access::Admin => ADMIN_MODE,
        Access::ReadOnly => READ_ONLY_MODE,
    };
    let listener = socket::open(path, mode)?;
    let listener = UnixListener::from_std(listener)
        .map_err(|source| ServeError::Io { path: path.to_owned(), source })?;
    let file = socket::identity(path);
    Ok(Server { path: path.to_owned(), file, task: tokio::spawn(accept(listener, door)) })
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        if self.file.is_some() && socket::identity(&self.path) == self.file {
            // Left behind it would be found stale and replaced: nothing to report.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The connections live in this task's set, so that they end with it.
async fn accept(listener: UnixListener, door: Door) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let door = door.clone();
                    connections.spawn(async move {
                        converse(stream, &door).await;
                        drop(place);
                    });
                }
                Err(_) => turn_away(&stream),
            },
            Err(error) => {
                tracing::warn!(%error, "accepting an admin connection failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// A fresh connection's buffer has room for this; a client that is gone does not matter.
fn turn_away(stream: &UnixStream) {
    let answer = line(&marked(BUSY, &format!("more than {CONNECTIONS_MAX} connections: try again")));
    let _ = stream.try_write(&answer);
}

/// Answer one request after another until the client is done or breaks a rule.
async fn converse(stream: UnixStream, door: &Door) {
    let caller = stream.peer_cred().ok().map(|peer| Caller { uid: peer.uid(), pid: peer.pid() });
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let answer = match limited(read_line(&mut reader)).await {
            Ok(Line::Whole(request)) => match (Request::parse(&request, door.access), &door.successors) {
                (Ok(request), Some(successors)) if request.command == HAND_OVER => match caller {
                    Some(Caller { uid: 0, pid }) => {
                        return succeed(request, pid, (reader, writer), successors).await;
                    }
                    _ => error("only root may take this process's place"),
                },
                (Ok(request), _) => answer(Request { caller, ..request }, &door.handler, ANSWER_MAX).await,
                (Err(reason), _) => error(&reason),
            },
            Ok(Line::End) => return,
            Ok(Line::TooLong) => {
                let told = error(&format!("a request has at most {REQUEST_MAX} bytes"));
                return farewell(&mut writer, &told).await;
            }
            Err(failed) if failed.kind() == io::ErrorKind::TimedOut => {
                let told = error(&format!("no request within {READ_MAX_S} s"));
                return farewell(&mut writer, &told).await;
            }
            Err(_) => return,
        };
        // A status of many services is megabytes: written down off the control thread.
        let Ok(line) = tokio::task::spawn_blocking(move || line(&answer)).await else { return };
        if limited(writer.write_all(&line)).await.is_err() {
            return;
        }
    }
}

/// Passes the connection on: the control loop answers, when nothing of this process is in the way any more.
async fn succeed(
    request: Request,
    pid: Option<i32>,
    (reader, writer): (BufReader<OwnedReadHalf>, OwnedWriteHalf),
    successors: &Successors,
) {
    let Ok(whole) = reader.into_inner().reunite(writer) else { return };
    let made = whole.into_std().and_then(|stream| Successor::new(request.arguments, pid, stream));
    match made {
        Ok(successor) => {
            if let Err(SendError(successor)) = successors.send(successor).await {
                successor.refuse(TAKEN);
            }
        }
        Err(error) => tracing::warn!(%error, "a successor's connection could not be kept"),
    }
}

async fn answer(request: Request, handler: &Handler, patience: Duration) -> Value {
    let (sender, receiver) = oneshot::channel();
    let asked = async {
        handler.send((request, sender)).await.ok()?;
        receiver.await.ok()
    };
    match timeout(patience, asked).await {
        Ok(Some(answer)) => answer,
        Ok(None) => marked(STOPPING, "the daemon is stopping"),
        // The request stays where it is: the control loop comes to it all the same.
        Err(_) => marked(LATE, &format!("the daemon did not answer within {} s", patience.as_secs())),
    }
}

async fn farewell(writer: &mut OwnedWriteHalf, told: &Value) {
    // It broke a rule already; whether it hears which is its own matter.
    let _ = limited(writer.write_all(&line(told))).await;
}

enum Line {
    /// Without its newline. What the client sent before closing its side counts as a line.
    Whole(Vec<u8>),
    TooLong,
    End,
}

async fn read_line(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Line> {
    let mut request = Vec::new();
    loop {
        let arrived = reader.fill_buf().await?;
        if arrived.is_empty() {
            let end = request.trim_ascii().is_empty();
            return Ok(if end { Line::End } else { Line::Whole(request) });
        }
        let newline = arrived.iter().position(|byte| *byte == b'\n');
        let part = newline.and_then(|at| arrived.get(..at)).unwrap_or(arrived);
        if request.len() + part.len() >= REQUEST_MAX {
            return Ok(Line::TooLong);
        }
        request.extend_from_slice(part);
        let used = part.len() + usize::from(newline.is_some());
        reader.consume(used);
        if newline.is_some() {
            return Ok(Line::Whole(request));
        }
    }
}

async fn limited<T>(io: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(READ_MAX, io).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn error(reason: &str) -> Value {
    json!({ "error": reason })
}

/// An error that is no refusal.
fn marked(mark: &str, reason: &str) -> Value {
    json!({ "error": reason, mark: true })
}

/// JSON escapes newlines, so one object is one line.
fn line(answer: &Value) -> Vec<u8> {
    let mut line = answer.to_string().into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::super::client::{ClientError, parse_answer};
    use super::*;
    use tokio::sync::mpsc;

    /// Whoever takes a late answer for a refusal believes that nothing was done.
    #[tokio::test]
    async fn a_late_answer_is_no_refusal_for_the_request_is_still_there() {
        let (handler, mut requests) = mpsc::channel(1);
        let request = Request::parse(b"{\"command\":\"reload\"}", Access::Admin).unwrap();
        let answer = answer(request, &handler, Duration::from_millis(10)).await;
        let told = parse_answer(&line(&answer));
        assert!(matches!(told, Err(ClientError::NoAnswer)), "{told:?}");
        assert_eq!(requests.recv().await.unwrap().0.command, "reload");
    }
}
