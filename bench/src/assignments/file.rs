//! The file of a run's assignments: CSV, a flow a line, in the order of flow numbers.
//!
//! ```text
//! client,service,server
//! 198.18.0.1:1024,10.9.0.1:80/udp,10.2.0.11:8080@lab-s1/e0
//! ```

use ringlead_traffic::Assignments;
use ringlead_traffic::spec::FLOWS_MAX;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;

const HEAD: &str = "client,service,server";
/// Most different services or servers in a file.
const NAMES_MAX: usize = 65_535;

/// An earlier run's assignments, as read from its file.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// The servers' names, in the order in which they first came.
    pub servers: Vec<String>,
    services: HashMap<String, u16>,
    flows: HashMap<(SocketAddr, u16), u16>,
}

impl Before {
    /// How many flows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// A flow's server: its place in [`servers`](Self::servers).
    #[must_use]
    pub fn server(&self, client: SocketAddr, service: &str) -> Option<u16> {
        let service = self.services.get(service)?;
        self.flows.get(&(client, *service)).copied()
    }

    /// Flows by server, in the order of [`servers`](Self::servers).
    #[must_use]
    pub fn flows_by_server(&self) -> Vec<u64> {
        let mut counts = vec![0; self.servers.len()];
        for server in self.flows.values() {
            if let Some(count) = counts.get_mut(usize::from(*server)) {
                *count += 1;
            }
        }
        counts
    }
}

/// Writes the file.
///
/// # Errors
/// When that does not work.
pub fn write(path: &Path, assignments: &Assignments) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(out, "{HEAD}")?;
    for one in assignments.iter() {
        writeln!(out, "{},{},{}", one.client, one.service, one.server)?;
    }
    out.flush()
}

/// Reads a file that [`write`] wrote.
///
/// # Errors
/// Why it cannot be read, with the line that is wrong.
pub fn read(path: &Path) -> Result<Before, String> {
    let why = |e: io::Error| format!("{}: {e}", path.display());
    parse(BufReader::new(File::open(path).map_err(why)?)).map_err(|e| format!("{}: {e}", path.display()))
}

fn parse(text: impl BufRead) -> Result<Before, String> {
    let (mut before, mut servers) = (Before::default(), HashMap::new());
    for (number, line) in (1_u32..).zip(text.lines()) {
        let line = line.map_err(|e| e.to_string())?;
        if number == 1 {
            if line != HEAD {
                return Err(format!("line 1 is not '{HEAD}': no file of --assignments"));
            }
            continue;
        }
        if number > FLOWS_MAX + 1 {
            return Err(format!("more than {FLOWS_MAX} flows"));
        }
        let wrong = |what: &str| format!("line {number}: {what}");
        let mut parts = line.splitn(3, ',');
        let (Some(client), Some(service), Some(server)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong("not three fields"));
        };
        let client: SocketAddr = client.parse().map_err(|_| wrong(&format!("'{client}' is no client")))?;
        let full = || wrong("too many services or servers");
        let service = place(&mut before.services, service).ok_or_else(full)?;
        let server_at = place(&mut servers, server).ok_or_else(full)?;
        if usize::from(server_at) == before.servers.len() {
            before.servers.push(server.to_owned());
        }
        if before.flows.insert((client, service), server_at).is_some() {
            return Err(wrong("a flow that was listed before"));
        }
    }
    if before.is_empty() {
        return Err("no flow in it".to_owned());
    }
    Ok(before)
}

/// A name's number, a new one for a new name; None: there are too many.
fn place(names: &mut HashMap<String, u16>, name: &str) -> Option<u16> {
    if let Some(known) = names.get(name) {
        return Some(*known);
    }
    let new = u16::try_from(names.len()).ok().filter(|new| usize::from(*new) < NAMES_MAX)?;
    names.insert(name.to_owned(), new);
    Some(new)
}

#[cfg(test)]
pub(super) fn of(text: &str) -> Result<Before, String> {
    parse(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_flows() {
        let text = "client,service,server\n198.18.0.1:1024,10.9.0.1:80/udp,a@n/e0\n[2001:2::1]:7,[fd09::1]:80/tcp,b\n\
                    198.18.0.1:1024,10.9.0.1:81/udp,b\n";
        let before = of(text).unwrap();
        assert_eq!(
            (before.len(), before.servers.as_slice()),
            (3, &["a@n/e0".to_owned(), "b".to_owned()][..])
        );
        let client = "198.18.0.1:1024".parse().unwrap();
        assert_eq!(before.server(client, "10.9.0.1:80/udp"), Some(0));
        assert_eq!(before.server(client, "10.9.0.1:81/udp"), Some(1));
        assert_eq!(before.server(client, "[fd09::1]:80/tcp"), None);
        assert_eq!(before.flows_by_server(), [1, 2]);
    }

    #[test]
    fn what_is_no_such_file_is_told_with_its_line() {
        let twice = "client,service,server\n1.1.1.1:1,s,a\n1.1.1.1:1,s,b\n";
        for (text, word) in [
            ("", "no flow"),
            ("client,service,server\n", "no flow"),
            ("what\n", "line 1"),
            ("client,service,server\n1.1.1.1:1,s\n", "line 2: not three"),
            ("client,service,server\n1.1.1.1,s,a\n", "line 2: '1.1.1.1' is no client"),
            (twice, "line 3: a flow that was listed"),
        ] {
            assert!(of(text).is_err_and(|why| why.contains(word)), "{text}");
        }
    }
}
