//! `ringlead bench core`: what a packet costs on the packet path itself, in memory.

use crate::core::cell::{Family, Kind, mode_named};
use crate::core::instructions::{Counted, Counter, Record};
use crate::core::plan::{FLOWS_MAX, Machine, Part, Plan, ROUNDS, Wanted};
use crate::core::tables::rte;
use crate::core::{clock, outcome::Outcome, show};
use clap::{Args, ValueEnum};
use ringlead_l4::tables::Mode;
use ringlead_report::Environment;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Most workers: more than any one node's cores.
const WORKERS_MAX: usize = 64;

/// `ringlead bench core`.
#[derive(Debug, Args)]
pub struct CoreArgs {
    /// Fewer sizes: under a minute
    #[arg(long)]
    quick: bool,
    /// The whole record as JSON, to a file or to stdout (`-`, also when no file is named)
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// A line a value, to a file or to stdout (`-`, also when no file is named)
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    csv: Option<PathBuf>,
    /// Only these modes
    #[arg(long, value_name = "MODE,…", value_delimiter = ',', value_parser = mode_named)]
    modes: Vec<Mode>,
    /// Only these families
    #[arg(long, value_name = "FAMILY,…", value_delimiter = ',')]
    families: Vec<Family>,
    /// Flows in the table (from 1000 on also of the compared tables)
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = flows)]
    flows: Vec<usize>,
    /// Workers at the same time, on a core each; 1 or more
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = workers)]
    workers: Vec<usize>,
    /// Packets of existing flows or first packets of new ones
    #[arg(long, value_name = "KIND,…", value_delimiter = ',')]
    kinds: Vec<Kind>,
    /// Rounds of everything, 15 to 500 [default: 31, with --quick 15]
    #[arg(long, value_name = "N", value_parser = rounds)]
    rounds: Option<usize>,
    /// Only these parts
    #[arg(long, value_name = "PART,…", value_delimiter = ',')]
    only: Vec<Part>,
    /// Runs turns of one cell, for an instruction counter.
    #[arg(long, hide = true, value_name = "CELL", value_parser = Counted::named)]
    count: Option<Counted>,
    /// Counts instructions: see bench/instructions.
    #[arg(long, hide = true, value_name = "WHAT", requires = "record")]
    instructions: Option<Instructions>,
    /// The record of instruction counts.
    #[arg(long, hide = true, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Is DPDK's side of the compared tables.
    #[arg(long, hide = true, value_name = "FLOWS", value_parser = flows)]
    table_child: Option<usize>,
}

/// What to do with instruction counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Instructions {
    /// Compare with the record; a rise fails.
    Check,
    /// Write the record.
    Record,
}

fn number(text: &str, range: std::ops::RangeInclusive<usize>) -> Result<usize, String> {
    let refused = || format!("not a number from {} to {}", range.start(), range.end());
    text.parse().ok().filter(|n| range.contains(n)).ok_or_else(refused)
}

fn flows(text: &str) -> Result<usize, String> {
    number(text, 1..=FLOWS_MAX)
}

fn workers(text: &str) -> Result<usize, String> {
    number(text, 1..=WORKERS_MAX)
}

fn rounds(text: &str) -> Result<usize, String> {
    number(text, ROUNDS)
}

/// Does what the arguments say. `prefix` are the words that lead this program to this command, for its children.
///
/// Exit status: 0 measured (or: no count rose), 1 something was not measured as meant (or: a count rose), 2 refused.
#[must_use]
pub fn run(args: CoreArgs, prefix: &[&str]) -> ExitCode {
    // A measurement that goes wrong ends the run, with its reason and without a core dump.
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let why = text.or_else(|| payload.downcast_ref::<&str>().copied());
        let why = why.unwrap_or("something was not measured as meant");
        Progress::new().end();
        let _ = writeln!(io::stderr(), "error: {why}");
        std::process::exit(1);
    }));
    let done = if let Some(cell) = args.count {
        let packets = cell.run();
        print(&format!("packets: {packets}\n"))
    } else if let Some(flows) = args.table_child {
        rte::serve(flows, io::stdin().lock(), io::stdout())
    } else if let (Some(what), Some(record)) = (args.instructions, &args.record) {
        return instructions(what, record, prefix);
    } else {
        measure(args, prefix)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => refuse(&why),
    }
}

