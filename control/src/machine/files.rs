//! The files and folders that a configuration names: whether they can be used. Nothing is made or opened for writing.

use super::Judge;
use crate::config::{LogTarget, codes};
use crate::health::check_ca;
use crate::reports::Tokens;
use nix::unistd::{AccessFlags, access};
use std::path::Path;

impl Judge<'_> {
    /// C211. Reads certificates, so it runs where waiting for a disk harms nobody.
    pub(crate) fn files(&mut self) {
        let config = self.config;
        for check in &config.checks {
            let ca = check.probe.as_ref().and_then(|probe| probe.ca());
            if let Some(why) = ca.and_then(|ca| check_ca(ca).err()) {
                self.error(codes::FILE, &["health", &check.name, "ca"], format!("[health.{}] {why}", check.name))
                    .label("certificates that the servers' are signed by")
                    .help("a file in PEM form, that ringlead may read: openssl x509 -noout -subject -enddate -in FILE");
            }
        }
        let logs = [
            ("log", Some(&config.observe.log.to)),
            ("flow-log", config.observe.flow_log.as_ref().map(|l| &l.to)),
        ];
        for (key, target) in logs {
            if let Some(LogTarget::File(path)) = target
                && let Err(why) = can_be_written(path)
            {
                self.error(
                    codes::FILE,
                    &["observe", key, "to"],
                    format!("`{key}`: {}: {why}", path.display()),
                )
                .help("its directory must be there, and ringlead may write to it; or choose another place");
            }
        }
        let reports = config.observe.reports.as_ref();
        if let Some(why) = reports.and_then(|reports| Tokens::read(&reports.tokens).err()) {
            self.error(codes::FILE, &["observe", "report-token-file"], why)
                .help("a token a line, that ringlead may read and others may not");
        }
        if let Err(why) = can_be_folder(&config.node.state_dir) {
            let message = format!("`state-dir`: {}: {why}", config.node.state_dir.display());
            self.error(codes::FILE, &["node", "state-dir"], message)
                .help("what operators say of servers is kept there; name a folder that ringlead may write");
        }
    }
}

/// Whether a log can be appended to, or made.
fn can_be_written(path: &Path) -> Result<(), String> {
    if path.is_dir() {
        return Err("is a folder".to_owned());
    }
    if path.exists() {
        return access(path, AccessFlags::W_OK).map_err(|e| e.desc().to_owned());
    }
    let folder = path.parent().unwrap_or(path);
    if !folder.is_dir() {
        return Err(format!("there is no folder {}", folder.display()));
    }
    access(folder, AccessFlags::W_OK | AccessFlags::X_OK)
        .map_err(|e| format!("{}: {}", folder.display(), e.desc()))
}

/// Whether it is a folder that can be written, or can become one.
fn can_be_folder(path: &Path) -> Result<(), String> {
    let there = path.ancestors().find(|folder| folder.exists()).unwrap_or(path);
    if !there.is_dir() {
        return Err(format!("{} is no folder", there.display()));
    }
    access(there, AccessFlags::W_OK | AccessFlags::X_OK)
        .map_err(|e| format!("{}: {}", there.display(), e.desc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_and_folders_that_cannot_be_are_named_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(can_be_written(&file), Ok(()));
        assert_eq!(can_be_written(&dir.path().join("new")), Ok(()));
        assert_eq!(can_be_written(dir.path()), Err("is a folder".to_owned()));
        let absent = dir.path().join("absent");
        assert_eq!(
            can_be_written(&absent.join("log")),
            Err(format!("there is no folder {}", absent.display()))
        );
        assert_eq!(can_be_folder(&absent.join("deeper")), Ok(()));
        assert_eq!(can_be_folder(&file.join("below")), Err(format!("{} is no folder", file.display())));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
