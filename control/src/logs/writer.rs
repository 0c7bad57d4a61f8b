//! The thread that writes the log.

use super::entry::Entry;
use super::orders::{Giver, Obeyer, Patience, orders};
use super::sink::Sink;
use super::stderr::say_at_once;
use crate::config::LogFormat;
use crossbeam::channel::{Receiver, Sender, bounded, select};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tracing::Level;

/// Lines that wait for the writer.
pub(super) const QUEUE_MAX: usize = 4_096;

/// What the writer is told, in the order in which it does it.
#[derive(Default)]
pub(super) struct Orders {
    /// Write so from now on.
    format: Option<LogFormat>,
    /// And there.
    sink: Option<Sink>,
    /// Open the file anew.
    reopen: bool,
    /// Say when everything before is written.
    flush: Vec<Sender<()>>,
}

/// The way to the thread.
pub(super) struct Writer {
    lines: Sender<Arc<Entry>>,
    orders: Giver<Orders>,
}

impl Writer {
    /// Starts the thread; `lost` counts what it cannot write.
    pub(super) fn start(sink: Sink, format: LogFormat, lost: &'static AtomicU64) -> io::Result<Self> {
        let (lines, queue) = bounded(QUEUE_MAX);
        let (giver, told_what) = orders();
        let patience = told_what.patience();
        let state = State { sink, format, patience, lost, told: 0, failing: false };
        let body = move || state.run(&queue, &told_what);
        std::thread::Builder::new().name("log-writer".to_owned()).spawn(body)?;
        Ok(Self { lines, orders: giver })
    }

    /// Where lines are queued.
    pub(super) fn lines(&self) -> Sender<Arc<Entry>> {
        self.lines.clone()
    }

    /// Writes so from now on; without a sink, to where it goes. Waits for nothing; it is done as soon as the line is written
    /// that is being written, or lost.
    pub(super) fn become_one(&self, new: Option<Sink>, format: LogFormat) {
        self.orders.give(|orders| {
            orders.format = Some(format);
            orders.sink = new.or(orders.sink.take());
        });
    }

    /// Opens the file anew.
    pub(super) fn reopen(&self) {
        self.orders.give(|orders| orders.reopen = true);
    }

    /// Waits until what is queued now is written.
    pub(super) fn flush(&self, time_max: Duration) {
        let (done, wait) = bounded(1);
        self.orders.give(|orders| orders.flush.push(done));
        // Late or never: the process ends anyway.
        let _ = wait.recv_timeout(time_max);
    }
}

struct State {
    sink: Sink,
    format: LogFormat,
    patience: Patience,
    lost: &'static AtomicU64,
    /// Losses that a line has told.
    told: u64,
    /// Whether the last write failed.
    failing: bool,
}

impl State {
    /// Ends with the process.
    fn run(mut self, lines: &Receiver<Arc<Entry>>, orders: &Obeyer<Orders>) {
        loop {
            select! {
                recv(lines) -> entry => match entry {
                    Ok(entry) => self.write(&entry),
                    Err(_) => return,
                },
                recv(orders.woken) -> word => {
                    // What was said before belongs to before.
                    lines.try_iter().take(QUEUE_MAX).for_each(|entry| self.write(&entry));
                    match word {
                        Ok(()) => self.obey(orders.take()),
                        Err(_) => return,
                    }
                }
            }
        }
    }

    fn obey(&mut self, orders: Orders) {
        self.format = orders.format.unwrap_or(self.format);
        if let Some(sink) = orders.sink {
            let mut old = std::mem::replace(&mut self.sink, sink);
            self.lose(old.end());
            self.failing = false;
        }
        if orders.reopen {
            let (level, message) = match self.sink.reopen() {
                Ok(cut_off) => {
                    self.lose(cut_off);
                    (Level::INFO, "opened anew".to_owned())
                }
                Err(error) => (Level::ERROR, format!("cannot be opened anew, the old file stays: {error}")),
            };
            self.write(&own(level, message));
        }
        // Nobody may wait any more.
        orders.flush.iter().for_each(|done| _ = done.try_send(()));
    }

    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
    }

    fn write(&mut self, entry: &Entry) {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > self.told {
            let said = own(Level::WARN, format!("{} lines of the log were lost", lost - self.told));
            if self.sink.write(&said, self.format, &mut self.patience).is_ok() {
                self.told = lost;
            }
        }
        let written = self.sink.write(entry, self.format, &mut self.patience);
        if let Err(error) = written {
            self.lose(1);
            if !std::mem::replace(&mut self.failing, true) && !matches!(self.sink, Sink::Stderr { .. }) {
                say_at_once(&format!("ringlead: the log cannot be written, lines are lost: {error}"));
            }
        } else {
            self.failing = false;
        }
    }
}

