//! A report with something of everything.

use hdrhistogram::Histogram as Recorder;
use ringlead_report::{
    Environment, Examples, Histogram, Line, Loss, Mark, Metric, Place, PortFacts, Report, Row, Series, Unit,
};

/// A run of twenty seconds with two events, losses in all places, and text that a careless page would break on.
pub(crate) fn report() -> Report {
    let mut report = Report::new("send", environment());
    report.results = vec![
        Row::new("nat ipv4 64 B")
            .field("mode", "nat")
            .field("valid", true)
            .field("flows", 100_000)
            .metric("sent", Metric::more(812_345.0, Unit::Pps).spread(801_000.0, 820_500.0))
            .metric("received", Metric::more(811_990.0, Unit::Pps))
            .metric("received-l2", Metric::more(415_738_880.0, Unit::Bps))
            .metric("latency-p99", Metric::less(182_345.0, Unit::Ns).spread(170_000.0, 201_000.0))
            .metric("lost", Metric::less(7_100.0, Unit::Count)),
        Row::new("dsr ipv6 1518 B <b>&\"quoted\"")
            .field("mode", "dsr")
            .field("valid", false)
            .field("turn_ns", serde_json::json!({"p50": 812, "p99": 1400}))
            .metric("sent", Metric::more(402_000.0, Unit::Pps))
            .metric("latency-p99", Metric::less(92_000.0, Unit::Ns)),
    ];
    report.series = vec![series()];
    report.histograms = vec![histogram("half of NDR", 40_000.0), histogram("90 % of NDR", 90_000.0)];
    report.loss = vec![
        Loss { place: Place::Before, reason: "rings".into(), count: Some(5200) },
        Loss { place: Place::In, reason: "unknown-flow".into(), count: Some(1893) },
        Loss { place: Place::In, reason: "no-server".into(), count: Some(7) },
        Loss { place: Place::After, reason: "all".into(), count: None },
    ];
    report.findings = vec![Examples {
        kind: "wrong-server".into(),
        count: 3,
        examples: vec![
            "flow 17, frame 201, 3.2 s: 10.2.0.11:80 became 10.2.0.12:80".into(),
            "flow 99 <script>".into(),
        ],
    }];
    report.warnings = vec!["The build is not optimised.".into(), "repeats lie 7.1 % apart".into()];
    report.extra.insert("tables".into(), serde_json::json!([{"name": "ours", "lookup_ns": 46.0}]));
    report
}

fn environment() -> Environment {
    Environment {
        time: "2026-11-21T13:16:14Z".into(),
        command: ["ringlead", "bench", "send", "--to", "192.0.2.10:80", "--rate", "800kpps"]
            .map(String::from)
            .to_vec(),
        ringlead: "0.1.0".into(),
        commit: Some("0123456789ab".into()),
        opt_level: "3".into(),
        rustc: "rustc 1.95.0".into(),
        target: "x86_64-unknown-linux-gnu".into(),
        target_cpu: "generic".into(),
        kernel: "Linux 6.18.5".into(),
        cpu_model: Some("Some CPU @ 2.0 GHz".into()),
        cpus: 2,
        cpus_online: 2,
        virtual_machine: Some(true),
        load_average: Some(0.4),
        ports: vec![PortFacts {
            name: "c0".into(),
            netns: Some("lab-c".into()),
            driver: Some("veth".into()),
            ..PortFacts::default()
        }],
        ..Environment::default()
    }
}

fn series() -> Series {
    let at_s: Vec<f64> = (1..=200).map(|n| f64::from(n) / 10.0).collect();
    let dip = |at_s: f64| if (8.0..9.0).contains(&at_s) { 0.7 } else { 1.0 };
    let wave = |at_s: f64| 800_000.0 + 15_000.0 * (at_s * 2.0).sin();
    let line = |name: &str, value: &dyn Fn(f64) -> Option<f64>| Line {
        name: name.into(),
        values: at_s.iter().map(|at_s| value(*at_s)).collect(),
    };
    Series {
        name: "Rate over time".into(),
        unit: Unit::Pps,
        lines: vec![
            line("offered", &|at_s| Some(800_000.0 * (at_s / 0.5).min(1.0))),
            line("sent", &|at_s| Some((wave(at_s) * (at_s / 0.5).min(1.0)).min(800_000.0))),
            line("received", &|at_s| {
                (!(15.0..=15.5).contains(&at_s))
                    .then(|| wave(at_s).min(800_000.0) * (at_s / 0.5).min(1.0) * dip(at_s))
            }),
        ],
        at_s,
        marks: vec![
            Mark { at_s: 8.0, text: "reload".into() },
            Mark { at_s: 8.2, text: "reload again".into() },
            Mark { at_s: 14.0, text: "kill-server 4711".into() },
        ],
    }
}

/// Most values around `typical` nanoseconds, and a long tail.
fn histogram(name: &str, typical: f64) -> Histogram {
    let mut recorder = Recorder::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
    for n in 0..200_000_u32 {
        let share = (f64::from(n) + 0.5) / 200_000.0;
        let value = typical * (1.0 + 0.3 * share + 0.2 * (1.0 / (1.0 - share)).ln().powi(2));
        recorder.record(value as u64).unwrap();
    }
    Histogram::of_ns(name, &recorder)
}
