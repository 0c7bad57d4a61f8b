//! Which flows are meant: a filter in words, and the same in numbers for a walk through the table.

use crate::plan::Plan;
use ringlead_flow::{Flow, Phase, Tick};
use ringlead_l4::tables::ServiceId;
use ringlead_wire::Ip;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Every state of a flow by its name.
const PHASES: [(Phase, &str); 6] = [
    (Phase::Opening, "opening"),
    (Phase::Established, "established"),
    (Phase::HalfClosed, "half-closed"),
    (Phase::Closed, "closed"),
    (Phase::Reset, "reset"),
    (Phase::Datagram, "datagram"),
];

/// The states of a flow, as listings name them and filters take them.
pub const STATES: [&str; 6] = ["opening", "established", "half-closed", "closed", "reset", "datagram"];

/// A filter of flows: what is not given leaves nobody out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowFilter {
    /// Of this service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// To servers of this pool, removed ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// To this server: `POOL/SERVER`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Of clients of this address or prefix: `198.51.100.0/24`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// From this port of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_port: Option<u16>,
    /// `tcp` or `udp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// One of [`STATES`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Silent for at least so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_min_s: Option<f64>,
    /// Silent for at most so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_max_s: Option<f64>,
}

impl FlowFilter {
    /// Whether it leaves nobody out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for FlowFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// A filter in numbers.
#[derive(Debug)]
pub(super) struct Matcher {
    service: Option<ServiceId>,
    servers: Option<BTreeSet<u32>>,
    client: Option<Prefix>,
    client_port: Option<u16>,
    protocol: Option<u8>,
    phase: Option<Phase>,
    idle: RangeInclusive<u32>,
}

impl Matcher {
    /// # Errors
    /// A sentence that names what the filter means and nobody knows.
    pub(super) fn new(filter: &FlowFilter, plan: &Plan) -> Result<Self, String> {
        let service = filter.service.as_deref().map(|name| {
            plan.service_id(name).ok_or_else(|| format!("there is no service `{name}` whose flows are here"))
        });
        let phase = filter.state.as_deref().map(|name| {
            let known = PHASES.iter().find(|(_, known)| *known == name).map(|(phase, _)| *phase);
            known.ok_or_else(|| format!("`{name}` is no state of a flow: {}", STATES.join(", ")))
        });
        let protocol = filter.protocol.as_deref().map(|name| match name {
            "tcp" => Ok(6),
            "udp" => Ok(17),
            _ => Err(format!("`{name}` is neither tcp nor udp")),
        });
        Ok(Self {
            service: service.transpose()?,
            servers: servers(filter, plan)?,
            client: filter.client.as_deref().map(Prefix::read).transpose()?,
            client_port: filter.client_port,
            protocol: protocol.transpose()?,
            phase: phase.transpose()?,
            idle: ticks(filter.idle_min_s.unwrap_or(0.0))?..=filter.idle_max_s.map_or(Ok(u32::MAX), ticks)?,
        })
    }

