//! `[service.NAME]` of layer l7: connections are accepted on a node, so there is no server to choose, but perhaps a node.

use ringlead_pick::HashBy;
use ringlead_wire::{Endpoint, Protocol};
use toml::Spanned;

use super::super::super::model::{Algorithm, LocalService, Mode, OnNoServer, Profile, ServiceConfig};
use super::super::super::raw::{Named, OneOrMany, Service};
use super::super::super::source::Span;
use super::super::super::values::{choice, quoted};
use super::super::{Findings, codes, optional, required, values};
use super::mode::with_tunnel;
use super::{ADDRESSES, Checked, Model, Names, PROTOCOLS, TIMEOUTS, find_pool};

/// Which tunnel it is, is read later.
const HAND_OFFS: [(&str, Mode); 2] = [("dsr", Mode::Dsr), ("tunnel", Mode::Tunnel { tunnel: 0 })];

/// The nodes of a service.
struct Nodes {
    /// Their pool.
    pool: Option<usize>,
    /// This node's place in it.
    own: Option<usize>,
    /// How the others get what is theirs.
    mode: Option<Mode>,
    profile: Option<Profile>,
}

/// Refuses what only this layer has, of a service of layer l4.
pub(super) fn refuse(raw: &Service, findings: &mut Findings) {
    for (key, value) in [("nodes", &raw.nodes), ("hand-off", &raw.hand_off)] {
        let Some(value) = value else { continue };
        let message = format!("layer = \"l4\" has no `{key}`");
        findings
            .error(codes::NOT_L7, value.span(), message)
            .help("take it out, or use layer = \"l7\": then connections are accepted on a node");
    }
}

/// A service of layer l7.
pub(super) fn service(named: &Named<Service>, names: &Names<'_>, findings: &mut Findings) -> Checked {
    let (table, raw) = (&named.table, &named.table.raw);
    let named_well = values::name("service", &named.name, findings);
    let protocol = required(table, "protocol", &raw.protocol, "\"tcp\"", findings)
        .and_then(|v| choice("protocol", v, &PROTOCOLS, &[], findings))
        .and_then(|protocol| only_tcp(protocol, raw, findings));
    let listen = required(table, "listen", &raw.listen, "\"192.0.2.10:443\"", findings)
        .map_or_else(Vec::new, |v| with_port(v, protocol, findings));
    let addresses = optional(raw.addresses.as_ref(), |v| choice("addresses", v, &ADDRESSES, &[], findings));
    only_l4(raw, findings);
    let nodes = raw.nodes.as_ref().map(|reference| nodes(reference, raw, names, findings));
    if nodes.is_none() {
        only_nodes(raw, findings);
    }
    let name = named.name.get_ref().clone();
    let endpoints: Option<Vec<_>> = listen.iter().map(|l| l.as_ref().map(|(at, _)| *at)).collect();
    let build = || {
        named_well.then_some(())?;
        let (protocol, listen, addresses) = (protocol?, endpoints?, addresses.ok()?.unwrap_or_default());
        let Some(nodes) = &nodes else {
            return Some(Model::Local(LocalService { name: name.clone(), listen, addresses }));
        };
        Some(Model::Forwarded(ServiceConfig {
            name: name.clone(),
            listen,
            protocol,
            mode: nodes.mode?,
            pool: nodes.pool?,
            own_node: Some(nodes.own?),
            // Where no other node is up this one takes all, so nothing comes without one but by a race.
            on_no_server: OnNoServer::Drop,
            sorry: None,
            persistence: None,
            addresses,
            profile: nodes.profile?,
            mss: None,
        }))
    };
    Checked {
        model: build(),
        local: nodes.is_none(),
        nodes: nodes.is_some(),
        name: name.escape_debug().to_string(),
        listen: listen.into_iter().flatten().collect(),
        mode: nodes.as_ref().and_then(|nodes| nodes.mode).zip(nodes_span(raw)),
        pool: nodes.and_then(|nodes| nodes.pool),
        sorry: None,
    }
}

fn nodes_span(raw: &Service) -> Option<Span> {
    raw.hand_off.as_ref().or(raw.nodes.as_ref()).map(Spanned::span)
}

fn only_tcp(protocol: Protocol, raw: &Service, findings: &mut Findings) -> Option<Protocol> {
    if protocol == Protocol::Tcp {
        return Some(protocol);
    }
    let span = raw.protocol.as_ref().map(Spanned::span)?;
    let entry = findings.error(codes::L7_UDP, span, "layer = \"l7\" accepts connections, and UDP has none");
    if let Some(layer) = &raw.layer {
        entry.also(&layer.span(), "the layer is chosen here");
    }
    entry.help("use protocol = \"tcp\", or layer = \"l4\" with a mode and a pool");
    None
}

/// The addresses; each must have a port, on which somebody listens.
fn with_port(
    value: &Spanned<OneOrMany<String>>,
    protocol: Option<Protocol>,
    findings: &mut Findings,
) -> Vec<Option<(Endpoint, Span)>> {
    let mut listen = super::listen(value, protocol, findings);
    for place in &mut listen {
        if let Some((_, span)) = place.take_if(|(at, _)| at.port == 0) {
            findings
                .error(codes::L7_ANY_PORT, span, "layer = \"l7\" cannot listen on every port (0)")
                .help("name the ports, each with its own entry in `listen`");
        }
    }
    listen
}

