//! What production traffic shows of a pool's servers: windows of counts, and who suffers. No I/O, no clock.
//!
//! A count of failures alone would let anybody take servers down: who sends SYNs from forged addresses and answers nothing
//! makes connections fail on all of them. So a server is judged by its share, and beside the others of its pool.

use super::in_words;
use ringlead_l4::attempts::Attempted;
use std::collections::VecDeque;
use std::time::Duration;

/// Parts of a window: it moves on by one of them at a time.
pub const PARTS: u32 = 10;
/// Fewer than one connection in so many answered: the server fails.
const ANSWERED_ONE_IN: u64 = 5;

/// The counts of one server over a window.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// What had been counted at the end of each part, oldest first; at most [`PARTS`] and one.
    counted: VecDeque<Attempted>,
}

impl Window {
    /// Takes over what has been counted by the end of a part. The first time only begins the window.
    pub fn push(&mut self, counted: Attempted) {
        if self.counted.len() > PARTS as usize {
            self.counted.pop_front();
        }
        self.counted.push_back(counted);
    }

    /// How many parts it has seen: up to [`PARTS`], fewer while it is young.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.counted.len().saturating_sub(1)
    }

    /// What was counted within the window.
    #[must_use]
    pub fn seen(&self) -> Attempted {
        self.seen_in(self.parts())
    }

    /// What was counted within its last parts, at most those that it has.
    #[must_use]
    pub fn seen_in(&self, parts: usize) -> Attempted {
        let first = self.counted.get(self.parts().saturating_sub(parts));
        match (first, self.counted.back()) {
            (Some(first), Some(last)) => last.since(*first),
            _ => Attempted::default(),
        }
    }
}

/// What a pool's servers showed together, over each number of parts: made once, so that to compare every server with all others
/// takes no longer than there are servers.
#[derive(Debug, Clone, Default)]
pub struct Sums {
    /// By number of parts.
    all: [Attempted; PARTS as usize + 1],
}

impl Sums {
    /// Of these servers' windows, each of which is looked at once a part.
    pub fn of<'a>(windows: impl IntoIterator<Item = &'a Window>) -> Self {
        let mut sums = Self::default();
        for window in windows {
            for (parts, sum) in sums.all.iter_mut().enumerate() {
                *sum = sum.plus(window.seen_in(parts));
            }
        }
        sums
    }

    /// What the others showed in the time that one of the servers has been seen: one that came up a moment ago has seen nothing
    /// but a flood that has just begun, and the others their honest clients before it.
    #[must_use]
    pub fn others(&self, of: &Window) -> Attempted {
        // No window has more parts.
        self.all.get(of.parts()).map_or_else(Attempted::default, |all| all.since(of.seen()))
    }
}

/// Whether a server is to be taken down for what it showed: at least `errors` failures, fewer than one connection in five
/// answered, while the pool's other servers together answered most of theirs.
///
/// Where all suffer alike the cause is another (a flood, the network, the application that they share), and nobody is taken
/// down. So is nobody where there is no other server to go to.
#[must_use]
pub fn suffers(server: Attempted, others: Attempted, errors: u32) -> bool {
    fails(server, errors) && others.answered > others.failed()
}

/// Whether a server fails for itself, whatever the others do.
#[must_use]
pub fn fails(server: Attempted, errors: u32) -> bool {
    let (failed, answered) = (u64::from(server.failed()), u64::from(server.answered));
    server.failed() >= errors && answered * ANSWERED_ONE_IN < answered + failed
}

