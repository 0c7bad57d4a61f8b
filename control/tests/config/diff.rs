//! What another configuration would change, in words.

use ringlead_control::config::{self, Side, diff};

fn side(text: &str) -> Side {
    Side::parse("diff.toml", text).unwrap_or_else(|e| panic!("{e}"))
}

fn lines(old: &str, new: &str) -> Vec<String> {
    diff(&side(old), &side(new)).lines()
}

fn example_with(from: &str, to: &str) -> String {
    assert!(config::EXAMPLE.contains(from), "{from}");
    config::EXAMPLE.replacen(from, to, 1)
}

#[test]
fn a_default_that_is_written_out_and_another_order_are_no_change() {
    let effective = config::effective("e.toml", config::EXAMPLE).unwrap();
    let found = diff(&side(config::EXAMPLE), &side(&effective));
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(found.to_json()["same"], true);
}

#[test]
fn a_weight_says_what_moves() {
    let new = example_with("10.0.0.12:8080\", weight = 10", "10.0.0.12:8080\", weight = 5");
    let found = lines(config::EXAMPLE, &new);
    let [line, flows] = &found[..] else { panic!("{found:?}") };
    assert_eq!(flows, "flows: without a daemon it is not known how many end or move");
    let percent = line.strip_prefix("pool web: server web2 weight 10 -> 5: ").unwrap();
    let percent = percent.strip_suffix(" % of Maglev slots move").unwrap();
    // From 1/2 of the slots to 1/3 (web3 drains): the difference moves, and a little more.
    let percent: f64 = percent.parse().unwrap();
    assert!((16.0..25.0).contains(&percent), "{percent}");
    let json = diff(&side(config::EXAMPLE), &side(&new)).to_json();
    assert!(json["flows"].is_null());
    assert_eq!(json["changes"][0]["change"], "server web2 weight 10 -> 5");
    assert_eq!(json["maglev"][0]["pool"], "web");
}

#[test]
fn servers_services_and_addresses_come_and_go() {
    let new = example_with(
        "name = \"web2\", address = \"10.0.0.12:8080\"",
        "name = \"web4\", address = \"10.0.0.14:8080\"",
    );
    let new =
        new.replacen("[service.dns]", "[service.names]", 1).replacen("192.0.2.53:53", "192.0.2.54:53", 1);
    let found = lines(config::EXAMPLE, &new);
    for expected in [
        "service dns: removed",
        "service names: added",
        "pool web: server web2 removed, its flows go on",
        "pool web: server web4 added: 10.0.0.14:8080, weight 10",
        "address 192.0.2.54: added to this node",
        "address 192.0.2.53: removed from this node",
    ] {
        assert!(found.iter().any(|line| line == expected), "{expected}: {found:?}");
    }
    let moves = found.iter().filter(|line| line.starts_with("pool web: ") && line.contains("Maglev slots"));
    assert_eq!(moves.count(), 1, "for all changes of the pool together: {found:?}");
}

#[test]
fn what_needs_a_restart_is_named_and_the_secret_is_not_told() {
    let new = example_with("7f3a91c05be24d6688b1d04e92c7a35d", "00000000000000000000000000000001");
    let found = lines(config::EXAMPLE, &new);
    assert!(found.contains(&"dataplane: hash-key changed".to_owned()), "{found:?}");
    assert!(found.iter().any(|line| line.starts_with("dataplane.hash-key: needs a restart")), "{found:?}");
    assert!(!found.concat().contains("7f3a91"), "{found:?}");
}

/// Headers are where credentials are.
#[test]
fn a_check_says_what_changed_but_not_its_headers() {
    let check = "[health.page]\ntype = \"http\"\nheaders = \"Authorization: Bearer s3cret\"\n";
    let base = config::EXAMPLE.to_owned();
    let [old, new] = [
        format!("{base}\n{check}"),
        format!("{base}\n{}expect = {{ status = \"204\" }}\n", check.replace("s3cret", "0ther")),
    ];
    let found = lines(&old, &new);
    let expected = [
        "health page: expect { status = \"200-299\" } -> { status = \"204\" }",
        "health page: headers changed",
        "flows: without a daemon it is not known how many end or move",
    ];
    assert_eq!(found, expected);
}
