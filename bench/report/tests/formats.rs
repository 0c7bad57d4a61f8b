//! A report with something of everything, in all formats.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test ends where it is wrong; its numbers are small and above zero"
)]

mod sample;

use ringlead_report::{Environment, Histogram, OutputArgs, Report};
use scraper::{Html, Selector};
use std::fs;
use std::path::{Path, PathBuf};

/// The report in the format that `choose` names, as text.
fn written(report: &Report, choose: impl Fn(&mut OutputArgs, PathBuf)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report");
    // JSON too, so that no table is printed.
    let mut output = OutputArgs { json: Some(dir.path().join("json")), ..OutputArgs::default() };
    choose(&mut output, path.clone());
    output.write(report).unwrap();
    fs::read_to_string(path).unwrap()
}

fn page(report: &Report) -> String {
    written(report, |output, path| output.html = Some(path))
}

fn count(page: &Html, selector: &str) -> usize {
    page.select(&Selector::parse(selector).unwrap()).count()
}

#[test]
fn json_is_read_as_it_was_written() {
    let report = sample::report();
    let text = written(&report, |output, path| output.json = Some(path));
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
}

#[test]
fn csv_has_every_number_in_one_table() {
    let text = written(&sample::report(), |output, path| output.csv = Some(path));
    let mut lines = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(
        lines.headers().unwrap(),
        ["section", "name", "item", "at_s", "value", "unit", "low", "high"].as_slice()
    );
    let lines: Vec<Vec<String>> =
        lines.records().map(|line| line.unwrap().iter().map(String::from).collect()).collect();
    let has = |line: [&str; 8]| assert!(lines.iter().any(|other| *other == line), "{line:?}");
    has(["results", "nat ipv4 64 B", "flows", "", "100000", "", "", ""]);
    has(["results", "nat ipv4 64 B", "sent", "", "812345", "pps", "801000", "820500"]);
    has(["results", "dsr ipv6 1518 B <b>&\"quoted\"", "turn_ns.p99", "", "1400", "", "", ""]);
    has(["tables", "ours", "lookup_ns", "", "46.0", "", "", ""]);
    has(["loss", "after ringlead", "all", "", "unknown", "count", "", ""]);
    has(["finding", "wrong-server", "", "", "3", "count", "", ""]);
    has(["mark", "Rate over time", "kill-server 4711", "14", "", "", "", ""]);
    has(["series", "Rate over time", "offered", "10", "800000", "pps", "", ""]);
    // A gap is empty, not zero.
    has(["series", "Rate over time", "received", "15.2", "", "pps", "", ""]);
    assert_eq!(lines.iter().filter(|line| line[0] == "series").count(), 3 * 200);
    let max = sample::report().histograms[0].max.to_string();
    has(["latency", "half of NDR", "p100", "", &max, "ns", "", ""]);
}

#[test]
fn percentile_text_has_the_layout_of_hdrhistograms_tools() {
    let mut report = sample::report();
    report.histograms.truncate(1);
    let text = written(&report, |output, path| output.hgrm = Some(path));
    let mut lines = text.lines();
    let words = |line: &str| line.split_ascii_whitespace().map(String::from).collect::<Vec<_>>();
    assert_eq!(words(lines.next().unwrap()), ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]);
    assert_eq!(lines.next(), Some(""));
    let histogram = &report.histograms[0];
    let rows: Vec<Vec<f64>> = lines
        .by_ref()
        .take(histogram.percentiles.len())
        .map(|line| words(line).iter().map(|word| word.parse().unwrap()).collect())
        .collect();
    for (row, point) in rows.iter().zip(&histogram.percentiles) {
        assert!((row[0] - point.value as f64 / 1000.0).abs() < 1e-3, "{row:?}: microseconds");
        assert!((row[1] - point.percentile / 100.0).abs() < 1e-9 && row[2] == point.count as f64, "{row:?}");
        // The last line, of all values, has no fourth column.
        assert_eq!(row.len(), if point.percentile < 100.0 { 4 } else { 3 });
    }
    assert!(lines.next().unwrap().starts_with("#[Mean    ="));
    assert!(lines.next().unwrap().contains("Total count    =       200000]"));
    assert_eq!(lines.next(), None);
}

#[test]
fn several_distributions_get_a_file_each() {
    let dir = tempfile::tempdir().unwrap();
    let output = OutputArgs {
        json: Some(dir.path().join("json")),
        hgrm: Some(dir.path().join("run.hgrm")),
        ..OutputArgs::default()
    };
    let mut report = sample::report();
    report.histograms.push(Histogram { name: "Half of  NDR!".into(), ..report.histograms[0].clone() });
    output.write(&report).unwrap();
    for name in ["run-half-of-ndr.hgrm", "run-90-of-ndr.hgrm", "run-half-of-ndr-3.hgrm"] {
        assert!(dir.path().join(name).is_file(), "{name}");
    }
}

