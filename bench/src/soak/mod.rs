//! Traffic that is judged frame by frame while things are done to the balancer, and what each of them cost.
//!
//! ```text
//!   --event lines -> schedule --due--> actor (a thread: reload, signal, exec) --done--> watch --marks--> trial
//!                                                                                        |
//!   intervals and findings of the trial ------------------> share: lost, moved, broken after each event
//! ```

mod act;
mod counters;
mod report;
mod schedule;
mod share;
mod watch;

pub use act::Actor;
pub use counters::Counters;
pub use report::{EventSum, Verdict, add};
pub use schedule::{Action, EVENTS_MAX, Event, OCCURRENCES_MAX, When, check};
pub use share::{Frames, Share, Shares, shares};
pub use watch::{Done, Watch};
