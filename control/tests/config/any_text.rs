//! No text whatever makes the parser, the checks or the messages panic.

use proptest::prelude::*;
use ringlead_control::config;

const GOOD: &str = include_str!("good.toml");

/// Parses, and prints whatever is found in every form.
fn survives(text: &str) -> Result<(), TestCaseError> {
    match config::parse("any.toml", text) {
        Ok((_, warnings)) => {
            prop_assert!(warnings.len() < 100);
            let effective = config::effective("any.toml", text).unwrap();
            prop_assert_eq!(
                config::effective("any.toml", &effective).map_err(|e| e.to_string()),
                Ok(effective)
            );
        }
        Err(found) => {
            prop_assert!(found.has_errors());
            prop_assert!(!found.render(true).is_empty());
            let printed = found.to_string();
            let safe = !printed.chars().any(|c| c.is_control() && c != '\n');
            prop_assert!(safe, "a message could drive the terminal: {:?}", printed);
            let json = found.to_json();
            for (entry, json) in found.entries().iter().zip(json["entries"].as_array().unwrap()) {
                prop_assert!(text.get(entry.primary.span.clone()).is_some(), "{entry:?}");
                prop_assert!(entry.line() <= text.matches('\n').count() + 1);
                prop_assert_eq!(&json["place"]["column"], entry.column());
                let place = format!("--> any.toml:{}:{}", entry.line(), entry.column());
                prop_assert!(entry.to_string().contains(&place), "{} lacks {}", entry, place);
            }
        }
    }
    Ok(())
}

const KEYS: &str = "version name cores device queues listen protocol mode pool server type interval timeout weight \
    address port hash-key table-size algorithm snat \"\" \"\\u0000\" a.b health node service";

const VALUES: &str = "1|0|-1|9223372036854775808|1e400|nan|true|\"\"|\"nat\"|\"dsr\"|\"udp\"|\"192.0.2.1:80\"|\
    \"192.0.2.1:0\"|[]|[1, 1]|{}|[{}]|[[]]|1979-05-27|\"2s\"|\"maglev\"|\"a\"|'''\nx\n'''|[\n\"é\",\n]|\
    { name = \"s\", address = \"10.0.0.1:80\" }";

const HEADERS: &str = "[node] [dataplane] [port.a] [service.a] [service.b] [pool.a] [health.a] [service] \
    [[pool.a.server]] [[service]] [snat.x] [pool.a.b.c] [\"\"]";

/// A piece of a configuration, rightly or wrongly placed.
fn piece() -> impl Strategy<Value = String> {
    let one_of = |list: &'static str, by: char| prop::sample::select(list.split(by).collect::<Vec<_>>());
    let line = (one_of(KEYS, ' '), one_of(VALUES, '|')).prop_map(|(key, value)| format!("{key} = {value}\n"));
    prop_oneof![
        3 => line,
        1 => one_of(HEADERS, ' ').prop_map(|header| format!("{header}\n")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_characters(text in any::<String>()) {
        survives(&text)?;
    }

    #[test]
    fn any_order_of_real_pieces(pieces in prop::collection::vec(piece(), 0..24)) {
        survives(&pieces.concat())?;
    }

    #[test]
    fn a_good_file_with_a_part_replaced(at in 0..GOOD.len(), length in 0_usize..40, new in "[\\PC\n]{0,12}") {
        let end = (at + length).min(GOOD.len());
        let whole = GOOD.get(..at).zip(GOOD.get(end..));
        prop_assume!(whole.is_some());
        let (before, after) = whole.unwrap();
        survives(&format!("{before}{new}{after}"))?;
    }
}
