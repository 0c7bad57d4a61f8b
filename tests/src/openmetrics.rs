//! A strict reader of the OpenMetrics text format, version 1.0: what it accepts, every scraper does.

use std::collections::{BTreeMap, BTreeSet};

/// A scrape that has been read and found right.
#[derive(Debug, Clone, Default)]
pub struct Scrape {
    /// Families by name, with their types.
    pub families: BTreeMap<String, String>,
    samples: BTreeMap<(String, Labels), f64>,
}

/// A sample's labels by name.
pub type Labels = BTreeMap<String, String>;

impl Scrape {
    /// Reads a whole page.
    ///
    /// # Errors
    /// The first rule that it breaks, with the line.
    pub fn read(text: &str) -> Result<Self, String> {
        let body = text.strip_suffix("# EOF\n").ok_or("it does not end with `# EOF`")?;
        let mut reader = Reader::default();
        for line in body.lines() {
            reader.line(line).map_err(|why| format!("{why}: {line}"))?;
        }
        reader.finish_family()?;
        Ok(reader.scrape)
    }

    /// The value of the one sample that has these labels and perhaps others; `None`: there is none.
    ///
    /// # Panics
    /// When there are several.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.matching(name, labels);
        let value = found.next().map(|(_, value)| value);
        assert!(found.next().is_none(), "several samples of {name} have {labels:?}");
        value
    }

    /// The sum over all samples with these labels and perhaps others.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|(_, value)| value).sum()
    }

    /// The samples of a name that have these labels and perhaps others.
    pub fn matching<'s>(
        &'s self,
        name: &str,
        labels: &[(&str, &str)],
    ) -> impl Iterator<Item = (&'s Labels, f64)> {
        let has = |of: &Labels| labels.iter().all(|(key, value)| of.get(*key).is_some_and(|is| is == value));
        let of_name = self.samples.iter().filter(|((sample, of), _)| sample == name && has(of));
        of_name.map(|((_, labels), value)| (labels, *value)).collect::<Vec<_>>().into_iter()
    }

    /// Whether a query could ask for this: a sample's name, of this scrape or of a family that has no sample now.
    #[must_use]
    pub fn has(&self, sample: &str) -> bool {
        self.families.iter().any(|(family, kind)| belongs(sample, family, kind))
    }

    /// How many samples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Counters, and what histograms count, that are less in a later scrape of the same process.
    #[must_use]
    pub fn gone_back_in(&self, later: &Self) -> Vec<String> {
        let counts = |name: &str| {
            let kind = |kind: &str| self.families.iter().any(|(f, k)| k == kind && belongs(name, f, k));
            kind("counter") || kind("histogram")
        };
        let less = self.samples.iter().filter(|((name, labels), value)| {
            counts(name) && later.samples.get(&(name.clone(), labels.clone())).is_some_and(|now| now < *value)
        });
        less.map(|((name, labels), value)| format!("{name} {labels:?} was {value}")).collect()
    }
}

/// Whether a sample of this name is one of a family's.
fn belongs(sample: &str, family: &str, kind: &str) -> bool {
    let suffixes: &[&str] = match kind {
        "counter" => &["_total", "_created"],
        "histogram" => &["_bucket", "_sum", "_count", "_created"],
        "info" => &["_info"],
        _ => &[""],
    };
    sample.strip_prefix(family).is_some_and(|suffix| suffixes.contains(&suffix))
}

