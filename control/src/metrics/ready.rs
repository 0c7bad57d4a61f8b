//! Whether the node can serve what it is there for.

use crate::engine::status::{ServiceStatus, Status};

/// Why it cannot or shall not, a line each; none when it has started, does not drain, and every service has at least the servers
/// that its pool needs.
///
/// Backups count, as they serve. A service of layer l7 needs a socket of this node that listens.
#[must_use]
pub fn unready(status: &Status) -> Vec<String> {
    if !status.ready {
        return vec!["still starting".to_owned()];
    }
    let lacks = status.services.iter().filter_map(|service| lacks(status, service));
    drains(status).into_iter().chain(lacks).collect()
}

/// The operator's word, for what leads traffic here.
fn drains(status: &Status) -> Option<String> {
    let said = status.node_said.as_ref()?;
    let reason = said.reason.as_ref().map(|reason| format!(": {reason}"));
    Some(format!("the node drains{}", reason.unwrap_or_default()))
}

fn lacks(status: &Status, service: &ServiceStatus) -> Option<String> {
    let name = &service.name;
    if service.listening == Some(false) {
        return Some(format!("service {name}: nothing on this node listens where it does"));
    }
    let pool = status.pools.iter().find(|pool| pool.name == service.pool)?;
    let needed = pool.min_servers.min(pool.servers.len());
    let eligible = service.servers_eligible;
    (eligible < needed).then(|| {
        format!(
            "service {name}: {eligible} of {} servers of pool {} take flows, {needed} needed",
            service.servers, pool.name
        )
    })
}
