//! Tables, CSV and words for values: how listings look. On a terminal a table fits its width, elsewhere nothing is cut or wrapped.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, Width};
use serde_json::Value;
use std::io::IsTerminal;

/// A table of a header and rows.
pub(super) fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // Without a terminal there is no width to fit.
    fitted(head, rows, colour, Table::new().width())
}

/// Columns that a narrow terminal can do without, the least important first; other commands and `--json` have what they say.
const LEAST: [&str; 21] = [
    "slots",
    "hash",
    "tables",
    "tx invalid",
    "check p50/p99",
    "next hop",
    "persistence",
    "on no server",
    "agent",
    "weight",
    "packets out",
    "packets in",
    "flows made",
    "protocol",
    "mode",
    "layer",
    "backups",
    "min-servers",
    "algorithm",
    "driver",
    "beat",
];
/// Below this many characters a sentence is not worth a column.
const SENTENCE_MIN: usize = 20;

/// A table that is no wider than that, in whole words as far as they fit: columns go before words are broken, and are named.
fn fitted(head: &[&str], rows: Vec<Vec<String>>, colour: bool, width: Option<u16>) -> String {
    let Some(width) = width else { return made(head, rows, colour).to_string() };
    let least: Vec<usize> = (0..head.len()).map(|column| least_width(column, head, &rows)).collect();
    let left_out = left_out(head, &least, usize::from(width));
    let keeps = |column: &usize| !left_out.contains(column);
    let kept: Vec<usize> = (0..head.len()).filter(keeps).collect();
    let of = |row: &Vec<String>| kept.iter().filter_map(|column| row.get(*column).cloned()).collect();
    let names: Vec<&str> = kept.iter().filter_map(|column| head.get(*column).copied()).collect();
    let mut table = made(&names, rows.iter().map(of).collect(), colour);
    table.set_width(width);
    if total(&least, &left_out) <= usize::from(width) {
        let least = kept.iter().filter_map(|column| u16::try_from(*least.get(*column)?).ok());
        table.set_constraints(least.map(|least| ColumnConstraint::LowerBoundary(Width::Fixed(least))));
    }
    let missing: Vec<&str> = left_out.iter().filter_map(|column| head.get(*column).copied()).collect();
    if missing.is_empty() {
        return table.to_string();
    }
    format!("{table}\n(no room for: {})", missing.join(", "))
}

/// How wide a column is at least, with a blank on either side: as its longest word, and of a sentence as some of them.
fn least_width(column: usize, head: &[&str], rows: &[Vec<String>]) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(column).map(String::as_str));
    let cells = cells.chain(head.get(column).copied());
    let word = |cell: &str| cell.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0);
    let sentence = matches!(head.get(column), Some(&("reason" | "why" | "what it means")));
    let some = |cell: &str| if sentence { cell.chars().count().min(SENTENCE_MIN) } else { 0 };
    cells.map(|cell| word(cell).max(some(cell))).max().unwrap_or(0) + 2
}

/// The columns that must go for the others to have their width, the least important first.
fn left_out(head: &[&str], least: &[usize], width: usize) -> Vec<usize> {
    let mut left_out = Vec::new();
    for title in LEAST {
        if total(least, &left_out) <= width {
            break;
        }
        left_out.extend(head.iter().position(|column| *column == title));
    }
    left_out
}

/// The width of all columns but some, with the gaps between them.
fn total(least: &[usize], left_out: &[usize]) -> usize {
    let kept = least.iter().enumerate().filter(|(column, _)| !left_out.contains(column));
    let (columns, sum) = kept.fold((0, 0), |(columns, sum), (_, least)| (columns + 1, sum + least));
    sum + columns
}

fn made(head: &[&str], rows: Vec<Vec<String>>, colour: bool) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(head.iter().map(Cell::new));
    for row in rows {
        table.add_row(head.iter().zip(row).map(|(title, text)| match shade(title, &text) {
            Some(shade) if colour => Cell::new(text).fg(shade),
            Some(_) | None => Cell::new(text),
        }));
    }
    table
}

/// The colour of what an operator should see at once.
fn shade(title: &str, text: &str) -> Option<Color> {
    match (title, text) {
        ("health", "up") => Some(Color::Green),
        ("health", "down") => Some(Color::Red),
        ("operator", text) if !text.starts_with("ready") => Some(Color::Yellow),
        _ => None,
    }
}

