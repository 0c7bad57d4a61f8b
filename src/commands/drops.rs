//! `ringlead drops`: why frames were dropped, and how many a second.

use super::listing::{Asked, Column, Shown, refused, show};
use super::render::{number, text};
use crate::cli::DropsArgs;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

/// `ringlead drops`.
pub(crate) fn drops(args: &DropsArgs) -> ExitCode {
    let asked = match Asked::of(&args.list.daemon) {
        Ok(asked) => asked,
        Err(why) => return refused("drops", &why),
    };
    let mut rates = Rates::default();
    let shown = drops_shown(args.list.watch.is_some());
    show(&shown, &args.list, || {
        let mut rows = asked.rows(json!({ "command": "list", "of": "drops" }), json!(0))?;
        rates.add(&mut rows, Instant::now());
        rows.retain(|row| args.all || number(row, "/count") > 0.0);
        Ok(rows)
    })
}

fn drops_shown(watched: bool) -> Shown {
    let rate: Column = ("a second", |row| match row["rate"].as_f64() {
        Some(rate) => format!("{rate:.1}"),
        None => "-".to_owned(),
    });
    let mut columns: Vec<Column> = vec![
        ("code", |row| text(row, "/code")),
        ("reason", |row| text(row, "/reason")),
        ("frames", |row| text(row, "/count")),
        ("what it means", |row| text(row, "/text")),
    ];
    let mut csv = vec!["/code", "/reason", "/count", "/text"];
    if watched {
        columns.insert(3, rate);
        csv.insert(3, "/rate");
    }
    Shown { command: "drops", name: "drops", columns, csv, degraded: |_| false }
}

/// From counts to counts a second, from the second time on.
#[derive(Default)]
struct Rates(Option<(Instant, BTreeMap<String, f64>)>);

impl Rates {
    fn add(&mut self, rows: &mut [Value], now: Instant) {
        let counts: BTreeMap<String, f64> =
            rows.iter().map(|row| (text(row, "/reason"), number(row, "/count"))).collect();
        if let Some((then, before)) = &self.0 {
            let seconds = now.duration_since(*then).as_secs_f64().max(1e-3);
            for row in rows {
                let reason = text(row, "/reason");
                // A daemon that was restarted counts from zero.
                let more =
                    (number(row, "/count") - before.get(&reason).copied().unwrap_or_default()).max(0.0);
                row["rate"] = json!(more / seconds);
            }
        }
        self.0 = Some((now, counts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn drops_have_a_rate_from_the_second_time_on_also_after_a_restart() {
        let rows = |count: u32| vec![json!({ "reason": "no-server", "count": count })];
        let (mut rates, begin) = (Rates::default(), Instant::now());
        let mut first = rows(10);
        rates.add(&mut first, begin);
        assert_eq!(first, rows(10));
        let mut second = rows(30);
        rates.add(&mut second, begin + Duration::from_secs(2));
        assert_eq!(second[0]["rate"], 10.0);
        let mut restarted = rows(5);
        rates.add(&mut restarted, begin + Duration::from_secs(4));
        assert_eq!(restarted[0]["rate"], 0.0);
    }
}
