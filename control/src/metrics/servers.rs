//! Pools, servers and next hops.

use super::exposition::Page;
use super::figures::Figures;
use crate::engine::status::{PoolStatus, ServerStatus};
use std::fmt;

/// What the operator wants, then what the checks say: of each one holds.
const STATES: [&str; 8] = ["ready", "drain", "offline", "closed", "up", "down", "unknown", "unchecked"];

pub(super) fn write(figures: &Figures, page: &mut Page<'_, '_>) -> fmt::Result {
    let states = each(figures).flat_map(|(pool, server)| {
        STATES.map(|state| {
            let holds = server.operator == state || server.health == state;
            let labels = [("pool", pool.name.as_str()), ("server", server.name.as_str()), ("state", state)];
            (labels, u64::from(holds))
        })
    });
    let help = "1 for the operator's state (ready, drain, offline, closed) and for that of the checks (up, down, unknown, unchecked).";
    page.gauges("ringlead_server_state", help, states)?;
    let help = "Whether new flows may go there.";
    page.gauges("ringlead_server_eligible", help, of_each(figures, |server| u64::from(server.eligible)))?;
    let flows = of_each(figures, |server| u64::try_from(server.flows).unwrap_or(0));
    page.gauges("ringlead_server_flows", "Flows of now.", flows)?;
    let help = "The weight of now: less than the configured one while a server starts slowly.";
    page.gauges("ringlead_server_weight", help, of_each(figures, |server| server.weight_now))?;
    let help = "For how long good checks do not bring it up yet, because it has come and gone too often; 0: they do.";
    let held = of_each(figures, |server| server.held_s.unwrap_or_default());
    page.gauges("ringlead_server_flap_hold_seconds", help, held)?;
    pools(figures, page)?;
    let [resolved, unresolved] = figures.next_hops;
    let hops = [([("state", "resolved")], resolved), ([("state", "unresolved")], unresolved)];
    page.gauges("ringlead_next_hops", "Next hops of servers, by whether the Ethernet address is known.", hops)
}

fn pools(figures: &Figures, page: &mut Page<'_, '_>) -> fmt::Result {
    let of_pools = |get: fn(&PoolStatus) -> u64| {
        figures.status.pools.iter().map(move |pool| ([("pool", pool.name.as_str())], get(pool)))
    };
    let help = "Whether fewer servers that are no backups may get flows than min-servers says.";
    page.gauges("ringlead_pool_below_min_servers", help, of_pools(|pool| u64::from(pool.below_min_servers)))?;
    let help = "Whether backup servers get flows.";
    page.gauges("ringlead_pool_backups_in_use", help, of_pools(|pool| u64::from(pool.backups_in_use)))?;
    let help = "Servers that their checks and agents find up, whatever an operator or a panic makes of that.";
    page.gauges("ringlead_pool_servers_up", help, of_pools(|pool| pool.servers_up as u64))?;
    let help = "Whether most servers look dead, and new flows go where the pool's panic says.";
    page.gauges("ringlead_pool_panic", help, of_pools(|pool| u64::from(pool.panic.is_some())))
}

fn each(figures: &Figures) -> impl Iterator<Item = (&PoolStatus, &ServerStatus)> {
    figures.status.pools.iter().flat_map(|pool| pool.servers.iter().map(move |server| (pool, server)))
}

/// A number of each server.
fn of_each<V>(
    figures: &Figures,
    get: fn(&ServerStatus) -> V,
) -> impl Iterator<Item = ([(&'static str, &str); 2], V)> {
    each(figures).map(move |(pool, server)| {
        ([("pool", pool.name.as_str()), ("server", server.name.as_str())], get(server))
    })
}
