//! `ringlead flows`: the flows that match, in the table's order or sorted.

use super::listing::{Asked, Shown, Watch, refused};
use super::render::{csv_head, csv_row, text};
use crate::cli::FlowsArgs;
use crate::out::print;
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Rows of a table on a terminal, unless told otherwise.
const ON_A_TERMINAL: usize = 1_000;

/// What a listing can be sorted by.
const SORTS: [&str; 7] = ["client", "service", "server", "protocol", "state", "idle", "expires"];

/// A column to sort by, and whether the largest comes first: `idle`, `-idle`.
pub(crate) fn sorting(text: &str) -> Result<(String, bool), String> {
    let (name, down) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
    match SORTS.contains(&name) {
        true => Ok((name.to_owned(), down)),
        false => Err(format!("one of {}, with a `-` before it for the largest first", SORTS.join(", "))),
    }
}

/// Lists them. Exit status 0; 2: refused, or no answer.
pub(crate) fn flows(args: &FlowsArgs) -> ExitCode {
    let mut watch = Watch::of(args.list.watch, !args.list.json && !args.list.csv);
    loop {
        match once(args, &mut watch) {
            Ok(true) if watch.goes_on() => {}
            Ok(_) => return ExitCode::SUCCESS,
            Err(why) if watch.outlives("flows", &why) => {}
            Err(why) => return refused("flows", &why),
        }
    }
}

/// Prints them once; `false` when nobody reads any more.
fn once(args: &FlowsArgs, watch: &mut Watch) -> Result<bool, String> {
    let asked = Asked::of(&args.list.daemon)?;
    let request = json!({ "command": "flows", "filter": args.filter.filter(), "count": args.count });
    if args.count {
        let flows = count(&asked, request)?;
        let said = match (args.list.json, args.list.csv) {
            (true, _) => format!("{}\n", json!({ "format": 1, "count": flows })),
            (_, true) => format!("{}{flows}\n", if watch.is_first() { "count\n" } else { "" }),
            _ => format!("{flows}\n"),
        };
        return Ok(watch.show(&said));
    }
    let limit = args.limit.and_then(|limit| usize::try_from(limit).ok());
    if args.sort.is_none() && (args.list.json || args.list.csv) {
        return stream(&asked, request, args, limit.unwrap_or(usize::MAX), watch);
    }
    let is_table = !args.list.json && !args.list.csv;
    let most = if is_table && std::io::stdout().is_terminal() { ON_A_TERMINAL } else { usize::MAX };
    let limit = limit.unwrap_or(most);
    let (rows, more) = collect(&asked, request, args.sort.as_ref(), limit)?;
    let shown = shown();
    let mut said = match (args.list.json, args.list.csv) {
        (true, _) => format!("{}\n", json!({ "format": 1, "flows": rows })),
        (_, true) => {
            let head = if watch.is_first() { csv_head(&shown.csv) } else { String::new() };
            head + &rows.iter().map(|row| csv_row(&shown.csv, row)).collect::<String>()
        }
        _ => shown.table(&rows),
    };
    if more && is_table {
        said.push_str(&format!("the {} of more: --limit shows others, --count says how many\n", rows.len()));
    }
    Ok(watch.show(&said))
}

/// How many flows match a request with `count`.
pub(super) fn count(asked: &Asked, mut request: Value) -> Result<u64, String> {
    let (mut flows, mut cursor) = (0, json!(0));
    while !cursor.is_null() {
        request["cursor"] = cursor;
        let mut answer = asked.ask(&request)?;
        flows += answer.get("matched").and_then(Value::as_u64).ok_or("the answer is of another version")?;
        cursor = answer["next"].take();
    }
    Ok(flows)
}

/// Prints page by page, so that a million flows need no memory.
fn stream(
    asked: &Asked,
    mut request: Value,
    args: &FlowsArgs,
    limit: usize,
    watch: &mut Watch,
) -> Result<bool, String> {
    let shown = shown();
    let (mut left, mut cursor, mut first) = (limit, Some(json!(0)), true);
    let head = if args.list.csv && watch.is_first() { csv_head(&shown.csv) } else { String::new() };
    let head = if args.list.json { "{\"format\":1,\"flows\":[\n".to_owned() } else { head };
    let mut is_read = watch.show(&head);
    while let Some(at) = cursor.filter(|_| left > 0 && is_read) {
        let (mut rows, next) = asked.page(&mut request, &at)?;
        rows.truncate(left);
        left -= rows.len();
        let mut page = String::new();
        for row in &rows {
            if args.list.csv {
                page.push_str(&csv_row(&shown.csv, row));
            } else {
                page.push_str(if first { "" } else { ",\n" });
                page.push_str(&row.to_string());
            }
            first = false;
        }
        is_read = print(&page);
        cursor = next;
    }
    Ok(is_read && (args.list.csv || print("\n]}\n")))
}

