//! Tables, CSV and words for values: how listings look. On a terminal a table fits its width, elsewhere nothing is cut or wrapped.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, Color, ContentArrangement, Table};
use serde_json::Value;
use std::io::IsTerminal;

/// A table of a header and rows.
pub(super) fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    made(head, rows, colour).to_string()
}

fn made(head: &[&str], rows: Vec<Vec<String>>, colour: bool) -> Table {
    let mut table = Table::new();
    // Without a terminal there is no width to fit.
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
    fn what_is_down_is_seen_and_only_where_colour_is_wanted() {
        let rows = || vec![vec!["down".to_owned()]];
        let mut red = made(&["health"], rows(), true);
        assert!(red.enforce_styling().to_string().contains("\u{1b}[38;5;9m"), "{red}");
        let mut plain = made(&["health"], rows(), false);
        assert!(!plain.enforce_styling().to_string().contains("38;5;9"));
    }
}
