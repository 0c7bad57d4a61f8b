//! What operators said, in the state directory: one small file, replaced whole, so that a crash leaves the old or the new one.

use crate::plan::{SAID_MAX, Said};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The file's name in the state directory.
const FILE_NAME: &str = "operator-states.json";
/// The version of its format.
const VERSION: u32 = 1;
/// The longest file that is read, in bytes: [`SAID_MAX`] entries with long reasons fit.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    servers: Vec<Said>,
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
pub(super) fn load(state_dir: &Path) -> Result<Vec<Said>, Damaged> {
    let path = state_dir.join(FILE_NAME);
    read(&path).map_err(|why| {
        let aside = path.with_extension("json.damaged");
        Damaged { why, aside: fs::rename(&path, &aside).is_ok().then_some(aside) }
    })
}

fn read(path: &Path) -> Result<Vec<Said>, String> {
    let mut text = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
        Ok(file) => file.take(BYTES_MAX).read_to_end(&mut text).map_err(|error| error.to_string())?,
    };
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if version != VERSION {
        return Err(format!("its format is {version}, this version reads {VERSION}"));
    }
    let contents: Contents = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if contents.servers.len() > SAID_MAX {
        return Err(format!("{} servers, at most {SAID_MAX} fit", contents.servers.len()));
    }
    Ok(contents.servers)
}

/// Replaces the file. Once this returns it survives a power cut.
pub(super) fn save(state_dir: &Path, servers: Vec<Said>) -> io::Result<()> {
    let path = state_dir.join(FILE_NAME);
    let new = path.with_extension("json.new");
    let mut text = serde_json::to_vec_pretty(&Contents { version: VERSION, servers })?;
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
        assert_eq!(load(dir.path()), Ok(Vec::new()));
        save(dir.path(), vec![said()]).unwrap();
        assert_eq!(load(dir.path()), Ok(vec![said()]));
        save(dir.path(), Vec::new()).unwrap();
        assert_eq!(load(dir.path()), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_used_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let unusable =
            ["{\"version\":1,\"serv", "{\"version\":2,\"servers\":[]}", "{\"version\":1,\"servers\":[{}]}"];
        for text in unusable {
            fs::write(&path, text).unwrap();
            let aside = load(dir.path()).unwrap_err().aside.unwrap();
            assert_eq!(fs::read_to_string(aside).unwrap(), text);
            assert_eq!(load(dir.path()), Ok(Vec::new()), "{text} stayed");
        }
    }
}