/// The first of all by an order, or of the table's; and whether there are more.
fn collect(
    asked: &Asked,
    mut request: Value,
    sort: Option<&(String, bool)>,
    limit: usize,
) -> Result<(Vec<Value>, bool), String> {
    let (mut all, mut more, mut cursor) = (Vec::new(), false, Some(json!(0)));
    while let Some(at) = cursor.filter(|_| sort.is_some() || all.len() <= limit) {
        let (rows, next) = asked.page(&mut request, &at)?;
        all.extend(rows);
        cursor = next;
        // Those that cannot be among the first any more are let go from time to time.
        if sort.is_some() && all.len() / 2 > limit.max(ON_A_TERMINAL) {
            more |= cut(&mut all, sort, limit);
        }
    }
    more |= cut(&mut all, sort, limit);
    Ok((all, more))
}

/// Sorts, and leaves the first ones; whether there were more.
fn cut(all: &mut Vec<Value>, sort: Option<&(String, bool)>, limit: usize) -> bool {
    if let Some((by, down)) = sort {
        all.sort_by(|a, b| {
            let order = compare(by, a, b);
            if *down { order.reverse() } else { order }
        });
    }
    let more = all.len() > limit;
    all.truncate(limit);
    more
}

fn compare(by: &str, a: &Value, b: &Value) -> Ordering {
    let number = |row: &Value| row[format!("{by}_s")].as_f64().unwrap_or_default();
    match by {
        "idle" | "expires" => number(a).total_cmp(&number(b)),
        "client" => address(a).cmp(&address(b)),
        _ => text(a, &format!("/{by}")).cmp(&text(b, &format!("/{by}"))),
    }
}

fn address(row: &Value) -> Option<std::net::SocketAddr> {
    row["client"].as_str()?.parse().ok()
}

fn shown() -> Shown {
    Shown {
        command: "flows",
        name: "flows",
        columns: vec![
            ("protocol", |row| text(row, "/protocol")),
            ("client", |row| text(row, "/client")),
            ("service", |row| text(row, "/service")),
            ("listen", |row| text(row, "/listen")),
            ("mode", |row| text(row, "/mode")),
            ("source", |row| text(row, "/source")),
            ("server", |row| text(row, "/server")),
            ("address", |row| text(row, "/server_address")),
            ("state", |row| text(row, "/state")),
            ("idle", |row| format!("{} s", text(row, "/idle_s"))),
            ("ends in", |row| format!("{} s", text(row, "/expires_s"))),
        ],
        csv: vec![
            "/protocol",
            "/client",
            "/service",
            "/listen",
            "/mode",
            "/source",
            "/server",
            "/server_address",
            "/state",
            "/idle_s",
            "/expires_s",
            "/port",
        ],
        degraded: |_| false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Value> {
        let row = |client: &str, idle: f64| json!({ "client": client, "idle_s": idle });
        vec![row("198.51.100.10:1", 2.5), row("198.51.100.9:1", 10.0), row("198.51.100.9:2", 0.0)]
    }

    fn sorted(by: &str, limit: usize) -> (Vec<String>, bool) {
        let mut all = rows();
        let more = cut(&mut all, Some(&sorting(by).unwrap()), limit);
        (all.iter().map(|row| text(row, "/client")).collect(), more)
    }

    #[test]
    fn sorted_by_numbers_and_by_addresses_not_by_their_letters() {
        assert_eq!(sorted("client", 9).0, ["198.51.100.9:1", "198.51.100.9:2", "198.51.100.10:1"]);
        assert_eq!(sorted("idle", 9).0, ["198.51.100.9:2", "198.51.100.10:1", "198.51.100.9:1"]);
        assert_eq!(sorted("-idle", 1), (vec!["198.51.100.9:1".to_owned()], true));
        assert!(!sorted("idle", 3).1);
        assert!(sorting("packets").unwrap_err().contains("idle"));
    }
}
