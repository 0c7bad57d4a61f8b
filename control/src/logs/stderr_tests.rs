//! Standard error is the process's, so each test runs itself again as a process of its own, with one that takes nothing.

use super::super::entry::Entry;
use super::super::sink::Sink;
use super::super::writer::{Writer, own};
use super::*;
use crate::config::LogFormat;
use std::env;
use std::io::{PipeReader, PipeWriter, pipe};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tracing::Level;

/// Where the child writes.
const CHILD: &str = "RINGLEAD_TEST_STDERR";
const SECOND: Duration = Duration::from_secs(1);

/// Runs this test again, as a child, by `program` and `first`, and waits until it has ended well.
fn in_a_child(test: &str, how: &str, mut command: Command, stderr: impl Into<Stdio>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (_, module) = module_path!().split_once("::").unwrap();
    command.args([&format!("{module}::{test}"), "--exact", "--nocapture"]).env(CHILD, &path);
    let mut child = command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
    let begin = Instant::now();
    let ended = loop {
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        if begin.elapsed() > 120 * SECOND {
            child.kill().unwrap();
        }
        sleep(Duration::from_millis(10));
    };
    assert!(ended.success(), "{how}: {ended}");
    assert!(std::fs::read_to_string(&path).unwrap().contains("after"), "{how}: it did not run");
}

fn this() -> Command {
    Command::new(env::current_exe().unwrap())
}

/// One that has no room, and whose writers wait for it.
fn full() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'x'; 4_096]).is_ok() {}
    rustix::fs::fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

fn writer(sink: Sink) -> Writer {
    Writer::start(sink, LogFormat::Text, Box::leak(Box::<AtomicU64>::default())).unwrap()
}

fn entry(message: &str) -> Arc<Entry> {
    Arc::new(own(Level::INFO, message.to_owned()))
}

/// The writer still obeys: it goes on in a file.
fn goes_on_in(writer: &Writer, path: &Path) {
    writer.become_one(Some(Sink::file(path).unwrap()), LogFormat::Text);
    writer.flush(20 * SECOND);
    writer.lines().send(entry("after")).unwrap();
    writer.flush(20 * SECOND);
    assert!(std::fs::read_to_string(path).unwrap().contains("after"));
}

#[test]
fn a_log_that_cannot_be_written_neither_ends_nor_stops_its_writer() {
    if let Some(path) = env::var_os(CHILD) {
        let writer = writer(Sink::file(Path::new("/dev/full")).unwrap());
        writer.lines().send(entry("no space")).unwrap();
        writer.flush(20 * SECOND);
        return goes_on_in(&writer, Path::new(&path));
    }
    let test = "a_log_that_cannot_be_written_neither_ends_nor_stops_its_writer";
    let (_deaf, no_room) = full();
    in_a_child(test, "full", this(), no_room);
    let (gone, broken) = pipe().unwrap();
    drop(gone);
    in_a_child(test, "broken", this(), broken);
    let mut closed = Command::new("sh");
    closed.args(["-c", "exec \"$0\" \"$@\" 2>&-"]).arg(env::current_exe().unwrap());
    in_a_child(test, "closed", closed, Stdio::inherit());
}

/// The first waits for ever, as nothing hurries it; the second has an order.
#[test]
fn who_waits_for_standard_error_holds_up_no_other_that_writes_to_it() {
    if let Some(path) = env::var_os(CHILD) {
        let [first, second] = [(); 2].map(|()| writer(Sink::stderr(false)));
        first.lines().send(entry("waits")).unwrap();
        sleep(SECOND / 2);
        second.lines().send(entry("waits, too")).unwrap();
        sleep(SECOND / 10);
        return goes_on_in(&second, Path::new(&path));
    }
    let (_deaf, no_room) = full();
    let test = "who_waits_for_standard_error_holds_up_no_other_that_writes_to_it";
    in_a_child(test, "full", this(), no_room);
}

/// What the replaced one began is counted where there is no room for its end.
#[test]
fn a_line_that_standard_error_has_no_room_for_is_counted() {
    if let Some(path) = env::var_os(CHILD) {
        let mut stream = StandardError { begun: Begun::default() };
        assert_eq!(stream.end(), 0, "nothing was begun");
        // Something of it went out, and then there was no room.
        let mut room = [Some(2), None].into_iter();
        let put = |_: &[u8]| room.next().flatten().ok_or_else(|| io::ErrorKind::WouldBlock.into());
        stream.begun.write(b"a line\n", put).unwrap();
        assert_eq!((stream.end(), stream.end()), (1, 0));
        assert!(!takes_more());
        return std::fs::write(path, "after").unwrap();
    }
    let (_deaf, no_room) = full();
    in_a_child("a_line_that_standard_error_has_no_room_for_is_counted", "full", this(), no_room);
}
