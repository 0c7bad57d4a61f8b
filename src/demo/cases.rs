//! Traffic with nothing special happening: without ringlead, and with it.

use super::ends::Traffic;
use super::lab::SERVERS;
use super::report::Case;
use super::scene::Scene;
use super::service::{Family, Protocol, Service, Way, client_beside_servers};
use super::stop::{Step, failed};

/// Connections of a TCP case at the same time.
const CONNECTIONS: u16 = 32;
/// Bytes that each sends, and gets back: 4 MiB each way in all.
const CONNECTION_BYTES: u64 = 128 << 10;
/// Sockets of a UDP case, each with one request under way.
const SOCKETS: u16 = 64;
/// Requests of each.
const REQUESTS: u64 = 20;
/// An answer must come within this time.
const ANSWER_MAX_MS: u64 = 3000;
/// Where no answer may come, this is waited for it.
const SILENCE_MS: u64 = 1000;

/// Every service of the demo.
fn shown() -> impl Iterator<Item = Service> {
    Service::all().chain(Service::l7())
}

/// The standard traffic of a case.
pub(super) fn standard(service: Service) -> Traffic {
    let (streams, amount) = match service.protocol {
        Protocol::Tcp => (CONNECTIONS, CONNECTION_BYTES),
        Protocol::Udp => (SOCKETS, REQUESTS),
    };
    Traffic {
        to: service.listen(),
        from: None,
        protocol: service.protocol,
        streams,
        amount: Some(amount),
        timeout_ms: ANSWER_MAX_MS,
        rest_ms: 0,
    }
}

/// The same traffic while there is no balancer, all at once.
///
/// # Errors
/// When a client cannot work.
pub(super) fn controls(scene: &Scene<'_>) -> Step<Vec<Case>> {
    let all = shown().map(|service| {
        let traffic = Traffic { timeout_ms: SILENCE_MS, ..standard(service) };
        (service, traffic)
    });
    let tallies = scene.run_all(all)?;
    let cases = shown().zip(&tallies);
    Ok(cases.map(|(service, tally)| Case::new(service, "without-ringlead", tally)).collect())
}

/// Asks every server directly, around the balancer: silence of the services would mean nothing if nobody served.
///
/// # Errors
/// When a server does not answer.
pub(super) fn ask_directly(scene: &Scene<'_>) -> Step<()> {
    let mut all = Vec::new();
    for service in Service::all().filter(|service| service.way == Way::Nat) {
        for number in 1..=SERVERS {
            let to = service.server(number);
            let from = Some(client_beside_servers(Family::of(to)));
            let traffic = Traffic { to, from, streams: 1, amount: Some(1), ..standard(service) };
            all.push((service, traffic));
        }
    }
    let asked: Vec<_> = all.iter().map(|(_, traffic)| traffic.to).collect();
    for (to, tally) in asked.into_iter().zip(scene.run_all(all)?) {
        if tally.answered != 1 {
            return failed(format!("the server at {to} does not answer: {:?}", tally.errors));
        }
    }
    Ok(())
}

/// One service after the other, with ringlead.
///
/// # Errors
/// When a client cannot work.
pub(super) fn plain(scene: &Scene<'_>) -> Step<Vec<Case>> {
    shown()
        .map(|service| {
            let tally = scene.run_all([(service, standard(service))])?.remove(0);
            Ok(Case::new(service, "", &tally))
        })
        .collect()
}
