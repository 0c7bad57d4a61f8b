//! `[node]`.

use std::path::PathBuf;

use toml::Spanned;

use super::super::model::{CONTROL_DEFAULT, NodeConfig};
use super::super::raw::{Node, Table};
use super::super::values::{path, quoted};
use super::{Findings, codes, values};

/// `PATH_MAX` less its NUL.
const PATH_BYTES_MAX: usize = 4_095;
/// `sun_path` less its NUL (unix(7)).
const SOCKET_BYTES_MAX: usize = 107;

pub(super) fn check(table: Option<&Table<Node>>, findings: &mut Findings) -> Option<NodeConfig> {
    let raw = table.map(|t| &t.raw);
    let name = match raw.and_then(|r| r.name.as_ref()) {
        Some(n) if !values::name("node", n, findings) => return None,
        named => named.map(|n| n.get_ref().clone()),
    };
    let state_dir =
        directory("state-dir", raw.and_then(|r| r.state_dir.as_ref()), "/var/lib/ringlead", findings);
    let bpf_dir =
        directory("bpf-dir", raw.and_then(|r| r.bpf_dir.as_ref()), "/sys/fs/bpf/ringlead", findings);
    let control = match raw.and_then(|r| r.control.as_ref()) {
        Some(value) => socket(value, findings),
        None => Some(PathBuf::from(CONTROL_DEFAULT)),
    };
    Some(NodeConfig { name, state_dir: state_dir?, control: control?, bpf_dir: bpf_dir? })
}

fn directory(
    key: &str,
    value: Option<&Spanned<String>>,
    default: &str,
    findings: &mut Findings,
) -> Option<PathBuf> {
    match value {
        Some(value) => path(key, value, value.get_ref(), PATH_BYTES_MAX, findings),
        None => Some(PathBuf::from(default)),
    }
}

fn socket(value: &Spanned<String>, findings: &mut Findings) -> Option<PathBuf> {
    match value.get_ref().strip_prefix("unix:") {
        Some(text) => path("control", value, text, SOCKET_BYTES_MAX, findings),
        None => {
            let message = format!("{} is no control socket", quoted(value.get_ref()));
            findings
                .error(codes::FORMAT, value.span(), message)
                .help("write \"unix:/run/ringlead/control.sock\"; other sockets are not served");
            None
        }
    }
}