/// Why, in words: `passive: 14 of 15 connections in 10 s unanswered`.
#[must_use]
pub fn reason(server: Attempted, window: Duration) -> String {
    let kinds =
        [(server.unanswered, "unanswered"), (server.refused, "refused"), (server.unreachable, "unreachable")];
    let kinds: Vec<_> = kinds.into_iter().filter(|(count, _)| *count > 0).collect();
    let how = match kinds.as_slice() {
        [(_, kind)] => (*kind).to_owned(),
        _ => {
            let parts: Vec<String> = kinds.iter().map(|(count, kind)| format!("{count} {kind}")).collect();
            format!("failed ({})", parts.join(", "))
        }
    };
    let (failed, all) = (server.failed(), server.failed().saturating_add(server.answered));
    format!("passive: {failed} of {all} connections in {} {how}", in_words(window))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(answered: u32, unanswered: u32) -> Attempted {
        Attempted { answered, unanswered, ..Attempted::default() }
    }

    #[test]
    fn a_window_forgets_what_is_older() {
        let mut window = Window::default();
        assert_eq!(window.seen(), seen(0, 0));
        window.push(seen(u32::MAX, 7));
        assert_eq!(window.seen(), seen(0, 0), "what was before the window is not in it, and counts wrap");
        for part in 1..=PARTS {
            window.push(seen(part - 1, 7));
        }
        assert_eq!(window.seen(), seen(PARTS, 0));
        window.push(seen(PARTS - 1, 9));
        assert_eq!(window.seen(), seen(PARTS - 1, 2));
    }

    #[test]
    fn a_server_that_answers_nobody_falls_and_one_that_answers_some_does_not() {
        let others = seen(30, 2);
        assert!(suffers(seen(0, 10), others, 10));
        assert!(!suffers(seen(0, 9), others, 10), "too few");
        assert!(suffers(seen(2, 10), others, 10), "one in six");
        assert!(!suffers(seen(3, 12), others, 10), "one in five");
    }

    #[test]
    fn nobody_falls_where_all_suffer_or_there_is_nobody_else() {
        assert!(!suffers(seen(0, 50), seen(3, 60), 10));
        assert!(!suffers(seen(0, 50), seen(0, 0), 10));
    }

    #[test]
    fn the_reason_is_a_sentence() {
        let window = Duration::from_secs(10);
        assert_eq!(reason(seen(1, 14), window), "passive: 14 of 15 connections in 10 s unanswered");
        let mixed = Attempted { answered: 0, unanswered: 2, refused: 8, unreachable: 1 };
        assert_eq!(
            reason(mixed, window),
            "passive: 11 of 11 connections in 10 s failed (2 unanswered, 8 refused, 1 unreachable)"
        );
    }

    /// A server's counts at the end of each part.
    fn window(counts: &[(u32, u32)]) -> Window {
        let mut window = Window::default();
        counts.iter().for_each(|(answered, unanswered)| window.push(seen(*answered, *unanswered)));
        window
    }

    proptest! {
        /// Young and old windows beside each other, and counts that wrap.
        #[test]
        fn the_others_are_all_but_the_one(
            counts in proptest::collection::vec(
                proptest::collection::vec((any::<u32>(), any::<u32>()), 0..=PARTS as usize + 3),
                1..12,
            ),
        ) {
            let windows: Vec<Window> = counts.iter().map(|counts| window(counts)).collect();
            let sums = Sums::of(&windows);
            for (at, one) in windows.iter().enumerate() {
                let others = windows.iter().enumerate().filter(|(other, _)| *other != at);
                let others = others.fold(Attempted::default(), |sum, (_, w)| sum.plus(w.seen_in(one.parts())));
                prop_assert_eq!(sums.others(one), others);
            }
        }

        /// Forged SYNs that reach the servers alike, however many, while none has more than four times another's honest traffic.
        #[test]
        fn a_flood_that_all_have_alike_takes_nobody_down(
            honest in proptest::collection::vec(100_u32..=400, 2..8),
            forged in 0_u32..1_000_000,
        ) {
            for (at, answered) in honest.iter().enumerate() {
                let others = honest.iter().enumerate().filter(|(other, _)| *other != at);
                let others = others.fold(Attempted::default(), |sum, (_, n)| sum.plus(seen(*n, forged)));
                prop_assert!(!suffers(seen(*answered, forged), others, 1));
            }
        }
    }
}
