//! The schema, and configurations written down again, against the checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use ringlead_control::config::{self, Algorithm, Config, Severity, codes};
use ringlead_pick::default_size;
use serde_json::{Value, json};

use super::folder;

/// The good file, and tables that it has not.
fn everything() -> String {
    let good = fs::read_to_string(folder().join("good.toml")).unwrap();
    format!(
        "{good}\n[tunnel.far]\ntype = \"gue\"\n[snat.out]\naddresses = \"10.0.0.200-10.0.0.203\"\n\
         [service.far]\nlisten = \"198.51.100.1:0\"\nprotocol = \"tcp\"\nmode = \"tunnel\"\ntunnel = \"far\"\npool = \"everything\"\n\
         [service.api]\nlisten = \"192.0.2.12:80\"\nprotocol = \"tcp\"\nmode = \"snat\"\npool = \"web\"\n\
         [service.clamped]\nlisten = \"192.0.2.13:80\"\nprotocol = \"tcp\"\nmode = \"snat\"\npool = \"web\"\nmss-clamp = 1360\n\
         [service.gue]\nlisten = \"192.0.2.14:0\"\nprotocol = \"udp\"\nmode = \"tunnel\"\npool = \"everything\"\n\
         [health.asked]\ntype = \"dns\"\nquery = \"example.net AAAA\"\n\
         [health.odd]\ntype = \"udp\"\n[health.odd.expect]\nreply = \"a\\n\\\"b\\u0001\\\\\"\n"
    )
}

fn parsed(text: &str) -> Config {
    config::parse("written.toml", text).unwrap_or_else(|e| panic!("{e}\n{text}")).0
}

fn as_json(text: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
}

/// What the schema has against a file; nothing: it takes it.
fn objections(file: &Value) -> Vec<String> {
    let validator = jsonschema::draft7::new(&config::schema::schema()).unwrap();
    validator.iter_errors(file).map(|e| format!("{}: {e}", e.instance_path)).collect()
}

#[test]
fn the_schema_is_draft_07_and_takes_what_the_checks_take() {
    let schema = config::schema::schema();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert!(jsonschema::draft7::meta::is_valid(&schema));
    for text in [everything(), config::EXAMPLE.to_owned()] {
        parsed(&text);
        for text in [config::effective("e.toml", &text).unwrap(), text] {
            assert_eq!(objections(&as_json(&text)), [""; 0], "{text}");
        }
    }
}

/// Every golden file: accepted as here, or refused for what the schema can see.
#[test]
fn the_schema_refuses_what_is_wrong_in_itself() {
    let seen = [codes::UNKNOWN_KEY, codes::LATER, codes::MISPLACED, codes::TYPE, codes::CHOICE];
    let mut refused = 0;
    for file in fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()) {
        if file.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let Ok(table) = toml::from_str::<toml::Table>(&text) else { continue };
        let json = serde_json::to_value(table).unwrap();
        match config::parse("x.toml", &text) {
            Ok(_) => assert_eq!(objections(&json), [""; 0], "{}", file.display()),
            Err(found)
                if found
                    .entries()
                    .iter()
                    .any(|e| e.severity == Severity::Error && seen.contains(&e.code)) =>
            {
                refused += 1;
                assert!(!objections(&json).is_empty(), "{}", file.display());
            }
            Err(_) => {}
        }
    }
    assert!(refused >= 8, "{refused} files");
}