/// What a service has only where a server is chosen for it.
fn only_l4(raw: &Service, findings: &mut Findings) {
    let mss = raw.mss_clamp.as_ref().map(Spanned::span);
    let keys = [
        ("mode", &raw.mode),
        ("pool", &raw.pool),
        ("snat", &raw.snat),
        ("on-no-server", &raw.on_no_server),
        ("persistence", &raw.persistence),
    ];
    let spans = keys.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?.span())));
    for (key, span) in spans.chain(mss.map(|span| ("mss-clamp", span))) {
        let entry = findings.error(codes::NOT_L4, span, format!("layer = \"l7\" has no `{key}`"));
        if let Some(layer) = &raw.layer {
            entry.also(&layer.span(), "the layer is chosen here");
        }
        entry.help(match key {
            "mode" | "pool" => {
                "take it out: connections are accepted by a socket on this node, or on one of `nodes`"
            }
            _ => "take it out, or use layer = \"l4\"",
        });
    }
}

/// What a service has only where there are other nodes to forward to.
fn only_nodes(raw: &Service, findings: &mut Findings) {
    for (key, value) in [("hand-off", &raw.hand_off), ("tunnel", &raw.tunnel), ("timeouts", &raw.timeouts)] {
        let Some(value) = value else { continue };
        findings
            .error(codes::NOT_L7, value.span(), format!("without `nodes` there is no `{key}`"))
            .help("take it out: the packets of a service of this node alone are the kernel's")
            .help("or name the pool of nodes that share the service: nodes = \"NAME\"");
    }
}

fn nodes(reference: &Spanned<String>, raw: &Service, names: &Names<'_>, findings: &mut Findings) -> Nodes {
    let pool = find_pool(reference, &names.pools, findings);
    let mode = match &raw.hand_off {
        Some(value) => choice("hand-off", value, &HAND_OFFS, &[], findings),
        None => Some(Mode::Dsr),
    };
    let mode = mode.and_then(|mode| hand_off_tunnel(mode, raw, names, findings));
    let profile = optional(raw.timeouts.as_ref(), |v| choice("timeouts", v, &TIMEOUTS, &[], findings));
    if let Some(pool) = pool {
        alike(pool, reference, names, findings);
    }
    Nodes {
        pool,
        own: pool.and_then(|pool| own(pool, reference, names, findings)),
        mode,
        profile: profile.ok().map(Option::unwrap_or_default),
    }
}

fn hand_off_tunnel(mode: Mode, raw: &Service, names: &Names<'_>, findings: &mut Findings) -> Option<Mode> {
    let Some(tunnel) = raw.tunnel.as_ref().filter(|_| mode == Mode::Dsr) else {
        return with_tunnel(mode, raw, names, findings);
    };
    let entry = findings.error(codes::NOT_TUNNEL, tunnel.span(), "hand-off = \"dsr\" has no tunnel");
    if let Some(hand_off) = &raw.hand_off {
        entry.also(&hand_off.span(), "the hand-off is chosen here");
    }
    entry.help("take it out, or use hand-off = \"tunnel\"");
    None
}

/// Which of them is this node, by its name.
fn own(
    pool: usize,
    reference: &Spanned<String>,
    names: &Names<'_>,
    findings: &mut Findings,
) -> Option<usize> {
    let pool = names.checked.get(pool)?.model.as_ref()?;
    let name = names.file.node.as_ref().and_then(|node| node.raw.name.as_ref());
    let own = name.and_then(|name| pool.servers.iter().position(|server| server.name == *name.get_ref()));
    if own.is_none() {
        let message = format!("which server of pool {} is this node?", quoted(&pool.name));
        let entry = findings.error(codes::NOT_A_NODE, reference.span(), message);
        match name {
            Some(name) => entry.also(&name.span(), "none of them has this node's name"),
            None => entry.help("this node has no name: set `name` in [node]"),
        };
        let servers: Vec<_> = pool.servers.iter().take(8).map(|server| quoted(&server.name)).collect();
        entry.help(format!("it is the one with the name in [node]; the pool has {}", servers.join(", ")));
    }
    own
}

/// Whichever node a flow comes to, all must send it to the same one.
fn alike(pool: usize, reference: &Spanned<String>, names: &Names<'_>, findings: &mut Findings) {
    let raw = names.file.pools.get(pool).map(|named| &named.table.raw);
    let model = names.checked.get(pool).and_then(|checked| checked.model.as_ref());
    let Some((raw, model)) = raw.zip(model) else { return };
    let (span, what) = match model.algorithm {
        Algorithm::Maglev { hash: HashBy::FiveTuple, .. } => return,
        Algorithm::Maglev { hash, .. } => (raw.hash.as_ref(), format!("hash = {}", quoted(hash.name()))),
        other @ (Algorithm::RoundRobin | Algorithm::LeastFlows | Algorithm::RandomTwo) => {
            (raw.algorithm.as_ref(), format!("algorithm = {}", quoted(other.name())))
        }
    };
    let Some(span) = span.map(Spanned::span) else { return };
    findings
        .error(codes::NODES_ALIKE, span, format!("nodes cannot be chosen by {what}"))
        .label("the steering program looks flows up in a Maglev table by their 5-tuple")
        .also(&reference.span(), "they are a service's nodes here")
        .help("use algorithm = \"maglev\", and no `hash`");
}
