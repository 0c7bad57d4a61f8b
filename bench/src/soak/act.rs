//! Does what an event says.

use super::schedule::Action;
use nix::sys::signal::kill;
use ringlead_control::admin::client::{self, ClientError};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The longest that a command may take; then it is ended and has failed.
const EXEC_MAX: Duration = Duration::from_secs(60);
/// How often a command is asked whether it has ended.
const EXEC_ASK: Duration = Duration::from_millis(2);

/// Who does it.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The balancer's control socket.
    pub control: Option<PathBuf>,
}

impl Actor {
    /// Does it, and waits until it is done.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn act(&self, action: &Action) -> Result<(), String> {
        match action {
            Action::Reload => self.reload(),
            Action::Signal(signal, pid) => {
                kill(*pid, *signal).map_err(|errno| format!("{signal} to process {pid}: {}", errno.desc()))
            }
            Action::Exec(command) => exec(command, EXEC_MAX),
        }
    }

    fn reload(&self) -> Result<(), String> {
        let socket = self.control.as_deref().ok_or("no control socket was given")?;
        // What a refused reload says comes as the refusal of the request.
        match client::request(socket, &serde_json::json!({ "command": "reload" })) {
            Ok(_) => Ok(()),
            Err(ClientError::Refused(why)) => Err(format!("the reload was refused: {}", why.trim())),
            Err(why) => Err(why.to_string()),
        }
    }
}

fn exec(command: &str, limit: Duration) -> Result<(), String> {
    // Standard output may be the report's.
    let said = io::stderr().as_fd().try_clone_to_owned().map_err(|e| e.to_string())?;
    let started = Command::new("sh").arg("-c").arg(command).stdin(Stdio::null()).stdout(said).spawn();
    let mut child = started.map_err(|e| format!("sh: {e}"))?;
    let begin = Instant::now();
    loop {
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("the command ended with {status}")),
            None if begin.elapsed() >= limit => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("the command took longer than {limit:?} and was ended"));
            }
            None => sleep(EXEC_ASK),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;
    use nix::unistd::Pid;

    #[test]
    fn commands_that_fail_or_do_not_end_are_told() {
        assert_eq!(exec("true", EXEC_MAX), Ok(()));
        assert!(exec("exit 3", EXEC_MAX).is_err_and(|why| why.contains('3')));
        assert!(exec("exec sleep 60", Duration::from_millis(50)).is_err_and(|why| why.contains("was ended")));
    }

    #[test]
    fn what_cannot_be_done_is_told() {
        let actor = Actor { control: Some(PathBuf::from("/nonexistent/control.sock")) };
        assert!(actor.act(&Action::Reload).is_err());
        // A process that was waited for is nobody.
        let mut child = Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        child.wait().unwrap();
        assert!(actor.act(&Action::Signal(Signal::SIGCONT, pid)).is_err_and(|why| why.contains("SIGCONT")));
    }
}
