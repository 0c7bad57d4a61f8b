//! What the service manager is told (sd_notify(3)): ready, reloading, stopping, alive.
//!
//! The protocol is a datagram of lines to the socket that `NOTIFY_SOCKET` names: a path, or, after `@`, an abstract name. A manager
//! that does not read makes nobody wait: what does not fit is dropped, and a watchdog that goes hungry is its own alarm.

use serde::{Deserialize, Serialize};
use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// A worker that has not beaten for this long does not feed the watchdog.
pub const BEAT_MAX: Duration = Duration::from_secs(1);

/// How long a watchdog waits whose time nobody told: fed for less, it is fed for nothing at worst.
const UNTOLD: Duration = Duration::from_secs(3);

/// The way to the service manager, if there is one.
#[derive(Debug)]
pub struct Notify {
    /// Who listens, as a successor is told.
    manager: Option<Manager>,
    socket: Option<UnixDatagram>,
    watchdog: Option<Watchdog>,
}

/// A service manager, as one process tells the next one, which was not started by it and lacks its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manager {
    /// `NOTIFY_SOCKET`.
    pub socket: String,
    /// `WATCHDOG_USEC`, microseconds; `None`: it does not watch.
    pub watchdog_usec: Option<u64>,
}

impl Notify {
    /// As the environment says: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`.
    #[must_use]
    pub fn from_env() -> Self {
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0);
        Self::to(env::var_os("NOTIFY_SOCKET"), watchdog.map(Duration::from_micros))
    }

    /// As the environment says, for who takes the place of a process that did not say who watches over it: the watchdog was meant for
    /// that one, whatever `WATCHDOG_PID` is.
    #[must_use]
    pub fn in_place_of_another() -> Self {
        Self::in_place(env::var_os("NOTIFY_SOCKET"), number("WATCHDOG_USEC"))
    }

    fn in_place(socket: Option<OsString>, watchdog_usec: Option<u64>) -> Self {
        Self::to(socket, Some(watchdog_usec.filter(|usec| *usec > 0).map_or(UNTOLD, Duration::from_micros)))
    }

    fn to(socket: Option<OsString>, watchdog: Option<Duration>) -> Self {
        let name = socket.as_ref().and_then(|name| name.to_str().map(str::to_owned));
        let socket = socket.and_then(|name| match connect(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, "the service manager's socket cannot be reached");
                None
            }
        });
        let watchdog = watchdog.filter(|_| socket.is_some());
        let watchdog_usec = watchdog.and_then(|time| u64::try_from(time.as_micros()).ok());
        let manager = name.filter(|_| socket.is_some()).map(|socket| Manager { socket, watchdog_usec });
        Self { manager, socket, watchdog: watchdog.map(Watchdog::new) }
    }

    /// The manager of the process whose place this one takes.
    #[must_use]
    pub fn inherited(manager: &Manager) -> Self {
        let watchdog = manager.watchdog_usec.filter(|usec| *usec > 0);
        Self::to(Some(manager.socket.as_str().into()), watchdog.map(Duration::from_micros))
    }

    /// What a successor needs to talk to the same manager.
    #[must_use]
    pub fn manager(&self) -> Option<&Manager> {
        self.manager.as_ref()
    }

    /// Another process is the service from now on. Where the manager listens to the main process alone (`NotifyAccess=main`), only this
    /// one can say so. Neither this nor `READY=1` feeds the watchdog by itself.
    pub fn main_is(&self, pid: i32) {
        self.tell(&format!("MAINPID={pid}\nWATCHDOG=1\nSTATUS=handing over"));
    }

    /// Whether somebody listens.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.socket.is_some()
    }

    /// It serves; `main` where this process took another's place.
    pub fn ready(&self, main: bool, status: &str) {
        let main = if main { format!("MAINPID={}\n", std::process::id()) } else { String::new() };
        self.tell(&format!("READY=1\n{main}STATUS={}", one_line(status)));
    }

    /// It reads its configuration again; [`ready`](Self::ready) follows, whatever comes of it. `now` is `CLOCK_MONOTONIC`.
    pub fn reloading(&self, now: Duration) {
        self.tell(&format!(
            "RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=reading the configuration",
            now.as_micros()
        ));
    }

    /// It ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// How it goes, in words.
    pub fn status(&self, status: &str) {
        self.tell(&format!("STATUS={}", one_line(status)));
    }

    /// Feeds the watchdog, if it is time and every worker beats. Times are `CLOCK_MONOTONIC`.
    pub fn feed(&mut self, now: Duration, beats: impl Iterator<Item = Duration>) {
        if self.watchdog.as_mut().is_some_and(|watchdog| watchdog.is_fed(now, beats)) {
            self.tell("WATCHDOG=1");
        }
    }

    /// Feeds the watchdog while no worker runs: between two steps of a hand-over, each of which ends or does not.
    pub fn step(&self) {
        if self.watchdog.is_some() {
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, text: &str) {
        if let Some(socket) = &self.socket {
            // A manager that hangs or went away is no reason to do anything else.
            let _ = socket.send(text.as_bytes());
        }
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Where the words of others go into a line.
fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect()
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// When to feed the manager's watchdog.
#[derive(Debug)]
struct Watchdog {
    every: Duration,
    last: Option<Duration>,
}

impl Watchdog {
    /// `time`: the manager ends who is silent for so long. A third of it leaves room for one that was lost.
    fn new(time: Duration) -> Self {
        Self { every: time / 3, last: None }
    }

    fn is_fed(&mut self, now: Duration, mut beats: impl Iterator<Item = Duration>) -> bool {
        let due = self.last.is_none_or(|last| now.saturating_sub(last) >= self.every);
        let fed = due && beats.all(|beat| now.saturating_sub(beat) <= BEAT_MAX);
        if fed {
            self.last = Some(now);
        }
        fed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn heard(socket: &UnixDatagram) -> String {
        let mut datagram = [0; 1_024];
        socket.set_read_timeout(Some(30 * SECOND)).unwrap();
        let length = socket.recv(&mut datagram).unwrap();
        String::from_utf8_lossy(&datagram[..length]).into_owned()
    }

    #[test]
    fn paths_and_abstract_names_are_reached() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("ringlead-notify-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        let sockets = [UnixDatagram::bind(&path).unwrap(), UnixDatagram::bind_addr(&abstract_name).unwrap()];
        for (socket, name) in sockets.iter().zip([path.into_os_string(), format!("@{name}").into()]) {
            let notify = Notify::to(Some(name), None);
            notify.ready(false, "2 services\nREADY=0");
            assert_eq!(heard(socket), "READY=1\nSTATUS=2 services", "no second line of a status");
            notify.reloading(Duration::from_micros(1_234_567));
            let said = "RELOADING=1\nMONOTONIC_USEC=1234567\nSTATUS=reading the configuration";
            assert_eq!(heard(socket), said);
            notify.ready(true, "on");
            assert_eq!(heard(socket), format!("READY=1\nMAINPID={}\nSTATUS=on", std::process::id()));
        }
    }

    #[test]
    fn a_successor_talks_to_the_same_manager_and_feeds_its_watchdog() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let first = Notify::to(Some(path.into_os_string()), Some(3 * SECOND));
        let told = serde_json::to_value(first.manager().unwrap()).unwrap();
        first.main_is(4_711);
        assert_eq!(heard(&socket), "MAINPID=4711\nWATCHDOG=1\nSTATUS=handing over");
        drop(first);
        let mut second = Notify::inherited(&serde_json::from_value(told).unwrap());
        second.feed(SECOND, std::iter::empty());
        assert_eq!(heard(&socket), "WATCHDOG=1");
        second.step();
        assert_eq!(heard(&socket), "WATCHDOG=1", "a step is never too early");
        assert_eq!(second.manager().unwrap().watchdog_usec, Some(3_000_000), "and so on");
        assert_eq!(Notify::to(None, Some(SECOND)).manager(), None);
    }

    /// A predecessor that died, or of an older version, tells of no manager.
    #[test]
    fn who_finds_a_manager_but_not_its_watchdog_feeds_it_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        for (told, every) in [(None, UNTOLD / 3), (Some(0), UNTOLD / 3), (Some(9_000_000), 3 * SECOND)] {
            let mut notify = Notify::in_place(Some(path.clone().into_os_string()), told);
            notify.feed(SECOND, std::iter::empty());
            assert_eq!(heard(&socket), "WATCHDOG=1");
            assert_eq!(notify.watchdog.as_ref().unwrap().every, every);
        }
        assert!(!Notify::in_place(None, Some(1)).is_heard());
    }

    #[test]
    fn nobody_and_a_manager_that_does_not_read_make_nobody_wait() {
        assert!(!Notify::to(None, Some(SECOND)).is_heard());
        assert!(!Notify::to(Some("/nonexistent/notify".into()), None).is_heard());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::to(Some(path.into_os_string()), None);
        (0..10_000).for_each(|_| notify.status("on"));
    }

    #[test]
    fn a_worker_that_hangs_lets_the_watchdog_go_hungry() {
        let mut watchdog = Watchdog::new(3 * SECOND);
        let at = |ms: u64| Duration::from_millis(ms);
        assert!(watchdog.is_fed(at(10_000), [at(9_990), at(9_000)].into_iter()));
        assert!(!watchdog.is_fed(at(10_900), [at(10_890), at(10_890)].into_iter()), "not yet due");
        assert!(watchdog.is_fed(at(11_000), [at(10_990), at(10_990)].into_iter()));
        for now in (12_100..20_000).step_by(100) {
            assert!(
                !watchdog.is_fed(at(now), [at(now), at(10_990)].into_iter()),
                "the second hangs at {now}"
            );
        }
        assert!(watchdog.is_fed(at(20_000), [at(20_000), at(19_990)].into_iter()), "it beats again");
    }
}
