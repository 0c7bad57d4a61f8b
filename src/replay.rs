//! `ringlead replay`: a capture through the same `Worker` that `run` drives, every packet's verdict written down.
//!
//! Time is the capture's, servers are up, next hops come from a file or from their addresses.

use crate::cli::ReplayArgs;
use crate::out;
use ringlead_control::config::{self, Config};
use ringlead_control::plan::{Health, HopKey, Plan};
use ringlead_flow::{FlowTable, ServerId, Sizes};
use ringlead_io::Frames;
use ringlead_io::pcap::{PcapPort, PcapRun, PcapSpec, Take};
use ringlead_io::steer::RuleSet;
use ringlead_l4::drops::Drop;
use ringlead_l4::neighbours::NextHop;
use ringlead_l4::{Shared, Worker, WorkerConfig};
use ringlead_wire::Vid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufWriter;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// The flow table is no larger than a capture needs, however large `max-flows` is.
const FLOWS_MAX: usize = 1 << 20;
/// Frames of the worker.
const FRAMES: u32 = 4096;
/// The largest frame of a replayed port: Ethernet's own MTU.
const FRAME_MAX: usize = 1514;
/// Nanoseconds between ticks.
const TICK_NS: u64 = 1_000_000;
/// The most ticks made up for a pause in the capture: after so many quiet milliseconds nothing is left to do.
const TICKS_MAX: u64 = 2_000;

type Mac = [u8; 6];

/// Replays; exit status 0 when the whole capture went through, else 1, or 2 for a bad configuration.
pub(crate) fn replay(args: &ReplayArgs) -> ExitCode {
    let config = match config::load(&args.config) {
        Ok((config, _)) => config,
        Err(diagnostics) => {
            eprint!("{diagnostics}");
            return ExitCode::from(2);
        }
    };
    match send_through(args, config) {
        Ok(counters) => {
            let text = if args.json { format!("{counters:#}") } else { lines(&counters) };
            out::line(&text);
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("ringlead replay: {why}");
            ExitCode::FAILURE
        }
    }
}

fn send_through(args: &ReplayArgs, config: Config) -> Result<serde_json::Value, String> {
    let known = args.neighbours.as_deref().map_or_else(|| Ok(BTreeMap::new()), neighbours)?;
    let servers_port = config.ports.iter().position(|port| port.faces.servers()).unwrap_or(0);
    let servers_port = u8::try_from(servers_port).map_err(|e| e.to_string())?;
    let mut plan = plan_with_all_up(config.clone(), servers_port)?;
    let sizes =
        Sizes { flows_max: config.dataplane.flows_max.min(FLOWS_MAX), workers: 1, seed: [0x1234_5678; 4] };
    let flows = Arc::new(FlowTable::new(&sizes).map_err(|e| e.to_string())?);
    let front = Arc::new(RuleSet::from(&plan.rules(&BTreeSet::new())));
    let (hops, servers) = (plan.hops().count(), plan.servers().count());
    let shared = Shared::new(plan.snapshot(), flows, hops, servers, 1);
    for (HopKey { port, ip, .. }, id) in plan.hops() {
        let (mac, vlan) = known.get(&ip).copied().unwrap_or_else(|| (mac_of(ip), None));
        shared.neighbours.set(id, Some(NextHop { port, vlan, mac }));
    }
    let input = File::open(&args.input).and_then(|file| file.metadata());
    let input = input.map_err(|e| format!("{}: {e}", args.input.display()))?;
    let same =
        std::fs::metadata(&args.output).is_ok_and(|out| (out.dev(), out.ino()) == (input.dev(), input.ino()));
    if same {
        return Err(format!("{}: is also the input", args.output.display()));
    }
    let output = File::create(&args.output).map_err(|e| format!("{}: {e}", args.output.display()))?;
    let run = PcapRun::new(Some(Box::new(BufWriter::new(output)))).map_err(|e| e.to_string())?;
    let ports = open_ports(&config, &run, &front, &args.input)?;
    let frames = Frames::in_memory(FRAMES, 2048).map_err(|e| e.to_string())?;
    let mut worker =
        Worker::new(WorkerConfig { index: 0, workers: 1, seed: [1, 2, 3, 4] }, frames, ports, shared.clone());
    drive(&mut worker, &run);
    run.finish().map_err(|e| format!("{}: {e}", args.input.display()))?;
    Ok(counters(&shared, &plan))
}

/// Every server is up and reached directly by the port that faces servers.
fn plan_with_all_up(config: Config, port: u8) -> Result<Plan, String> {
    let mut plan = Plan::new(config).map_err(|e| e.to_string())?;
    let servers: Vec<(ServerId, IpAddr)> = plan.servers().map(|s| (s.id, s.key.address.ip())).collect();
    for (id, ip) in servers {
        plan.set_health(id, Health::Up, "replayed".to_owned());
        plan.set_reach(id, Ok(HopKey::untagged(port, ip))).map_err(|e| e.to_string())?;
    }
    Ok(plan)
}

