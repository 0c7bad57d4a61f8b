//! SIGHUP: another configuration, taken over whole or not at all.

use super::addresses::local_soon;
use super::observe::{Deaf, NextMetrics};
use super::publish::drop_elsewhere;
use super::reporting::{NextReporting, tokens};
use super::routes::Ask;
use super::start::names;
use super::undo::Written;
use super::{Engine, monotonic};
use crate::config::{self, Config, LogTarget, Origin, needs_restart};
use crate::http::Server;
use crate::logs::{self, Prepared, PreparedFlows};
use crate::machine::{Judge, ephemeral, memory_left};
use crate::plan::Plan;
use crate::reports::Tokens;
use ringlead_flow::FlowTable;
use ringlead_io::steer::Rules;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How the last reload went.
#[derive(Debug, Clone, Default)]
pub(super) struct LastReload {
    /// How many were tried.
    pub count: u64,
    /// When the last one ended.
    pub at: Option<SystemTime>,
    /// Why it changed nothing; `None`: it went well, or there was none.
    pub error: Option<String>,
}

impl Engine {
    /// Reads the file again; unless it is confirmed in time, the last one comes back. A bad one changes nothing and the log says
    /// why.
    pub(super) async fn reload(&mut self, confirm: Option<Duration>) {
        self.notify.reloading(monotonic());
        let result = match self.nothing_waits() {
            Ok(()) => self.on_trial(confirm.is_some()).await,
            waits => waits,
        };
        self.last_reload.count += 1;
        self.last_reload.at = Some(SystemTime::now());
        match &result {
            Ok(()) => tracing::info!(
                event = "reload",
                epoch = self.plan.epoch(),
                "the new configuration is in force"
            ),
            Err(why) => tracing::error!(event = "reload", "refused, the old configuration stays:\n{why}"),
        }
        if let (Ok(()), Some(patience)) = (&result, confirm) {
            self.wait_for_confirm(patience);
        }
        self.last_reload.error = result.err();
        self.tell_manager_ready();
    }

    /// What is to be confirmed is kept as such before it counts, as it may be what ends this process.
    async fn on_trial(&mut self, trial: bool) -> Result<(), String> {
        if !trial {
            return self.load_and_adopt().await;
        }
        self.note_trial(true).await;
        let adopted = self.load_and_adopt().await;
        if adopted.is_err() {
            self.note_trial(false).await;
        }
        adopted
    }

    async fn load_and_adopt(&mut self) -> Result<(), String> {
        let path = self.config_path.clone();
        let loaded = tokio::task::spawn_blocking(move || config::load_whole(&path)).await;
        let loaded = loaded.map_err(|e| e.to_string())?.map_err(|diagnostics| diagnostics.to_string())?;
        for warning in loaded.warnings {
            tracing::warn!(event = "reload", "{warning}");
        }
        let text = Written { effective: loaded.effective.into(), origin: loaded.origin };
        self.adopt(loaded.config, text).await
    }

    /// Grow: source addresses → snapshot → acknowledged → neighbours → maps → addresses. Then shrink: addresses → maps.
    pub(super) async fn take_over(&mut self, config: Config, text: Written) -> Result<(), String> {
        let restart = needs_restart(self.plan.config(), &config);
        if !restart.is_empty() {
            return Err(format!(
                "these need a restart, and nothing else was applied either: {}",
                restart.join(", ")
            ));
        }
        let flows_to = self.flow_log.to().cloned();
        let table = Arc::clone(&self.node.shared.flows);
        let new = New { config, origin: text.origin.clone(), flows_to, table };
        let last = (Arc::clone(&self.plan), self.local.clone(), self.own_addresses());
        let prepared = tokio::task::spawn_blocking(move || prepare(&last, new)).await;
        let (plan, rules, (log, flows), tokens) = prepared.map_err(|e| e.to_string())??;
        if let Some(steering) = &mut self.node.steering {
            steering.fits(&rules).map_err(|e| e.to_string())?;
        }
        // New connections may come to a new place from the moment it is opened: by now nothing else can refuse the file.
        let places = self.open_places(plan.config(), tokens).await;
        let (metrics, reporting) = places.map_err(|deaf| deaf.told(plan.config(), &text.origin))?;
        logs::adopt(log);
        self.flow_log.adopt(flows, || names(&plan));
        drop_elsewhere((std::mem::replace(&mut self.plan, plan), rules));
        let left = (self.observe.adopt(metrics), self.reporting.adopt(reporting));
        self.undo.running = text;
        self.note_new_services();
        self.note_said().await;
        self.resolve_routes(Ask::New).await;
        self.tell_misfits().await;
        // Servers nobody knows yet are checked while the old tables still serve: a pool whose servers are all new is
        // never without one.
        self.sync_checks();
        self.first_results().await;
        self.grow_sources().await;
        self.publish().await;
        self.forget_neighbours().await;
        self.sync_neighbours(Ask::New).await;
        if let Some(steering) = &mut self.node.steering
            && let Err(error) = steering.grow(&self.plan.rules(&self.local))
        {
            tracing::error!(event = "reload", %error, "the steering maps did not take every new rule");
        }
        self.sync_addresses(true).await;
        self.refresh_local().await;
        self.steer();
        // That takes a while, for which nothing new is to wait.
        tokio::join!(close(left.0), close(left.1));
        Ok(())
    }