/// The writer's own words.
pub(super) fn own(level: Level, message: String) -> Entry {
    let event = Some("log".to_owned());
    Entry { at: SystemTime::now(), level, event, message, fields: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::super::journal::Journal;
    use super::*;
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::net::UnixDatagram;
    use std::path::Path;

    /// Each test its own counter, as each process.
    fn counter() -> &'static AtomicU64 {
        Box::leak(Box::default())
    }

    fn entry(message: &str) -> Arc<Entry> {
        Arc::new(own(Level::INFO, message.to_owned()))
    }

    fn journal(path: &Path) -> Result<Sink, String> {
        Journal::at(path).map(Sink::Journal)
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_renamed_file_is_opened_anew_and_keeps_what_was_said_before() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let writer = Writer::start(Sink::file(&path).unwrap(), LogFormat::Text, counter()).unwrap();
        writer.lines().send(entry("first")).unwrap();
        std::fs::rename(&path, &old).unwrap();
        writer.lines().send(entry("second")).unwrap();
        writer.flush(Duration::from_secs(30));
        assert!(!path.exists());
        writer.reopen();
        // Orders wait for what is queued: what is said from here on comes after.
        writer.flush(Duration::from_secs(30));
        writer.lines().send(entry("third")).unwrap();
        writer.flush(Duration::from_secs(30));
        assert!(read(&old).contains("first") && read(&old).contains("second"), "{}", read(&old));
        assert!(!read(&old).contains("third"));
        assert!(read(&path).contains("opened anew") && read(&path).contains("third"), "{}", read(&path));
    }

    #[test]
    fn a_file_that_cannot_be_opened_anew_goes_on_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let writer = Writer::start(Sink::file(&path).unwrap(), LogFormat::Text, counter()).unwrap();
        std::fs::rename(&path, &old).unwrap();
        std::fs::create_dir(&path).unwrap();
        writer.reopen();
        writer.lines().send(entry("goes on")).unwrap();
        writer.flush(Duration::from_secs(30));
        assert!(
            read(&old).contains("the old file stays") && read(&old).contains("goes on"),
            "{}",
            read(&old)
        );
    }

    #[test]
    fn a_form_changes_between_lines() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("log"), dir.path().join("other"));
        let writer = Writer::start(Sink::file(&path).unwrap(), LogFormat::Text, counter()).unwrap();
        writer.lines().send(entry("as text")).unwrap();
        writer.become_one(Some(Sink::file(&other).unwrap()), LogFormat::Json);
        writer.flush(Duration::from_secs(30));
        writer.lines().send(entry("as json")).unwrap();
        writer.flush(Duration::from_secs(30));
        assert!(read(&path).contains("INFO as text"), "{}", read(&path));
        let line: serde_json::Value = serde_json::from_str(&read(&other)).unwrap();
        assert_eq!(line["message"], "as json");
    }

    /// A FIFO that nobody reads: its buffer fills, then lines are lost and counted; whoever logs goes on. Once it is read,
    /// the log says how many were lost.
    #[test]
    fn a_reader_that_hangs_costs_lines_and_the_log_says_how_many() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Sink::file(&path).is_err(), "a pipe without a reader would block");
        let mut options = std::fs::OpenOptions::new();
        let mut reader = BufReader::new(options.read(true).write(true).open(&path).unwrap());
        let lost = counter();
        let writer = Writer::start(Sink::file(&path).unwrap(), LogFormat::Json, lost).unwrap();
        let long = "x".repeat(1_000);
        for _ in 0..200 {
            writer.lines().send(entry(&long)).unwrap();
        }
        writer.flush(Duration::from_secs(30));
        let count = lost.load(Ordering::Relaxed);
        assert!(count > 100, "{count} lost");
        reader.read_exact(&mut vec![0; 40_000]).unwrap();
        writer.lines().send(entry("after")).unwrap();
        // A word about a loss is short and may have found room where no line did.
        let (mut told, mut line) = (0, String::new());
        while !line.contains("\"after\"") {
            line.clear();
            assert_ne!(reader.read_line(&mut line).unwrap(), 0);
            let words = line.split_once(" lines of the log were lost").map(|(before, _)| before);
            told += words.and_then(|w| w.rsplit('"').next()).map_or(0, |n| n.parse::<u64>().unwrap());
        }
        assert!(told > 100 && told <= count, "{told} told, {count} lost");
    }

    #[test]
    fn a_journal_that_was_restarted_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        assert!(journal(&path).unwrap_err().contains("no journal"));
        let first = UnixDatagram::bind(&path).unwrap();
        let writer = Writer::start(journal(&path).unwrap(), LogFormat::Text, counter()).unwrap();
        let mut datagram = [0; 4_096];
        writer.lines().send(entry("one")).unwrap();
        let length = first.recv(&mut datagram).unwrap();
        assert!(datagram[..length].starts_with(b"MESSAGE=one "));
        drop(first);
        std::fs::remove_file(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        second.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        writer.lines().send(entry("two")).unwrap();
        let length = second.recv(&mut datagram).unwrap();
        assert!(datagram[..length].starts_with(b"MESSAGE=two "));
    }

    /// However many orders come while a journal hangs, all are obeyed, and what hung costs lines.
    #[test]
    fn orders_to_leave_a_journal_that_hangs_are_obeyed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let lost = counter();
        let writer = Writer::start(journal(&path).unwrap(), LogFormat::Text, lost).unwrap();
        let send =
            |count: usize, text: &str| (0..count).for_each(|_| writer.lines().send(entry(text)).unwrap());
        send(2_000, "nobody reads this");
        for number in 0..20 {
            let file = dir.path().join(format!("log.{number}"));
            writer.become_one(Some(Sink::file(&file).unwrap()), LogFormat::Json);
            writer.reopen();
        }
        writer.flush(Duration::from_secs(30));
        send(1, "after");
        writer.flush(Duration::from_secs(30));
        let text = read(&dir.path().join("log.19"));
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let said: Vec<&str> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
        let count = lost.load(Ordering::Relaxed);
        assert!(count > 1_000, "{count} lost");
        let told = format!("{count} lines of the log were lost");
        assert_eq!(said, [told.as_str(), "opened anew", "after"]);
    }
}
