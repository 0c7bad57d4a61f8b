//! Texts before and after, over every way to write servers that a configuration accepts, and over layouts at random.

use super::*;
use proptest::prelude::*;

fn new() -> Change {
    let (name, address) = ("n".to_owned(), "10.0.0.9:80".to_owned());
    Change::Add(NewServer { name, address, ..NewServer::default() })
}

fn made(text: &str, change: &Change) -> String {
    let place = Place::find(text, "w").unwrap_or_else(|| panic!("no servers:\n{text}"));
    changed(text, &place, "w", change).unwrap_or_else(|why| panic!("{why}:\n{text}"))
}

/// `NEW` stands for the new server.
#[track_caller]
fn adds(before: &str, after: &str) {
    let entry = "{ name = \"n\", address = \"10.0.0.9:80\" }";
    assert_eq!(made(before, &new()), after.replace("NEW", entry), "from:\n{before}");
}

#[track_caller]
fn removes(before: &str, name: &str, after: &str) {
    assert_eq!(made(before, &Change::Remove(name.to_owned())), after, "{name} from:\n{before}");
}

const A: &str = "{ name = \"a\", address = \"10.0.0.1:80\" }";
const B: &str = "{ name = \"b\", address = \"10.0.0.2:80\" }";

/// `A` and `B` stand for servers.
fn with(text: &str) -> String {
    text.replace('A', A).replace('B', B)
}

#[test]
fn a_list_gets_another_server_as_its_last_one_is_written() {
    let cases = [
        // On one line.
        ("[pool.w]\nserver = [A]\n", "[pool.w]\nserver = [A, NEW]\n"),
        ("[pool.w]\nserver = [ A, B ] # all\n", "[pool.w]\nserver = [ A, B, NEW ] # all\n"),
        ("[pool.w]\nserver = [ A, B, ]\n", "[pool.w]\nserver = [ A, B, NEW, ]\n"),
        ("[pool.w]\nserver = [A, B # b\n]\n", "[pool.w]\nserver = [A, B, NEW # b\n]\n"),
        ("[pool.w]\nserver = [A, B, # b\n]\n", "[pool.w]\nserver = [A, B, NEW, # b\n]\n"),
        // A line each, with and without a last comma, comments behind and below.
        ("[pool.w]\nserver = [\n  A,\n  B,\n]\n", "[pool.w]\nserver = [\n  A,\n  B,\n  NEW,\n]\n"),
        ("[pool.w]\nserver = [\n\tA,\n\tB\n]\n", "[pool.w]\nserver = [\n\tA,\n\tB,\n\tNEW\n]\n"),
        (
            "[pool.w]\nserver = [\n  A, # a\n  B # b, c\n]\n",
            "[pool.w]\nserver = [\n  A, # a\n  B, # b, c\n  NEW\n]\n",
        ),
        (
            "[pool.w]\nserver = [\n  A,\n  B,  # b\n  # { name = \"c\" },\n\n]\nx = 1\n",
            "[pool.w]\nserver = [\n  A,\n  B,  # b\n  NEW,\n  # { name = \"c\" },\n\n]\nx = 1\n",
        ),
        ("[pool.w]\nserver = [\n  A\n  # a\n  ,\n]\n", "[pool.w]\nserver = [\n  A\n  # a\n  ,\n  NEW,\n]\n"),
        ("[pool.w]\nserver = [A,\n          B]\n", "[pool.w]\nserver = [A,\n          B,\n          NEW]\n"),
        (
            "[pool.w]\nserver = [A,\n          B,]\n",
            "[pool.w]\nserver = [A,\n          B,\n          NEW,]\n",
        ),
        ("[pool.w]\nserver = [\n  A, B,\n]\n", "[pool.w]\nserver = [\n  A, B, NEW,\n]\n"),
        // Windows' line ends.
        ("[pool.w]\r\nserver = [\r\n  A,\r\n]\r\n", "[pool.w]\r\nserver = [\r\n  A,\r\n  NEW,\r\n]\r\n"),
        (
            "[pool.w]\r\nserver = [\r\n  A # a\r\n]\r\n",
            "[pool.w]\r\nserver = [\r\n  A, # a\r\n  NEW\r\n]\r\n",
        ),
        // Wherever else the list may be; another pool's stays.
        ("pool.w.server = [A]", "pool.w.server = [A, NEW]"),
        (
            "pool = { v = { server = [B] }, w = { server = [A] } }\n",
            "pool = { v = { server = [B] }, w = { server = [A, NEW] } }\n",
        ),
        (
            "[pool]\nw = { algorithm = \"maglev\", server = [ A ] }\n",
            "[pool]\nw = { algorithm = \"maglev\", server = [ A, NEW ] }\n",
        ),
        (
            "[ pool . \"w\" ]\n'server'=[A]\n[pool.v]\nserver = [B]\n",
            "[ pool . \"w\" ]\n'server'=[A, NEW]\n[pool.v]\nserver = [B]\n",
        ),
        // Brackets, braces, commas and hashes in texts and comments are none.
        (
            "[pool.w]\nserver = [ # ] , A\n  { name = \"a,]#\", address = '}' }, # , ]\n]\n",
            "[pool.w]\nserver = [ # ] , A\n  { name = \"a,]#\", address = '}' }, # , ]\n  NEW,\n]\n",
        ),
    ];
    for (before, after) in cases {
        adds(&with(before), &with(after));
    }
    // A byte order mark, and a server over several lines.
    let several =
        "\u{feff}[pool.w]\nserver = [\n  {\n    name = \"a\",\n    address = \"10.0.0.1:80\",\n  },\n]\n";
    adds(several, &several.replace("  },\n", "  },\n  NEW,\n"));
    let narrow = made("[pool.w]\nserver = [{name = \"a\"}]\n", &new());
    assert_eq!(narrow, "[pool.w]\nserver = [{name = \"a\"}, {name = \"n\", address = \"10.0.0.9:80\"}]\n");
}

