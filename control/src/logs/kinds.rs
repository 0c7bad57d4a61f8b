//! Every kind of event: the field `event` of a line of the log.

/// The kinds, in order, with what they tell.
pub const KINDS: &[(&str, &str)] = &[
    ("address", "a service's or source's address was not added, removed or found"),
    ("agent", "what a server says of itself changed"),
    ("config", "what this machine says of the configuration, each finding with its code"),
    ("dump", "the state was written to a file, on SIGUSR2"),
    ("flaps", "a server's state changed too often, and what was done"),
    ("flows", "flows were ended by command"),
    ("hand-over", "a successor takes this daemon's place"),
    ("health", "a server went up or down, and why"),
    ("http", "a connection to the listener of metrics or reports failed"),
    ("log", "the log was opened anew, or lost lines"),
    ("metrics", "the metrics' listener, or requests to it"),
    ("neighbour", "a next hop is not kept resolved"),
    ("netlink", "the kernel told more than was read"),
    ("nodes", "hand-off to other nodes"),
    ("operator", "a server's state by command: old, new, reason"),
    ("operator-command", "a command that may change something, by which user"),
    ("panic", "a fault of ringlead's own"),
    ("persistence", "clients of servers that went were forgotten"),
    ("pool", "a pool fell below min-servers or has no server left, or that is over"),
    ("pool-panic", "most servers of a pool look dead, or no longer"),
    ("port", "a port's device: mode, link, removal"),
    ("publish", "new tables were not built, or a worker does not use them"),
    ("reload", "a reload: its warnings, and how it ended"),
    ("report", "a monitoring system's word on a server came, or its time is over"),
    ("server", "a server's route, or its last flow after removal"),
    ("snat", "source ports ran out"),
    ("start", "the daemon serves"),
    ("steering", "the steering maps are not what they should be"),
    ("stop", "the daemon stops"),
    ("take-over", "this daemon took a predecessor's place"),
    ("undo", "a reload was undone"),
    ("vlan", "a VLAN device on a port"),
    ("worker", "a worker stopped beating, or beats again"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn read(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let after = text.split("event = \"").skip(1);
                found.extend(after.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_event_in_the_code_is_of_a_known_kind() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut found = BTreeSet::new();
        ["src", "control/src", "dataplane"].iter().for_each(|folder| read(&root.join(folder), &mut found));
        assert!(found.len() > 20, "{found:?}");
        let unknown: Vec<_> =
            found.iter().filter(|kind| !KINDS.iter().any(|(name, _)| name == kind)).collect();
        assert!(unknown.is_empty(), "add to KINDS what these tell: {unknown:?}");
        assert!(KINDS.is_sorted_by(|a, b| a.0 < b.0));
    }
}
