//! What operators say of servers at run time: it counts until another command, its own end, or `clear`; else the file does.

use super::weight::note_absent_weights;
use super::{Plan, ServerRecord};
use crate::config::{OperatorState, PoolConfig, ServerConfig};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most servers that something can be said of at one time.
pub const SAID_MAX: usize = 10_000;
/// For how many seconds it is kept what was said of a server that is not in the file.
pub(super) const ABSENT_MAX_S: u64 = 24 * 3_600;

/// By pool and server.
pub(super) type SaidByServer = BTreeMap<(String, String), Said>;

/// What an operator said of one server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Said {
    /// The pool's name.
    pub pool: String,
    /// The server's name.
    pub server: String,
    /// What is wanted of it.
    pub state: OperatorState,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// Until when, in seconds since 1970; `None`: until another command.
    pub until: Option<u64>,
    /// Since when the server is not in the file; a day later this is forgotten.
    pub absent_since: Option<u64>,
}

impl Said {
    /// Whether it counts no more at `now`, in seconds since 1970: its time is over, or its server has long been out of the file.
    #[must_use]
    pub fn is_over(&self, now: u64) -> bool {
        self.until.is_some_and(|until| until <= now)
            || self.absent_since.is_some_and(|since| since.saturating_add(ABSENT_MAX_S) <= now)
    }
}

/// A server's state before and after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateChange {
    /// Before.
    pub old: OperatorState,
    /// After.
    pub new: OperatorState,
    /// What the file says.
    pub file: OperatorState,
}

/// Why a command changes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// There is no such pool.
    NoPool(String),
    /// The pool has no such server.
    NoServer(String, String),
    /// Too many servers have a state of their own already.
    Full,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoPool(pool) => write!(f, "there is no pool `{pool}`"),
            Self::NoServer(pool, server) => write!(f, "pool `{pool}` has no server `{server}`"),
            Self::Full => {
                write!(
                    f,
                    "{SAID_MAX} servers have a state by command already: clear some, or write it into the file"
                )
            }
        }
    }
}

impl std::error::Error for Refused {}

/// The configured servers of some pools, to look many up.
#[derive(Debug)]
pub struct ServersByName<'a> {
    plan: &'a Plan,
    pools: BTreeMap<&'a str, (&'a PoolConfig, BTreeMap<&'a str, &'a ServerConfig>)>,
}

impl<'a> ServersByName<'a> {
    /// One of them.
    ///
    /// # Errors
    /// When there is no such pool among those, or it has no such server.
    pub fn get(&self, pool: &str, server: &str) -> Result<&'a ServerRecord, Refused> {
        let (config, servers) = self.pools.get(pool).ok_or_else(|| Refused::NoPool(pool.to_owned()))?;
        let id = servers.get(server).and_then(|server| self.plan.server_id(config, server));
        let record = id.and_then(|id| self.plan.server(id));
        record.ok_or_else(|| Refused::NoServer(pool.to_owned(), server.to_owned()))
    }
}

/// What is wanted of a configured server, and whether that is by command, or else by the file.
pub(super) fn wanted(said: &SaidByServer, pool: &PoolConfig, server: &ServerConfig) -> (OperatorState, bool) {
    let nothing_said = said.is_empty();
    let key = || (pool.name.clone(), server.name.clone());
    let said = (!nothing_said).then(|| said.get(&key())).flatten();
    said.map_or((server.state, false), |said| (said.state, true))
}

impl Plan {
    /// Takes a command over; it counts from the next snapshot on.
    ///
    /// # Errors
    /// When the file has no such server, or too many have a state of their own.
    pub fn say(&mut self, said: Said) -> Result<StateChange, Refused> {
        let (record, server) = self.configured(&said.pool, &said.server)?;
        let (old, file, has_agent) = (record.operator, server.state, record.agent.is_some());
        let key = (said.pool.clone(), said.server.clone());
        if self.said.len() >= SAID_MAX && !self.said.contains_key(&key) {
            return Err(Refused::Full);
        }
        let new = said.state;
        // Nothing that the file does not say as well, and for good, is nothing to remember, unless an agent may say otherwise.
        if new == file && said.until.is_none() && !has_agent {
            Arc::make_mut(&mut self.said).remove(&key);
        } else {
            Arc::make_mut(&mut self.said).insert(key, said);
        }
        self.apply_said();
        Ok(StateChange { old, new, file })
    }

