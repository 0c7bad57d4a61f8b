//! Searches against systems whose answer is known.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test ends where it is wrong; its numbers are small and above zero"
)]

use ringlead_search::{End, Goal, LoadRange, Outcome, Search, SearchError, Step, TrialResult};

const RANGE: LoadRange = LoadRange { min: 1e3, max: 1e7, search_s_max: 1e6 };

fn goals() -> Vec<Goal> {
    vec![Goal::new("NDR", 0.0), Goal::new("PDR", 0.005)]
}

/// Drives a search with what `system` makes of a load: frames sent and received in a second, or what was achieved.
fn drive(
    goals: Vec<Goal>,
    range: LoadRange,
    mut system: impl FnMut(f64) -> Result<f64, f64>,
) -> (Vec<Outcome>, u32) {
    let mut search = Search::new(goals, range).unwrap();
    loop {
        match search.next() {
            Step::Done(outcomes) => return (outcomes, search.spent().0),
            Step::Measure { load, duration_s } => {
                assert!((range.min..=range.max).contains(&load), "{load} is out of range");
                assert_eq!(search.next(), Step::Measure { load, duration_s }, "asking changes nothing");
                search.record(load, duration_s, trial(load, duration_s, system(load)));
                assert!(search.spent().0 < 5000, "the search does not end");
            }
        }
    }
}

fn trial(load: f64, duration_s: f64, forwarded: Result<f64, f64>) -> TrialResult {
    match forwarded {
        Ok(rate) => {
            let sent = (load * duration_s).round() as u64;
            TrialResult::Valid { sent, received: ((rate * duration_s).round() as u64).min(sent) }
        }
        Err(achieved) => TrialResult::Invalid { achieved: Some(achieved) },
    }
}

/// A small random number generator, uniform over 0..1 (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[track_caller]
fn found(outcome: &Outcome, lowest: f64, highest: f64) {
    let name = &outcome.goal.name;
    assert_eq!(outcome.end, End::Found, "{name}: {outcome:?}");
    let (lower, upper) = (outcome.lower.unwrap().load, outcome.upper.unwrap().load);
    assert!(lower >= lowest && lower <= highest, "{name}: {lower} is not in {lowest}..{highest}");
    assert!(
        upper > lower && outcome.width().unwrap() <= outcome.goal.width + 1e-5,
        "{name}: {lower} to {upper}"
    );
}

#[test]
fn a_fixed_capacity_is_found_wherever_it_lies() {
    let mut random = Random(7);
    let mut all = 0;
    for _ in 0..200 {
        // Evenly over the orders of magnitude.
        let capacity = 10_f64.powf(3.1 + 3.8 * random.next());
        let (outcomes, trials) = drive(goals(), RANGE, |load| Ok(load.min(capacity)));
        found(&outcomes[0], capacity * 0.994, capacity * 1.0003);
        // 0.5 % of loss is borne, so half a per cent above the capacity.
        found(&outcomes[1], capacity * 0.999, capacity / 0.995 * 1.0003);
        // The median of the trials decides: 11 trials at each of the four bounds, and few to find them.
        assert!(trials < 110, "{trials} trials for {capacity}");
        all += trials;
        let surely = outcomes[1].conditional_throughput.unwrap();
        assert!((surely / capacity - 1.0).abs() < 0.006, "{surely} of {capacity}");
    }
    assert!(all < 200 * 60, "{} trials a search", all / 200);
}

#[test]
fn a_noisy_system_is_quoted_at_what_it_mostly_forwards() {
    for seed in 1..=20 {
        let mut random = Random(seed);
        // Each trial finds another capacity, up to 4 % off.
        let (outcomes, trials) =
            drive(goals(), RANGE, |load| Ok(load.min(1e6 * (0.96 + 0.08 * random.next()))));
        let ndr = outcomes[0].lower.unwrap().load;
        assert!((0.97e6..1.03e6).contains(&ndr), "seed {seed}: {:?}", outcomes[0]);
        assert!(trials < 2000, "seed {seed}: {trials} trials");
        let pdr = outcomes[1].lower.unwrap().load;
        assert!((0.97e6..1.035e6).contains(&pdr), "seed {seed}: {:?}", outcomes[1]);
    }
}

