//! The product shown at work: a lab of network namespaces, this program as its balancer on AF_XDP, real traffic by the
//! kernel's sockets, and a report of what came of it. See README.md.

mod cases;
mod daemon;
mod ends;
mod growth;
mod helper;
mod lab;
mod outage;
mod report;
mod scene;
mod service;
mod settings;
mod stop;
mod upgrade;

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use nix::sys::utsname::uname;
use nix::unistd::geteuid;

use crate::cli::{DemoArgs, DemoEndArgs};
use crate::out;
use daemon::Daemon;
use lab::{Lab, Node, SERVERS};
use report::{Environment, Moved, PortMode, Report};
use scene::Scene;
use stop::{During, Step, Stop, Trouble};

/// Exit status when it was asked to stop, as a shell has it for SIGINT.
const STOPPED: u8 = 130;
/// Exit status when it cannot even begin.
const REFUSED: u8 = 2;

/// The server that a reload adds.
const ADDED: u8 = 3;
/// The server that dies.
const VICTIM: u8 = 2;

/// Workers, and queues of each port, where there are cores enough.
const WORKERS_MAX: usize = 2;

/// Shows it all: builds a lab, runs the cases, prints the report and leaves nothing behind.
///
/// Exit status 0: all as it should be; 1: not; 2: not root; 130: stopped by SIGINT, SIGTERM or SIGHUP.
pub(crate) fn run(args: &DemoArgs) -> ExitCode {
    if !geteuid().is_root() {
        complain(
            "root is needed: the demo makes network namespaces and loads XDP programs into them. Try with sudo.",
        );
        return ExitCode::from(REFUSED);
    }
    let begin = Instant::now();
    let only_json = args.json.as_deref().is_some_and(|path| path == "-");
    let beside = args.json.as_deref().filter(|_| !only_json).map(|path| (path, File::create(path)));
    if let Some((path, Err(error))) = &beside {
        complain(&format!("{}: {error}", path.display()));
        return ExitCode::from(REFUSED);
    }
    let mut report = Report::default();
    let story = Story { told: !only_json };
    match show(&story, &mut report) {
        Ok(()) => {}
        Err(Trouble::Stopped) => {
            complain("stopped; nothing is left behind");
            return ExitCode::from(STOPPED);
        }
        Err(Trouble::Failed(text)) => report.problems.push(text),
    }
    report.seconds = begin.elapsed().as_secs_f64();
    report.ok = report.problems.is_empty() && !report.cases.is_empty();
    let json = report.to_json().unwrap_or_default();
    let mut written = true;
    if let Some((path, Ok(mut file))) = beside
        && let Err(error) = writeln!(file, "{json}")
    {
        complain(&format!("{}: {error}", path.display()));
        written = false;
    }
    let text = if only_json { json } else { report.to_text() };
    out::line(&text);
    if report.ok && written { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One end of the demo's traffic, until its job is done.
pub(crate) fn end(args: &DemoEndArgs) -> ExitCode {
    ends::work(&args.job)
}

/// Builds the lab, plays in it, and removes it whatever happened.
fn show(story: &Story, report: &mut Report) -> Step<()> {
    let stop = Stop::on_signals().during("listen to signals")?;
    let mut cores: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    cores.truncate(WORKERS_MAX);
    story.tell("Building a lab of network namespaces: a client, a balancer, a switch and three servers.");
    let lab = Lab::new(cores.len().max(1))?;
    let program = std::env::current_exe().during("find this program")?;
    let played = play(&Scene { lab: &lab, stop: &stop, program, cores }, story, report);
    match (played, lab.remove()) {
        (Err(Trouble::Failed(first)), Err(Trouble::Failed(second))) => {
            stop::failed(format!("{first}\n{second}"))
        }
        (_, Err(left)) => Err(left), // worse than having been stopped
        (played, Ok(())) => played,
    }
}

/// The story, in order. What is wrong with traffic goes to the report; an error is what keeps the demo from going on.
fn play(scene: &Scene<'_>, story: &Story, report: &mut Report) -> Step<()> {
    scene.stop.check()?;
    report.environment = environment(scene)?;
    report.environment.xdp_sockets.before = scene.lab.xdp_sockets()?;
    let mut servers = Vec::new();
    for number in 1..=SERVERS {
        servers.push((number, scene.server(number)?));
    }
    let listeners = scene.listeners()?;
    story.tell(
        "Without ringlead: the servers answer when asked directly. Now the services, which must not answer.",
    );
    cases::ask_directly(scene)?;
    report.controls = cases::controls(scene)?;
    report.problems.extend(report.controls.iter().filter_map(report::Case::fault_of_control));

    let old: Vec<u8> = (1..=SERVERS).filter(|number| *number != ADDED).collect();
    story.tell("Starting ringlead with two servers, s1 and s2, and 26 services: nat, dsr, snat, snat between IPv4 and\n  \
         IPv6, tunnels of IPIP and of GUE, each for IPv4 and IPv6 clients, TCP and UDP; and two of layer l7, left to\n  \
         listeners on the balancer, beside nat on its addresses.");
    let mut daemon = Daemon::start(scene, &old)?;
    report.environment.xdp_sockets.running = scene.lab.xdp_sockets()?;
    let shown = with_daemon(scene, story, report, &mut daemon, &mut servers);
    daemon.check()?; // or its death would be told as what became of somebody's traffic
    shown?;
    story.tell("Stopping ringlead and removing the lab.");
    daemon.stop()?;
    for (_, server) in servers {
        report.environment.unwrapped.add(&server.unwrapped()?);
    }
    listeners.end()?;
    report.environment.xdp_sockets.after = scene.lab.xdp_sockets()?;
    judge_environment(report);
    Ok(())
}

/// What is shown while the balancer runs.
fn with_daemon(
    scene: &Scene<'_>,
    story: &Story,
    report: &mut Report,
    daemon: &mut Daemon<'_>,
    servers: &mut Vec<(u8, helper::Helper)>,
) -> Step<()> {
    story.tell("Sending traffic through each service: several MB both ways by TCP, 1280 requests by UDP.");
    report.cases = cases::plain(scene)?;
    report.problems.extend(report.cases.iter().filter_map(report::Case::fault));
    if report.cases.iter().all(|case| case.answered == 0) {
        return stop::failed("nothing was answered; the rest is left out");
    }
    story.tell("Adding s3 by a reload while long transfers run, by each mode.");
    let old: Vec<u8> = servers.iter().map(|(number, _)| *number).filter(|number| *number != ADDED).collect();
    let (cases, problems) = growth::show(scene, daemon, &old, ADDED)?;
    report.cases.extend(cases);
    report.problems.extend(problems);
    story.tell("The transfers went on byte by byte, and s3 serves new flows. Now s2 dies, and comes back.");
    let outage = outage::show(scene, daemon, servers, VICTIM)?;
    report.cases.extend(outage.cases);
    report.problems.extend(outage.problems);
    story.tell(&format!(
        "After {} ms ringlead sent nobody new to s2: the next {} flows were answered by s1 and s3.\n  Back again, s2 \
         answered {} new flows.",
        outage.noticed_ms, outage.around, outage.back
    ));
    watch(daemon, report)?; // a successor counts anew
    story.tell("Upgrading it: a second ringlead takes over while connections by each mode are open.");
    let all: Vec<u8> = servers.iter().map(|(number, _)| *number).collect();
    let upgrade = upgrade::show(scene, daemon, &all)?;
    report.cases.extend(upgrade.cases);
    report.controls.extend(upgrade.controls);
    report.problems.extend(upgrade.problems);
    story.tell(&format!(
        "{} flows came over and nobody forwarded for {:.0} ms; no connection broke. Killed and started again instead,\n  \
         it loses connections of snat.",
        upgrade.took.flows, upgrade.took.gap_ms
    ));
    Ok(())
}

/// What there is before ringlead starts.
fn environment(scene: &Scene<'_>) -> Step<Environment> {
    let number = |file: &str| -> Step<u64> { scene.lab.read(Node::Balancer, file)?.parse().during(file) };
    let kernel = uname().during("ask for the kernel's release")?;
    Ok(Environment {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: kernel.release().to_string_lossy().into_owned(),
        cores: scene.cores.clone(),
        ip_forward: [
            number("/proc/sys/net/ipv4/ip_forward")?,
            number("/proc/sys/net/ipv6/conf/all/forwarding")?,
        ],
        ..Environment::default()
    })
}

/// What ringlead says of itself after all traffic.
fn watch(daemon: &Daemon<'_>, report: &mut Report) -> Step<()> {
    let status = daemon.status()?;
    let environment = &mut report.environment;
    environment.ports = (status.ports.into_iter())
        .map(|port| PortMode {
            name: port.name,
            device: port.device,
            mode: port.mode,
            rx_lost: port.queues.iter().map(|queue| queue.rx_lost).sum(),
        })
        .collect();
    environment.services = (status.services.into_iter())
        .filter(|service| service.layer == "l4")
        .map(|moved| Moved { name: moved.name, packets_in: moved.packets_in, packets_out: moved.packets_out })
        .collect();
    environment.drops = status.drops;
    Ok(())
}

/// Whether it was AF_XDP in the driver that moved the frames, and nothing else.
fn judge_environment(report: &mut Report) {
    let Environment { ports, xdp_sockets, ip_forward, services, unwrapped, .. } = &report.environment;
    let mut problems = Vec::new();
    for port in ports.iter().filter(|port| !port.mode.contains("native")) {
        problems.push(format!("port {} is driven as '{}', not native", port.name, port.mode));
    }
    if xdp_sockets.before != 0 || xdp_sockets.running == 0 || xdp_sockets.after != 0 {
        problems.push(format!("these are not the XDP sockets of one balancer: {xdp_sockets:?}"));
    }
    if *ip_forward != [0, 0] {
        problems.push("the balancer's kernel forwards by itself".to_owned());
    }
    for service in service::Service::all() {
        let name = service.to_string();
        let seen = services.iter().find(|moved| moved.name == name);
        let replies = |moved: &Moved| !service.way.translates() || moved.packets_out > 0;
        if !seen.is_some_and(|moved| moved.packets_in > 0 && replies(moved)) {
            problems.push(format!("ringlead counted no frames of {name}"));
        }
    }
    let (ipip, gue) = (unwrapped.ipip, unwrapped.gue);
    if [ipip.v4_in_v4, ipip.v6_in_v6, gue.v4_in_v6, gue.v6_in_v4].contains(&0) {
        problems.push(format!("nothing came in one of the tunnels: {unwrapped:?}"));
    }
    report.problems.extend(problems);
}

/// What a person is told while it happens.
struct Story {
    told: bool,
}

impl Story {
    fn tell(&self, text: &str) {
        if self.told {
            out::line(&format!("- {text}"));
        }
    }
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "ringlead demo: {text}");
}
