//! A distribution as HdrHistogram's percentile text, which its plotter and other tools read.

use crate::Histogram;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Values of these files are microseconds, by convention.
const NS_PER_UNIT: f64 = 1000.0;

/// The text: value, percentile as a share, values at most this, and 1/(1-percentile).
pub(crate) fn render(histogram: &Histogram) -> String {
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    for point in &histogram.percentiles {
        let (value, share) = (point.value as f64 / NS_PER_UNIT, point.percentile / 100.0);
        let _ = write!(text, "{value:>12.3} {share:>14.12} {:>10}", point.count);
        if share < 1.0 {
            let _ = write!(text, " {:>14.2}", 1.0 / (1.0 - share));
        }
        text.push('\n');
    }
    let [mean, stddev, max] =
        [histogram.mean, histogram.stddev, histogram.max as f64].map(|ns| ns / NS_PER_UNIT);
    let _ = writeln!(text, "#[Mean    = {mean:>12.3}, StdDeviation   = {stddev:>12.3}]");
    let _ = writeln!(text, "#[Max     = {max:>12.3}, Total count    = {:>12}]", histogram.count);
    text
}

/// A file for each of several distributions: the only one goes to `path` itself, of more each has its name in front of
/// the extension (`run.hgrm`: `run-half-load.hgrm`).
pub(crate) fn files(path: &Path, histograms: &[Histogram]) -> Vec<(PathBuf, String)> {
    if let [only] = histograms {
        return vec![(path.to_path_buf(), render(only))];
    }
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let extension = path.extension().map(|ext| format!(".{}", ext.to_string_lossy())).unwrap_or_default();
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    for (n, histogram) in histograms.iter().enumerate() {
        let named = |name: String| path.with_file_name(format!("{stem}-{name}{extension}"));
        let mut file = named(slug(&histogram.name));
        if files.iter().any(|(other, _)| *other == file) {
            file = named(format!("{}-{}", slug(&histogram.name), n + 1));
        }
        files.push((file, render(histogram)));
    }
    files
}

/// The name as part of a file name.
fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}
