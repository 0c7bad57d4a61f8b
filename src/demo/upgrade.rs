//! A second ringlead takes the place of the first under load: no connection breaks. The control: one that was killed and
//! started again has lost the flows that cannot be computed.

use std::time::Duration;

use super::cases::standard;
use super::daemon::{Daemon, TakeOver};
use super::ends::{Said, Traffic};
use super::helper::Helper;
use super::report::Case;
use super::scene::Scene;
use super::service::{Protocol, Service, Way};
use super::stop::{Step, failed};

/// How long connections may take to begin, and to end when told to.
const BEGIN_OR_END_MAX: Duration = Duration::from_secs(10);
/// Connections of each service.
const CONNECTIONS: u16 = 3;
/// The rest of a connection after each chunk, milliseconds.
const REST_MS: u64 = 40;
/// A connection without progress for so long is broken: a segment sent again after a second of silence may come two seconds later.
const PROGRESS_MAX_MS: u64 = 5000;
/// What each new connection sends after the upgrade, bytes.
const NEW_BYTES: u64 = 8 << 10;

/// What the upgrade came to.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// Traffic through it.
    pub(super) cases: Vec<Case>,
    /// The same after a crash instead.
    pub(super) controls: Vec<Case>,
    /// What was wrong.
    pub(super) problems: Vec<String>,
    /// What came over.
    pub(super) took: TakeOver,
}

/// Upgrades the running balancer of these servers while connections by each mode are open, then kills it while connections of
/// snat are.
///
/// # Errors
/// When a client cannot work, or the balancer cannot be replaced.
pub(super) fn show(scene: &Scene<'_>, daemon: &mut Daemon<'_>, servers: &[u8]) -> Step<Upgrade> {
    let held = hold(scene, Service::of_each_mode().filter(by_tcp))?;
    let took = daemon.take_over(servers)?;
    let mut problems = faults_of(&took, held.len());
    let mut cases = Vec::new();
    let services: Vec<Service> = held.iter().map(|(service, _)| *service).collect();
    let after = scene.run_all(services.into_iter().map(|service| {
        let traffic = Traffic { amount: Some(NEW_BYTES), ..standard(service) };
        (service, traffic)
    }))?;
    for ((service, mut client), after) in held.into_iter().zip(after) {
        if client.is_done() {
            return failed(format!("the connections of {service} ended before they were told to"));
        }
        client.tell_to_end();
        let mut tally = client.tally(scene.stop, BEGIN_OR_END_MAX)?;
        tally.add(&after);
        let case = Case::new(service, "upgrade", &tally);
        problems.extend(case.fault());
        cases.push(case);
        client.end()?;
    }
    let controls = crash(scene, daemon, servers)?;
    problems.extend(controls.iter().filter_map(Case::fault_of_crash));
    Ok(Upgrade { cases, controls, problems, took })
}

/// The control. Which server a snat flow has, and by which source port, cannot be computed again.
fn crash(scene: &Scene<'_>, daemon: &mut Daemon<'_>, servers: &[u8]) -> Step<Vec<Case>> {
    let is_snat = |service: &Service| service.way == Way::Snat && by_tcp(service);
    let held = hold(scene, Service::of_each_mode().filter(is_snat))?;
    daemon.kill_and_start(servers)?;
    let tally = |(service, mut client): (Service, Helper)| {
        let tally = client.tally(scene.stop, BEGIN_OR_END_MAX)?;
        client.end()?;
        Ok(Case::new(service, "crash-instead-of-upgrade", &tally))
    };
    held.into_iter().map(tally).collect()
}

/// Connections that go on until they are told to end, all of which have begun.
fn hold(scene: &Scene<'_>, services: impl Iterator<Item = Service>) -> Step<Vec<(Service, Helper)>> {
    let mut held = Vec::new();
    for service in services {
        let traffic = Traffic {
            streams: CONNECTIONS,
            amount: None,
            rest_ms: REST_MS,
            timeout_ms: PROGRESS_MAX_MS,
            ..standard(service)
        };
        held.push((service, scene.traffic(service, traffic)?));
    }
    for (_, client) in &mut held {
        let begun = |said: &[Said]| said.iter().any(|one| matches!(one, Said::Begun)).then_some(());
        client.await_said(scene.stop, BEGIN_OR_END_MAX, "the first answers", begun)?;
    }
    Ok(held)
}

/// What is wrong with a take-over that was to bring the connections of so many services.
fn faults_of(took: &TakeOver, services: usize) -> Vec<String> {
    let mut problems = Vec::new();
    let held = u64::from(CONNECTIONS) * u64::try_from(services).unwrap_or(u64::MAX);
    if took.flows < held {
        problems.push(format!("the upgrade: {} flows came over, {held} connections were open", took.flows));
    }
    if !took.left_out.is_empty() {
        problems.push(format!("the upgrade: flows did not come over: {:?}", took.left_out));
    }
    problems
}

fn by_tcp(service: &Service) -> bool {
    service.protocol == Protocol::Tcp
}