#[test]
fn the_page_is_well_formed_and_complete() {
    let text = page(&sample::report());
    let page = Html::parse_document(&text);
    assert_eq!(page.errors, Vec::<std::borrow::Cow<str>>::new());
    assert_eq!(count(&page, "svg.chart"), 2);
    // Offered and sent, and received in two pieces around its gap; two distributions.
    assert_eq!(count(&page, "svg.chart polyline"), 4 + 2);
    assert_eq!(count(&page, "svg.chart line.mark"), 3);
    assert_eq!(count(&page, "rect.bar"), 3);
    assert_eq!(count(&page, ".warnings li"), 2);
    // All intervals, all percentiles, and the one list of plain facts.
    assert_eq!(
        count(&page, "details tbody tr"),
        1 + 200 + sample::report().histograms.iter().map(|h| h.percentiles.len()).sum::<usize>()
    );
    for heading in ["Results", "tables", "Rate over time", "Latency", "Lost", "Findings", "Environment"] {
        let headings =
            page.select(&Selector::parse("h2").unwrap()).filter(|h2| h2.inner_html() == heading).count();
        assert_eq!(headings, 1, "{heading}");
    }
}

#[test]
fn the_page_needs_nothing_else_and_runs_nothing() {
    let text = page(&sample::report());
    for outside in
        ["http://", "https://", "<link", "<script", "src=", "@import", "url(", "javascript:", "onload"]
    {
        assert!(!text.contains(outside), "{outside}");
    }
    // What a run calls itself is text, never markup.
    assert!(text.contains("&lt;script&gt;") && !text.contains("<b>"));
    assert!(text.contains("prefers-color-scheme: dark"));
}

#[test]
fn a_page_without_anything_measured_is_a_page() {
    let mut report = Report::new("verify", Environment::default());
    for series in [0, 1] {
        let page = Html::parse_document(&page(&report));
        assert!(page.errors.is_empty(), "{series}: {:?}", page.errors);
        report.series.push(ringlead_report::Series::default());
        report.histograms.push(Histogram::default());
    }
}

/// The page's colours by name, of the light or the dark theme.
fn colours(dark: bool) -> Vec<(String, [f64; 3])> {
    let style = include_str!("../src/html/style.css");
    let block = style.split(":root {").nth(if dark { 2 } else { 1 }).unwrap().split('}').next().unwrap();
    let channel =
        |hex: &str, n: usize| f64::from(u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap()) / 255.0;
    let colour = |(name, value): (&str, &str)| {
        let hex = value.trim().strip_prefix('#').unwrap();
        (name.trim().to_string(), [channel(hex, 0), channel(hex, 1), channel(hex, 2)])
    };
    block.split(';').filter_map(|rule| rule.split_once(':')).map(colour).collect()
}

/// WCAG 2.2, relative luminance.
fn luminance(colour: [f64; 3]) -> f64 {
    let linear = |c: f64| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
    0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2])
}

fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn text_and_lines_stand_out_in_both_themes() {
    let opacity = include_str!("../src/html/style.css").split("stroke-opacity: ").nth(1).unwrap();
    let opacity: f64 = opacity.split(';').next().unwrap().parse().unwrap();
    for dark in [false, true] {
        let colours = colours(dark);
        let find = |name: &str| colours.iter().find(|(other, _)| other == name).unwrap().1;
        // WCAG 2.2 AA: 4.5 for text (1.4.3), 3 for what is drawn (1.4.11).
        for (text, page) in [
            ("--text", "--page"),
            ("--faint", "--page"),
            ("--text", "--panel"),
            ("--text", "--warn-page"),
            ("--mark", "--page"),
        ] {
            let ratio = contrast(find(text), find(page));
            assert!(ratio >= 4.5, "{text} on {page}, dark {dark}: {ratio:.2}");
        }
        for line in 0..6 {
            let (mut colour, page) = (find(&format!("--c{line}")), find("--page"));
            // The broad line lets the ones on it shine through.
            if line == 0 {
                colour = std::array::from_fn(|n| opacity * colour[n] + (1.0 - opacity) * page[n]);
            }
            let ratio = contrast(colour, page);
            assert!(ratio >= 3.0, "line {line}, dark {dark}: {ratio:.2}");
        }
    }
}

#[test]
fn two_outputs_cannot_share_stdout_and_a_bad_path_is_named() {
    let stdout = || Some(PathBuf::from("-"));
    assert!(OutputArgs { json: stdout(), csv: stdout(), ..OutputArgs::default() }.check().is_err());
    assert!(OutputArgs { json: stdout(), ..OutputArgs::default() }.check().is_ok());
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good.html");
    let output = OutputArgs {
        json: Some(Path::new("/nonexistent/report.json").into()),
        html: Some(good.clone()),
        ..OutputArgs::default()
    };
    let error = output.write(&sample::report()).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/report.json"), "{error}");
    // The others are written nevertheless.
    assert!(good.is_file());
}