/// A pcapng interface named like a port feeds that port; all else feeds the first port that faces clients.
fn open_ports(
    config: &Config,
    run: &PcapRun,
    front: &Arc<RuleSet>,
    input: &Path,
) -> Result<Vec<(u8, PcapPort)>, String> {
    let first = config.ports.iter().position(|port| port.faces.clients()).unwrap_or(0);
    let mut ports = Vec::new();
    for (index, port) in (0_u8..).zip(&config.ports) {
        let others = || config.ports.iter().map(|port| port.name.clone()).filter(|name| *name != port.name);
        let take = if usize::from(index) == first {
            Take::AllBut(others().collect())
        } else {
            Take::Only(port.name.clone())
        };
        let spec = PcapSpec {
            device: port.name.clone(),
            queue: 0,
            mac: [2, 0, 0, 0, 0, index],
            frame_max: FRAME_MAX,
            partial_checksums: port.rx_checksum == config::RxChecksum::FixPartial,
            take,
            front: Some(Arc::clone(front)),
        };
        let port =
            PcapPort::open(run, &spec, Some(input)).map_err(|e| format!("{}: {e}", input.display()))?;
        ports.push((index, port));
    }
    Ok(ports)
}

/// Turns at each packet's own time, with the ticks between.
fn drive(worker: &mut Worker<PcapPort>, run: &PcapRun) {
    let mut last = run.next_time().unwrap_or_default();
    while let Some(time) = run.next_time() {
        let time = time.max(last);
        let ticks = ((time - last) / TICK_NS).min(TICKS_MAX);
        for tick in (0..ticks).rev() {
            worker.tick(time - tick * TICK_NS);
        }
        run.set_time(time);
        worker.turn(time);
        last = time;
    }
    for tick in 1..=TICKS_MAX {
        worker.tick(last + tick * TICK_NS);
    }
    worker.finish();
}

fn counters(shared: &Shared, plan: &Plan) -> serde_json::Value {
    let Some(c) = shared.counters.first() else { return serde_json::Value::Null };
    let drops: BTreeMap<&str, u64> =
        Drop::all().map(|reason| (reason.name(), c.dropped(reason))).filter(|(_, n)| *n > 0).collect();
    let services: BTreeMap<&str, serde_json::Value> = plan
        .config()
        .services
        .iter()
        .filter_map(|service| {
            let s = c.service(plan.service_id(&service.name)?.slot)?;
            let count = serde_json::json!({
                "flows": s.flows.get(),
                "packets_in": s.packets_in.get(), "bytes_in": s.bytes_in.get(),
                "packets_out": s.packets_out.get(), "bytes_out": s.bytes_out.get(),
            });
            Some((service.name.as_str(), count))
        })
        .collect();
    serde_json::json!({
        "received": c.received.get(), "sent": c.sent.get(), "made": c.made.get(),
        "flows_created": c.flows_created.get(), "flows_ended": c.flows_ended.get(),
        "completed_checksums": c.completed_checksums.get(), "stateless": c.stateless.get(),
        "drops": drops, "services": services,
    })
}

/// One counter a line: `drops.not-ours 3`.
fn lines(value: &serde_json::Value) -> String {
    fn walk(prefix: &str, value: &serde_json::Value, lines: &mut Vec<String>) {
        match value.as_object() {
            Some(members) => {
                for (name, value) in members {
                    let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                    walk(&name, value, lines);
                }
            }
            None => lines.push(format!("{prefix} {value}")),
        }
    }
    let mut all = Vec::new();
    walk("", value, &mut all);
    all.join("\n")
}

/// Reads `ADDRESS MAC [VID]` lines; `#` starts a comment.
fn neighbours(path: &Path) -> Result<BTreeMap<IpAddr, (Mac, Option<Vid>)>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut known = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let (ip, hop) = neighbour(line)
            .ok_or_else(|| format!("{}:{number}: not `ADDRESS MAC [VID]`: {line}", path.display()))?;
        known.insert(ip, hop);
    }
    Ok(known)
}

fn neighbour(line: &str) -> Option<(IpAddr, (Mac, Option<Vid>))> {
    let mut words = line.split_whitespace();
    let (ip, mac) = (words.next()?.parse().ok()?, mac_from(words.next()?)?);
    let vlan = match words.next() {
        Some(vid) => Some(Vid::new(vid.parse().ok()?)?),
        None => None,
    };
    words.next().is_none().then_some((ip, (mac, vlan)))
}

fn mac_from(text: &str) -> Option<Mac> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes?.try_into().ok()
}

/// 02:00 and the last four bytes of the address.
fn mac_of(ip: IpAddr) -> Mac {
    let [a, b, c, d] = match ip {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(ip) => {
            let [.., a, b, c, d] = ip.octets();
            [a, b, c, d]
        }
    };
    [2, 0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_is_an_address_and_a_vlan_if_any() {
        let mac = [2, 0, 0, 0, 0, 0xaa];
        let ip: IpAddr = "10.0.0.11".parse().unwrap();
        assert_eq!(neighbour("10.0.0.11 02:00:00:00:00:aa"), Some((ip, (mac, None))));
        assert_eq!(neighbour("10.0.0.11\t02:00:00:00:00:aa  20"), Some((ip, (mac, Vid::new(20)))));
        for wrong in ["10.0.0.11", "10.0.0.11 02:00", "x 02:00:00:00:00:aa", "10.0.0.11 02:00:00:00:00:aa 0"]
        {
            assert_eq!(neighbour(wrong), None, "{wrong}");
        }
        for more in ["4095", "x", "20 30"] {
            assert_eq!(neighbour(&format!("10.0.0.11 02:00:00:00:00:aa {more}")), None, "{more}");
        }
    }
}