#[test]
fn a_list_loses_a_server_with_its_line() {
    let cases = [
        ("a", "server = [ A, B ]", "server = [ B ]"),
        ("b", "server = [ A, B ]", "server = [ A ]"),
        ("b", "server = [A, B,]", "server = [A,]"),
        ("b", "server = [ A, B, ]", "server = [ A, ]"),
        ("a", "server = [A,B]", "server = [B]"),
        ("b", "server = [A,\n B]", "server = [A]"),
        ("a", "server = [A,\n B]", "server = [B]"),
        ("b", "server = [A,\n B,]", "server = [A,\n ]"),
        ("a", "server = [\n  A,\n  B,\n]", "server = [\n  B,\n]"),
        ("b", "server = [\n  A,\n  B,\n]", "server = [\n  A,\n]"),
        // No comma was behind the last one, so none is.
        ("b", "server = [\n  A,\n  B\n]", "server = [\n  A\n]"),
        ("b", "server = [\n  A, # a\n\n  # more\n  B # b\n]", "server = [\n  A # a\n\n  # more\n]"),
        ("b", "server = [ A, # a\n  B # b\n]", "server = [ A # a\n]"),
        // Comments on lines of their own stay, and those of other servers.
        ("a", "server = [\n  # old\n  A, # a\n  # new\n  B,\n]", "server = [\n  # old\n  # new\n  B,\n]"),
        ("a", "server = [ # all\n  A,\n  B, # b\n]", "server = [ # all\n  B, # b\n]"),
        ("a", "server = [ A, # both\n  B, # b\n]", "server = [ # both\n  B, # b\n]"),
        ("a", "server = [\n  A, B, # both\n]", "server = [\n  B, # both\n]"),
        ("b", "server = [\n  A, B, # both\n]", "server = [\n  A, # both\n]"),
        ("a", "server = [\n  A\n  # a\n  ,\n  B\n]", "server = [\n  # a\n  \n  B\n]"),
        ("a", "server = [\r\n  A,\r\n  B,\r\n]\r\n", "server = [\r\n  B,\r\n]\r\n"),
    ];
    for (name, before, after) in cases {
        let [before, after] = [before, after].map(|text| format!("# w\n[pool.w] # here\n{}", with(text)));
        removes(&before, name, &after);
    }
}

