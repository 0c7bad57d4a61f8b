//! What operators said, in the state directory: one small file, replaced whole, so that a crash leaves the old or the new one.

use super::replace::{Lasting, replace, sweep};
use crate::plan::{NodeDrain, SAID_MAX, Said, Sayings, Weighed};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The file's name in the state directory.
const FILE_NAME: &str = "operator-states.json";
/// The newest format: servers' states and weights, and the node's.
const VERSION: u32 = 2;
/// The oldest that is read: it has servers' states only.
const VERSION_MIN: u32 = 1;
/// The longest file that is read, in bytes: [`SAID_MAX`] entries with long reasons fit.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What the format before does not know is written only where there is some, and in the newer format then.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    servers: Vec<Said>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    weights: Vec<Weighed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<NodeDrain>,
}

/// Why a file could not be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It cannot be read, now or by this process.
    Unread(String),
    /// It says nothing.
    Damaged {
        /// What is wrong with it.
        why: String,
        /// Where it has been put; `None`: it is where it was.
        aside: Option<PathBuf>,
    },
    /// A later version wrote it in a format of its own. It stays until there is something else to write, and is put aside then.
    Newer(u32),
}

/// How what was said before this process's start stands to what is in force: a file that says something unknown is not written over.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Earlier {
    /// It was read, or there is nothing to be read any more.
    #[default]
    Known,
    /// It could not be read, and may be some time later.
    Unread,
    /// It could not be read, and something was said since: it is put aside before anything is written, and not in force any more.
    Overruled,
}

impl Earlier {
    /// After the file was tried.
    pub(super) fn after(loaded: &Result<Sayings, Unusable>) -> Self {
        match loaded {
            Err(Unusable::Unread(_) | Unusable::Damaged { aside: None, .. }) => Self::Unread,
            Ok(_) | Err(Unusable::Damaged { aside: Some(_), .. } | Unusable::Newer(_)) => Self::Known,
        }
    }

    /// After something was said.
    pub(super) fn overruled(self) -> Self {
        if self == Self::Unread { Self::Overruled } else { self }
    }
}

/// Whose the state directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// This process's, or nobody's.
    Us,
    /// Another process's that still serves: nothing is changed there.
    Predecessor,
}

/// What the file says; nothing when there is none. One that is damaged is set aside under another name, by its owner.
pub(super) fn load(state_dir: &Path, owner: Owner) -> Result<Sayings, Unusable> {
    let path = state_dir.join(FILE_NAME);
    if owner == Owner::Us {
        sweep(state_dir);
    }
    read(&path).map_err(|unusable| match unusable {
        Unusable::Damaged { why, .. } if owner == Owner::Us => {
            let aside = path.with_extension("json.damaged");
            Unusable::Damaged { why, aside: fs::rename(&path, &aside).is_ok().then_some(aside) }
        }
        other @ (Unusable::Unread(_) | Unusable::Damaged { .. } | Unusable::Newer(_)) => other,
    })
}

fn read(path: &Path) -> Result<Sayings, Unusable> {
    let damaged = |why: String| Unusable::Damaged { why, aside: None };
    let Some(text) = text(path).map_err(|error| Unusable::Unread(error.to_string()))? else {
        return Ok(Sayings::default());
    };
    let version = version(&text).map_err(damaged)?;
    if version > VERSION {
        return Err(Unusable::Newer(version));
    }
    if version < VERSION_MIN {
        return Err(damaged(format!("its format is {version}, which no version wrote")));
    }
    let contents: Contents = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    let Contents { servers, weights, node, .. } = contents;
    let most = servers.len().max(weights.len());
    if most > SAID_MAX {
        return Err(damaged(format!("{most} servers, at most {SAID_MAX} fit")));
    }
    Ok(Sayings { servers, weights, node })
}

/// The whole file; `None`: there is none.
fn text(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(file) => file.take(BYTES_MAX).read_to_end(&mut text)?,
    };
    Ok(Some(text))
}

/// The format's version, whatever else a later one has.
fn version(text: &[u8]) -> Result<u32, String> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    serde_json::from_slice(text).map(|Version { version }| version).map_err(|error| error.to_string())
}

/// Replaces the file. Once this returns it survives a power cut. It is in the oldest format that can say all of it, so that an
/// older version can be gone back to; a later version's file is put aside.
pub(super) fn save(state_dir: &Path, sayings: Sayings) -> io::Result<()> {
    let Sayings { servers, weights, node } = sayings;
    let path = state_dir.join(FILE_NAME);
    keep_newer(&path)?;
    let version = if weights.is_empty() && node.is_none() { VERSION_MIN } else { VERSION };
    let mut text = serde_json::to_vec_pretty(&Contents { version, servers, weights, node })?;
    text.push(b'\n');
    replace(&path, &text, Lasting::AtOnce)
}

