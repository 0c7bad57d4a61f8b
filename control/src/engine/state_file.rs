//! What operators said, in the state directory: one small file, replaced whole, so that a crash leaves the old or the new one.

use crate::plan::{NodeDrain, SAID_MAX, Said, Sayings, Weighed};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The file's name in the state directory.
const FILE_NAME: &str = "operator-states.json";
/// The version of its format.
const VERSION: u32 = 2;
/// The oldest that is read: it had servers' states only.
const VERSION_MIN: u32 = 1;
/// The longest file that is read, in bytes: [`SAID_MAX`] entries with long reasons fit.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    servers: Vec<Said>,
    #[serde(default)]
    weights: Vec<Weighed>,
    #[serde(default)]
    node: Option<NodeDrain>,
}

/// Why a file could not be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damaged {
    /// What is wrong with it.
    pub why: String,
    /// Where it has been put; `None`: it could not be moved.
    pub aside: Option<PathBuf>,
}

/// What the file says; nothing when there is none. One that cannot be used is set aside under another name.
pub(super) fn load(state_dir: &Path) -> Result<Sayings, Damaged> {
    let path = state_dir.join(FILE_NAME);
    read(&path).map_err(|why| {
        let aside = path.with_extension("json.damaged");
        Damaged { why, aside: fs::rename(&path, &aside).is_ok().then_some(aside) }
    })
}

fn read(path: &Path) -> Result<Sayings, String> {
    let mut text = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Sayings::default()),
        Err(error) => return Err(error.to_string()),
        Ok(file) => file.take(BYTES_MAX).read_to_end(&mut text).map_err(|error| error.to_string())?,
    };
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if !(VERSION_MIN..=VERSION).contains(&version) {
        return Err(format!("its format is {version}, this version reads {VERSION_MIN} to {VERSION}"));
    }
    let contents: Contents = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let Contents { servers, weights, node, .. } = contents;
    let most = servers.len().max(weights.len());
    if most > SAID_MAX {
        return Err(format!("{most} servers, at most {SAID_MAX} fit"));
    }
    Ok(Sayings { servers, weights, node })
}

/// Replaces the file. Once this returns it survives a power cut.
pub(super) fn save(state_dir: &Path, sayings: Sayings) -> io::Result<()> {
    let Sayings { servers, weights, node } = sayings;
    let path = state_dir.join(FILE_NAME);
    let new = path.with_extension("json.new");
    let mut text = serde_json::to_vec_pretty(&Contents { version: VERSION, servers, weights, node })?;
    text.push(b'\n');
    let mut file = File::create(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(state_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OperatorState;

    fn said() -> Said {
        Said {
            pool: "web".to_owned(),
            server: "web1".to_owned(),
            state: OperatorState::Drain,
            reason: Some("kernel update".to_owned()),
            since: 100,
            until: Some(200),
            absent_since: None,
        }
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()), Ok(Sayings::default()));
        let (pool, server) = ("web".to_owned(), "web2".to_owned());
        let all = Sayings {
            servers: vec![said()],
            weights: vec![Weighed { pool, server, weight: 30, absent_since: None }],
            node: Some(NodeDrain { reason: Some("kernel update".to_owned()), since: 100 }),
        };
        save(dir.path(), all.clone()).unwrap();
        assert_eq!(load(dir.path()), Ok(all));
        save(dir.path(), Sayings::default()).unwrap();
        assert_eq!(load(dir.path()), Ok(Sayings::default()));
    }

    #[test]
    fn a_file_of_the_version_before_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let text = serde_json::json!({ "version": 1, "servers": [said()] }).to_string();
        fs::write(dir.path().join(FILE_NAME), text).unwrap();
        assert_eq!(load(dir.path()), Ok(Sayings { servers: vec![said()], ..Sayings::default() }));
    }

    #[test]
    fn what_cannot_be_used_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let unusable =
            ["{\"version\":1,\"serv", "{\"version\":3,\"servers\":[]}", "{\"version\":1,\"servers\":[{}]}"];
        for text in unusable {
            fs::write(&path, text).unwrap();
            let aside = load(dir.path()).unwrap_err().aside.unwrap();
            assert_eq!(fs::read_to_string(aside).unwrap(), text);
            assert_eq!(load(dir.path()), Ok(Sayings::default()), "{text} stayed");
        }
    }
}
