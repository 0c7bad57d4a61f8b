//! Why nobody gets a new flow, or may not.

use super::explain::Explainer;
use crate::config::PanicThen;
use ringlead_flow::Room;
use ringlead_l4::drops::{Drop, Reason};
use ringlead_l4::foresee::{Choice, Foreseen};
use ringlead_l4::tables::{OnNoServer, Service};

/// The drop reason of a packet that nobody gets, or that, though `choice` names somebody, a worker may drop.
pub(super) fn drop_of(seen: &Foreseen) -> Option<Reason> {
    match seen.choice {
        Choice::Nobody(Reason::OwnNode) => None,
        Choice::Nobody(reason) => Some(reason),
        Choice::Flow(_) => None,
        Choice::Client(_) | Choice::Algorithm(_) | Choice::AnyOf(_) => seen.unless,
    }
}

impl Explainer {
    /// What becomes of a packet that nobody gets.
    pub(super) fn nobody(&self, service: &Service, seen: &Foreseen, reason: Reason) -> String {
        let panic = match self.walk.plan.panic(&service.pool.name) {
            Some(PanicThen::Nobody) => format!("pool {} is in panic, and then ", service.pool.name),
            Some(PanicThen::All | PanicThen::Backup) | None => String::new(),
        };
        let full = full_text(seen).map(|full| format!("{full}: ")).unwrap_or_default();
        format!("{full}{panic}nobody can take it: the packet {}", ends(service, reason))
    }

    /// What a choice that names somebody leaves unsaid: that a worker may end its tries before, or that the flow has no entry.
    pub(super) fn unless(&self, service: &Service, seen: &Foreseen) -> String {
        let full = full_text(seen);
        let Some(reason) = drop_of(seen) else {
            let without = |full| format!("; {full}, so its packets are forwarded without an entry");
            return full.map(without).unwrap_or_default();
        };
        let when = match (full, reason) {
            (Some(full), Reason::TableFull) => format!("if another one is chosen, {full}"),
            (_, Reason::SnatExhausted) => "from a worker whose share of source ports is used up".to_owned(),
            (_, _) => "if those that a worker tries first cannot have it".to_owned(),
        };
        format!("; {when}, the packet {}", ends(service, reason))
    }
}

fn full_text(seen: &Foreseen) -> Option<String> {
    let Room { v4, free, entries, .. } = seen.full?;
    let family = if v4 { "IPv4" } else { "IPv6" };
    Some(match free {
        0 => format!("the flow table is full: 0 of {entries} entries free in this family ({family})"),
        // Two buckets of eight slots are all that a tuple may be in.
        _ => format!(
            "the flow table has no place for these addresses and ports: their buckets are full, with {free} of {entries} {family} entries free"
        ),
    })
}

fn ends(service: &Service, reason: Reason) -> String {
    let answer = match service.on_no_server {
        _ if !matches!(reason, Reason::NoServer | Reason::SnatExhausted) => "is dropped",
        OnNoServer::Drop => "is dropped",
        OnNoServer::Reset => "gets a TCP reset",
        OnNoServer::Unreachable => "gets an ICMP unreachable",
    };
    let drop = Drop::from(reason);
    format!("{answer} ({}: {})", drop.name(), drop.text())
}
