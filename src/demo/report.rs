//! What happened: as a table for people, as one object for programs.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, TableComponent, presets};
use serde::Serialize;

use super::ends::{Tally, Unwrapped};
use super::service::{Family, Mode, Protocol, Service, Way, server_name};

/// What came of the traffic of one case. What is counted are connections (TCP) and requests (UDP).
#[derive(Debug, Clone, Serialize)]
pub(super) struct Case {
    /// The service's name, and what happened meanwhile.
    pub(super) name: String,
    mode: Mode,
    family: Family,
    protocol: Protocol,
    /// Begun.
    pub(super) sent: u64,
    /// Answered, every byte as sent.
    pub(super) answered: u64,
    /// Bytes of what was answered, both ways.
    bytes: u64,
    /// The servers that answered; of layer l7 the listeners.
    pub(super) servers: Vec<String>,
    /// Not answered at all.
    lost: u64,
    /// Answered and then broken, or not as sent.
    broken: u64,
    #[serde(skip)]
    errors: Vec<String>,
}

impl Case {
    /// The case of a service's traffic. `happened` is what the name says more than the service's; may be empty.
    pub(super) fn new(service: Service, happened: &str, tally: &Tally) -> Self {
        let separator = if happened.is_empty() { "" } else { "-" };
        Self {
            name: format!("{service}{separator}{happened}"),
            mode: service.way.mode(),
            family: service.family,
            protocol: service.protocol,
            sent: tally.sent,
            answered: tally.answered,
            bytes: tally.bytes,
            servers: tally.servers.keys().map(|number| who(service, *number)).collect(),
            lost: tally.lost,
            broken: tally.broken,
            errors: tally.errors.clone(),
        }
    }

    /// What is wrong with it, where nothing may be lost and at least two servers have their share.
    pub(super) fn fault(&self) -> Option<String> {
        let Self { name, sent, answered, lost, broken, .. } = self;
        let fault = if *sent == 0 || *lost + *broken > 0 || answered != sent {
            format!("{name}: {answered} of {sent} answered, {lost} lost, {broken} broken")
        } else {
            self.fault_of_servers()?
        };
        Some(self.errors.iter().fold(fault, |text, error| text + "; " + error))
    }

    /// What is wrong with its servers: fewer than two answered.
    pub(super) fn fault_of_servers(&self) -> Option<String> {
        let few = self.servers.len() < 2;
        few.then(|| format!("{}: answered by {:?} only", self.name, self.servers))
    }

    /// What is wrong with it as a negative control: that anything answered.
    pub(super) fn fault_of_control(&self) -> Option<String> {
        let silent = self.sent > 0 && self.answered == 0 && self.broken == 0;
        let Self { name, sent, answered, .. } = self;
        (!silent).then(|| format!("{name}: {answered} of {sent} answered without a balancer"))
    }

    /// What is wrong with it as the control of an upgrade: that not every connection broke.
    pub(super) fn fault_of_crash(&self) -> Option<String> {
        let Self { name, sent, broken, .. } = self;
        let all = *sent > 0 && broken == sent;
        (!all).then(|| format!("{name}: {broken} of {sent} broken although their flows were lost"))
    }
}

/// Who answers by this number.
fn who(service: Service, number: u8) -> String {
    if service.way == Way::L7 { format!("listener {number}") } else { server_name(number) }
}

/// Where it happened, and what shows that it was AF_XDP.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Environment {
    /// ringlead's version.
    pub(super) version: String,
    /// The kernel's release.
    pub(super) kernel: String,
    /// Cores of the workers.
    pub(super) cores: Vec<usize>,
    /// How the balancer's ports were driven, as it says itself.
    pub(super) ports: Vec<PortMode>,
    /// AF_XDP sockets in the balancer's namespace, as the kernel counts them.
    pub(super) xdp_sockets: XdpSockets,
    /// The balancer's namespace: whether its kernel forwards, IPv4 and IPv6.
    pub(super) ip_forward: [u64; 2],
    /// Frames that ringlead sent on, by its own count.
    pub(super) services: Vec<Moved>,
    /// Frames that ringlead dropped, by reason.
    pub(super) drops: std::collections::BTreeMap<String, u64>,
    /// Packets that servers took out of tunnels, by their own count; a server that died took its count along.
    pub(super) unwrapped: Unwrapped,
}