/// Puts a file that could not be read out of the way, for an operator to look at. Returns where it is; `None`: there is none.
pub(super) fn put_aside(state_dir: &Path) -> io::Result<Option<PathBuf>> {
    let path = state_dir.join(FILE_NAME);
    let aside = path.with_extension("json.unread");
    match fs::rename(&path, &aside) {
        Ok(()) => Ok(Some(aside)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn keep_newer(path: &Path) -> io::Result<()> {
    let newer = text(path)?.and_then(|text| version(&text).ok()).filter(|version| *version > VERSION);
    newer.map_or(Ok(()), |version| fs::rename(path, path.with_extension(format!("json.format-{version}"))))
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

    fn weighed() -> Weighed {
        Weighed { pool: "web".to_owned(), server: "web2".to_owned(), weight: 30, absent_since: None }
    }

    fn states() -> Sayings {
        Sayings { servers: vec![said()], ..Sayings::default() }
    }

    fn load(dir: &Path) -> Result<Sayings, Unusable> {
        super::load(dir, Owner::Us)
    }

    /// The names in a folder, in order.
    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()), Ok(Sayings::default()));
        let all = Sayings {
            servers: vec![said()],
            weights: vec![weighed()],
            node: Some(NodeDrain { reason: Some("kernel update".to_owned()), since: 100 }),
        };
        save(dir.path(), all.clone()).unwrap();
        assert_eq!(load(dir.path()), Ok(all));
        save(dir.path(), Sayings::default()).unwrap();
        assert_eq!(load(dir.path()), Ok(Sayings::default()));
        assert_eq!(names(dir.path()), [FILE_NAME]);
    }

    #[test]
    fn a_file_of_the_version_before_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let text = serde_json::json!({ "version": 1, "servers": [said()] }).to_string();
        fs::write(dir.path().join(FILE_NAME), text).unwrap();
        assert_eq!(load(dir.path()), Ok(states()));
    }

    /// What the first format had: its readers refuse anything else.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct First {
        version: u32,
        servers: Vec<Said>,
    }

    #[test]
    fn what_the_version_before_can_read_is_written_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = || serde_json::from_slice::<First>(&fs::read(dir.path().join(FILE_NAME)).unwrap());
        save(dir.path(), states()).unwrap();
        let First { version, servers } = first().unwrap();
        assert_eq!((version, servers), (1, vec![said()]));
        let node = Some(NodeDrain { reason: None, since: 100 });
        for new in [Sayings { weights: vec![weighed()], ..states() }, Sayings { node, ..states() }] {
            save(dir.path(), new).unwrap();
            assert!(first().is_err());
            let text = fs::read(dir.path().join(FILE_NAME)).unwrap();
            assert_eq!(super::version(&text), Ok(2), "the version before says that it is too new");
        }
        save(dir.path(), states()).unwrap();
        assert!(first().is_ok(), "once there is nothing new in it");
    }

    #[test]
    fn what_does_not_parse_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let damaged = [
            "{\"version\":1,\"serv",
            "{\"version\":0,\"servers\":[]}",
            "{\"version\":1,\"servers\":[{}]}",
            "[]",
            "",
        ];
        for text in damaged {
            fs::write(&path, text).unwrap();
            let Err(Unusable::Damaged { aside: Some(aside), .. }) = load(dir.path()) else {
                panic!("{text} is used")
            };
            assert_eq!(fs::read_to_string(aside).unwrap(), text);
            assert_eq!(load(dir.path()), Ok(Sayings::default()), "{text} stayed");
        }
    }

    #[test]
    fn a_successor_that_has_not_taken_over_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let unfinished = dir.path().join("status.json.4294967295-1.new");
        fs::write(&unfinished, "{").unwrap();
        for text in ["{\"version\":1,\"serv", "{\"version\":3,\"servers\":[]}"] {
            fs::write(&path, text).unwrap();
            let unusable = super::load(dir.path(), Owner::Predecessor).unwrap_err();
            assert!(!matches!(unusable, Unusable::Damaged { aside: Some(_), .. }), "{unusable:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert!(unfinished.exists() && names(dir.path()).len() == 2);
        }
    }

    #[test]
    fn a_later_versions_file_stays_until_there_is_something_to_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let later = "{\"version\":3,\"servers\":[],\"moods\":[\"good\"]}";
        fs::write(&path, later).unwrap();
        for _ in 0..2 {
            assert_eq!(load(dir.path()), Err(Unusable::Newer(3)));
        }
        save(dir.path(), states()).unwrap();
        assert_eq!(load(dir.path()), Ok(states()));
        let kept = path.with_extension("json.format-3");
        assert_eq!(fs::read_to_string(kept).unwrap(), later);
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_damaged() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(FILE_NAME)).unwrap();
        let loaded = load(dir.path());
        assert!(matches!(loaded, Err(Unusable::Unread(_))));
        assert_eq!(Earlier::after(&loaded), Earlier::Unread);
        assert_eq!(names(dir.path()), [FILE_NAME]);
    }

    #[test]
    fn what_was_not_read_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(put_aside(dir.path()).unwrap(), None);
        fs::write(dir.path().join(FILE_NAME), "earlier").unwrap();
        let aside = put_aside(dir.path()).unwrap().unwrap();
        save(dir.path(), states()).unwrap();
        assert_eq!(fs::read_to_string(aside).unwrap(), "earlier");
        assert_eq!(load(dir.path()), Ok(states()));
    }

    #[test]
    fn once_something_was_said_the_unread_file_counts_no_more() {
        let damaged = |aside| Err(Unusable::Damaged { why: String::new(), aside });
        assert_eq!(Earlier::after(&damaged(None)), Earlier::Unread, "it is still there");
        assert_eq!(Earlier::after(&damaged(Some(PathBuf::new()))), Earlier::Known);
        assert_eq!(Earlier::after(&Err(Unusable::Newer(3))), Earlier::Known, "`save` keeps it");
        assert_eq!(Earlier::Unread.overruled(), Earlier::Overruled);
        assert_eq!(Earlier::Known.overruled(), Earlier::Known);
    }
}