/// One line of comma-separated values (RFC 4180), with its end.
pub(super) fn csv_line(fields: impl IntoIterator<Item = String>) -> String {
    let mut line = csv::Writer::from_writer(Vec::new());
    // Into memory: nothing can fail.
    let _ = line.write_record(fields.into_iter().map(String::into_bytes));
    String::from_utf8(line.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// The header of the columns that these JSON pointers lead to: `/tcp/used` is `tcp_used`, `/load/0=load_1s` is `load_1s`.
pub(super) fn csv_head(columns: &[&str]) -> String {
    csv_line(columns.iter().map(|column| match column.split_once('=') {
        Some((_, title)) => title.to_owned(),
        None => column.trim_start_matches('/').replace('/', "_"),
    }))
}

/// The JSON pointer of a column.
pub(super) fn pointer(column: &str) -> &str {
    column.split_once('=').map_or(column, |(pointer, _)| pointer)
}

/// A row's values at these JSON pointers: nothing for `null`, lists with spaces between.
pub(super) fn csv_row(columns: &[&str], row: &Value) -> String {
    csv_line(columns.iter().map(|column| plain(row.pointer(pointer(column)).unwrap_or(&Value::Null))))
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(" "),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// The value at a JSON pointer as people read it: `-` for none.
pub(super) fn text(row: &Value, pointer: &str) -> String {
    match row.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::Bool(is)) => if *is { "yes" } else { "no" }.to_owned(),
        Some(value) => plain(value),
    }
}

/// The number at a JSON pointer; 0 for none.
pub(super) fn number(row: &Value, pointer: &str) -> f64 {
    row.pointer(pointer).and_then(Value::as_f64).unwrap_or_default()
}

/// Whether the value at a JSON pointer is `true`.
pub(super) fn is(row: &Value, pointer: &str) -> bool {
    row.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row() -> Value {
        json!({ "name": "a, \"b\"", "listen": ["10.0.0.1:80", "[::1]:80"], "tcp": { "used": 3 }, "none": null, "up": true })
    }

    #[test]
    fn values_are_quoted_for_csv_and_worded_for_people() {
        let columns = ["/name", "/listen", "/tcp/used", "/none", "/up=is_up"];
        assert_eq!(csv_head(&columns), "name,listen,tcp_used,none,is_up\n");
        assert_eq!(csv_row(&columns, &row()), "\"a, \"\"b\"\"\",10.0.0.1:80 [::1]:80,3,,true\n");
        let read = columns.map(|column| text(&row(), pointer(column)));
        assert_eq!(read, ["a, \"b\"", "10.0.0.1:80 [::1]:80", "3", "-", "yes"]);
    }

    #[test]
    fn a_narrow_terminal_wraps_and_a_pipe_gets_all_on_one_line() {
        let rows = vec![vec![
            "web/web1".to_owned(),
            "connection refused by the server after the first byte".to_owned(),
        ]];
        let mut narrow = made(&["server", "reason"], rows.clone(), false);
        narrow.set_width(40);
        let narrow = narrow.to_string();
        assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
        assert!(
            narrow.contains("web/web1") && narrow.split_whitespace().any(|word| word == "byte"),
            "{narrow}"
        );
        let mut piped = made(&["server", "reason"], rows, false);
        piped.force_no_tty();
        assert!(piped.to_string().contains("connection refused by the server after the first byte"));
    }

    #[test]
    fn columns_go_before_words_are_broken_and_are_named() {
        let head = ["server", "address", "weight", "health", "reason", "check p50/p99", "next hop"];
        let why = "held down for 9 s more: it came and went too often, the last time by: HTTP 500";
        let hop = "10.2.0.11 by port lan (12:75:ea:62:58:be)";
        let row = ["web/web1", "[2001:db8:2::11]:8080", "10", "down", why, "0.5/0.5 ms", hop];
        let rows = || vec![row.map(str::to_owned).to_vec()];
        let narrow = fitted(&head, rows(), false, Some(80));
        assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
        let words = narrow.split_whitespace().collect::<Vec<_>>();
        for word in ["web/web1", "[2001:db8:2::11]:8080", "down"].into_iter().chain(why.split_whitespace()) {
            assert!(words.contains(&word), "{word} in {narrow}");
        }
        assert!(narrow.lines().count() < 12, "{narrow}");
        assert!(narrow.ends_with("(no room for: check p50/p99, next hop)"), "{narrow}");
        let piped = fitted(&head, rows(), false, None);
        assert!(row.iter().all(|cell| piped.contains(cell)) && !piped.contains("no room"), "{piped}");
        let wide = fitted(&head, rows(), false, Some(200));
        assert!(row.iter().all(|cell| wide.contains(cell)) && !wide.contains("no room"), "{wide}");
        let tiny = fitted(&head, rows(), false, Some(30));
        assert!(tiny.contains("(no room for: "), "what does not fit is broken, not lost: {tiny}");
    }

    #[test]
    fn what_is_down_is_seen_and_only_where_colour_is_wanted() {
        let rows = || vec![vec!["down".to_owned()]];
        let mut red = made(&["health"], rows(), true);
        assert!(red.enforce_styling().to_string().contains("\u{1b}[38;5;9m"), "{red}");
        let mut plain = made(&["health"], rows(), false);
        assert!(!plain.enforce_styling().to_string().contains("38;5;9"));
    }
}
