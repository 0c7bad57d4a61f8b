//! From results to up and down. No I/O, no clock.

/// What is known about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// No result yet.
    #[default]
    Unknown,
    /// Answering.
    Up,
    /// Not answering.
    Down,
}

/// Decides from one result after another.
///
/// The first result decides at once, so that a start is not delayed by `rise` or `fall`; afterwards `rise` successes
/// in a row are needed to come up and `fall` failures in a row to go down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    state: State,
    passing: bool,
    consecutive: u32,
    /// So many times `rise` are needed to come up: 0 means 1.
    rises: u32,
}

impl Machine {
    /// Record a result. `Some` with the new state when this result changed it. A `rise` or `fall` of 0 means 1; both
    /// may differ from call to call.
    pub fn record(&mut self, passed: bool, rise: u32, fall: u32) -> Option<State> {
        if passed == self.passing {
            self.consecutive = self.consecutive.saturating_add(1);
        } else {
            self.passing = passed;
            self.consecutive = 1;
        }
        let (wanted, needed) = if passed {
            (State::Up, rise.max(1).saturating_mul(self.rises.max(1)))
        } else {
            (State::Down, fall)
        };
        let enough = self.state == State::Unknown || self.consecutive >= needed.max(1);
        if wanted == self.state || !enough {
            return None;
        }
        self.state = wanted;
        self.rises = 0;
        Some(wanted)
    }

    /// Takes it down, whatever the results say. `rises` times `rise` successes from now on bring it up; 0 means 1.
    pub fn fall(&mut self, rises: u32) {
        *self = Self { state: State::Down, passing: false, consecutive: 0, rises };
    }

    /// What is decided.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the last result speaks against what is decided: more like it change that.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        match self.state {
            State::Unknown => false,
            State::Up => !self.passing,
            State::Down => self.passing,
        }
    }

    /// How many results in a row agree with the last one.
    #[must_use]
    pub fn consecutive(&self) -> u32 {
        self.consecutive
    }

    /// Whether the last result was a success; `false` before the first.
    #[must_use]
    pub fn passing(&self) -> bool {
        self.passing
    }
}

#[cfg(test)]
mod tests {
    use super::State::{Down, Up};
    use super::*;
    use proptest::prelude::*;

    fn changes(results: &[bool], rise: u32, fall: u32) -> Vec<(usize, State)> {
        let mut machine = Machine::default();
        let told =
            results.iter().enumerate().map(|(at, ok)| machine.record(*ok, rise, fall).map(|s| (at, s)));
        told.flatten().collect()
    }

    #[test]
    fn the_first_result_decides() {
        assert_eq!(changes(&[true], 3, 3), [(0, Up)]);
        assert_eq!(changes(&[false], 3, 3), [(0, Down)]);
    }

    #[test]
    fn afterwards_a_row_is_needed() {
        assert_eq!(changes(&[true, false, false, true, false, false, false], 2, 3), [(0, Up), (6, Down)]);
        assert_eq!(changes(&[false, true, false, true, true], 2, 3), [(0, Down), (4, Up)]);
    }

    #[test]
    fn zero_means_one() {
        assert_eq!(changes(&[true, false, true], 0, 0), [(0, Up), (1, Down), (2, Up)]);
    }

    #[test]
    fn who_was_taken_down_needs_new_successes_and_more_of_them_each_time() {
        for (rises, needed) in [(0, 2), (1, 2), (4, 8)] {
            let mut machine = Machine::default();
            for _ in 0..100 {
                machine.record(true, 2, 3);
            }
            machine.fall(rises);
            assert_eq!((machine.state(), machine.is_changing()), (Down, false));
            let back = (1..=100).find(|_| machine.record(true, 2, 3) == Some(Up));
            assert_eq!(back, Some(needed));
            // As before, once it is up.
            assert_eq!([(); 3].map(|()| machine.record(false, 2, 3)), [None, None, Some(Down)]);
            assert_eq!([(); 2].map(|()| machine.record(true, 2, 3)), [None, Some(Up)]);
        }
    }

    #[test]
    fn a_shortened_row_counts_what_was_seen() {
        let mut machine = Machine::default();
        machine.record(true, 1, 5);
        assert_eq!(machine.record(false, 1, 5), None);
        assert_eq!(machine.record(false, 1, 2), Some(Down));
    }

    #[test]
    fn it_is_changing_while_results_speak_against_the_state() {
        let mut machine = Machine::default();
        assert!(!machine.is_changing(), "nothing is decided yet");
        for (passed, changing) in [(true, false), (false, true), (true, false), (false, true), (false, false)]
        {
            machine.record(passed, 2, 2);
            assert_eq!(machine.is_changing(), changing, "{machine:?}");
        }
        machine.record(true, 2, 2);
        assert!(machine.is_changing(), "up again is a change too");
    }

    /// The definition, read off the whole history.
    fn expected(history: &[bool], rise: usize, fall: usize) -> State {
        let Some((last, before)) = history.split_last() else { return State::Unknown };
        if before.is_empty() {
            return if *last { Up } else { Down };
        }
        let needed = if *last { rise } else { fall };
        let row = history.len() >= needed && history[history.len() - needed..].iter().all(|r| r == last);
        if row { if *last { Up } else { Down } } else { expected(before, rise, fall) }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            history in proptest::collection::vec(any::<bool>(), 0..60),
            rise in 1_u32..5,
            fall in 1_u32..5,
        ) {
            let mut machine = Machine::default();
            let mut told = State::Unknown;
            for at in 0..history.len() {
                let change = machine.record(history[at], rise, fall);
                prop_assert_ne!(change, Some(told), "a change is told once");
                told = change.unwrap_or(told);
                let want = expected(&history[..=at], rise as usize, fall as usize);
                prop_assert_eq!(told, want, "after {} results", at + 1);
                prop_assert_eq!(machine.state(), want);
            }
        }
    }
}