fn refuse(why: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {why}");
    ExitCode::from(2)
}

fn measure(args: CoreArgs, prefix: &[&str]) -> Result<(), String> {
    if [&args.json, &args.csv].into_iter().all(|path| path.as_deref().is_some_and(is_stdout)) {
        return Err("--json and --csv cannot both go to stdout".to_owned());
    }
    let CoreArgs { quick, modes, families, flows, workers, kinds, rounds, only, json, csv, .. } = args;
    let wanted = Wanted { quick, modes, families, flows, workers, kinds, rounds, only };
    let machine = Machine { cores: clock::cores().len(), memory: available() };
    let plan = Plan::new(&wanted, machine)?;
    let child = rte::Child { program: own_program()?, args: words(prefix, &["--table-child"]) };
    let mut progress = Progress::new();
    let outcome = crate::core::run(plan, Environment::gather(), &child, &mut |line| progress.tell(line));
    progress.end();
    write(&outcome, json.as_deref(), csv.as_deref())
}

fn write(outcome: &Outcome, json: Option<&Path>, csv: Option<&Path>) -> Result<(), String> {
    let to = |path: &Path, text: &str| {
        if is_stdout(path) {
            print(text)
        } else {
            fs::write(path, text).map_err(|why| format!("{}: {why}", path.display()))
        }
    };
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&outcome.report()).map_err(|why| why.to_string())?;
        to(path, &(text + "\n"))?;
    }
    if let Some(path) = csv {
        to(path, &show::csv(outcome))?;
    }
    if ![json, csv].into_iter().flatten().any(is_stdout) {
        print(&show::tables(outcome))?;
    }
    Ok(())
}

fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn instructions(what: Instructions, file: &Path, prefix: &[&str]) -> ExitCode {
    match count(what, file, prefix) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => refuse(&why),
    }
}

/// Counts, and whether nothing rose.
fn count(what: Instructions, file: &Path, prefix: &[&str]) -> Result<bool, String> {
    let counter = Counter { program: own_program()?, args: words(prefix, &["--count"]) };
    let mut progress = Progress::new();
    let now = counter.count(&Environment::gather(), &mut |line| progress.tell(line))?;
    progress.end();
    let of_file = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    if what == Instructions::Record {
        let text = serde_json::to_string_pretty(&now).map_err(|why| why.to_string())?;
        fs::write(file, text + "\n").map_err(|why| of_file(&why))?;
        for (cell, count) in &now.cells {
            print(&format!("{cell:<9} {count:>8.2} instructions a packet\n"))?;
        }
        return Ok(true);
    }
    let recorded = fs::read_to_string(file).map_err(|why| of_file(&why))?;
    let recorded: Record = serde_json::from_str(&recorded).map_err(|why| of_file(&why))?;
    let (text, fine) = recorded.check(&now);
    print(&text)?;
    Ok(fine)
}

fn words(prefix: &[&str], last: &[&str]) -> Vec<String> {
    prefix.iter().chain(last).map(|word| (*word).to_owned()).collect()
}

fn own_program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|why| format!("cannot find this program: {why}"))
}

/// Nobody listening any more is no fault of the measurement.
fn print(text: &str) -> Result<(), String> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => Err(why.to_string()),
        _ => Ok(()),
    }
}

/// Bytes that can be used without pushing others out; all there are where the system does not say.
fn available() -> usize {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.map_or(usize::MAX, |kib| kib.saturating_mul(1024) / 10 * 9)
}

/// What is being done, on stderr: on a terminal in one line, else a line a piece of work.
struct Progress {
    terminal: bool,
    last: String,
}

impl Progress {
    fn new() -> Self {
        Self { terminal: io::stderr().is_terminal(), last: String::new() }
    }

    fn tell(&mut self, line: &str) {
        let mut to = io::stderr();
        if self.terminal {
            let _ = write!(to, "\r\x1b[K{line}");
            return;
        }
        let piece = line.split(": ").next().unwrap_or(line);
        if piece != self.last {
            piece.clone_into(&mut self.last);
            let _ = writeln!(to, "{piece}");
        }
    }

    fn end(&self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
