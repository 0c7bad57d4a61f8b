//! Weighted round-robin: one smooth sequence shared by all workers, a cursor for each.

use crate::Cursor;

/// The longest sequence, but for one more entry a server: weights that need more are scaled down to it.
pub const SEQUENCE_MAX: u64 = 16_384;

/// The most servers a sequence can tell apart; further ones get no turn.
pub const SERVERS_MAX: usize = 65_536;

/// Turns that are passed over before all servers are searched for one that may take a flow.
const TURNS: usize = 64;

/// An immutable order of turns in which each server occurs in proportion to its weight, spread evenly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoundRobin {
    sequence: Box<[u16]>,
    /// The servers that have turns, each once.
    servers: Box<[u16]>,
}

impl RoundRobin {
    /// From each server's weight; 0 = no turn.
    #[must_use]
    pub fn new(weights: &[u16]) -> Self {
        let weights = reduced(weights);
        let sum: i64 = weights.iter().sum();
        let mut credits = vec![0; weights.len()];
        let sequence = (0..sum).filter_map(|_| turn(&weights, &mut credits, sum)).collect();
        let servers =
            (0..=u16::MAX).zip(&weights).filter(|(_, w)| **w > 0).map(|(server, _)| server).collect();
        Self { sequence, servers }
    }

    /// The index of the server whose turn it is; `None` when no server has weight.
    #[inline]
    #[must_use]
    pub fn next(&self, cursor: &mut Cursor) -> Option<usize> {
        let length = self.sequence.len();
        // A shorter sequence may have come since the last turn.
        if cursor.turn >= length {
            cursor.turn = cursor.turn.checked_rem(length)?;
        }
        let server = self.sequence.get(cursor.turn)?;
        cursor.turn += 1;
        Some(usize::from(*server))
    }

    /// The index of the next server in turn that `may` take a flow; `None` when none with weight may.
    ///
    /// A server that may not loses its turn. After 64 lost turns, which a long sequence may have on end, the servers
    /// are searched from a random one on: O(servers), and no server is left out.
    #[inline]
    #[must_use]
    pub fn next_where(&self, cursor: &mut Cursor, may: impl Fn(usize) -> bool) -> Option<usize> {
        for _ in 0..self.sequence.len().min(TURNS) {
            let server = self.next(cursor)?;
            if may(server) {
                return Some(server);
            }
        }
        if self.sequence.len() <= TURNS { None } else { self.search(cursor, &may) }
    }

    /// The first server from a random one on that may; a fixed start would send everything to its neighbour.
    #[cold]
    fn search(&self, cursor: &mut Cursor, may: &impl Fn(usize) -> bool) -> Option<usize> {
        let bound = u32::try_from(self.servers.len()).unwrap_or(u32::MAX);
        let start = usize::try_from(cursor.below(bound)).unwrap_or(0).min(self.servers.len());
        let (before, after) = self.servers.split_at(start);
        after.iter().chain(before).map(|&server| usize::from(server)).find(|&server| may(server))
    }

    /// The whole order, as indices; empty when no server has weight.
    #[must_use]
    pub fn sequence(&self) -> &[u16] {
        &self.sequence
    }
}

/// One turn of smooth weighted round-robin: everyone gains its weight, the richest serves and pays the sum.
fn turn(weights: &[i64], credits: &mut [i64], sum: i64) -> Option<u16> {
    let mut richest: Option<(usize, i64)> = None;
    for (i, (credit, weight)) in credits.iter_mut().zip(weights).enumerate() {
        *credit += weight;
        if *weight > 0 && richest.is_none_or(|(_, most)| *credit > most) {
            richest = Some((i, *credit));
        }
    }
    let (server, _) = richest?;
    credits[server] -= sum;
    u16::try_from(server).ok()
}

/// The weights in lowest terms, scaled down when even those make too long a sequence.
fn reduced(weights: &[u16]) -> Vec<i64> {
    let weights: Vec<u64> = weights.iter().take(SERVERS_MAX).map(|&w| u64::from(w)).collect();
    let lowest = in_lowest_terms(weights);
    let sum: u64 = lowest.iter().sum();
    let short = if sum <= SEQUENCE_MAX {
        lowest
    } else {
        // Rounding down keeps the bound; a server with weight keeps at least one turn.
        let scaled = lowest.iter().map(|&w| (w * SEQUENCE_MAX / sum).max(u64::from(w > 0)));
        in_lowest_terms(scaled.collect())
    };
    short.into_iter().map(|w| i64::try_from(w).unwrap_or(0)).collect()
}

fn in_lowest_terms(weights: Vec<u64>) -> Vec<u64> {
    match weights.iter().fold(0, |a, &b| gcd(a, b)) {
        0 | 1 => weights,
        divisor => weights.into_iter().map(|w| w / divisor).collect(),
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
