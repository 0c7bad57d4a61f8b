//! `[service.NAME]`.

mod l7;
mod listen;
mod mode;
mod no_server;

use std::collections::BTreeMap;

use ringlead_wire::{Endpoint, Protocol};
use toml::Spanned;

use super::super::model::{Addresses, LocalService, Mode, OnNoServer, Profile, ServiceConfig};
use super::super::raw::{File, Named, Service};
use super::super::source::Span;
use super::super::values::{choice, number, quoted};
use super::{Findings, at_most, codes, optional, required, values};
use super::{persistence, pool, tunnel};
use listen::listen;
use mode::mode;
pub(super) use no_server::names_pool as names_sorry;
use no_server::no_server;

const SERVICES_MAX: usize = 10_000;

const PROTOCOLS: [(&str, Protocol); 2] = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
const ADDRESSES: [(&str, Addresses); 2] = [("manage", Addresses::Manage), ("expect", Addresses::Expect)];
const TIMEOUTS: [(&str, Profile); 2] = [("lb", Profile::Lb), ("rfc5382", Profile::Rfc5382)];

const LAYERS: [(&str, Layer); 2] = [("l4", Layer::L4), ("l7", Layer::L7)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    L4,
    L7,
}

/// What became of a table.
pub(super) enum Model {
    /// Workers forward it.
    Forwarded(ServiceConfig),
    /// Only the kernel has to do with it.
    Local(LocalService),
}

/// A service with what later checks point at.
pub(super) struct Checked {
    /// `None` where something was wrong.
    pub(super) model: Option<Model>,
    /// Whether it has neither mode nor pool, being this node's alone.
    pub(super) local: bool,
    /// Whether its pool are nodes, this one among them.
    pub(super) nodes: bool,
    /// For messages.
    pub(super) name: String,
    /// What could be read of `listen`, even when the rest is wrong.
    pub(super) listen: Vec<(Endpoint, Span)>,
    /// What could be read of `mode`.
    pub(super) mode: Option<(Mode, Span)>,
    /// What could be read of `pool`.
    pub(super) pool: Option<usize>,
    /// What could be read of a sorry pool.
    pub(super) sorry: Option<usize>,
}

impl Checked {
    /// The pools that it sends flows to.
    pub(super) fn pools(&self) -> impl Iterator<Item = usize> {
        self.pool.into_iter().chain(self.sorry)
    }
}

/// One entry a table.
pub(super) fn check(file: &File, pools: &[pool::Checked], findings: &mut Findings) -> Vec<Checked> {
    let tables = &file.services;
    at_most("services", SERVICES_MAX, tables.iter().map(|t| &t.name), findings);
    let index = |names: Vec<String>| names.into_iter().enumerate().map(|(i, name)| (name, i)).collect();
    let tunnels = file.tunnels.iter().map(|t| t.name.get_ref().clone());
    let names = Names {
        file,
        checked: pools,
        pools: index(pools.iter().map(|p| p.name.get_ref().clone()).collect()),
        snats: index(file.snats.iter().map(|s| s.name.get_ref().clone()).collect()),
        tunnels: index(tunnel::built_in().map(|t| t.name).chain(tunnels).collect()),
        persistence: index(file.persistence.iter().map(|t| t.name.get_ref().clone()).collect()),
    };
    tables.iter().map(|named| layered(named, &names, findings)).collect()
}

/// What a service can name, with the places in the model.
struct Names<'a> {
    file: &'a File,
    checked: &'a [pool::Checked],
    pools: BTreeMap<String, usize>,
    tunnels: BTreeMap<String, usize>,
    persistence: BTreeMap<String, usize>,
    snats: BTreeMap<String, usize>,
}

/// By the rules of its layer.
fn layered(named: &Named<Service>, names: &Names<'_>, findings: &mut Findings) -> Checked {
    let raw = &named.table.raw;
    match optional(raw.layer.as_ref(), |v| choice("layer", v, &LAYERS, &[], findings)) {
        Ok(None | Some(Layer::L4)) => {
            l7::refuse(raw, findings);
            service(named, names, findings)
        }
        Ok(Some(Layer::L7)) => l7::service(named, names, findings),
        Err(()) => {
            // Nothing else of it can be judged by the rules of the other layer.
            let pool = raw.pool.as_ref().and_then(|p| names.pools.get(p.get_ref().as_str()).copied());
            let name = named.name.get_ref().escape_debug().to_string();
            let (listen, mode, sorry) = (Vec::new(), None, None);
            Checked { model: None, local: false, nodes: false, name, listen, mode, pool, sorry }
        }
    }
}