const ONE: &str = "[[pool.w.server]]\nname = \"a\"\naddress = \"10.0.0.1:80\"\n";
const TWO: &str = "[[pool.w.server]]\nname = \"b\" # b\naddress = \"10.0.0.2:80\" # its own\n";
const NEW: &str = "[[pool.w.server]]\nname = \"n\"\naddress = \"10.0.0.9:80\"\n";

#[test]
fn headers_get_another_one_behind_the_last() {
    let cases = [
        (format!("[pool.w]\nx = 1\n{ONE}"), format!("[pool.w]\nx = 1\n{ONE}{NEW}")),
        (
            format!("[pool.w]\nx = 1\n\n{ONE}\n[pool.v]\n"),
            format!("[pool.w]\nx = 1\n\n{ONE}\n{NEW}\n[pool.v]\n"),
        ),
        // Not parted from each other, but from the pool.
        (format!("[pool.w]\n\n{ONE}{TWO}\n[x]\n"), format!("[pool.w]\n\n{ONE}{TWO}{NEW}\n[x]\n")),
        // Behind the last one, wherever it is, and with what is commented out of it.
        (
            format!("[pool.w]\n\n{ONE}\n[x]\n\n# b\n{TWO}# weight = 2\n\n[y]\n"),
            format!("[pool.w]\n\n{ONE}\n[x]\n\n# b\n{TWO}# weight = 2\n\n{NEW}\n[y]\n"),
        ),
        (format!("[pool.w]\n\n{ONE}# of y\n[y]\n"), format!("[pool.w]\n\n{ONE}\n{NEW}# of y\n[y]\n")),
        // The text may end without a line feed.
        (format!("[pool.w]\n{}", ONE.trim_end()), format!("[pool.w]\n{ONE}{}", NEW.trim_end())),
        (
            format!("[pool.w]\n\n{TWO}").replace('\n', "\r\n"),
            format!("[pool.w]\n\n{TWO}\n{NEW}").replace('\n', "\r\n"),
        ),
        (
            format!("[pool.w]\n{}", ONE.trim_end()).replace('\n', "\r\n"),
            format!("[pool.w]\n{ONE}{}", NEW.trim_end()).replace('\n', "\r\n"),
        ),
    ];
    for (before, after) in cases {
        adds(&before, &after.replace("NEW", ""));
    }
    let indented =
        "[pool.w]\n  [[ pool . w . \"server\" ]] # a\n    name = \"a\"\n    address = \"10.0.0.1:80\"\n";
    let entry = "  [[ pool . w . \"server\" ]]\n    name = \"n\"\n    address = \"10.0.0.9:80\"\n";
    adds(indented, &format!("{indented}{entry}"));
}

#[test]
fn headers_go_with_their_keys() {
    let cases = [
        ("a", format!("[pool.w]\n\n{ONE}\n{TWO}"), format!("[pool.w]\n\n{TWO}")),
        ("b", format!("[pool.w]\n\n{ONE}\n{TWO}"), format!("[pool.w]\n\n{ONE}")),
        ("b", format!("[pool.w]\n{ONE}{TWO}[x]\n"), format!("[pool.w]\n{ONE}[x]\n")),
        ("b", format!("[pool.w]\n\n{ONE}\n{TWO}\n[x]\n"), format!("[pool.w]\n\n{ONE}\n[x]\n")),
        ("a", format!("[pool.w]\n\n# a\n{ONE}\n# b\n{TWO}"), format!("[pool.w]\n\n# a\n\n# b\n{TWO}")),
        (
            "b",
            format!("[pool.w]\n{ONE}[x]\ny = 1\n{}", TWO.trim_end()),
            format!("[pool.w]\n{ONE}[x]\ny = 1\n"),
        ),
    ];
    for (name, before, after) in cases {
        removes(&before, name, &after);
        let [before, after] = [before, after].map(|text| text.replace('\n', "\r\n"));
        removes(&before, name, &after);
    }
}

