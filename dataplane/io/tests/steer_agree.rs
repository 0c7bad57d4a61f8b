//! Both fronts see the same frames and must say the same: the program under BPF_PROG_TEST_RUN, and the Rust twin.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test")]

mod steer_common;
mod steer_frames;

use std::collections::BTreeMap;

use aya::programs::{TestRun as _, TestRunOptions};
use ringlead_io::steer::{Counters, Rule, RuleSet, Rules, Steering, Verdict, verdict};
use steer_frames::{Generator, rules};

const FRAMES: usize = 40_000;
const SEED: u64 = 0x5eed_1ead;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

#[test]
fn both_fronts_say_the_same_of_every_frame() {
    steer_common::in_namespace("agree", |dir| {
        let rules = rules();
        let mut front = Front::new(dir, &rules);
        let set = RuleSet::from(&rules);
        let mut generator = Generator::new(SEED);
        let mut seen = BTreeMap::<_, usize>::new();
        let mut disagreements = Vec::new();
        for number in 0..FRAMES {
            let frame = generator.frame();
            let (kernel, rust) = (front.verdict(&frame), verdict(&set, &frame));
            *seen.entry(format!("{kernel:?}")).or_default() += 1;
            if kernel != rust {
                disagreements.push(format!("#{number} C {kernel:?} Rust {rust:?} {frame:02x?}"));
            }
        }
        println!("{FRAMES} frames, {} disagreements, {seen:?}", disagreements.len());
        assert!(disagreements.is_empty(), "{}", disagreements[..disagreements.len().min(5)].join("\n"));
        for rule in Rule::ALL {
            let times = seen.get(&format!("{:?}", Verdict::Ours(rule))).copied().unwrap_or(0);
            assert!(times >= 100, "{rule} occurred only {times} times");
        }
        assert!(seen["Kernel"] >= 1000);
        front.steering.detach_all().unwrap();
    });
}

#[test]
fn both_fronts_know_every_port_of_a_range() {
    steer_common::in_namespace("range", |dir| {
        let rules = rules();
        let mut front = Front::new(dir, &rules);
        let set = RuleSet::from(&rules);
        let mut snat = 0;
        for port in 0..=u16::MAX {
            let frame = steer_frames::udp_to(steer_frames::SNAT, port);
            let (kernel, rust) = (front.verdict(&frame), verdict(&set, &frame));
            assert_eq!(kernel, rust, "port {port}");
            snat += usize::from(rust == Verdict::Ours(Rule::Snat));
        }
        assert_eq!(snat, steer_frames::SNAT_UDP_PORTS);
        front.steering.detach_all().unwrap();
    });
}

/// The program in the kernel. The socket map is empty, so that what is ours is dropped.
struct Front {
    steering: Steering,
    before: Counters,
}

impl Front {
    fn new(dir: &std::path::Path, rules: &Rules) -> Self {
        let mut steering = Steering::open(dir, &[]).unwrap();
        steering.reconcile(rules).unwrap();
        let before = steering.counters().unwrap();
        Self { steering, before }
    }

    /// The action says whose the frame is, the counters by which rule.
    fn verdict(&mut self, frame: &[u8]) -> Verdict {
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        let action = self.steering.program().unwrap().test_run(options).unwrap().return_value;
        let after = self.steering.counters().unwrap();
        let before = std::mem::replace(&mut self.before, after);
        let by: Vec<_> = Rule::ALL.into_iter().filter(|r| after.of(*r) != before.of(*r)).collect();
        match (action, by.as_slice()) {
            (XDP_PASS, []) if after.passed == before.passed + 1 => Verdict::Kernel,
            (XDP_DROP, [rule]) if after.unowned == before.unowned + 1 => Verdict::Ours(*rule),
            (action, by) => panic!("action {action}, rules {by:?}, {before:?} -> {after:?}"),
        }
    }
}
