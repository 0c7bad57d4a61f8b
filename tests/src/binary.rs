//! Where the product is.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The root of the workspace.
#[must_use]
pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// The `ringlead` to test: `RINGLEAD_BIN`, or else the younger of the release and the debug build in the target folder
/// that the running test was built in. None when there is none that tells its version.
#[must_use]
pub fn ringlead_binary() -> Option<PathBuf> {
    if let Some(named) = env::var_os("RINGLEAD_BIN").filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    let target = target_folder();
    let mut found: Vec<(SystemTime, PathBuf)> = ["release", "debug"]
        .iter()
        .map(|profile| target.join(profile).join("ringlead"))
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .collect();
    found.sort();
    found.pop().map(|(_, path)| path).filter(|path| tells_its_version(path))
}

/// The folder above `release/deps/THIS` or `debug/deps/THIS`, wherever Cargo was told to put it.
fn target_folder() -> PathBuf {
    let this = env::current_exe().unwrap_or_default();
    let profile = this.ancestors().find(|folder| folder.ends_with("deps")).and_then(Path::parent);
    match profile.and_then(Path::parent) {
        Some(target) => target.to_owned(),
        None => {
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace_root().join("target"), PathBuf::from)
        }
    }
}

fn tells_its_version(path: &Path) -> bool {
    let answer = Command::new(path).arg("--version").output();
    answer.is_ok_and(|output| output.status.success() && output.stdout.starts_with(b"ringlead"))
}
