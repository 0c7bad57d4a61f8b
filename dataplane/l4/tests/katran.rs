//! Katran's own cases on the shipped worker: what other people hold a tunnelling balancer to.
//!
//! The suite is data of its own and not kept here: `RINGLEAD_PEER_SUITES` names the folder it is in, or it is looked for
//! beside the workspace. Where we differ on purpose is in SPEC.md; nothing else may differ, and what is written down must.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests report by panicking, and fold sums"
)]

use std::collections::BTreeSet;
use std::io::Write;

#[path = "katran/deviations.rs"]
mod deviations;
#[path = "katran/headers.rs"]
mod headers;
#[path = "katran/judge.rs"]
mod judge;
#[path = "katran/rig.rs"]
mod rig;
#[path = "katran/suite.rs"]
mod suite;

use deviations::Instead;
use judge::Judge;
use rig::Rig;
use suite::Suite;

/// A name, the suite's sets under it, and how many cases they have.
const GROUPS: [(&str, &[&str], usize); 3] = [
    ("base", &["base"], 36),
    ("gue", &["gue"], 36),
    ("icmp_too_big", &["icmp_too_big", "icmp_too_big_origin_gue"], 4),
];

/// What became of a run.
#[derive(Default)]
struct Tally {
    /// Every case.
    ran: BTreeSet<String>,
    /// Cases with Katran's outcome.
    hold: usize,
    /// Fields that we chose in another way at least once.
    fields: BTreeSet<&'static str>,
    /// What is neither Katran's nor written down.
    wrong: Vec<String>,
}

#[test]
fn katrans_cases_hold_but_for_what_is_written_down() {
    let Some(suite) = Suite::find() else {
        return say("Katran's suite is not on this machine: nothing is compared");
    };
    let (mut line, mut all) = (String::new(), Tally::default());
    for (name, sets, cases) in GROUPS {
        let (ran, held) = (all.ran.len(), all.hold);
        for set in sets {
            run(&suite, set, &mut all);
        }
        assert_eq!(all.ran.len() - ran, cases, "cases of {name}");
        line += &format!("{name} {}/{cases}, ", all.hold - held);
    }
    for (id, _) in deviations::CASES.iter().filter(|(id, _)| !all.ran.contains(*id)) {
        all.wrong.push(format!("{id}: no such case"));
    }
    for field in deviations::FIELDS.iter().filter(|field| !all.fields.contains(*field)) {
        all.wrong.push(format!("{field}: always as in the suite, and written down as a deviation"));
    }
    assert!(all.wrong.is_empty(), "{}", all.wrong.join("\n"));
    say(&format!("{line}documented deviations {}", deviations::names().len()));
}

#[test]
fn the_specification_lists_every_deviation_and_no_other() {
    assert_eq!(deviations::specified(), deviations::names());
}

/// Runs a set through one flow table, in order.
fn run(suite: &Suite, name: &str, tally: &mut Tally) {
    let set = suite.set(name);
    let (mut rig, mut judge) = (Rig::new(suite, &set), Judge::new(suite, &set));
    for case in &set.cases {
        let outcome = rig.put(&case.input);
        let mut wrong = |what: String| tally.wrong.push(format!("{}: {what}", case.id));
        if let Err(what) = judge.chosen_well(case, &outcome) {
            wrong(what);
        }
        match (judge.strictly(case, &outcome), deviations::of(&case.id)) {
            (Ok(fields), None) => {
                tally.hold += 1;
                tally.fields.extend(fields);
            }
            (Ok(_), Some(_)) => wrong("holds, and is written down as a deviation".to_owned()),
            (Err(what), None) => wrong(what),
            (Err(_), Some(instead)) => {
                judge.instead(case, &outcome, instead).unwrap_or_else(&mut wrong);
                if instead == Instead::Damaged {
                    let case = case.repaired();
                    let outcome = rig.put(&case.input);
                    let fine = judge.chosen_well(&case, &outcome);
                    fine.and_then(|()| judge.strictly(&case, &outcome)).map_or_else(wrong, drop);
                }
            }
        }
        assert!(tally.ran.insert(case.id.clone()), "{} twice", case.id);
    }
}

/// A line that is seen without any option.
#[allow(clippy::explicit_write, reason = "tests' println is captured")]
fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").unwrap();
}
