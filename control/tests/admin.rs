//! The admin socket: its protocol, its limits, and its file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use ringlead_control::admin::client::{ClientError, Handed, request, request_files};
use ringlead_control::admin::{
    ADMIN_MODE, Access, CONNECTIONS_MAX, HAND_OVER, Handler, READ_MAX_S, READ_ONLY_MODE, REQUEST_MAX,
    Request, ServeError, Server, Taken, serve, serve_successors,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

/// A control loop that knows `echo`, `access` and `drop` (gives no answer).
fn control_loop() -> Handler {
    let (handler, mut requests) = mpsc::channel::<(Request, _)>(4);
    tokio::spawn(async move {
        while let Some((request, answer)) = requests.recv().await {
            let answer: tokio::sync::oneshot::Sender<Value> = answer;
            match request.command.as_str() {
                "echo" => answer.send(json!({ "arguments": request.arguments })).unwrap(),
                "access" => answer.send(json!({ "access": format!("{:?}", request.access) })).unwrap(),
                "drop" => drop(answer),
                other => answer.send(json!({ "error": format!("no command `{other}`") })).unwrap(),
            }
        }
    });
    handler
}

fn start() -> (TempDir, PathBuf, Server) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let server = serve(&path, Access::Admin, control_loop()).unwrap();
    (dir, path, server)
}

async fn ask(path: &Path, value: Value) -> Result<Value, ClientError> {
    let path = path.to_owned();
    spawn_blocking(move || request(&path, &value)).await.unwrap()
}

/// Send bytes; give every line that comes until the daemon closes.
async fn raw(path: &Path, bytes: Vec<u8>, then_close: bool) -> Vec<Value> {
    let mut stream = UnixStream::connect(path).unwrap();
    spawn_blocking(move || {
        let _ = stream.write_all(&bytes);
        if then_close {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
    })
    .await
    .unwrap()
}

/// The control loop has agreed to one, or has ended.
#[tokio::test]
async fn a_second_successor_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let (candidates, mut successors) = mpsc::channel(1);
    let _server = serve_successors(&path, control_loop(), candidates).unwrap();
    let at = path.clone();
    let first = spawn_blocking(move || request(&at, &json!({ "command": HAND_OVER })));
    let agreed = successors.recv().await.unwrap();
    drop(successors);
    let refused = ask(&path, json!({ "command": HAND_OVER })).await.unwrap_err();
    assert!(refused.to_string().contains("already"), "{refused}");
    agreed.answer(&json!({ "stopped-ns": 1 }), &[]).unwrap();
    assert_eq!(first.await.unwrap().unwrap(), json!({ "stopped-ns": 1 }));
}

/// A successor that acknowledges or not, the answer that it gets, and the one who answers.
async fn handed(acknowledges: bool, patience: Duration, then: impl FnOnce(Handed) + Send + 'static) -> Taken {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let (candidates, mut successors) = mpsc::channel(1);
    let _server = serve_successors(&path, control_loop(), candidates).unwrap();
    let asks = spawn_blocking(move || {
        let request = json!({ "command": HAND_OVER, "acknowledges": acknowledges });
        then(request_files(&path, &request, Duration::from_secs(60)).unwrap());
    });
    let agreed = successors.recv().await.unwrap();
    let taken = spawn_blocking(move || {
        agreed.answer(&json!({ "acknowledges": true }), &[]).unwrap();
        agreed.await_taken(patience)
    });
    let taken = taken.await.unwrap();
    asks.await.unwrap();
    taken
}