/// The schema's words and ranges are those that the checks name when they refuse.
#[test]
fn words_and_ranges_are_the_checks_own() {
    let base = as_json(&everything());
    let (mut words, mut ranges) = (0, 0);
    for (path, schema) in keys() {
        let Some(table) = base.pointer(&path[..path.rfind('/').unwrap()]) else { panic!("{path}") };
        assert!(table.is_object(), "{path}");
        let key = path.rsplit('/').next().unwrap();
        if let Some(known) = list_of_words(&schema) {
            let message = refusal(&base, &path, json!("no-such-word"), codes::CHOICE);
            let mut told: Vec<_> = message.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            told.retain(|word| word != key && word != "no-such-word" && !word.contains(':'));
            assert_eq!(told, known, "{path}: {message}");
            words += 1;
        }
        if let (Some(min), Some(max)) = (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
            let message = refusal(&base, &path, json!(-1), codes::RANGE);
            assert!(message.contains(&format!("`{key}` must be {min} to {max}")), "{path}: {message}");
            ranges += 1;
        }
        let described = schema["description"].as_str().unwrap_or_default();
        if schema["pattern"].as_str().is_some_and(|p| p.contains("ms|s")) {
            let message = refusal(&base, &path, json!("999h"), codes::RANGE);
            let told = message.split(" must be ").nth(1).unwrap().split('\n').next().unwrap();
            assert!(described.starts_with(told), "{path}: {told}: {described}");
            ranges += 1;
        }
    }
    assert!(words >= 15 && ranges >= 15, "{words} {ranges}");
}

/// A pointer into [`everything`] for each key of the schema, with what the schema says of it.
fn keys() -> Vec<(String, Value)> {
    let schema = config::schema::schema();
    let instances = [
        ("node", "", "/properties/node"),
        ("dataplane", "", "/properties/dataplane"),
        ("port", "/wan", "/properties/port/additionalProperties"),
        ("service", "/clamped", "/properties/service/additionalProperties"),
        ("pool", "/dns6", "/properties/pool/additionalProperties"),
        ("pool", "/dns6/server/0", "/properties/pool/additionalProperties/properties/server/items"),
        ("tunnel", "/far", "/properties/tunnel/additionalProperties"),
        ("persistence", "/source-24", "/properties/persistence/additionalProperties"),
        ("health", "/web", "/properties/health/additionalProperties"),
        ("health", "/name/expect", "/properties/health/additionalProperties/properties/expect"),
    ];
    let mut keys = Vec::new();
    for (kind, name, table) in instances {
        let table = schema.pointer(&format!("{table}/properties")).unwrap_or_else(|| panic!("{table}"));
        for (key, said) in table.as_object().unwrap() {
            keys.push((format!("/{kind}{name}/{key}"), said.clone()));
        }
    }
    keys
}

fn list_of_words(schema: &Value) -> Option<Vec<String>> {
    let list = schema.get("enum").or_else(|| schema.pointer("/anyOf/0/enum"))?.as_array()?;
    list.iter().map(|word| word.as_str().map(str::to_owned)).collect()
}

/// What the checks say of this value at this place.
fn refusal(base: &Value, path: &str, value: Value, code: &str) -> String {
    let mut file = base.clone();
    let (table, key) = path.rsplit_once('/').unwrap();
    let table = file.pointer_mut(table).unwrap().as_object_mut().unwrap();
    if key == "hand-off" {
        // Judged by layer l7 alone.
        table.insert("layer".to_owned(), json!("l7"));
        table.insert("nodes".to_owned(), json!("edge"));
    }
    table.insert(key.to_owned(), value);
    let text = toml::to_string(&file).unwrap();
    let found = config::parse("x.toml", &text).unwrap_err();
    let said = found.entries().iter().filter(|e| e.code == code).map(ToString::to_string);
    said.into_iter().find(|e| e.contains(&format!("`{key}`"))).unwrap_or_else(|| panic!("{path}: {found}"))
}

/// With the sizes that Maglev tables have where the file does not say.
fn spelled_out(mut config: Config) -> Config {
    for pool in &mut config.pools {
        if let Algorithm::Maglev { size, .. } = &mut pool.algorithm {
            size.get_or_insert(default_size(pool.servers.len()));
        }
    }
    config
}

