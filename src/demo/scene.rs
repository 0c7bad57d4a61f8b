//! What every part of the demo needs, and the ways to start ends in it.

use std::path::PathBuf;
use std::time::Duration;

use ringlead_control::config::HASH_KEY_DEFAULT;

use super::ends::{Job, Probes, Said, Tally, Traffic};
use super::helper::Helper;
use super::lab::{Lab, Node};
use super::service::{Service, server_name};
use super::stop::{Step, Stop};

/// How long one client's traffic may take.
const TRAFFIC_MAX: Duration = Duration::from_secs(30);

/// How long a server may take to listen.
const LISTEN_MAX: Duration = Duration::from_secs(5);

/// Listeners of each service of layer l7.
const LISTENERS: u8 = 4;

/// Where the demo happens.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    /// The namespaces.
    pub(super) lab: &'a Lab,
    /// Whether to stop.
    pub(super) stop: &'a Stop,
    /// This program.
    pub(super) program: PathBuf,
    /// The workers' cores.
    pub(super) cores: Vec<usize>,
}

impl Scene<'_> {
    /// Starts a server and waits until it listens.
    ///
    /// # Errors
    /// When it cannot.
    pub(super) fn server(&self, number: u8) -> Step<Helper> {
        let name = format!("server {}", server_name(number));
        let job = Job::Server { number };
        let mut server = Helper::start(self.lab, &self.program, Node::Server(number), &name, &job)?;
        let ready = |said: &[Said]| said.iter().any(|one| matches!(one, Said::Ready)).then_some(());
        server.await_said(self.stop, LISTEN_MAX, "readiness", ready)?;
        Ok(server)
    }

    /// Starts the listeners of layer l7 on the balancer and waits until they listen.
    ///
    /// # Errors
    /// When they cannot.
    pub(super) fn listeners(&self) -> Step<Helper> {
        let job = Job::Listeners { count: LISTENERS, key: HASH_KEY_DEFAULT };
        let mut listeners = Helper::start(self.lab, &self.program, Node::Balancer, "the listeners", &job)?;
        let ready = |said: &[Said]| said.iter().any(|one| matches!(one, Said::Ready)).then_some(());
        listeners.await_said(self.stop, LISTEN_MAX, "readiness", ready)?;
        Ok(listeners)
    }

    /// Starts a client with traffic.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn traffic(&self, service: Service, traffic: Traffic) -> Step<Helper> {
        let name = format!("the client of {service}");
        Helper::start(self.lab, &self.program, Node::Client, &name, &Job::Traffic(traffic))
    }

    /// Starts a client with questions.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn probes(&self, service: Service, probes: Probes) -> Step<Helper> {
        let name = format!("the client of {service}");
        Helper::start(self.lab, &self.program, Node::Client, &name, &Job::Probes(probes))
    }

    /// Runs clients at the same time to their end and returns what came of each, in their order.
    ///
    /// # Errors
    /// When one fails to work, which is another thing than traffic that fails.
    pub(super) fn run_all(&self, all: impl IntoIterator<Item = (Service, Traffic)>) -> Step<Vec<Tally>> {
        let mut clients = Vec::new();
        for (service, traffic) in all {
            clients.push(self.traffic(service, traffic)?);
        }
        clients.iter_mut().map(|client| client.tally(self.stop, TRAFFIC_MAX)).collect()
    }
}
