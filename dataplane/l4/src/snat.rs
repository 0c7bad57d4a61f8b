//! Mode snat: both ends of a packet are rewritten, so that the server answers to an address of ours.

use crate::burst::Fate;
use crate::drops::Reason;
use crate::neighbours::Neighbours;
use crate::rewrite::{back, towards};
use crate::tables::Tables;
use ringlead_flow::{Hit, Side};
use ringlead_wire::answer::Made;
use ringlead_wire::{Kind, Meta, rewrite as wire};

/// Rewrites a packet of a flow with two ends and decides where it leaves.
#[inline(never)]
pub(crate) fn translate(
    bytes: &mut [u8],
    meta: &Meta,
    hit: &Hit,
    tables: &Tables,
    neighbours: &Neighbours,
) -> Fate {
    if meta.ttl <= 1 {
        return Fate::Answer(Reason::TtlExpired, Made::TtlExceeded);
    }
    let fate = match hit.side() {
        Side::Client => match tables.server(hit.server_id()) {
            Some(server) => towards(neighbours, server),
            None => return Fate::Drop(Reason::NoServer.into()),
        },
        Side::Server => back(hit),
    };
    match (meta.kind == Kind::IcmpError, hit.is_v4(), hit.side()) {
        (true, ..) => error(bytes, meta, hit),
        (_, true, Side::Client) => wire::route_between_v4(bytes, meta, hit.mapping_v4(), hit.server_v4()),
        (_, true, Side::Server) => wire::route_between_v4(bytes, meta, hit.service_v4(), hit.client_v4()),
        (_, false, Side::Client) => wire::route_between_v6(bytes, meta, hit.mapping_v6(), hit.server_v6()),
        (_, false, Side::Server) => wire::route_between_v6(bytes, meta, hit.service_v6(), hit.client_v6()),
    }
    fate
}

/// An error about one end's packet, on its way to that end: it must read as if about what that end had sent (RFC 5508 REQ-4,
/// REQ-5). A router between stays named as it is, for traceroute; the server itself is the service to its clients, and the
/// client to its server is our address.
#[cold]
fn error(bytes: &mut [u8], meta: &Meta, hit: &Hit) {
    let flow = hit.flow();
    let Some(answers) = flow.server else { return };
    let asks = flow.client;
    match hit.side() {
        Side::Client => {
            let sent = ((answers.src, answers.sport), (answers.dst, answers.dport));
            let itself = wire::icmp_error_source(bytes, meta) == Some(asks.src);
            wire::icmp_error_between(bytes, meta, itself.then_some(answers.dst), answers.src, sent.0, sent.1);
        }
        Side::Server => {
            let sent = ((asks.src, asks.sport), (asks.dst, asks.dport));
            let itself = wire::icmp_error_source(bytes, meta) == Some(answers.src);
            wire::icmp_error_between(bytes, meta, itself.then_some(asks.dst), asks.src, sent.0, sent.1);
        }
    }
    wire::decrement_ttl(bytes, meta);
}
