//! Where the control socket is, also by a file that is broken: who mends it or undoes what it did needs the daemon just then.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::diagnostics::Diagnostics;
use super::files;
use super::model::CONTROL_DEFAULT;

/// What a control socket's value begins with.
const UNIX: &str = "unix:";
/// What names other files, which may name the socket.
const INCLUDE: &str = "include";

/// The control socket that a file names, or the usual one where it names none. Nothing else of it need be right: what is not TOML is
/// passed over as far as its tables can be told apart.
///
/// # Errors
/// When the file cannot be read, or is so broken that the socket it names cannot be told.
pub fn control_socket(path: impl AsRef<Path>) -> Result<PathBuf, Diagnostics> {
    let (source, found) = files::gather(path.as_ref(), true)?;
    let mut whole = true;
    for part in source.parts() {
        let text = source.text.get(part).unwrap_or_default();
        let (tree, errors) = DeTable::parse_recoverable(text);
        let hides = !errors.is_empty() && (text.contains(UNIX) || text.contains(INCLUDE));
        match tree.get_ref().get("node").map(|node| node.get_ref()) {
            Some(DeValue::Table(node)) => match node.get("control").map(|value| value.get_ref()) {
                Some(DeValue::String(socket)) => {
                    return Ok(socket.strip_prefix(UNIX).unwrap_or(socket).into());
                }
                Some(_) => whole = false,
                None => whole &= !hides,
            },
            // No table that could be read: what names a socket may be in what could not.
            Some(_) | None => whole &= !hides,
        }
    }
    let mut texts = source.parts().filter_map(|part| source.text.get(part));
    if let Some(socket) = texts.find_map(alone) {
        return Ok(socket);
    }
    if whole && !found.has_errors() {
        return Ok(PathBuf::from(CONTROL_DEFAULT));
    }
    // Everything that is wrong, and among it what hides the socket; with nothing wrong after all, there is none to hide.
    super::load(path).map(|(config, _)| config.node.control)
}

/// By the lines of `[node]` alone, where what is wrong before them has taken them along.
fn alone(text: &str) -> Option<PathBuf> {
    let mut lines = text.lines().skip_while(|line| line.trim() != "[node]");
    let table: Vec<&str> = lines.next().into_iter().collect();
    let keys = lines.take_while(|line| !line.trim_start().starts_with('['));
    let table = table.into_iter().chain(keys).collect::<Vec<_>>().join("\n");
    let (tree, _) = DeTable::parse_recoverable(&table);
    let node = tree.get_ref().get("node")?.get_ref().as_table()?;
    let socket = node.get("control")?.get_ref().as_str()?;
    Some(socket.strip_prefix(UNIX).unwrap_or(socket).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// By a file of this text, beside one that it may include.
    fn named(name: &str, text: &str, included: Option<&str>) -> Result<PathBuf, String> {
        let made = tempfile::Builder::new().prefix(name).tempdir().unwrap();
        let folder = made.path();
        fs::write(folder.join("a.toml"), text).unwrap();
        if let Some(included) = included {
            fs::write(folder.join("b.toml"), included).unwrap();
        }
        control_socket(folder.join("a.toml")).map_err(|found| found.to_string())
    }

    #[test]
    fn a_broken_file_still_says_where_the_daemon_is() {
        let node = "[node]\ncontrol = \"unix:/run/a.sock\"\n";
        let is = Ok(PathBuf::from("/run/a.sock"));
        assert_eq!(named("unknown", &format!("version = 1\nnonsense = 1\n{node}"), None), is);
        for broken in
            ["[pool.web\n", "what is this\n", "a = \"open\n", "x = [1, 2\n", "]]\n", "a = 1\na = 2\n"]
        {
            assert_eq!(named("after", &format!("{node}{broken}"), None), is, "after {broken}");
        }
        assert_eq!(named("before", &format!("what is this\n{node}"), None), is);
        let text = "include = [\"b.toml\", \"missing.toml\"]\nwhat is this\n";
        assert_eq!(named("included", text, Some(node)), is);
    }

    #[test]
    fn the_usual_socket_is_meant_only_where_none_can_be_named() {
        let usual = Ok(PathBuf::from(CONTROL_DEFAULT));
        assert_eq!(named("none", "version = 1\n[pool.web\nwhat is this\n", None), usual);
        assert_eq!(named("node", "[node]\nname = \"x\"\n[port.wan]\n", None), usual);
        let hidden = "a = '''\nnode.control = \"unix:/run/a.sock\"\n";
        assert!(named("hidden", hidden, None).unwrap_err().contains("error[C0"));
        // What is broken may be what includes the file that names it.
        for hidden in ["a = \"\"\"\ninclude = [\"b.toml\"]\n", "include = [\"b.toml\"\n"] {
            let found = named("taken", hidden, Some("[node]\ncontrol = \"unix:/run/a.sock\"\n"));
            assert!(found != usual, "{hidden}: {found:?}");
        }
        let missing = named("missing", "include = \"b.toml\"\n", None).unwrap_err();
        assert!(missing.contains("cannot include"), "{missing}");
    }
}
