//! What differs about where two runs took place.

use crate::Environment;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// Facts that differ between any two runs, or that cannot change a figure by themselves.
const EXPECTED: [&str; 1] = ["time"];

/// A fact that differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    /// Which.
    pub fact: String,
    /// What the first report says.
    pub before: String,
    /// What the second report says.
    pub after: String,
}

/// Every fact that differs, but for the time of the run.
#[must_use]
pub fn differences(before: &Environment, after: &Environment) -> Vec<Difference> {
    let [before, after] = [before, after].map(|environment| match serde_json::to_value(environment) {
        Ok(Value::Object(facts)) => facts,
        _ => serde_json::Map::new(),
    });
    let facts: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let text = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "unknown".to_string(),
        Some(Value::String(text)) if text.is_empty() => "unknown".to_string(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(words)) if words.iter().all(Value::is_string) => {
            words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
        }
        Some(other) => other.to_string(),
    };
    let differs =
        |fact: &&String| !EXPECTED.contains(&fact.as_str()) && before.get(*fact) != after.get(*fact);
    let difference = |fact: &String| Difference {
        fact: fact.clone(),
        before: text(before.get(fact)),
        after: text(after.get(fact)),
    };
    facts.into_iter().filter(differs).map(difference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_is_named_but_for_the_time() {
        let before = Environment {
            time: "2026-01-01T00:00:00Z".into(),
            kernel: "Linux 6.1".into(),
            command: vec!["ringlead".into(), "bench".into()],
            cpus: 2,
            ..Environment::default()
        };
        assert_eq!(differences(&before, &before), []);
        let after = Environment {
            time: "2026-01-02T00:00:00Z".into(),
            kernel: "Linux 6.18".into(),
            governor: Some("performance".into()),
            ..before.clone()
        };
        let named = differences(&before, &after);
        let named: Vec<_> =
            named.iter().map(|d| (d.fact.as_str(), d.before.as_str(), d.after.as_str())).collect();
        assert_eq!(named, [("governor", "unknown", "performance"), ("kernel", "Linux 6.1", "Linux 6.18")]);
    }
}
