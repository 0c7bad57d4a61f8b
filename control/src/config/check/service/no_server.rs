//! `on-no-server`: an answer, or a sorry pool.

use std::collections::BTreeMap;

use ringlead_wire::Protocol;
use toml::Spanned;

use super::super::super::model::OnNoServer;
use super::super::super::raw::Service;
use super::super::super::values::choice;
use super::super::{Findings, codes};
use super::find_pool;

/// The last one is for messages alone: what begins like it is read as a sorry pool.
const ON_NO_SERVER: [(&str, OnNoServer); 4] = [
    ("drop", OnNoServer::Drop),
    ("reset", OnNoServer::Reset),
    ("icmp-unreachable", OnNoServer::Unreachable),
    ("sorry:POOL", OnNoServer::Drop),
];
/// Before the name of a sorry pool.
const SORRY: &str = "sorry:";

/// `on-no-server`: an answer, or a pool and then the default answer.
#[derive(Clone, Copy)]
pub(super) struct NoServer {
    /// What the file says; `None`: the default.
    pub(super) declared: Option<OnNoServer>,
    /// The pool that it names.
    pub(super) sorry: Option<usize>,
}

/// Whether it names a pool, found or not.
pub(in super::super) fn names_pool(service: &Service) -> bool {
    service.on_no_server.as_ref().is_some_and(|v| v.get_ref().starts_with(SORRY))
}

/// Reads it; `None` where it is wrong.
pub(super) fn no_server(
    value: &Spanned<String>,
    protocol: Option<Protocol>,
    raw: &Service,
    pools: &BTreeMap<String, usize>,
    findings: &mut Findings,
) -> Option<NoServer> {
    if let Some(name) = value.get_ref().strip_prefix(SORRY) {
        let reference = Spanned::new(value.span(), name.to_owned());
        return sorry(&reference, raw, pools, findings);
    }
    let chosen = choice("on-no-server", value, &ON_NO_SERVER, &[], findings)?;
    if chosen == OnNoServer::Reset && protocol == Some(Protocol::Udp) {
        let entry = findings.error(codes::RESET_UDP, value.span(), "UDP has no reset");
        if let Some(protocol) = &raw.protocol {
            entry.also(&protocol.span(), "the protocol is chosen here");
        }
        entry.help("use on-no-server = \"drop\"");
        return None;
    }
    Some(NoServer { declared: Some(chosen), sorry: None })
}

/// A sorry pool is another one: the service's own has just been found to have no server.
fn sorry(
    reference: &Spanned<String>,
    raw: &Service,
    pools: &BTreeMap<String, usize>,
    findings: &mut Findings,
) -> Option<NoServer> {
    if let Some(own) = raw.pool.as_ref().filter(|own| own.get_ref() == reference.get_ref()) {
        findings
            .error(codes::SORRY_ITSELF, reference.span(), "the sorry pool is the service's own pool")
            .also(&own.span(), "its pool is chosen here")
            .help("name another pool; servers of one pool that stand in for others are `backup = true`");
        return None;
    }
    let sorry = find_pool(reference, pools, findings)?;
    Some(NoServer { declared: None, sorry: Some(sorry) })
}
