//! What must hold of an outcome: what Katran's has, or, where a deviation is written down, exactly that deviation.

use crate::deviations::Instead;
use crate::headers::{
    Chosen, ETHERNET, Flow, addresses, be16, flow_of, ip_len, is_v4, overhead, packed, sum,
};
use crate::rig::{IPIP_SOURCES, Outcome};
use crate::suite::{Case, Set, Suite, Theirs, Vip};
use ringlead_wire::Ip;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Lowest source port of GUE.
const EPHEMERAL: u16 = 49_152;
/// Longest ICMP errors as IP packets (RFC 1812 §4.3.2.3, RFC 4443 §2.4 c).
const ERROR_V4_MAX: usize = 576;
const ERROR_V6_MAX: usize = 1280;

pub(crate) struct Judge<'a> {
    suite: &'a Suite,
    set: &'a Set,
    /// What every packet of a flow has, from its first one.
    flows: BTreeMap<Flow, Chosen>,
    /// Who got the first flow to a port of a vip that chooses by port alone.
    ports: BTreeMap<(Ip, u16), Ip>,
    last_id: Option<u16>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(suite: &'a Suite, set: &'a Set) -> Self {
        Self { suite, set, flows: BTreeMap::new(), ports: BTreeMap::new(), last_id: None }
    }

    /// Whether the fields that we choose are chosen well: required of every packet that goes to a server.
    pub(crate) fn chosen_well(&mut self, case: &Case, outcome: &Outcome) -> Result<(), String> {
        let Outcome::Sent(frame) = outcome else { return Ok(()) };
        let flow = flow_of(&case.input[ETHERNET..]);
        let vip = self.vip(&flow)?;
        let ours = Chosen::read(frame, self.set.gue);
        if !vip.reals.contains(&ours.dst) || vip.down.contains(&ours.dst) {
            return Err(format!("{} does not serve {}", ours.dst, vip.at.ip));
        }
        if !self.set.gue && !may_come_from(ours.src) {
            return Err(format!("outer source {}", ours.src));
        }
        if is_v4(frame) && sum(&frame[ETHERNET..ETHERNET + 20]) != 0xffff {
            return Err("wrong checksum of the outer header".to_owned());
        }
        if ours.id.is_some() && ours.id == self.last_id {
            return Err("the last packet's identification again (RFC 6864)".to_owned());
        }
        if ours.label == Some(0) || ours.sport.is_some_and(|port| port < EPHEMERAL) {
            return Err(format!("no flow label or source port: {ours:?}"));
        }
        if ours.checksum.is_some_and(|checksum| checksum != 0) {
            return Err("a checksum in GUE's header".to_owned());
        }
        self.last_id = ours.id.or(self.last_id);
        self.ports.entry((vip.at.ip, flow.dport)).or_insert(ours.dst);
        let first = *self.flows.entry(flow).or_insert(ours);
        if (Chosen { id: first.id, ..ours }) != first {
            return Err(format!("{ours:?} after {first:?} in one flow"));
        }
        Ok(())
    }

    /// Whether the outcome is Katran's, but for the server and the fields that we choose: the names of those that are not
    /// as in its suite; or what else differs.
    pub(crate) fn strictly(&self, case: &Case, outcome: &Outcome) -> Result<BTreeSet<&'static str>, String> {
        match (case.verdict, outcome) {
            (Theirs::Kernel, Outcome::Kernel) | (Theirs::Dropped, Outcome::Dropped(_)) => Ok(BTreeSet::new()),
            (Theirs::Sent, Outcome::Sent(frame)) => {
                self.by_port(case, frame)?;
                same_but_chosen(frame, &case.output, self.set.gue)?;
                Ok(fields(frame, &case.output, self.set.gue))
            }
            (Theirs::Sent, Outcome::Answered(_, frame)) if *frame == case.output => Ok(BTreeSet::new()),
            (Theirs::Sent, Outcome::Answered(..)) => Err("another answer".to_owned()),
            (theirs, ours) => Err(format!("{theirs:?}, here {ours:?}")),
        }
    }

    /// Whether the outcome is the deviation that is written down.
    pub(crate) fn instead(&self, case: &Case, outcome: &Outcome, instead: Instead) -> Result<(), String> {
        match (instead, outcome) {
            (Instead::Kernel, Outcome::Kernel) | (Instead::Damaged, Outcome::Dropped("icmp-checksum")) => {
                Ok(())
            }
            (Instead::Served, Outcome::Sent(frame)) => {
                let ours = Chosen::read(frame, self.set.gue);
                let port = self.set.gue.then_some(self.suite.gue_port);
                let from = match (self.set.gue, ours.dst.is_v4()) {
                    (false, _) => ours.src,
                    (true, true) => self.suite.gue_source_v4,
                    (true, false) => self.suite.gue_source_v6,
                };
                let wanted = packed(self.suite.router, port, &case.input, from, ours.dst);
                same_but_chosen(frame, &wanted, self.set.gue)
            }
            (Instead::TooBig, Outcome::Answered("too-big", frame)) => self.tells_the_mtu(case, frame),
            (instead, ours) => Err(format!("{instead:?} is written down, here {ours:?}")),
        }
    }

    /// Of a vip that chooses by port alone: every flow to a port goes to one server.
    fn by_port(&self, case: &Case, frame: &[u8]) -> Result<(), String> {
        let flow = flow_of(&case.input[ETHERNET..]);
        let vip = self.vip(&flow)?;
        let server = Chosen::read(frame, self.set.gue).dst;
        let first = self.ports.get(&(vip.at.ip, flow.dport));
        if vip.by_port && first.is_some_and(|first| *first != server) {
            return Err(format!("{server} after {first:?} for port {}", flow.dport));
        }
        Ok(())
    }

    /// An ICMP error to the client, in the name of the vip, with the longest packet that fits into the tunnel and as much
    /// of the client's packet as such an error may hold.
    fn tells_the_mtu(&self, case: &Case, answer: &[u8]) -> Result<(), String> {
        let (asked, v4) = (&case.input[ETHERNET..], is_v4(&case.input));
        let vip = self.vip(&flow_of(asked))?;
        let room = self.suite.frame_max - ETHERNET - overhead(self.set.gue, vip.reals[0].is_v4());
        let (packet, header) = (&answer[ETHERNET..], ip_len(v4));
        let (icmp, quote) = packet[header..].split_at(8);
        let (src, dst) = addresses(asked, v4);
        let longest = if v4 { ERROR_V4_MAX } else { ERROR_V6_MAX };
        let (total, proto, kind) = if v4 {
            (usize::from(be16(packet, 2)), packet[9], [3, 4])
        } else {
            (40 + usize::from(be16(packet, 4)), packet[6], [2, 0])
        };
        let pseudo = if v4 { Vec::new() } else { [&packet[8..40], &[0, 58], &packet[4..6]].concat() };
        for (right, what) in [
            (answer[..6] == case.input[6..12] && answer[6..12] == case.input[..6], "Ethernet addresses"),
            (answer[12..14] == case.input[12..14] && packet[0] >> 4 == asked[0] >> 4, "family"),
            (addresses(packet, v4) == (dst, src), "addresses"),
            (total == packet.len() && proto == if v4 { 1 } else { 58 }, "length or protocol"),
            (!v4 || sum(&packet[..20]) == 0xffff, "header checksum"),
            (sum(&[&pseudo, &packet[header..]].concat()) == 0xffff, "ICMP checksum"),
            (icmp[..2] == kind && icmp[4..6] == [0, 0], "kind"),
            (usize::from(be16(icmp, 6)) == room, "MTU"),
            (quote == &asked[..(longest - header - 8).min(asked.len())], "quote"),
        ] {
            if !right {
                return Err(format!("the answer's {what}: {answer:02x?}"));
            }
        }
        Ok(())
    }

    fn vip(&self, flow: &Flow) -> Result<&'a Vip, String> {
        let wanted = |vip: &&Vip| {
            let at = vip.at;
            let port = at.port == 0 || at.port == flow.dport;
            at.ip == flow.dst && port && at.protocol.number() == flow.proto
        };
        self.set.vips.iter().find(wanted).ok_or_else(|| format!("sent, but there is no vip for {flow:?}"))
    }
}

