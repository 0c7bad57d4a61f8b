//! The classic mistakes: each has a file that makes it, and a message with its code. What depends on the machine is in `machine/`.

use std::fs;

use super::folder;

/// What is wrong, the file that shows it, and the code that it gets.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("dsr and a server on another port", "dsr-port", "C120"),
    ("dsr and a server behind a router", "../machine/not-adjacent", "C202"),
    ("fewer source ports than max-flows", "snat-small", "C134"),
    ("layer l7 with dsr", "classic-l7-dsr", "C150"),
    ("two services on one address", "listen-twice", "C106"),
    ("a pool without server", "empty-pool", "C103"),
    ("a core for worker and control", "warnings", "C109"),
    ("a receive queue that no worker owns", "../machine/queue-unowned", "C201"),
    ("what least-used algorithms have, with maglev", "choosing", "C140"),
    ("what maglev has, with another algorithm", "choosing", "C112"),
    ("nat with clients in the servers' network", "../machine/beside-clients", "C203"),
    ("a tunnel's packets beyond the servers' MTU", "../machine/narrow-tunnel", "C204"),
    ("a health check longer than its interval", "timeout-over-interval", "C108"),
    ("a service's address among the source addresses", "snat", "C131"),
    ("an l7 route that is never reached: not in this version", "classic-later", "C002"),
    ("a certificate that is missing: of checks", "../machine/files", "C211"),
    ("a certificate of services: not in this version", "classic-later", "C002"),
    ("more flows than memory", "../machine/memory", "C205"),
    ("announcing without a daemon: not in this version", "classic-later", "C002"),
];

#[test]
fn every_classic_mistake_is_told_with_its_code_place_and_help() {
    for (mistake, file, code) in MISTAKES {
        let path = folder().join(file).with_extension("stderr");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{mistake}: {}: {e}", path.display()));
        let start = text.find(&format!("[{code}]: ")).unwrap_or_else(|| panic!("{mistake}: {text}"));
        let rest = &text[start..];
        let message = &rest[..rest.find("\n\n").unwrap_or(rest.len())];
        assert!(message.contains("--> "), "{mistake}: where is it? {message}");
        assert!(message.contains("^"), "{mistake}: what is it? {message}");
    }
}

/// What later versions will have is refused by its name, so nobody believes that it works.
#[test]
fn what_this_version_lacks_is_named() {
    let text = fs::read_to_string(folder().join("classic-later.stderr")).unwrap();
    for name in ["[l7]", "[announce]", "`announce`", "`l7`"] {
        let told = text.lines().any(|line| line.starts_with("error[C002]") && line.contains(name));
        assert!(told, "{name} is not refused by name:\n{text}");
    }
}