#[test]
fn keys_are_written_as_toml_whatever_they_hold() {
    let (name, address) = ("q\"\\\n# ] }".to_owned(), "é\u{1b}".to_owned());
    let change = Change::Add(NewServer {
        name: name.clone(),
        address: address.clone(),
        weight: Some(7),
        flows_max: Some(9),
        state: Some(OperatorState::Drain),
        backup: true,
    });
    for before in [format!("[pool.w]\nserver = [{A}]\n"), format!("[pool.w]\n{ONE}")] {
        let after: toml::Table = toml::from_str(&made(&before, &change)).unwrap();
        let server = &after["pool"]["w"]["server"][1];
        assert_eq!((server["name"].as_str(), server["address"].as_str()), (Some(&*name), Some(&*address)));
        assert_eq!((server["weight"].as_integer(), server["max-flows"].as_integer()), (Some(7), Some(9)));
        assert_eq!((server["state"].as_str(), server["backup"].as_bool()), (Some("drain"), Some(true)));
    }
}

/// White space and comments between two values of a list, with or without a comma.
fn gap(comma: bool) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(" ".to_owned()),
        Just("\n".to_owned()),
        Just("\r\n  ".to_owned()),
        "[a-z]{1,3}".prop_map(|c| format!("# {c}, ] }}\n"))
    ];
    let pieces = || prop::collection::vec(piece.clone(), 0..4).prop_map(|pieces| pieces.concat());
    (pieces(), pieces()).prop_map(move |(one, other)| format!("{one}{}{other}", if comma { "," } else { "" }))
}

/// A list of servers s0, s1, … in any layout.
fn layout() -> impl Strategy<Value = (usize, String)> {
    (1..5_usize).prop_flat_map(|count| {
        let gaps: Vec<_> = (1..count).map(|_| gap(true)).collect();
        (gap(false), gaps, any::<bool>().prop_flat_map(gap)).prop_map(move |(first, gaps, last)| {
            let items = (0..count).map(|n| format!("{{ name = \"s{n}\", address = \"10.0.0.{n}:80\" }}"));
            let gaps = gaps.into_iter().chain([last]);
            let list: String = items.zip(gaps).map(|(item, gap)| item + &gap).collect();
            (count, format!("# top\n[pool.w] # w\nserver = [{first}{list}] # end\n# bottom\n"))
        })
    })
}

/// Whether a text is what is left when another one loses bytes.
fn is_left_of(part: &str, whole: &str) -> bool {
    let mut whole = whole.bytes();
    part.bytes().all(|byte| whole.any(|other| other == byte))
}

fn comments(text: &str) -> Vec<String> {
    let of = |line: &str| line.find('#').map(|at| line[at..].trim().to_owned());
    text.lines().filter_map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// [`made`] holds both texts' meanings against each other.
    #[test]
    fn any_layout_keeps_its_comments_and_all_other_bytes((count, text) in layout(), at in 0..4_usize) {
        let added = made(&text, &new());
        prop_assert!(is_left_of(&text, &added), "{text}\n->\n{added}");
        prop_assert_eq!(comments(&text), comments(&added), "{}\n->\n{}", text, added);
        let name = format!("s{}", at % count);
        let removed = made(&text, &Change::Remove(name.clone()));
        prop_assert!(is_left_of(&removed, &text), "{text}\n->\n{removed}");
        let (before, after) = (comments(&text), comments(&removed));
        // At most the one on its own line is gone.
        prop_assert!(before.len() - after.len() <= 1, "{text}\n->\n{removed}");
        if before.len() > after.len() {
            let line = text.lines().find(|line| line.contains(&format!("\"{name}\"")) && line.contains('#'));
            let own = line.map(comments).unwrap_or_default();
            let (mut wanted, mut found) = (before, [after, own].concat());
            wanted.sort();
            found.sort();
            prop_assert_eq!(wanted, found, "{}\n->\n{}", text, removed);
        }
        // There and back again, but for a comma that the last one may have lost.
        let back = made(&added, &Change::Remove("n".to_owned()));
        prop_assert_eq!(comments(&text), comments(&back));
    }
}
