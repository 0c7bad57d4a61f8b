//! A reload adds a server while long transfers run: none breaks, and the new server gets its share.

use std::time::{Duration, Instant};

use super::cases::standard;
use super::daemon::Daemon;
use super::ends::{Said, Traffic};
use super::report::Case;
use super::scene::Scene;
use super::service::{Protocol, Service, server_name};
use super::stop::{Step, failed};

/// How long the long transfers may take to begin, and to end when told to.
const BEGIN_OR_END_MAX: Duration = Duration::from_secs(10);

/// How long the long transfers go on at least, the reload included.
const LASTING: Duration = Duration::from_secs(4);

/// The rest of a long transfer after each chunk or request, milliseconds.
const REST_MS: u64 = 40;

/// Adds server `new` to `old` in the running balancer. Returns the cases and what was wrong.
///
/// # Errors
/// When a client cannot work or the reload fails.
pub(super) fn show(
    scene: &Scene<'_>,
    daemon: &mut Daemon<'_>,
    old: &[u8],
    new: u8,
) -> Step<(Vec<Case>, Vec<String>)> {
    let mut long = Vec::new();
    for service in Service::of_each_mode() {
        long.push((service, scene.traffic(service, until_told(service))?));
    }
    for (_, client) in &mut long {
        let begun = |said: &[Said]| said.iter().any(|one| matches!(one, Said::Begun)).then_some(());
        client.await_said(scene.stop, BEGIN_OR_END_MAX, "the first answers", begun)?;
    }
    let begin = Instant::now();
    let all: Vec<u8> = old.iter().copied().chain([new]).collect();
    daemon.reload(&all)?;
    let mut after = Vec::new();
    for service in Service::of_each_mode() {
        after.extend(scene.run_all([(service, new_flows(service))])?);
    }
    scene.stop.await_true(LASTING * 2, "the long transfers", || Ok(begin.elapsed() >= LASTING))?;

    let (mut cases, mut problems) = (Vec::new(), Vec::new());
    for ((service, mut client), after) in long.into_iter().zip(after) {
        if client.is_done() {
            return failed(format!("the long transfers of {service} ended before they were told to"));
        }
        client.tell_to_end();
        let mut tally = client.tally(scene.stop, BEGIN_OR_END_MAX)?;
        if let Some(stranger) = tally.servers.keys().find(|number| !old.contains(number)) {
            problems
                .push(format!("{service}: a transfer begun before the reload was answered by s{stranger}"));
        }
        if !after.servers.contains_key(&new) {
            problems.push(format!("{service}: the new server {} got nothing", server_name(new)));
        }
        tally.add(&after);
        let case = Case::new(service, "reload-adds-server", &tally);
        problems.extend(case.fault());
        cases.push(case);
        client.end()?;
    }
    Ok((cases, problems))
}

/// A few streams that go on until they are told to end. All services have theirs at the same time, so each is slow: a
/// machine of two cores, which is also every client and every server here, shall not lose UDP by being overrun.
fn until_told(service: Service) -> Traffic {
    let streams = if service.protocol == Protocol::Tcp { 3 } else { 16 };
    Traffic { streams, amount: None, rest_ms: REST_MS, ..standard(service) }
}

/// Enough new flows that a new server gets some of them, with little in each.
fn new_flows(service: Service) -> Traffic {
    let amount = if service.protocol == Protocol::Tcp { 8 << 10 } else { 5 };
    Traffic { amount: Some(amount), ..standard(service) }
}