#[tokio::test]
async fn who_hands_over_knows_whether_the_successor_has_it() {
    let long = Duration::from_secs(60);
    assert_eq!(handed(true, long, |handed| handed.acknowledge().unwrap()).await, Taken::Said);
    assert_eq!(handed(true, long, drop).await, Taken::Gone);
    assert_eq!(handed(false, long, drop).await, Taken::NeverSays);
    // Too late: then the successor knows it, too.
    let (tell, told) = std::sync::mpsc::channel();
    let late = handed(true, Duration::from_millis(50), move |handed| {
        let deadline = Instant::now() + Duration::from_secs(60);
        // What is written before the time is over counts, so it is only asked for afterwards.
        std::thread::sleep(Duration::from_millis(200));
        while handed.acknowledge().is_ok() && Instant::now() < deadline {}
        tell.send(handed.acknowledge().is_err()).unwrap();
    });
    let taken = late.await;
    if taken == Taken::Withdrawn {
        assert!(told.recv().unwrap(), "it cannot say so any more");
    } else {
        assert_eq!(taken, Taken::Said, "the machine stalled, and it was in time");
    }
}

/// The answer lies in the socket of one that is killed before it reads it.
#[tokio::test]
async fn a_successor_that_never_reads_its_answer_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let (candidates, mut successors) = mpsc::channel(1);
    let _server = serve_successors(&path, control_loop(), candidates).unwrap();
    let mut stream = UnixStream::connect(&path).unwrap();
    writeln!(stream, "{}", json!({ "command": HAND_OVER, "acknowledges": true })).unwrap();
    let agreed = successors.recv().await.unwrap();
    agreed.answer(&json!({ "acknowledges": true }), &[]).unwrap();
    drop(stream);
    assert_eq!(
        spawn_blocking(move || agreed.await_taken(Duration::from_secs(60))).await.unwrap(),
        Taken::Gone
    );
}

#[tokio::test]
async fn a_request_is_answered_and_a_refusal_is_told() {
    let (_dir, path, _server) = start();
    let answer = ask(&path, json!({ "command": "echo", "pool": "web\n2", "n": 3 })).await.unwrap();
    assert_eq!(answer, json!({ "arguments": { "pool": "web\n2", "n": 3 } }));
    let refused = ask(&path, json!({ "command": "fly" })).await.unwrap_err();
    assert_eq!(refused.to_string(), "no command `fly`");
    let refused = ask(&path, json!({ "command": "drop" })).await.unwrap_err();
    assert_eq!(refused.to_string(), "the daemon is stopping");
    assert!(matches!(refused, ClientError::Stopping(_)), "{refused:?}");
}

#[tokio::test]
async fn one_connection_may_ask_several_times_and_errors_do_not_end_it() {
    let (_dir, path, _server) = start();
    let lines =
        b"{\"command\":\"echo\",\"a\":1}\nnonsense\n[]\n{}\n{\"command\":1}\n{\"command\":\"echo\",\"b\":2}"
            .to_vec();
    let answers = raw(&path, lines, true).await;
    assert_eq!(answers.len(), 6, "{answers:?}");
    assert_eq!(answers[0], json!({ "arguments": { "a": 1 } }));
    assert!(answers[1]["error"].as_str().unwrap().starts_with("not JSON"));
    assert_eq!(answers[2]["error"], "not a JSON object");
    assert_eq!(answers[3]["error"], "no `command`");
    assert_eq!(answers[4]["error"], "`command` is not a string");
    assert_eq!(answers[5], json!({ "arguments": { "b": 2 } }), "the last line needs no newline");
}

#[tokio::test]
async fn a_request_has_a_largest_size() {
    let (_dir, path, _server) = start();
    let sized = |len: usize| {
        let frame = r#"{"command":"echo","x":""}"#.len() + 1;
        let mut line = format!(r#"{{"command":"echo","x":"{}"}}"#, "x".repeat(len - frame)).into_bytes();
        line.push(b'\n');
        assert_eq!(line.len(), len);
        line
    };
    let answers = raw(&path, sized(REQUEST_MAX), true).await;
    assert!(answers[0]["arguments"]["x"].is_string(), "the largest passes");
    let answers = raw(&path, sized(REQUEST_MAX + 1), true).await;
    assert_eq!(answers, [json!({ "error": "a request has at most 65536 bytes" })]);
    // Without a newline nothing is kept beyond the limit either.
    let answers = raw(&path, vec![b'x'; 4 * REQUEST_MAX], false).await;
    assert_eq!(answers, [json!({ "error": "a request has at most 65536 bytes" })]);
}

#[tokio::test]
async fn a_client_that_dawdles_is_let_go() {
    let (_dir, path, _server) = start();
    let started = Instant::now();
    let answers = raw(&path, b"{\"command\":".to_vec(), false).await;
    assert_eq!(answers, [json!({ "error": "no request within 5 s" })]);
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(READ_MAX_S), "{took:?}");
    assert!(took < Duration::from_secs(READ_MAX_S + 3), "{took:?}");
}