#[test]
fn rare_single_losses_are_borne_by_the_exceed_ratio_only() {
    let mut random = Random(3);
    let mut hiccups = |load: f64| Ok(if random.next() < 0.2 { load.min(1e6) - 5.0 } else { load.min(1e6) });
    let (outcomes, _) = drive(goals(), RANGE, &mut hiccups);
    found(&outcomes[0], 0.99e6, 1.00001e6);
    // One lost frame in any trial condemns a load: the search goes to the bottom, and says so.
    let strict = Goal { exceed_ratio: 0.0, ..Goal::new("NDR", 0.0) };
    let (outcomes, _) = drive(vec![strict], RANGE, &mut hiccups);
    assert!(outcomes[0].lower.is_none_or(|lower| lower.load < 0.5e6), "{outcomes:?}");
}

#[test]
fn of_a_non_monotonic_system_the_lowest_bad_load_bounds_the_answer() {
    // A hole in what would otherwise be good up to a million.
    let hole = |load: f64| Ok(if (3e5..3.5e5).contains(&load) { load * 0.9 } else { load.min(1e6) });
    let (outcomes, _) = drive(goals(), RANGE, hole);
    for outcome in &outcomes {
        let (lower, upper) = (outcome.lower.unwrap().load, outcome.upper.unwrap().load);
        assert_eq!(outcome.end, End::Found);
        // Either edge is a true answer; a bad load below the lower bound is not.
        assert!(lower <= 3e5 || (3.5e5..=1.006e6).contains(&lower), "{lower}");
        assert!(hole(upper).unwrap() < upper, "{upper} is good");
    }
    // A system that collapses under overload: the first guess is far too low, the answer is not.
    let collapse = |load: f64| Ok(if load <= 1e6 { load } else { (1e12 / load).max(1e5) });
    let (outcomes, _) = drive(goals(), RANGE, collapse);
    found(&outcomes[0], 0.994e6, 1.00001e6);
    found(&outcomes[1], 0.994e6, 1.006e6);
}

#[test]
fn a_sender_that_falls_behind_limits_the_search_and_is_named() {
    // It can send 700 000; what is tested takes everything.
    let (outcomes, trials) = drive(goals(), RANGE, |load| if load > 7e5 { Err(7e5) } else { Ok(load) });
    for outcome in &outcomes {
        assert_eq!(outcome.end, End::Sender, "{outcome:?}");
        let load = outcome.lower.unwrap().load;
        assert!((0.99 * 7e5..=7e5).contains(&load), "{load}");
        assert_eq!(outcome.upper, None);
    }
    assert!(trials < 60, "{trials}");
    // Where the system's limit lies below the sender's, it is found all the same.
    let (outcomes, _) = drive(goals(), RANGE, |load| if load > 7e5 { Err(7e5) } else { Ok(load.min(5e5)) });
    found(&outcomes[0], 0.994 * 5e5, 5.00001e5);
    // A sender that says nothing of what it sent.
    let silent = |load: f64| if load > 7e5 { Err(f64::NAN) } else { Ok(load) };
    let (outcomes, _) = drive(goals(), RANGE, silent);
    assert_eq!(outcomes[0].end, End::Sender);
    assert!((5.5e5..=7e5).contains(&outcomes[0].lower.unwrap().load), "{:?}", outcomes[0]);
}

