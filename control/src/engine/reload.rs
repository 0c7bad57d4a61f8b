//! SIGHUP: another configuration, taken over whole or not at all.

use super::addresses::local_soon;
use super::health::check_files;
use super::publish::drop_elsewhere;
use super::reporting::tokens;
use super::routes::Ask;
use super::start::names;
use super::{Engine, monotonic};
use crate::config::{self, Config, needs_restart};
use crate::http::Server;
use crate::logs::{self, Prepared, PreparedFlows};
use crate::plan::Plan;
use crate::reports::Tokens;
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
            Ok(()) => self.load_and_adopt().await,
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

    async fn load_and_adopt(&mut self) -> Result<(), String> {
        let path = self.config_path.clone();
        let loaded = tokio::task::spawn_blocking(move || config::load_whole(&path)).await;
        let loaded = loaded.map_err(|e| e.to_string())?.map_err(|diagnostics| diagnostics.to_string())?;
        for warning in loaded.warnings {
            tracing::warn!(event = "reload", "{warning}");
        }
        self.adopt(loaded.config, loaded.effective.into()).await
    }

    /// Grow: source addresses → snapshot → acknowledged → neighbours → maps → addresses. Then shrink: addresses → maps.
    pub(super) async fn take_over(&mut self, config: Config) -> Result<(), String> {
        let restart = needs_restart(self.plan.config(), &config);
        if !restart.is_empty() {
            return Err(format!(
                "these need a restart, and nothing else was applied either: {}",
                restart.join(", ")
            ));
        }
        self.check_sources(&config).await?;
        let metrics = self.observe.changed(config.observe.metrics, &self.http_servers())?;
        let (last, local) = (Arc::clone(&self.plan), self.local.clone());
        let prepared = tokio::task::spawn_blocking(move || prepare(&last, config, &local)).await;
        let (plan, rules, (log, flows), tokens) = prepared.map_err(|e| e.to_string())??;
        let reporting =
            self.reporting.changed(plan.config().observe.reports.as_ref(), tokens, &self.http_servers())?;
        if let Some(steering) = &mut self.node.steering {
            steering.fits(&rules).map_err(|e| e.to_string())?;
        }
        logs::adopt(log);
        self.flow_log.adopt(flows, || names(&plan));
        drop_elsewhere((std::mem::replace(&mut self.plan, plan), rules));
        self.observe.adopt(metrics).await;
        self.reporting.adopt(reporting).await;
        self.note_new_services();
        self.note_said().await;
        self.resolve_routes(Ask::New).await;
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
        Ok(())
    }
}

impl Engine {
    /// Where we listen over HTTP: what one of them leaves, another may take in the same reload.
    fn http_servers(&self) -> Vec<&Server> {
        self.observe.server().into_iter().chain(self.reporting.server()).collect()
    }
}

/// Those that are opened and not in force yet.
type Logs = (Prepared, PreparedFlows);

/// The plan after another configuration, what would be steered then, and the log. Takes as long as the configuration is, so it runs off
/// the control thread.
fn prepare(
    last: &Plan,
    config: Config,
    local: &BTreeSet<IpAddr>,
) -> Result<(Arc<Plan>, Rules, Logs, Tokens), String> {
    check_files(&config)?;
    let tokens = tokens(&config)?;
    let logs = (logs::prepare(&config.observe.log)?, PreparedFlows::open(config.observe.flow_log.as_ref())?);
    let mut plan = last.clone();
    plan.adopt(config).map_err(|e| e.to_string())?;
    let rules = plan.rules(&local_soon(local, &plan));
    steerable(&rules)?;
    Ok((Arc::new(plan), rules, logs, tokens))
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
