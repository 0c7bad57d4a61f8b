//! The generator: ports opened once, many trials.

use crate::error::TrafficError;
use crate::nexthop;
use crate::observer::Observer;
use crate::outcome::Outcome;
use crate::setup::{PortRef, Setup};
use crate::spec::TrialSpec;
use crate::station::{PortInfo, Station, Wire};
use crate::trial::Trial;
use ringlead_io::af_xdp::XdpPort;
use ringlead_io::device;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Both ends of the traffic. Dropping it takes its programs off the ports.
#[derive(Debug)]
pub struct Generator {
    ends: Ends<XdpPort>,
}

/// What trials work with.
#[derive(Debug)]
pub(crate) struct Ends<P> {
    pub(crate) setup: Setup,
    pub(crate) ports: Vec<PortInfo>,
    /// Stations with ports that send, or that replies go to; then the servers'.
    pub(crate) clients: Vec<Station<P>>,
    pub(crate) servers: Vec<Station<P>>,
    /// For each port that sends: Ethernet addresses of the balancer, for IPv4 and for IPv6.
    pub(crate) hops: Vec<[[u8; 6]; 2]>,
    /// Bits a second of the sending ports together; `None` when one does not say.
    pub(crate) line_bps: Option<f64>,
    /// The last phase's number, which its stamps carry. The first is any: late frames of a run just ended must not pass
    /// for this one's.
    pub(crate) phase: u8,
    /// Addresses used up by flows that came and went in earlier trials.
    pub(crate) young_offset: u32,
}

impl Generator {
    /// Opens all ports and finds the balancer's Ethernet address. Needs root.
    ///
    /// # Errors
    /// What is wrong with the setup, or what the kernel refused; nothing stays open.
    pub fn open(setup: &Setup) -> Result<Self, TrafficError> {
        setup.check()?;
        let all = setup.ports();
        let is_client = |port: &PortRef| setup.out.contains(port) || setup.back.as_ref() == Some(port);
        let (mut clients, mut servers, mut infos) = (Vec::new(), Vec::new(), Vec::new());
        for (namespace, client) in groups(&all, is_client) {
            let ports: Vec<usize> = (0..all.len())
                .filter(|n| all[*n].netns == namespace && is_client(&all[*n]) == client)
                .collect();
            let (station, opened) = Station::open(setup, &all, &ports)?;
            if client {
                clients.push(station)
            } else {
                servers.push(station)
            }
            infos.extend(ports.into_iter().zip(opened));
        }
        infos.sort_by_key(|(number, _)| *number);
        let ports: Vec<PortInfo> = infos.into_iter().map(|(_, info)| info).collect();
        let hops = setup.out.iter().map(|port| hops(setup, port)).collect::<Result<_, _>>()?;
        let line_bps = setup.out.iter().map(line_bps).sum();
        let ends = Ends {
            setup: setup.clone(),
            ports,
            clients,
            servers,
            hops,
            line_bps,
            phase: first_phase(),
            young_offset: 0,
        };
        Ok(Self { ends })
    }

    /// The ports as they were opened, those that send first.
    #[must_use]
    pub fn ports(&self) -> &[PortInfo] {
        &self.ends.ports
    }

    /// The setup that it was opened with.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.ends.setup
    }

    /// What the sending ports' line carries, bits a second; `None` when one does not say.
    #[must_use]
    pub fn line_bps(&self) -> Option<f64> {
        self.ends.line_bps
    }

    /// Makes one trial: primes the flows, sends, drains, and only then counts. Blocks until it is over.
    ///
    /// # Errors
    /// When the trial cannot be made as specified. One that was made and went badly is an [`Outcome`] that says so.
    pub fn trial(&mut self, spec: &TrialSpec, observer: &mut dyn Observer) -> Result<Outcome, TrafficError> {
        Trial::new(&mut self.ends, spec)?.run(observer)
    }
}

/// Any number: the standard library's hasher has a random key in each process.
fn first_phase() -> u8 {
    RandomState::new().build_hasher().finish().to_be_bytes()[0]
}

/// The namespaces of the ports, clients' and servers' apart, each once.
fn groups(all: &[PortRef], is_client: impl Fn(&PortRef) -> bool) -> Vec<(Option<String>, bool)> {
    let mut groups: Vec<(Option<String>, bool)> = Vec::new();
    for port in all {
        let group = (port.netns.clone(), is_client(port));
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

fn hops(setup: &Setup, port: &PortRef) -> Result<[[u8; 6]; 2], TrafficError> {
    let mut hops = [setup.next_hop.unwrap_or_default(); 2];
    if setup.next_hop.is_some() {
        return Ok(hops);
    }
    for (hop, v4) in hops.iter_mut().zip([true, false]) {
        if let Some(service) = setup.services.iter().find(|service| service.address.is_ipv4() == v4) {
            *hop = nexthop::resolve(port, service.address.ip())?;
        }
    }
    if setup.services.is_empty() {
        let why = "a capture's frames go to the balancer's Ethernet address: give it with --mac, or a service (--to)";
        return Err(TrafficError::NextHop(why.to_owned()));
    }
    Ok(hops)
}

#[allow(clippy::cast_precision_loss, reason = "a speed")]
fn line_bps(port: &PortRef) -> Option<f64> {
    let speed = crate::netns::inside(port.netns.as_deref(), || {
        device::link_mbps(&port.device).map_err(|e| TrafficError::io(format!("ask {port} for its speed"), e))
    });
    speed.ok().flatten().map(|mbps| f64::from(mbps) * 1e6)
}

impl<P: Wire> Ends<P> {
    /// Frames that our receive rings had no room for, since they were opened.
    pub(crate) fn rx_lost(&self) -> u64 {
        let lanes = self.clients.iter().chain(&self.servers).flat_map(|station| &station.lanes);
        lanes.map(|lane| lane.io.stats().rx_lost).sum()
    }

    /// Frames that the sending ports' devices dropped; `None` when one does not say.
    pub(crate) fn tx_dropped(&mut self) -> Option<u64> {
        let mut sum = 0;
        for station in &mut self.clients {
            let mut devices: Vec<String> = Vec::new();
            for lane in &station.lanes {
                let device = &lane.io.caps().device;
                if lane.port < self.setup.out.len() && !devices.contains(device) {
                    devices.push(device.clone());
                }
            }
            for device in devices {
                sum += station.tx_dropped(&device)?;
            }
        }
        Some(sum)
    }
}