#[test]
fn a_sender_that_stalls_now_and_then_changes_no_answer() {
    for seed in 1..=20 {
        let mut random = Random(seed);
        let (outcomes, _) =
            drive(
                goals(),
                RANGE,
                |load| {
                    if random.next() < 0.15 { Err(load * 0.7) } else { Ok(load.min(1e6)) }
                },
            );
        let ndr = outcomes[0].lower.unwrap().load;
        // Two stalls in a row at a load end it early now and then, but then the sender is named.
        assert!(ndr <= 1.00001e6, "seed {seed}: {ndr}");
        assert!(ndr >= 0.994e6 || outcomes[0].end == End::Sender, "seed {seed}: {:?}", outcomes[0]);
    }
}

#[test]
fn two_stalls_at_a_load_that_was_sent_before_are_forgiven() {
    let mut number = 0;
    let (outcomes, trials) = drive(goals(), RANGE, |load| {
        number += 1;
        if [4, 5].contains(&number) { Err(load * 0.7) } else { Ok(load) }
    });
    assert!(outcomes.iter().all(|outcome| outcome.end == End::MaxLoad), "{outcomes:?}");
    assert_eq!(trials, 11 + 2);
}

#[test]
fn a_sender_that_cannot_send_at_all_ends_the_search() {
    let (outcomes, trials) = drive(goals(), RANGE, |_| Err(0.0));
    assert!(
        outcomes.iter().all(|outcome| outcome.end == End::Sender && outcome.lower.is_none()),
        "{outcomes:?}"
    );
    assert!(trials < 200, "{trials}");
}

#[test]
fn what_holds_at_the_greatest_load_is_known_at_once() {
    let (outcomes, trials) = drive(goals(), RANGE, Ok);
    assert!(outcomes.iter().all(|outcome| outcome.end == End::MaxLoad), "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| outcome.lower.unwrap().load == 1e7));
    // Half of 21 seconds, rounded up, decides.
    assert_eq!(trials, 11);
}

#[test]
fn what_fails_at_the_least_load_has_no_lower_bound() {
    let (outcomes, _) = drive(goals(), RANGE, |load| Ok(load / 2.0));
    for outcome in outcomes {
        assert_eq!((outcome.end, outcome.lower), (End::MinLoad, None));
        assert!((outcome.upper.unwrap().load - 1e3).abs() < 1e-9);
        assert_eq!(outcome.conditional_throughput, None);
    }
}

#[test]
fn when_time_is_up_the_search_says_what_it_knows() {
    let range = LoadRange { search_s_max: 15.0, ..RANGE };
    let (outcomes, trials) = drive(goals(), range, |load| Ok(load.min(1e6)));
    assert!(outcomes.iter().any(|outcome| outcome.end == End::OutOfTime), "{outcomes:?}");
    assert_eq!(trials, 15);
}

#[test]
fn quick_goals_take_few_trials() {
    let goals = vec![Goal::quick("NDR", 0.0), Goal::quick("PDR", 0.005)];
    let (outcomes, trials) = drive(goals, RANGE, |load| Ok(load.min(123_456.0)));
    found(&outcomes[0], 123_456.0 * 0.979, 123_457.0);
    assert!(trials < 40, "{trials}");
}

#[test]
fn nonsense_is_refused() {
    let new = |range| Search::new(goals(), range).map(|_| ());
    for range in [
        LoadRange { min: 0.0, ..RANGE },
        LoadRange { max: 1e3, ..RANGE },
        LoadRange { max: f64::INFINITY, ..RANGE },
        LoadRange { min: f64::NAN, ..RANGE },
    ] {
        assert!(matches!(new(range), Err(SearchError::Range { .. })), "{range:?}");
    }
    assert_eq!(new(LoadRange { search_s_max: 0.0, ..RANGE }), Err(SearchError::Time));
    assert_eq!(Search::new(Vec::new(), RANGE).map(|_| ()), Err(SearchError::NoGoals));
    let bad = Goal { width: 2.0, ..Goal::new("NDR", 0.0) };
    assert!(matches!(Search::new(vec![bad], RANGE), Err(SearchError::Goal(_))));
}
