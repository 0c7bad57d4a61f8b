//! What moved from one run to another, flow by flow.

use super::file::Before;
use ringlead_report::{Metric, Report, Row, Unit};
use ringlead_traffic::Assignment;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

/// A server's flows in both runs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ServerFlows {
    /// Flows before.
    pub before: u64,
    /// Flows now.
    pub now: u64,
}

/// Two runs' assignments beside each other. A server that had flows and has none has left, one that had none has come.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Comparison {
    /// Flows that both runs know: the same client and service.
    pub flows: u64,
    /// Flows of the earlier run alone.
    pub only_before: u64,
    /// Flows of this run alone.
    pub only_now: u64,
    /// Of [`flows`](Self::flows), those that have the server that they had.
    pub kept: u64,
    /// Those whose server has left.
    pub moved_as_server_left: u64,
    /// Those that left a server that is still there for one that has come.
    pub moved_to_new_server: u64,
    /// Those that moved between servers which were and are there.
    pub moved_besides: u64,
    /// Client addresses of [`flows`](Self::flows).
    pub clients: u64,
    /// Of these, those with a flow that moved.
    pub clients_that_notice: u64,
    /// Flows by server, of both runs.
    pub servers: BTreeMap<String, ServerFlows>,
}

/// Compares what is with what was.
pub fn compare<'a>(before: &Before, now: impl Iterator<Item = Assignment<'a>> + Clone) -> Comparison {
    let mut found = Comparison::default();
    for (server, flows) in before.servers.iter().zip(before.flows_by_server()) {
        found.servers.entry(server.clone()).or_default().before = flows;
    }
    for one in now.clone() {
        match found.servers.get_mut(one.server) {
            Some(flows) => flows.now += 1,
            None => {
                found.servers.insert(one.server.to_owned(), ServerFlows { before: 0, now: 1 });
            }
        }
    }
    let (mut clients, mut notice): (HashSet<IpAddr>, HashSet<IpAddr>) = Default::default();
    for one in now {
        let was = before.server(one.client, &one.service.to_string());
        let Some(was) = was.and_then(|was| before.servers.get(usize::from(was))) else {
            found.only_now += 1;
            continue;
        };
        found.flows += 1;
        clients.insert(one.client.ip());
        if was == one.server {
            found.kept += 1;
            continue;
        }
        notice.insert(one.client.ip());
        let has_left = found.servers.get(was).is_some_and(|flows| flows.now == 0);
        let is_new = found.servers.get(one.server).is_some_and(|flows| flows.before == 0);
        *(match (has_left, is_new) {
            (true, _) => &mut found.moved_as_server_left,
            (false, true) => &mut found.moved_to_new_server,
            (false, false) => &mut found.moved_besides,
        }) += 1;
    }
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    found.only_before = count(before.len()).saturating_sub(found.flows);
    (found.clients, found.clients_that_notice) = (count(clients.len()), count(notice.len()));
    found
}

/// Adds a row of the shares, and everything as `assignments`.
///
/// # Errors
/// Never in practice: when the comparison cannot be written as JSON.
pub fn add(report: &mut Report, found: &Comparison) -> serde_json::Result<()> {
    report.results.push(row(found));
    report.extra.insert("assignments".to_owned(), serde_json::to_value(found)?);
    if found.only_before + found.only_now > 0 {
        report.warnings.push(format!(
            "{} flows of the earlier run and {} of this one have no counterpart and were not compared",
            found.only_before, found.only_now
        ));
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "shares of counts")]
fn row(found: &Comparison) -> Row {
    let percent = |part: u64, of: u64| part as f64 * 100.0 / of.max(1) as f64;
    let share = |part: u64| Metric::less(percent(part, found.flows), Unit::Percent);
    Row::new("assignments")
        .metric("flows", Metric::neutral(found.flows as f64, Unit::Count))
        .metric("kept", Metric::more(percent(found.kept, found.flows), Unit::Percent))
        .metric("moved-as-server-left", share(found.moved_as_server_left))
        .metric("moved-to-new-server", share(found.moved_to_new_server))
        .metric("moved-besides", share(found.moved_besides))
        .metric(
            "clients-that-notice",
            Metric::less(percent(found.clients_that_notice, found.clients), Unit::Percent),
        )
}

#[cfg(test)]
mod tests {
    use super::super::file::of;
    use super::*;
    use ringlead_traffic::Service;
    use ringlead_wire::Protocol;

    fn against(before: &str, now: &[(&str, &str)]) -> Comparison {
        let service = Service { address: "10.9.0.1:80".parse().unwrap(), protocol: Protocol::Udp };
        let lines = before.split_whitespace().map(|line| line.split_once('=').unwrap());
        let lines: String = lines.map(|(client, server)| format!("{client},{service},{server}\n")).collect();
        let before = of(&format!("client,service,server\n{lines}")).unwrap();
        let now = now.iter().map(|(client, server)| Assignment {
            client: client.parse().unwrap(),
            service,
            server,
        });
        compare(&before, now)
    }

    #[test]
    fn a_server_that_left_its_flows_and_others() {
        let before = "1.0.0.1:1=a 1.0.0.1:2=b 1.0.0.2:1=c 1.0.0.2:2=c 1.0.0.3:1=a 1.0.0.9:1=a";
        let now = [
            ("1.0.0.1:1", "a"),
            ("1.0.0.1:2", "a"), // its server is gone
            ("1.0.0.2:1", "d"), // a server has come
            ("1.0.0.2:2", "c"),
            ("1.0.0.3:1", "c"), // for no reason
            ("1.0.0.4:1", "a"), // was not there
        ];
        let found = against(before, &now);
        assert_eq!((found.flows, found.only_before, found.only_now, found.kept), (5, 1, 1, 2));
        assert_eq!((found.moved_as_server_left, found.moved_to_new_server, found.moved_besides), (1, 1, 1));
        assert_eq!((found.clients, found.clients_that_notice), (3, 3));
        let flows = |name: &str| (found.servers[name].before, found.servers[name].now);
        assert_eq!([flows("a"), flows("b"), flows("c"), flows("d")], [(3, 3), (1, 0), (2, 2), (0, 1)]);
        let row = row(&found);
        assert_eq!(row.metrics["kept"].value, 40.0);
    }

    #[test]
    fn the_same_is_the_same() {
        let found = against("1.0.0.1:1=a 1.0.0.1:2=b", &[("1.0.0.1:1", "a"), ("1.0.0.1:2", "b")]);
        assert_eq!((found.kept, found.flows, found.clients_that_notice), (2, 2, 0));
    }
}