#[tokio::test]
async fn connections_are_bounded_and_come_free_again() {
    let (_dir, path, _server) = start();
    let mut held: Vec<UnixStream> = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"{\"command\":\"echo\"}\n").unwrap();
        let mut stream = spawn_blocking(move || {
            stream.read_exact(&mut [0]).unwrap();
            stream
        });
        held.push((&mut stream).await.unwrap());
    }
    let refused = ask(&path, json!({ "command": "echo" })).await.unwrap_err();
    assert_eq!(refused.to_string(), "more than 16 connections: try again");
    assert!(matches!(refused, ClientError::Busy(_)), "{refused:?}");
    held.pop();
    let mut answer = ask(&path, json!({ "command": "echo" })).await;
    for _ in 0..50 {
        if answer.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer = ask(&path, json!({ "command": "echo" })).await;
    }
    panic!("no place came free: {answer:?}");
}

#[tokio::test]
async fn the_file_has_its_mode_and_goes_with_its_server() {
    let (_dir, path, server) = start();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, ADMIN_MODE);
    drop(server);
    assert!(!path.exists());
    assert!(matches!(ask(&path, json!({})).await, Err(ClientError::NoDaemon { .. })));
}

#[tokio::test]
async fn a_read_only_socket_is_its_groups_too_and_says_so_of_each_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = ringlead_control::admin::read_only_path(&dir.path().join("admin.sock"));
    assert_eq!(path, dir.path().join("admin-ro.sock"));
    let _server = serve(&path, Access::ReadOnly, control_loop()).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, READ_ONLY_MODE);
    let answer = ask(&path, json!({ "command": "access" })).await.unwrap();
    assert_eq!(answer, json!({ "access": "ReadOnly" }));
}

#[tokio::test]
async fn a_dead_daemons_file_is_replaced_and_a_living_ones_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the file outlives its listener");
    assert!(matches!(ask(&path, json!({})).await, Err(ClientError::NoDaemon { .. })));

    let first = serve(&path, Access::Admin, control_loop()).expect("stale files are replaced");
    let second = serve(&path, Access::Admin, control_loop());
    assert!(matches!(second, Err(ServeError::InUse { .. })), "{second:?}");
    ask(&path, json!({ "command": "echo" })).await.expect("the first still serves");

    // A successor that took over the name keeps its file when the first goes.
    std::fs::remove_file(&path).unwrap();
    let _successor = serve(&path, Access::Admin, control_loop()).unwrap();
    drop(first);
    ask(&path, json!({ "command": "echo" })).await.expect("the successor's file stayed");
}

#[tokio::test]
async fn something_else_by_that_name_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("precious");
    std::fs::write(&path, "data").unwrap();
    let refused = serve(&path, Access::Admin, control_loop());
    assert!(matches!(refused, Err(ServeError::NotASocket { .. })), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
}

/// A hung daemon accepts nobody; its backlog is full. It lives all the same.
#[tokio::test]
async fn a_hung_daemon_counts_as_living() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let _hung = UnixListener::bind(&path).unwrap();
    let mut waiting = Vec::new();
    let full = loop {
        let flags = SockFlag::SOCK_NONBLOCK;
        let stream = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        match connect(stream.as_raw_fd(), &UnixAddr::new(&path).unwrap()) {
            Ok(()) => waiting.push(stream),
            Err(errno) => break errno,
        }
    };
    assert_eq!(full, nix::errno::Errno::EAGAIN);
    let refused = serve(&path, Access::Admin, control_loop());
    assert!(matches!(refused, Err(ServeError::InUse { .. })), "{refused:?}");
}