    pub(super) fn matches(&self, flow: &Flow, now: Tick) -> bool {
        self.protocol.is_none_or(|protocol| flow.client.proto == protocol)
            && self.client_port.is_none_or(|port| flow.client.sport == port)
            && self.phase.is_none_or(|phase| flow.state.phase() == phase)
            && self.service.is_none_or(|service| ServiceId::from_u32(flow.service) == service)
            && self.idle.contains(&now.since(flow.state.last_seen()))
            && self.client.as_ref().is_none_or(|prefix| prefix.has(flow.client.src))
            && self.servers.as_ref().is_none_or(|servers| servers.contains(&flow.server_id.0))
    }
}

/// The servers of a pool, or the one, with those that are removed and still have flows.
fn servers(filter: &FlowFilter, plan: &Plan) -> Result<Option<BTreeSet<u32>>, String> {
    let (pool, server) = match (&filter.pool, &filter.server) {
        (None, None) => return Ok(None),
        (Some(pool), None) => (pool.as_str(), None),
        (pool, Some(name)) => {
            let parts = name.split_once('/').ok_or_else(|| format!("`{name}` is no POOL/SERVER"))?;
            if pool.as_ref().is_some_and(|pool| pool != parts.0) {
                return Err(format!("server `{name}` is not of pool `{}`", pool.as_deref().unwrap_or("")));
            }
            (parts.0, Some(parts.1))
        }
    };
    let meant = plan.servers().filter(|record| record.key.pool == pool);
    let meant = meant.filter(|record| server.is_none_or(|server| record.key.name == server));
    let found: BTreeSet<u32> = meant.map(|record| record.id.0).collect();
    match (found.is_empty(), server) {
        (false, _) => Ok(Some(found)),
        (true, None) => Err(format!("there is no pool `{pool}` with servers")),
        (true, Some(server)) => Err(format!("there is no server `{pool}/{server}`")),
    }
}

/// Seconds as ticks.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive number that saturates"
)]
fn ticks(seconds: f64) -> Result<u32, String> {
    if seconds.is_nan() || seconds < 0.0 {
        return Err(format!("{seconds} s is no time"));
    }
    Ok((seconds * f64::from(Tick::PER_SECOND)) as u32)
}

/// As listings name it.
pub(super) fn phase_name(phase: Phase) -> &'static str {
    PHASES.iter().find(|(known, _)| *known == phase).map_or("?", |(_, name)| name)
}

/// An address, or all whose first bits are its.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prefix {
    ip: Ip,
    /// Of the 128 of the mapped form.
    bits: u32,
}

impl Prefix {
    /// `192.0.2.0/24`, `2001:db8::/32`, or an address alone.
    ///
    /// # Errors
    /// Why it is none.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let no =
            || format!("`{text}` is no address and no prefix: 198.51.100.7, 198.51.100.0/24, 2001:db8::/32");
        let (address, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let ip: IpAddr = address.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| no())?;
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let bits: u32 = bits.map_or(Ok(width), str::parse).map_err(|_| no())?;
        if bits > width {
            return Err(no());
        }
        Ok(Self { ip: Ip::from(ip), bits: bits + 128 - width })
    }

    /// Whether this address is one of them. One of the other family is not, not even of all.
    pub(super) fn has(&self, ip: Ip) -> bool {
        let [ours, theirs] = [self.ip, ip].map(|ip| u128::from_be_bytes(ip.octets()));
        let differ = (ours ^ theirs).checked_shr(128 - self.bits).unwrap_or(0);
        differ == 0 && self.ip.is_v4() == ip.is_v4()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Ip {
        Ip::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn every_state_has_its_name() {
        assert_eq!(PHASES.map(|(_, name)| name), STATES);
        assert_eq!(phase_name(Phase::HalfClosed), "half-closed");
    }

    #[test]
    fn a_prefix_has_the_addresses_of_its_first_bits_and_its_family() {
        for (prefix, inside, outside) in [
            ("198.51.100.0/24", "198.51.100.255", "198.51.101.0"),
            ("198.51.100.7", "198.51.100.7", "198.51.100.6"),
            ("0.0.0.0/0", "203.0.113.1", "2001:db8::1"),
            ("::/0", "2001:db8::1", "203.0.113.1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("[2001:db8::1]", "2001:db8::1", "2001:db8::2"),
        ] {
            let read = Prefix::read(prefix).unwrap();
            assert!(read.has(ip(inside)), "{prefix} {inside}");
            assert!(!read.has(ip(outside)), "{prefix} {outside}");
        }
        for no in ["", "198.51.100.0/33", "198.51.100", "2001:db8::/129", "x/8", "198.51.100.0/"] {
            assert!(Prefix::read(no).is_err(), "{no}");
        }
    }

    #[test]
    fn times_are_ticks_and_never_negative() {
        assert_eq!((ticks(0.0), ticks(2.5), ticks(1e30)), (Ok(0), Ok(10), Ok(u32::MAX)));
        assert!(ticks(-1.0).is_err() && ticks(f64::NAN).is_err());
    }
}