fn service(named: &Named<Service>, names: &Names<'_>, findings: &mut Findings) -> Checked {
    let pools = &names.pools;
    let (table, raw) = (&named.table, &named.table.raw);
    let named_well = values::name("service", &named.name, findings);
    let name = named.name.get_ref().escape_debug().to_string();
    let protocol = required(table, "protocol", &raw.protocol, "\"tcp\"", findings)
        .and_then(|v| choice("protocol", v, &PROTOCOLS, &[], findings));
    let listen = required(table, "listen", &raw.listen, "\"192.0.2.10:80\"", findings)
        .map_or_else(Vec::new, |v| listen(v, protocol, findings));
    let mode = mode(table, names, findings);
    let pool =
        required(table, "pool", &raw.pool, "\"app\"", findings).and_then(|v| find_pool(v, pools, findings));
    let no_server = optional(raw.on_no_server.as_ref(), |v| no_server(v, protocol, raw, pools, findings));
    let sticky = optional(raw.persistence.as_ref(), |v| persistence::find(v, &names.persistence, findings));
    let addresses = optional(raw.addresses.as_ref(), |v| choice("addresses", v, &ADDRESSES, &[], findings));
    let profile = optional(raw.timeouts.as_ref(), |v| choice("timeouts", v, &TIMEOUTS, &[], findings));
    let mss = optional(raw.mss_clamp.as_ref(), |v| mss(v, protocol, findings));
    let sorry = no_server.ok().flatten().and_then(|answer| answer.sorry);
    let read: Vec<_> = listen.iter().flatten().cloned().collect();
    let build = || {
        named_well.then_some(())?;
        let protocol = protocol?;
        let default = if protocol == Protocol::Tcp { OnNoServer::Reset } else { OnNoServer::Drop };
        Some(Model::Forwarded(ServiceConfig {
            name: named.name.get_ref().clone(),
            listen: listen
                .iter()
                .map(|l| l.as_ref().map(|(endpoint, _)| *endpoint))
                .collect::<Option<_>>()?,
            protocol,
            mode: mode.as_ref()?.0,
            pool: pool?,
            own_node: None,
            on_no_server: no_server.ok()?.and_then(|answer| answer.declared).unwrap_or(default),
            sorry,
            persistence: sticky.ok()?,
            addresses: addresses.ok()?.unwrap_or_default(),
            profile: profile.ok()?.unwrap_or_default(),
            mss: mss.ok()?,
        }))
    };
    Checked { model: build(), local: false, nodes: false, name, listen: read, mode, pool, sorry }
}

fn find_pool(
    reference: &Spanned<String>,
    pools: &BTreeMap<String, usize>,
    findings: &mut Findings,
) -> Option<usize> {
    let name = reference.get_ref();
    let found = pools.get(name.as_str()).copied();
    if found.is_none() {
        let near = findings.near(name, pools.keys().map(String::as_str));
        let message = format!("there is no pool {}", quoted(name));
        findings.error(codes::UNKNOWN_POOL, reference.span(), message).help(match near {
            Some(near) => format!("a pool with a similar name exists: {}", quoted(near)),
            None => "add a table [pool.NAME] of that name".to_owned(),
        });
    }
    found
}

/// The least is what every host takes (RFC 9293 §3.7.1), the most what an IP packet holds.
fn mss(value: &Spanned<i64>, protocol: Option<Protocol>, findings: &mut Findings) -> Option<u16> {
    if protocol == Some(Protocol::Udp) {
        findings
            .error(codes::MSS_UDP, value.span(), "UDP has no segment size")
            .help("take `mss-clamp` out; datagrams that are too big are answered by ICMP");
        return None;
    }
    number("mss-clamp", value, 536..=65_495, findings)
}

/// A family in words.
pub(super) fn family(v4: bool) -> &'static str {
    if v4 { "IPv4" } else { "IPv6" }
}