#[derive(Default)]
struct Reader {
    scrape: Scrape,
    /// The family that is being read, and its type once that is known.
    family: Option<(String, Option<String>)>,
    /// Metadata of it that has been read.
    said: BTreeSet<String>,
    /// Whether it has samples: metadata come first.
    sampled: bool,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        match line.strip_prefix("# ") {
            Some(metadata) => self.metadata(metadata),
            None if line.starts_with('#') || line.is_empty() => {
                Err("neither metadata nor a sample".to_owned())
            }
            None => self.sample(line),
        }
    }

    fn metadata(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.splitn(3, ' ');
        let (Some(what), Some(name), Some(text)) = (words.next(), words.next(), words.next()) else {
            return Err("metadata without a text".to_owned());
        };
        if !is_name(name) {
            return Err(format!("`{name}` is no name"));
        }
        if self.family.as_ref().is_none_or(|(family, _)| family != name) {
            self.finish_family()?;
            if self.scrape.families.contains_key(name) {
                return Err(format!("{name} comes twice"));
            }
            self.family = Some((name.to_owned(), None));
        }
        if self.sampled || !self.said.insert(what.to_owned()) {
            return Err("metadata after a sample, or twice".to_owned());
        }
        match what {
            "TYPE" if ["counter", "gauge", "histogram", "info"].contains(&text) => {
                if text != "counter" && name.ends_with("_total") {
                    return Err(format!("a {text} whose name ends as a counter's"));
                }
                self.family = Some((name.to_owned(), Some(text.to_owned())));
                Ok(())
            }
            "HELP" => Ok(()),
            "UNIT" if name.ends_with(&format!("_{text}")) => Ok(()),
            _ => Err("unknown metadata".to_owned()),
        }
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let Some((family, Some(kind))) = &self.family else {
            return Err("a sample without a type".to_owned());
        };
        let (name, rest) = line.split_at(line.find(['{', ' ']).ok_or("no value")?);
        if !belongs(name, family, kind) {
            return Err(format!("no sample of the {kind} {family}"));
        }
        let (labels, value) = labels(rest)?;
        let value: f64 = value.strip_prefix(' ').ok_or("no value")?.parse().map_err(|_| "no number")?;
        if value.is_nan() || kind != "gauge" && value < 0.0 || kind == "info" && value != 1.0 {
            return Err(format!("no value of a {kind}"));
        }
        self.sampled = true;
        match self.scrape.samples.insert((name.to_owned(), labels), value) {
            Some(_) => Err("the same sample twice".to_owned()),
            None => Ok(()),
        }
    }

    /// Ends the family that was being read; a histogram is looked at as a whole.
    fn finish_family(&mut self) -> Result<(), String> {
        self.said.clear();
        self.sampled = false;
        let Some((name, kind)) = self.family.take() else { return Ok(()) };
        let kind = kind.ok_or_else(|| format!("{name} has no type"))?;
        if kind == "histogram" {
            self.histograms(&name)?;
        }
        self.scrape.families.insert(name, kind);
        Ok(())
    }

    /// Buckets rise to `+Inf`, which has the count.
    fn histograms(&self, name: &str) -> Result<(), String> {
        let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for (labels, value) in self.scrape.matching(&format!("{name}_bucket"), &[]) {
            let mut labels = labels.clone();
            let bound = labels.remove("le").ok_or_else(|| format!("a bucket of {name} has no `le`"))?;
            let bound = bound.parse().map_err(|_| format!("`le` of {name} is {bound}"))?;
            series.entry(labels).or_default().push((bound, value));
        }
        for (labels, mut buckets) in series {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            let of = |suffix: &str| self.scrape.samples.get(&(format!("{name}{suffix}"), labels.clone()));
            let (last, count) = (buckets.last().copied(), of("_count").copied());
            if last.map(|(bound, _)| bound) != Some(f64::INFINITY) || last.map(|(_, n)| n) != count {
                return Err(format!("{name} {labels:?}: the last bucket is not the count"));
            }
            if of("_sum").is_none() || !buckets.is_sorted_by(|a, b| a.1 <= b.1) {
                return Err(format!("{name} {labels:?}: no sum, or buckets that fall"));
            }
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(letters)
}

/// `{a="1",b="2"}` or nothing, and what follows.
fn labels(text: &str) -> Result<(Labels, &str), String> {
    let mut labels = Labels::new();
    let Some(mut rest) = text.strip_prefix('{') else { return Ok((labels, text)) };
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (name, quoted) = rest.split_once("=\"").ok_or("a label without a value")?;
        let (value, after) = quoted.split_once('"').ok_or("a value without an end")?;
        // This writer has nothing to escape, so what would need it is wrong.
        if !is_name(name) || value.contains(['\\', '{', '}', ' ']) && name != "mode" {
            return Err(format!("the label {name} = {value}"));
        }
        if labels.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(format!("the label {name} twice"));
        }
        rest = after.strip_prefix(',').unwrap_or(after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# HELP a A.\n# TYPE a counter\na_total{x=\"1\"} 3\na_total{x=\"2\"} 4.5\n# TYPE g gauge\ng -1\n\
        # HELP h_seconds H.\n# TYPE h_seconds histogram\n# UNIT h_seconds seconds\nh_seconds_sum 0.5\nh_seconds_count 2\n\
        h_seconds_bucket{le=\"0.1\"} 1\nh_seconds_bucket{le=\"+Inf\"} 2\n# TYPE b info\nb_info{v=\"1\"} 1\n# EOF\n";

    #[test]
    fn a_good_page_is_read() {
        let scrape = Scrape::read(GOOD).unwrap();
        assert_eq!((scrape.value("a_total", &[("x", "2")]), scrape.sum("a_total", &[])), (Some(4.5), 7.5));
        assert_eq!((scrape.value("g", &[]), scrape.value("g", &[("x", "1")])), (Some(-1.0), None));
        assert!(scrape.has("h_seconds_bucket") && scrape.has("b_info"));
        assert!(!scrape.has("a") && !scrape.has("h_seconds") && !scrape.has("c"));
        let later = Scrape::read(&GOOD.replace("a_total{x=\"1\"} 3", "a_total{x=\"1\"} 2")).unwrap();
        assert_eq!(scrape.gone_back_in(&later).len(), 1);
        assert!(later.gone_back_in(&scrape).is_empty());
    }

    #[test]
    fn a_page_that_breaks_a_rule_is_refused() {
        for (from, to) in [
            ("# EOF\n", ""),
            ("a_total{x=\"2\"}", "a_total{x=\"1\"}"),
            ("a_total{x=\"2\"}", "a{x=\"2\"}"),
            ("# TYPE g gauge\n", ""),
            ("# TYPE g gauge", "# TYPE a gauge"),
            ("# TYPE g gauge", "# TYPE g_total gauge"),
            ("g -1", "g NaN"),
            ("g -1", "g  -1"),
            ("g -1", "\ng -1"),
            ("4.5", "-4.5"),
            ("h_seconds_count 2", "h_seconds_count 3"),
            ("le=\"0.1\"} 1", "le=\"0.1\"} 3"),
            ("h_seconds_sum 0.5\n", ""),
            ("{le=\"+Inf\"}", "{le=\"9\"}"),
            ("{v=\"1\"} 1", "{v=\"1\"} 2"),
            ("# HELP a A.", "# HELP b A."),
        ] {
            assert!(Scrape::read(&GOOD.replacen(from, to, 1)).is_err(), "{from} -> {to}");
        }
    }
}
