//! What one row of the table is about, and what its columns are.

use ringlead_io::port::BURST;
use ringlead_l4::tables::Mode;

/// A row: packets of one family in one mode over one number of flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The mode.
    pub mode: Mode,
    /// IPv6.
    pub v6: bool,
    /// Flows in the table, all used equally often.
    pub flows: usize,
}

/// A column: what is timed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Column {
    /// Whole turns.
    Turn {
        /// Frames a queue gives at once.
        burst: usize,
        /// Each packet is its flow's first for 250 ms, so every look-up writes the flow's last-seen time. Off: none does.
        refresh: bool,
    },
    /// The port alone: the same frames through `rx` and `tx`, and nothing in between.
    Floor,
    /// `wire::parse`.
    Parse,
    /// `FlowTable::lookup_burst`: hash, prefetch, compare and copy.
    Lookup,
    /// `wire::rewrite`: address, port, TTL (nat only) and Ethernet addresses.
    Rewrite,
}

impl Column {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::Turn { burst: BURST, refresh: false },
        Self::Turn { burst: 32, refresh: false },
        Self::Turn { burst: BURST, refresh: true },
        Self::Floor,
        Self::Parse,
        Self::Lookup,
        Self::Rewrite,
    ];

    /// The heading.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Turn { burst: BURST, refresh: false } => "turn",
            Self::Turn { refresh: false, .. } => "turn-32",
            Self::Turn { refresh: true, .. } => "refresh",
            Self::Floor => "floor",
            Self::Parse => "parse",
            Self::Lookup => "lookup",
            Self::Rewrite => "rewrite",
        }
    }
}

/// What came of one row: by column the time a packet of each round, in nanoseconds, and the times of single turns.
#[derive(Clone, Debug)]
pub struct Result {
    /// What was measured.
    pub row: Row,
    /// By column, then by round.
    pub rounds: Vec<Vec<f64>>,
    /// Packets in one full turn.
    pub turn_packets: usize,
    /// Nanoseconds of full turns: the 50th, 99th and 99.9th percentile and the longest.
    pub turns: [u64; 4],
}

impl Result {
    /// The least time a packet of a column.
    #[must_use]
    pub fn best(&self, column: usize) -> f64 {
        self.rounds.get(column).map_or(f64::NAN, |times| times.iter().copied().fold(f64::INFINITY, f64::min))
    }

    /// The median of a column's rounds over its least: 1 on a machine of one's own.
    #[must_use]
    pub fn noise(&self, column: usize) -> f64 {
        let mut times = self.rounds.get(column).cloned().unwrap_or_default();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).map_or(f64::NAN, |median| median / self.best(column))
    }
}