#[test]
fn the_effective_file_means_the_same_and_is_its_own() {
    let least = "version = 1\ndataplane.cores = [1]\n[port.\"a.b\"]\ndevice = \"e\\\"0\"\n";
    for text in [everything(), config::EXAMPLE.to_owned(), least.to_owned()] {
        let effective = config::effective("a.toml", &text).unwrap();
        assert_eq!(spelled_out(parsed(&effective)), spelled_out(parsed(&text)), "{effective}");
        assert_eq!(config::effective("b.toml", &effective).unwrap(), effective);
        let shown = config::shown("a.toml", &text).unwrap();
        assert_eq!(parsed(&shown), parsed(&text), "{shown}");
        assert!(shown.len() < effective.len());
    }
}

/// Of the keys that have a default, each is there.
#[test]
fn the_effective_file_names_every_default() {
    let effective = as_json(&config::effective("a.toml", &everything()).unwrap());
    let mut seen = 0;
    for (path, schema) in keys() {
        if schema.get("default").is_some() {
            assert!(effective.pointer(&path).is_some(), "{path}");
            seen += 1;
        }
    }
    assert!(seen >= 20, "{seen}");
    for path in ["/pool/everything/hash", "/pool/everything/table-size", "/service/api/snat"] {
        assert!(effective.pointer(path).is_some(), "{path}");
    }
    assert_eq!(effective["health"]["secure"]["request"], "GET /");
    assert_eq!(effective["health"]["secure"]["expect"], json!({ "status": "200-299" }));
    assert_eq!(
        effective["health"]["page"]["expect"],
        json!({ "status": "200-299, 301", "body-contains": "ok" })
    );
    assert_eq!(effective["health"]["asked"]["expect"], json!({ "rcode": "NOERROR" }));
    assert_eq!(effective["health"]["web"].get("expect"), None);
    assert_eq!(effective["health"]["odd"]["expect"]["reply"], "a\n\"b\u{1}\\");
    assert_eq!(effective["health"]["quick"]["timeout"], "250ms");
    assert_eq!(effective["service"]["gue"]["on-no-server"], "drop");
    assert_eq!(effective["service"]["gue"]["tunnel"], "gue");
}

#[test]
fn a_wrong_file_is_not_written_again() {
    assert!(config::effective("a.toml", "version = 2").unwrap_err().has_errors());
    assert!(config::shown("a.toml", "version = ").unwrap_err().has_errors());
}

/// Keys that the example does not show, and why.
const NOT_IN_THE_EXAMPLE: &[(&str, &str)] = &[];

/// Every key of the schema is in the example, as a value or in a comment, below a table of its kind.
#[test]
fn the_example_shows_every_key() {
    let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut kind = String::new();
    for line in config::EXAMPLE.lines() {
        let plain = line.trim_start_matches(['#', ' ']);
        if plain.starts_with('[') && plain.contains(']') && !plain.contains('=') {
            plain.trim_start_matches('[').split(['.', ']']).next().unwrap_or_default().clone_into(&mut kind);
        }
        let before =
            line.split(" = ").map(|part| part.rsplit([' ', '{', '#', '.']).next().unwrap_or_default());
        shown.entry(kind.clone()).or_default().extend(before.map(str::to_owned));
    }
    let mut missing = Vec::new();
    let schema = config::schema::schema();
    for (kind, said) in schema["properties"].as_object().unwrap() {
        let table = said.get("additionalProperties").filter(|table| table.is_object()).unwrap_or(said);
        let Some(keys) = table.get("properties") else {
            let top = shown.get("").is_some_and(|shown| shown.contains(kind));
            missing.extend((!top).then(|| kind.clone()));
            continue;
        };
        let nested =
            |key: &Value| key.get("properties").or_else(|| key.pointer("/items/properties")).cloned();
        for (key, said) in keys.as_object().unwrap() {
            let inner = nested(said).and_then(|inner| inner.as_object().cloned()).unwrap_or_default();
            for key in inner.keys().chain([key]) {
                let there = shown.get(kind).is_some_and(|shown| shown.contains(key));
                missing.extend((!there).then(|| format!("{kind}.{key}")));
            }
        }
    }
    missing.retain(|key| !NOT_IN_THE_EXAMPLE.iter().any(|(known, _)| known == key));
    assert!(missing.is_empty(), "the example does not show {missing:?}");
}