    /// Opens where another configuration would have us listen, while we still listen where we did.
    async fn open_places(
        &self,
        config: &Config,
        tokens: Tokens,
    ) -> Result<(NextMetrics, NextReporting), Deaf> {
        let metrics = self.observe.changed(config.observe.metrics, &self.http_servers())?;
        let reports = config.observe.reports.as_ref();
        match self.reporting.changed(reports, tokens, &self.http_servers()) {
            Ok(reporting) => Ok((metrics, reporting)),
            Err(deaf) => {
                // Somebody may have connected to it.
                close(metrics.flatten().map(|opened| self.observe.begin(opened))).await;
                Err(deaf)
            }
        }
    }

    /// Where we listen over HTTP: what one of them leaves, another may take in the same reload.
    fn http_servers(&self) -> Vec<&Server> {
        self.observe.server().into_iter().chain(self.reporting.server()).collect()
    }
}

/// Those that are opened and not in force yet.
type Logs = (Prepared, PreparedFlows);

/// A configuration that may come into force.
struct New {
    config: Config,
    origin: Origin,
    /// Where the flow log goes now.
    flows_to: Option<LogTarget>,
    /// Where there must be room for what it tells.
    table: Arc<FlowTable>,
}

/// The plan in force, this node's addresses, and those that it has for itself.
type Last = (Arc<Plan>, BTreeSet<IpAddr>, BTreeSet<IpAddr>);

/// The plan after another configuration, what would be steered then, and the log. Takes as long as the configuration is, so it runs off
/// the control thread.
fn prepare(last: &Last, new: New) -> Result<(Arc<Plan>, Rules, Logs, Tokens), String> {
    let (last, local, own) = last;
    let New { config, origin, flows_to, table } = new;
    let mut judge = Judge::new(&config, &origin);
    judge.files();
    if !table.has_accounts() {
        judge.accounts(memory_left());
    }
    judge.sources(own, ephemeral());
    let found = judge.end();
    if found.has_errors() {
        return Err(found.to_string());
    }
    let tokens = tokens(&config)?;
    let flows = PreparedFlows::open(config.observe.flow_log.as_ref(), flows_to.as_ref(), &table)?;
    let logs = (logs::prepare(&config.observe.log)?, flows);
    let mut plan = Plan::clone(last);
    plan.adopt(config).map_err(|e| e.to_string())?;
    let rules = plan.rules(&local_soon(local, &plan));
    steerable(&rules)?;
    Ok((Arc::new(plan), rules, logs, tokens))
}

/// Ends well what is listened to no more.
async fn close(left: Option<Server>) {
    if let Some(left) = left {
        left.close().await;
    }
}

/// The most services or nat servers that the steering maps hold.
const STEERED_MAX: usize = 65_536;

/// Refuses what the steering maps have no room for, before anything is changed.
pub(super) fn steerable(rules: &Rules) -> Result<(), String> {
    let counts = [("addresses of services", rules.services.len()), ("nat servers", rules.nat_servers.len())];
    match counts.into_iter().find(|(_, count)| *count > STEERED_MAX) {
        Some((what, count)) => {
            let held = "with those that still have flows; the steering program holds";
            Err(format!("{count} {what}, {held} {STEERED_MAX}"))
        }
        None => Ok(()),
    }
}
