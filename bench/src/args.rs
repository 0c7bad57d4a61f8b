//! The command line, read by hand: a few options, and cargo's own `--bench` to be ignored.

use ringlead_l4::tables::Mode;

/// What to measure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Args {
    /// Print JSON, a line a row, instead of tables.
    pub json: bool,
    /// How many flows the table holds, a group of rows each.
    pub flows: Vec<usize>,
    /// The modes, a row each.
    pub modes: Vec<Mode>,
    /// Rounds of every cell, interleaved; 1 to 500.
    pub rounds: usize,
    /// Run only turns of one cell, for an instruction counter.
    pub counted: Option<Counted>,
}

/// One cell to be run under an instruction counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    /// The mode.
    pub mode: Mode,
    /// IPv6.
    pub v6: bool,
    /// Flows in the table.
    pub flows: usize,
    /// How many turns.
    pub turns: usize,
}

/// What the program says when the arguments are wrong.
pub const USAGE: &str = "\
path [--json] [--flows 1,100000,1000000] [--modes nat,dsr] [--rounds N]
path --callgrind-cell nat4|nat6|dsr4|dsr6 FLOWS TURNS   (run by bench/instructions)";

/// Most flows of a table: what the addresses of the clients are made for.
const FLOWS_MAX: usize = 16_000_000;
/// Most rounds: each moves time on, and flows must not expire.
const ROUNDS_MAX: usize = 500;

impl Default for Args {
    fn default() -> Self {
        Self {
            json: false,
            flows: vec![1, 100_000, 1_000_000],
            modes: vec![Mode::Nat, Mode::Dsr],
            rounds: 31,
            counted: None,
        }
    }
}

impl Args {
    /// Reads the arguments behind the program's name.
    ///
    /// # Errors
    /// What is wrong with them, in a sentence.
    pub fn read(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut args = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
            match word.as_str() {
                "--bench" => {}
                "--json" => args.json = true,
                "--flows" => args.flows = list(&value()?, flows)?,
                "--modes" => args.modes = list(&value()?, mode)?,
                "--rounds" => args.rounds = number(&value()?, 1, ROUNDS_MAX)?,
                "--callgrind-cell" => {
                    let (mode, v6) = cell(&value()?)?;
                    let (flows, turns) = (flows(&value()?)?, number(&value()?, 1, 1_000_000)?);
                    args.counted = Some(Counted { mode, v6, flows, turns });
                }
                _ => return Err(format!("{word} is no option")),
            }
        }
        Ok(args)
    }
}

fn list<T>(text: &str, item: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(item).collect()
}

fn flows(text: &str) -> Result<usize, String> {
    number(text, 1, FLOWS_MAX)
}

fn number(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let refused = || format!("{text} is no number from {least} to {most}");
    text.parse().ok().filter(|n| (least..=most).contains(n)).ok_or_else(refused)
}

fn mode(text: &str) -> Result<Mode, String> {
    let known = [Mode::Nat, Mode::Dsr];
    known.into_iter().find(|mode| mode.name() == text).ok_or_else(|| format!("{text} is no mode: nat or dsr"))
}

fn cell(text: &str) -> Result<(Mode, bool), String> {
    let (name, v6) = match (text.strip_suffix('4'), text.strip_suffix('6')) {
        (Some(name), _) => (name, false),
        (_, Some(name)) => (name, true),
        _ => return Err(format!("{text} is no cell: nat4, nat6, dsr4 or dsr6")),
    };
    Ok((mode(name)?, v6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Args, String> {
        Args::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_change_the_defaults_one_by_one() {
        assert_eq!(read("--bench"), Ok(Args::default()));
        let got = read("--json --flows 1,5 --modes dsr --rounds 15").unwrap();
        let (flows, modes) = (vec![1, 5], vec![Mode::Dsr]);
        let want = Args { json: true, flows, modes, rounds: 15, counted: None };
        assert_eq!(got, want);
        let counted = read("--callgrind-cell nat6 1000 20").unwrap().counted;
        assert_eq!(counted, Some(Counted { mode: Mode::Nat, v6: true, flows: 1000, turns: 20 }));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (line, word) in [
            ("--fast", "--fast"),
            ("--flows", "--flows"),
            ("--flows 0", "0"),
            ("--flows 1,x", "x"),
            ("--modes nat,tunnel", "tunnel"),
            ("--rounds 0", "0"),
            ("--callgrind-cell nat5 1 1", "nat5"),
            ("--callgrind-cell nat4 1", "--callgrind-cell"),
        ] {
            assert!(read(line).is_err_and(|why| why.contains(word)), "{line}");
        }
    }
}