    /// Takes a command back: the file counts again.
    ///
    /// # Errors
    /// When the file has no such server.
    pub fn unsay(&mut self, pool: &str, server: &str) -> Result<StateChange, Refused> {
        let (old, file) = self.state_of(pool, server)?;
        Arc::make_mut(&mut self.said).remove(&(pool.to_owned(), server.to_owned()));
        self.apply_said();
        Ok(StateChange { old, new: file, file })
    }

    /// What was said of a server.
    #[must_use]
    pub fn said(&self, pool: &str, server: &str) -> Option<&Said> {
        if self.said.is_empty() {
            return None;
        }
        self.said.get(&(pool.to_owned(), server.to_owned()))
    }

    /// All that was said and still counts, servers that are not in the file included.
    pub fn all_said(&self) -> impl Iterator<Item = &Said> {
        self.said.values()
    }

    /// Takes over what was said before a restart: of several entries of one server the last, and [`SAID_MAX`] at most.
    pub fn remember_said(&mut self, said: Vec<Said>) {
        let by_server = |said: Said| ((said.pool.clone(), said.server.clone()), said);
        self.said = Arc::new(said.into_iter().take(SAID_MAX).map(by_server).collect());
        self.apply_said();
    }

    /// Ends what was said until `now` or before, in seconds since 1970, and what was said of servers that have long been out
    /// of the file. Returns what ended.
    pub fn end_said(&mut self, now: u64) -> Vec<Said> {
        if !self.said.values().any(|said| said.is_over(now)) {
            return Vec::new();
        }
        let ended: Vec<Said> = self.said.values().filter(|said| said.is_over(now)).cloned().collect();
        Arc::make_mut(&mut self.said).retain(|_, said| !said.is_over(now));
        self.apply_said();
        ended
    }

    /// Notes which of the servers that something was said of are in the file, weights included. After each change of the file; returns
    /// whether that changed anything.
    pub fn note_absent(&mut self, now: u64) -> bool {
        if self.said.is_empty() && self.weights.is_empty() {
            return false;
        }
        // Once for all of them: as many are searched for as the file may have.
        let pools = self.config.pools.iter();
        let present: BTreeSet<(&str, &str)> =
            pools.flat_map(|p| p.servers.iter().map(|s| (p.name.as_str(), s.name.as_str()))).collect();
        let is_present = |pool: &str, server: &str| present.contains(&(pool, server));
        let mut changed = note_absent_weights(&mut self.weights, is_present, now);
        if self.said.is_empty() {
            return changed;
        }
        for ((pool, server), said) in Arc::make_mut(&mut self.said) {
            let since = if is_present(pool, server) { None } else { said.absent_since.or(Some(now)) };
            changed |= since != said.absent_since;
            said.absent_since = since;
        }
        changed
    }

    /// A configured server's state now, and the file's.
    fn state_of(&self, pool: &str, server: &str) -> Result<(OperatorState, OperatorState), Refused> {
        let (record, file) = self.configured(pool, server)?;
        Ok((record.operator, file.state))
    }

    /// A server of the file by its names.
    ///
    /// # Errors
    /// When there is none.
    pub fn configured(&self, pool: &str, server: &str) -> Result<(&ServerRecord, &ServerConfig), Refused> {
        let found = self.config.pools.iter().find(|config| config.name == pool);
        let config = found.ok_or_else(|| Refused::NoPool(pool.to_owned()))?;
        let found = config.servers.iter().find(|config| config.name == server);
        let record = |file| Some((self.server(self.server_id(config, file)?)?, file));
        found.and_then(record).ok_or_else(|| Refused::NoServer(pool.to_owned(), server.to_owned()))
    }

