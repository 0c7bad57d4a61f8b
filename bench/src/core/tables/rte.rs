//! DPDK's `rte_hash`, where it is installed, in a process of its own: its environment takes a process over (signal
//! handlers, threads, cores), and a fault in it must not end the run.
//!
//! The libraries are opened at run time; nothing is needed to build. The child is this program again. It answers lines
//! on its standard input (`lookup 3`: look-ups of round 3) with lines on its standard output (`> 51234`: nanoseconds).

use crate::core::clock;
use crate::core::tables::keys::{Op, capacity, sum};
use crate::core::tables::{Peer, Refused, huge};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

mod library;

use library::Hash;

/// The name of the row.
pub const NAME: &str = "DPDK rte_hash";
/// What an answer begins with; everything else that the libraries print is no answer.
const ANSWER: &str = "> ";

/// How this program is started as the child.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Child {
    /// The program.
    pub program: PathBuf,
    /// Its arguments; the number of flows follows.
    pub args: Vec<String>,
}

/// The table in the child.
pub(super) struct Process {
    child: std::process::Child,
    /// Where the environment keeps its files; gone with this.
    _runtime: tempfile::TempDir,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Process {
    /// Starts the child and lets it fill its table.
    ///
    /// # Errors
    /// Why there is none: "not installed", or what went wrong.
    pub(super) fn start(child: &Child, flows: usize) -> Result<Self, String> {
        library::installed()?;
        let runtime = tempfile::tempdir().map_err(|why| format!("no folder for its files: {why}"))?;
        let mut child = Command::new(&child.program)
            .args(&child.args)
            .arg(flows.to_string())
            .env("RUNTIME_DIRECTORY", runtime.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|why| format!("cannot start it: {why}"))?;
        let answers = BufReader::new(child.stdout.take().ok_or("no way to hear it")?);
        let mut process = Self { ask: child.stdin.take(), child, _runtime: runtime, answers };
        process.answer().map(|_| process)
    }

    /// The next answer.
    fn answer(&mut self) -> Result<u64, String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.answers.read_line(&mut line).map_err(|why| why.to_string())? == 0 {
                return Err(self.last_words());
            }
            if let Some(answer) = line.strip_prefix(ANSWER) {
                return answer.trim().parse().map_err(|_| answer.trim().to_owned());
            }
        }
    }

    /// What it said before it ended.
    fn last_words(&mut self) -> String {
        self.ask = None;
        let mut said = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            let _ = stderr.take(1 << 16).read_to_string(&mut said);
        }
        let status = self.child.wait().map_or_else(|why| why.to_string(), |status| status.to_string());
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        format!("its process ended ({status}): {last}")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Without anybody to ask it ends by itself; one that does not is ended.
        self.ask = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer for Process {
    fn name(&self) -> &'static str {
        NAME
    }

    fn note(&self) -> String {
        "22.11, lock-free readers, several writers; key of 16, value of 8 bytes".to_owned()
    }

    fn run(&mut self, _: Op, _: &[u32]) -> Result<u64, Refused> {
        Err(Refused::Never)
    }

    fn round(&mut self, op: Op, _: usize, round: usize) -> Result<u64, Refused> {
        let failed = |why: String| Refused::Failed(why);
        let ask = self.ask.as_mut().ok_or_else(|| failed("its process has ended".to_owned()))?;
        let asked = writeln!(ask, "{} {round}", op.name()).and_then(|()| ask.flush());
        asked.map_err(|why| failed(why.to_string()))?;
        self.answer().map_err(failed)
    }
}

/// The child's side: fills a table of `flows`, then does what the lines of `from` ask for, until they end.
///
/// # Errors
/// Why there is no table, or that nobody listens any more.
pub fn serve(flows: usize, from: impl BufRead, mut to: impl Write) -> Result<(), String> {
    let unheard = |why: std::io::Error| why.to_string();
    let mut table = match Table::new(flows) {
        Ok(table) => table,
        Err(why) => return writeln!(to, "{ANSWER}{why}").map_err(unheard),
    };
    writeln!(to, "{ANSWER}0").map_err(unheard)?;
    to.flush().map_err(unheard)?;
    for line in from.lines() {
        let line = line.map_err(unheard)?;
        let answer = match order(&line) {
            Some((op, round)) => match table.round(op, flows, round) {
                Ok(ns) => ns.to_string(),
                Err(Refused::Failed(why)) => why,
                Err(Refused::Wrong | Refused::Never) => format!("{} went wrong: a key was missed", op.name()),
            },
            None => format!("{line:?} is no order"),
        };
        writeln!(to, "{ANSWER}{answer}").map_err(unheard)?;
        to.flush().map_err(unheard)?;
    }
    Ok(())
}

fn order(line: &str) -> Option<(Op, usize)> {
    let (name, round) = line.split_once(' ')?;
    Some((Op::ALL.into_iter().find(|op| op.name() == name)?, round.parse().ok()?))
}

/// The table in this process.
struct Table(Hash);

impl Table {
    fn new(flows: usize) -> Result<Self, String> {
        let core = clock::cores().first().map_or(0, |core| core.id);
        let hash = Hash::create(capacity(flows), core)?;
        let mut table = Self(hash);
        let all: Vec<u32> = (0..u32::try_from(flows).map_err(|_| "too many flows")?).collect();
        table.run(Op::Insert, &all).map_err(|_| "it did not take all keys")?;
        huge::everywhere();
        Ok(table)
    }
}

impl Peer for Table {
    fn name(&self) -> &'static str {
        NAME
    }

    fn note(&self) -> String {
        String::new()
    }

    fn run(&mut self, op: Op, numbers: &[u32]) -> Result<u64, Refused> {
        let keys = library::keys(numbers);
        let mut got = 0;
        let ns = clock::timed(|| {
            got = match op {
                Op::LookupBulk => self.0.lookup_bulk(&keys),
                Op::Lookup => self.0.lookup(&keys),
                Op::Insert => self.0.insert(&keys, numbers),
                Op::Delete => self.0.delete(&keys, numbers),
            }
        });
        Refused::unless(got == sum(numbers), ns)
    }
}
