//! A server dies and comes back, while clients keep asking, each question a new flow.

use std::collections::BTreeMap;
use std::time::Duration;

use super::daemon::Daemon;
use super::ends::{Outcome, Probed, Probes, Tally, now_us};
use super::helper::Helper;
use super::report::Case;
use super::scene::Scene;
use super::service::{Service, Way, server_name};
use super::stop::Step;

/// A question without answer for so long is lost.
const ANSWER_MAX_MS: u64 = 1000;
/// The rest between two questions of one thread of a client.
const REST_MS: u64 = 40;
/// Questions that each client has asked in a phase before the next phase begins.
const QUESTIONS_MIN: usize = 40;
/// How long that may take.
const PHASE_MAX: Duration = Duration::from_secs(10);
/// The first port of the first client's questions.
const PORTS_FIRST: u16 = 10_000;
/// The ports of a client's questions, below those that the kernel chooses for others.
const PORTS: u16 = 5000;

/// What the outage came to.
#[derive(Debug)]
pub(super) struct Outage {
    /// The cases.
    pub(super) cases: Vec<Case>,
    /// What was wrong.
    pub(super) problems: Vec<String>,
    /// From the server's death until the balancer sent nobody there, milliseconds.
    pub(super) noticed_ms: u64,
    /// New flows while the server was dead and known to be, all answered by others.
    pub(super) around: u64,
    /// New flows of the server after it came back.
    pub(super) back: u64,
}

/// When what happened, microseconds of `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, Copy)]
struct Times {
    killed: u64,
    known: u64,
    back: u64,
}

impl Times {
    fn phase(self, at: u64) -> &'static str {
        if at < self.killed {
            "before a server died"
        } else if at < self.back {
            "after a dead server was known to be dead"
        } else {
            "after the server was back"
        }
    }
}

/// Kills server `victim` of servers 1 to `servers.len()` and brings it back. Every server must be in `servers`.
///
/// # Errors
/// When a client cannot work, or the balancer does not notice in time.
pub(super) fn show(
    scene: &Scene<'_>,
    daemon: &mut Daemon<'_>,
    servers: &mut Vec<(u8, Helper)>,
    victim: u8,
) -> Step<Outage> {
    let everybody: Vec<u8> = servers.iter().map(|(number, _)| *number).collect();
    let others: Vec<u8> = everybody.iter().copied().filter(|number| *number != victim).collect();
    let mut clients = Vec::new();
    for service in Service::of_each_mode() {
        clients.push((service, scene.probes(service, questions(service))?));
    }
    let has_answer_by = |probed: &[Probed], number: u8, since: u64| {
        probed.iter().any(|one| one.at_us >= since && one.server() == Some(number))
    };

    await_all(scene, &clients, "answers of every server", |probed| {
        everybody.iter().all(|number| has_answer_by(probed, *number, 0))
    })?;
    let killed = now_us();
    servers.retain(|(number, _)| *number != victim); // dropped is killed
    daemon.await_servers(&others)?;
    let known = now_us();
    await_all(scene, &clients, "questions while a server is dead", |probed| asked_since(probed, known))?;
    servers.push((victim, scene.server(victim)?));
    servers.sort_by_key(|(number, _)| *number);
    daemon.await_servers(&everybody)?;
    let back = now_us();
    await_all(scene, &clients, "answers of the server that came back", |probed| {
        asked_since(probed, back) && has_answer_by(probed, victim, back)
    })?;

    let mut outage = Outage {
        cases: Vec::new(),
        problems: Vec::new(),
        noticed_ms: (known - killed) / 1000,
        around: 0,
        back: 0,
    };
    for (service, client) in clients {
        outage.judge(service, &client.end()?, victim, Times { killed, known, back });
    }
    Ok(outage)
}

impl Outage {
    /// Only what began shortly before the server died, or before the balancer knew, may be lost.
    fn judge(&mut self, service: Service, probed: &[Probed], victim: u8, times: Times) {
        let mut tally = Tally::default();
        probed.iter().for_each(|one| tally.count(&one.outcome));
        let case = Case::new(service, "server-dies", &tally);
        self.problems.extend(case.fault_of_servers());

        let dangerous = times.killed.saturating_sub(ANSWER_MAX_MS * 1000)..times.known;
        let mut lost: BTreeMap<&str, (u32, &str)> = BTreeMap::new();
        for one in probed.iter().filter(|one| !dangerous.contains(&one.at_us)) {
            if let Outcome::Lost(why) | Outcome::Broken(why) = &one.outcome {
                lost.entry(times.phase(one.at_us)).or_insert((0, why)).0 += 1;
            }
        }
        for (phase, (count, why)) in lost {
            self.problems.push(format!("{}: {count} lost or broken {phase}: {why}", case.name));
        }
        let answered = |from: u64, to: u64| {
            let in_time = probed.iter().filter(move |one| (from..to).contains(&one.at_us));
            in_time.filter_map(Probed::server)
        };
        let around = answered(times.known, times.back).filter(|server| *server != victim).count();
        let back = answered(times.back, u64::MAX).filter(|server| *server == victim).count();
        if back == 0 {
            self.problems.push(format!(
                "{}: {} got nothing when it was back",
                case.name,
                server_name(victim)
            ));
        }
        self.around += u64::try_from(around).unwrap_or_default();
        self.back += u64::try_from(back).unwrap_or_default();
        self.cases.push(case);
    }
}

impl Probed {
    /// Who answered.
    fn server(&self) -> Option<u8> {
        match self.outcome {
            Outcome::Answered { server, .. } => Some(server),
            Outcome::Lost(_) | Outcome::Broken(_) => None,
        }
    }
}

/// Each client has ports of its own; the two families never meet.
fn questions(service: Service) -> Probes {
    let place = match service.way {
        Way::Nat => 0,
        Way::Dsr => 1,
        Way::Snat | Way::Translated => 2,
        Way::Ipip | Way::Gue | Way::L7 => 3,
    };
    Probes {
        to: service.listen(),
        protocol: service.protocol,
        port_first: PORTS_FIRST + place * PORTS,
        ports: PORTS,
        timeout_ms: ANSWER_MAX_MS,
        rest_ms: REST_MS,
    }
}

fn asked_since(probed: &[Probed], time: u64) -> bool {
    probed.iter().filter(|one| one.at_us >= time).count() >= QUESTIONS_MIN
}

/// Waits until it holds for what each client was answered.
fn await_all(
    scene: &Scene<'_>,
    clients: &[(Service, Helper)],
    what: &str,
    holds: impl Fn(&[Probed]) -> bool,
) -> Step<()> {
    for (service, client) in clients {
        let what = format!("{what}, by the client of {service}");
        scene.stop.await_true(PHASE_MAX, &what, || Ok(holds(&client.probed())))?;
    }
    Ok(())
}