    /// As [`configured`](Self::configured), for many servers of these pools: each is gone through once.
    #[must_use]
    pub fn servers_of(&self, pools: &BTreeSet<&str>) -> ServersByName<'_> {
        let named = self.config.pools.iter().filter(|pool| pools.contains(pool.name.as_str()));
        let pools = named.map(|pool| {
            let servers = pool.servers.iter().map(|server| (server.name.as_str(), server));
            (pool.name.as_str(), (pool, servers.collect()))
        });
        ServersByName { plan: self, pools: pools.collect() }
    }

    fn apply_said(&mut self) {
        for pool in &self.config.pools {
            for server in &pool.servers {
                let id = self.server_ids.get(&super::ServerKey::of(pool, server));
                if let Some(record) = id.and_then(|id| self.servers.get_mut(&id)) {
                    (record.operator, record.by_command) = wanted(&self.said, pool, server);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const HEAD: &str = "version = 1\n[dataplane]\ncores = [0]\n[port.wan]\ndevice = \"eth0\"\n[pool.web]\nalgorithm = \"maglev\"\n";

    fn parsed(servers: &str) -> config::Config {
        config::parse("test.toml", &format!("{HEAD}server = [{servers}]\n")).unwrap().0
    }

    fn plan() -> Plan {
        Plan::new(parsed(BOTH)).unwrap()
    }

    const FIRST: &str = "{ name = \"a\", address = \"10.0.0.1:80\" }";
    const BOTH: &str = "{ name = \"a\", address = \"10.0.0.1:80\" },\
        { name = \"b\", address = \"10.0.0.2:80\", state = \"drain\" }";

    fn said(server: &str, state: OperatorState, until: Option<u64>) -> Said {
        let (pool, server) = ("web".to_owned(), server.to_owned());
        Said { pool, server, state, reason: None, since: 100, until, absent_since: None }
    }

    fn state(plan: &Plan, server: &str) -> OperatorState {
        plan.configured("web", server).unwrap().0.operator
    }

    #[test]
    fn servers_are_found_by_name_as_one_by_one() {
        let plan = plan();
        let found = plan.servers_of(&BTreeSet::from(["web", "none"]));
        for (pool, server) in [("web", "a"), ("web", "b"), ("web", "c"), ("none", "a")] {
            let one = plan.configured(pool, server).map(|(record, _)| record.id);
            let of_many = found.get(pool, server).map(|record| record.id);
            assert_eq!(
                of_many.map_err(|why| why.to_string()),
                one.map_err(|why| why.to_string()),
                "{pool}/{server}"
            );
        }
        assert!(found.get("web", "b").is_ok());
        assert!(plan.servers_of(&BTreeSet::new()).get("web", "a").is_err(), "of no pool");
    }

    #[test]
    fn a_command_counts_before_the_file_until_it_is_cleared() {
        let mut plan = plan();
        assert_eq!(state(&plan, "b"), OperatorState::Drain);
        let change = plan.say(said("b", OperatorState::Ready, None)).unwrap();
        assert_eq!(
            (change.old, change.new, change.file),
            (OperatorState::Drain, OperatorState::Ready, OperatorState::Drain)
        );
        plan.adopt(parsed(BOTH)).unwrap();
        assert_eq!(state(&plan, "b"), OperatorState::Ready);
        assert_eq!(plan.unsay("web", "b").unwrap().new, OperatorState::Drain);
        assert_eq!(state(&plan, "b"), OperatorState::Drain);
        assert_eq!(plan.all_said().count(), 0);
    }

    #[test]
    fn what_the_file_says_too_is_not_kept() {
        let mut plan = plan();
        plan.say(said("a", OperatorState::Offline, None)).unwrap();
        assert_eq!(plan.all_said().count(), 1);
        plan.say(said("a", OperatorState::Ready, None)).unwrap();
        assert_eq!(plan.all_said().count(), 0);
    }

    #[test]
    fn a_command_ends_when_its_time_is_over() {
        let mut plan = plan();
        plan.say(said("a", OperatorState::Drain, Some(200))).unwrap();
        assert!(plan.end_said(199).is_empty());
        assert_eq!(state(&plan, "a"), OperatorState::Drain);
        assert_eq!(plan.end_said(200).len(), 1);
        assert_eq!(state(&plan, "a"), OperatorState::Ready);
    }

    #[test]
    fn a_server_that_comes_back_within_a_day_has_its_state() {
        let mut plan = plan();
        plan.say(said("b", OperatorState::Offline, None)).unwrap();
        plan.adopt(parsed(FIRST)).unwrap();
        assert!(plan.note_absent(1_000));
        assert!(!plan.note_absent(2_000), "absent since the first time");
        assert!(plan.end_said(1_000 + ABSENT_MAX_S - 1).is_empty());
        plan.adopt(parsed(BOTH)).unwrap();
        assert_eq!(state(&plan, "b"), OperatorState::Offline);
        assert!(plan.note_absent(3_000));
        assert!(plan.end_said(u64::MAX).is_empty(), "it is there");
        plan.adopt(parsed(FIRST)).unwrap();
        plan.note_absent(5_000);
        assert_eq!(plan.end_said(5_000 + ABSENT_MAX_S).len(), 1);
    }

    #[test]
    fn who_is_not_in_the_file_is_refused() {
        let mut plan = plan();
        assert_eq!(
            plan.say(said("z", OperatorState::Drain, None)),
            Err(Refused::NoServer("web".to_owned(), "z".to_owned()))
        );
        assert_eq!(plan.unsay("app", "a"), Err(Refused::NoPool("app".to_owned())));
    }
}