/// Equal, once the fields that a balancer chooses are.
fn same_but_chosen(ours: &[u8], theirs: &[u8], gue: bool) -> Result<(), String> {
    let mut frame = ours.to_vec();
    if ours.len() == theirs.len() && ours[12..14] == theirs[12..14] {
        Chosen::read(theirs, gue).write(&mut frame, gue);
    }
    if frame == theirs { Ok(()) } else { Err(format!("sent {ours:02x?}, not {theirs:02x?}")) }
}

/// The fields that we choose in another way, of two frames with the same headers.
fn fields(ours: &[u8], theirs: &[u8], gue: bool) -> BTreeSet<&'static str> {
    let (ours, theirs) = (Chosen::read(ours, gue), Chosen::read(theirs, gue));
    [
        (ours.src != theirs.src, "outer source address"),
        (ours.id != theirs.id, "outer identification"),
        (ours.label != theirs.label, "outer flow label"),
        (ours.sport != theirs.sport, "GUE source port"),
        (ours.checksum != theirs.checksum, "GUE checksum"),
    ]
    .into_iter()
    .filter_map(|(differs, name)| differs.then_some(name))
    .collect()
}

fn may_come_from(src: Ip) -> bool {
    IPIP_SOURCES.into_iter().any(|(base, bits)| {
        let base = Ip::from(base.parse::<IpAddr>().unwrap());
        let hosts = if base.is_v4() { 32 - bits } else { 128 - bits };
        let number = |ip: Ip| u128::from_be_bytes(ip.octets()) >> hosts;
        number(base) == number(src)
    })
}