/// A port and how it is driven.
#[derive(Debug, Clone, Serialize)]
pub(super) struct PortMode {
    /// Its name.
    pub(super) name: String,
    /// Its network interface.
    pub(super) device: String,
    /// `af-xdp native copy`, for example.
    pub(super) mode: String,
    /// Frames lost because a receive ring was full.
    pub(super) rx_lost: u64,
}

/// AF_XDP sockets before, with and after a running ringlead.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct XdpSockets {
    /// Before it started.
    pub(super) before: u64,
    /// While it ran.
    pub(super) running: u64,
    /// After it ended.
    pub(super) after: u64,
}

/// Frames of a service.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Moved {
    /// The service's name.
    pub(super) name: String,
    /// From clients to servers.
    pub(super) packets_in: u64,
    /// From servers to clients; none where servers answer around the balancer (dsr, tunnel).
    pub(super) packets_out: u64,
}

/// Everything.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Report {
    /// Whether all was as it should be.
    pub(super) ok: bool,
    /// What was not.
    pub(super) problems: Vec<String>,
    /// Traffic through ringlead.
    pub(super) cases: Vec<Case>,
    /// The same traffic without ringlead.
    pub(super) controls: Vec<Case>,
    /// Where it happened.
    pub(super) environment: Environment,
    /// How long it took.
    pub(super) seconds: f64,
}

impl Report {
    /// As one JSON object.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub(super) fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// As text.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        if !self.controls.is_empty() {
            let _ = writeln!(
                text,
                "\nThe same traffic with ringlead stopped; at the end, killed and started again instead of upgraded:\n{}",
                table(&self.controls)
            );
        }
        if !self.cases.is_empty() {
            let _ = writeln!(
                text,
                "\nTraffic through ringlead. Counted are connections (tcp) and requests (udp); answered means that \
                 every byte\ncame back as sent (tcp: SHA-256 of both directions). Only where a server dies may \
                 anything be lost.\n{}",
                table(&self.cases)
            );
        }
        if !self.environment.services.is_empty() {
            let _ = writeln!(
                text,
                "\nFrames that ringlead moved (servers of dsr and tunnel services answer around it):\n{}",
                self.frames()
            );
            let _ = writeln!(text, "\n{}", self.facts());
        }
        for problem in &self.problems {
            let _ = writeln!(text, "PROBLEM: {problem}");
        }
        let word =
            if self.ok { "All as it should be, and nothing is left behind" } else { "NOT as it should be" };
        let _ = writeln!(text, "\n{word}: {} cases in {:.0} s.", self.cases.len(), self.seconds);
        text
    }

    fn frames(&self) -> Table {
        let mut table = plain(&["service", "from clients", "from servers"]);
        for moved in &self.environment.services {
            table.add_row([moved.name.clone(), grouped(moved.packets_in), grouped(moved.packets_out)]);
        }
        align(table, &[1, 2])
    }

    /// What shows that it was AF_XDP and nothing else.
    fn facts(&self) -> String {
        let Environment { version, kernel, cores, ports, xdp_sockets, ip_forward, unwrapped, .. } =
            &self.environment;
        let ports: Vec<String> =
            ports.iter().map(|port| format!("{} ({}): {}", port.name, port.device, port.mode)).collect();
        format!(
            "It was AF_XDP: the ports were {}.\nThe balancer's kernel counted {} XDP sockets before, {} while \
             ringlead ran, {} after; it forwards nothing\nitself (ip_forward {}, IPv6 forwarding {}).\nThe servers took {} packets out of IPIP and {} out of GUE by their own count.\n\
             ringlead {version}, kernel {kernel}, workers on cores {cores:?}.",
            ports.join(", "),
            xdp_sockets.before,
            xdp_sockets.running,
            xdp_sockets.after,
            ip_forward[0],
            ip_forward[1],
            grouped(unwrapped.ipip.all()),
            grouped(unwrapped.gue.all()),
        )
    }
}

