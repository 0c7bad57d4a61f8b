//! What flows have carried, of those whose account is kept: a cache line a flow, beside the entries.
//!
//! The words of an account carry the generation of their flow's entry. Whoever owns the entry opens the account, before the flow
//! lives; a packet is added by exchanges that include the generation. So what is late for a flow that has ended is never counted
//! for the entry's next one.

use crate::flow::Side;
use crate::sync::{AtomicU64, Relaxed};

/// Words an account takes: the last one only fills the cache line.
pub(crate) const WORDS: usize = 8;
const WHY: usize = 0;
const BEGAN: usize = 1;
const LAST: usize = 2;
const CLIENT: usize = 3;
const SERVER: usize = 5;

/// Bits of a value; the generation is above them.
const BITS: u32 = 48;
const MOST: u64 = (1 << BITS) - 1;
/// Tries to add to a word to which others keep adding.
const TRIES: usize = 64;

/// What one end of a flow has sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Volume {
    /// Packets that were sent on, up to 2^48 - 1.
    pub packets: u64,
    /// Their bytes as they came, from the Ethernet header to the end of the payload, up to 2^48 - 1.
    pub bytes: u64,
}

/// What a flow has carried so far, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Account {
    /// A mark of who made the flow.
    pub why: u8,
    /// When its first packet came: microseconds of the monotonic clock, up to 2^48 - 1 (8.9 years).
    pub began_us: u64,
    /// When its last packet came, of those that were sent on.
    pub last_us: u64,
    /// What the client sent.
    pub client: Volume,
    /// What the server sent, where its packets pass here.
    pub server: Volume,
}

/// The words of one account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a>(&'a [AtomicU64]);

impl<'a> Line<'a> {
    /// Views the account's words; there are [`WORDS`] of them.
    pub(crate) const fn new(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    /// Writes the account of a flow of that generation. The caller owns the flow's entry.
    pub(crate) fn open(self, generation: u16, account: &Account) {
        let Account { why, began_us, last_us, client, server } = *account;
        let values =
            [why.into(), began_us, last_us, client.packets, client.bytes, server.packets, server.bytes];
        for (word, value) in self.0.iter().zip(values) {
            // A swap, because a late packet of the entry's last flow may be at the same word: it comes before, or fails. Relaxed,
            // because who adds or reads has seen the flow live, which comes after.
            word.swap(tagged(generation, value.min(MOST)), Relaxed);
        }
    }

    /// The account of the flow of that generation; `None` when the words are another's by now.
    pub(crate) fn read(self, generation: u16) -> Option<Account> {
        let value = |at: usize| value_of(self.0[at].load(Relaxed), generation);
        let volume = |at: usize| Some(Volume { packets: value(at)?, bytes: value(at + 1)? });
        Some(Account {
            why: u8::try_from(value(WHY)?).unwrap_or(u8::MAX),
            began_us: value(BEGAN)?,
            last_us: value(LAST)?,
            client: volume(CLIENT)?,
            server: volume(SERVER)?,
        })
    }

    /// Adds a packet to the account of the flow of that generation, if the words are still its.
    pub(crate) fn add(self, generation: u16, side: Side, bytes: u64, at_us: u64) {
        let volume = match side {
            Side::Client => CLIENT,
            Side::Server => SERVER,
        };
        self.change(volume, generation, |packets| packets.saturating_add(1));
        self.change(volume + 1, generation, |sum| sum.saturating_add(bytes));
        self.change(LAST, generation, |last| last.max(at_us));
    }

    fn change(self, at: usize, generation: u16, to: impl Fn(u64) -> u64) {
        let word = &self.0[at];
        let mut found = word.load(Relaxed);
        for _ in 0..TRIES {
            let Some(value) = value_of(found, generation) else { return };
            let next = tagged(generation, to(value).min(MOST));
            match word.compare_exchange_weak(found, next, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(other) => found = other,
            }
        }
        // As good as never: 64 packets of one end of one flow were quicker, by other workers.
    }
}

const fn tagged(generation: u16, value: u64) -> u64 {
    (generation as u64) << BITS | value
}

/// What a word says of the flow of that generation.
fn value_of(word: u64, generation: u16) -> Option<u64> {
    (word >> BITS == u64::from(generation)).then_some(word & MOST)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn words() -> [AtomicU64; WORDS] {
        std::array::from_fn(|_| AtomicU64::new(0))
    }

    #[test]
    fn packets_add_up_by_end_and_the_last_one_is_the_latest() {
        let words = words();
        let line = Line::new(&words);
        let begun = Account { why: 7, began_us: 10, last_us: 10, ..Account::default() };
        line.open(3, &begun);
        for (side, bytes, at) in [(Side::Client, 60, 10), (Side::Server, 1500, 30), (Side::Client, 54, 20)] {
            line.add(3, side, bytes, at);
        }
        let (client, server) = (Volume { packets: 2, bytes: 114 }, Volume { packets: 1, bytes: 1500 });
        assert_eq!(line.read(3), Some(Account { last_us: 30, client, server, ..begun }));
    }

    #[test]
    fn what_is_late_is_not_the_next_flows() {
        let words = words();
        let line = Line::new(&words);
        line.open(3, &Account::default());
        line.open(4, &Account { why: 1, ..Account::default() });
        line.add(3, Side::Client, 60, 9);
        assert_eq!(line.read(3), None);
        assert_eq!(line.read(4), Some(Account { why: 1, ..Account::default() }));
    }

    /// A sum that would not fit stays the greatest: the generation above it is another flow's otherwise.
    #[test]
    fn sums_end_where_their_bits_do() {
        let words = words();
        let line = Line::new(&words);
        let full = Volume { packets: MOST, bytes: MOST - 1 };
        line.open(
            u16::MAX,
            &Account { client: full, server: Volume { packets: u64::MAX, bytes: 0 }, ..Account::default() },
        );
        line.add(u16::MAX, Side::Client, 9000, u64::MAX);
        line.add(u16::MAX, Side::Server, u64::MAX, 0);
        let most = Volume { packets: MOST, bytes: MOST };
        assert_eq!(
            line.read(u16::MAX),
            Some(Account { last_us: MOST, client: most, server: most, ..Account::default() })
        );
    }
}