fn table(cases: &[Case]) -> Table {
    let mut table = plain(&["case", "sent", "answered", "bytes", "servers", "lost", "broken"]);
    for case in cases {
        table.add_row([
            case.name.clone(),
            grouped(case.sent),
            grouped(case.answered),
            grouped(case.bytes),
            if case.servers.is_empty() { "none".to_owned() } else { case.servers.join(" ") },
            grouped(case.lost),
            grouped(case.broken),
        ]);
    }
    align(table, &[1, 2, 3, 5, 6])
}

fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).force_no_tty().set_header(header);
    table.remove_style(TableComponent::HorizontalLines).remove_style(TableComponent::MiddleIntersections);
    table
}

fn align(mut table: Table, numbers: &[usize]) -> Table {
    for &index in numbers {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::ends::Outcome;

    fn case(outcomes: &[Outcome]) -> Case {
        let mut tally = Tally::default();
        outcomes.iter().for_each(|outcome| tally.count(outcome));
        Case::new(Service::all().next().unwrap(), "", &tally)
    }

    fn by(server: u8) -> Outcome {
        Outcome::Answered { server, bytes: 1000 }
    }

    #[test]
    fn a_case_is_good_only_when_all_is_answered_by_two_servers() {
        assert_eq!(case(&[by(1), by(2)]).fault(), None);
        assert!(case(&[by(1), by(1)]).fault().unwrap().contains("only"));
        assert!(case(&[]).fault().is_some());
        let lost = case(&[by(1), by(2), Outcome::Lost("timed out".to_owned())]).fault().unwrap();
        assert!(lost.contains("1 lost") && lost.contains("timed out"), "{lost}");
        assert!(case(&[by(1), by(2), Outcome::Broken("x".to_owned())]).fault().is_some());
    }

    #[test]
    fn a_control_is_good_only_when_nothing_answers() {
        let lost = Outcome::Lost(String::new());
        assert_eq!(case(std::slice::from_ref(&lost)).fault_of_control(), None);
        assert!(case(&[lost, by(1)]).fault_of_control().is_some());
        assert!(case(&[]).fault_of_control().is_some());
    }

    #[test]
    fn the_control_of_an_upgrade_is_good_only_when_all_breaks() {
        let broken = Outcome::Broken("timed out".to_owned());
        assert_eq!(case(std::slice::from_ref(&broken)).fault_of_crash(), None);
        assert!(case(&[broken, by(1)]).fault_of_crash().is_some());
        assert!(case(&[]).fault_of_crash().is_some());
    }

    #[test]
    fn the_object_has_the_promised_fields() {
        let cases = vec![case(&[by(1), by(2)])];
        let report = Report { ok: true, controls: cases.clone(), cases, ..Report::default() };
        let object: serde_json::Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
        let case = object["cases"][0].as_object().unwrap();
        let keys: Vec<&str> = case.keys().map(String::as_str).collect();
        for key in
            ["name", "mode", "family", "protocol", "sent", "answered", "bytes", "servers", "lost", "broken"]
        {
            assert!(keys.contains(&key), "{key} is not in {keys:?}");
        }
        assert_eq!(
            (&case["mode"], &case["family"], &case["protocol"]),
            (&"nat".into(), &"ipv4".into(), &"tcp".into())
        );
        assert_eq!(case["servers"], serde_json::json!(["s1", "s2"]));
    }

    #[test]
    fn the_text_shows_every_case_and_problem() {
        let report = Report {
            cases: vec![case(&[by(1), by(3)])],
            problems: vec!["it rained".to_owned()],
            ..Report::default()
        };
        let text = report.to_text();
        assert!(text.contains("nat-ipv4-tcp") && text.contains("s1 s3") && text.contains("2 000"), "{text}");
        assert!(text.contains("it rained") && text.contains("NOT"), "{text}");
    }
}
