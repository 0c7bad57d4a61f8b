//! The judge: every frame that comes back is looked at once, then all that did not come is counted.

use crate::arrival::{Arrival, End, Limits, Look};
use crate::checks::Case;
use crate::ends::Ends;
use crate::expect::{Expectation, Impossible, Mode, Sender, Sent, Service};
use crate::findings::{Direction, Findings, Tally};
use crate::fragments::Fragments;
use crate::gaps::Gaps;
use crate::kind::Kind;
use crate::loss;
use crate::parsed::{Parsed, Unparsed};
use crate::record::{Record, Who};
use crate::stamp::{self, FLOWS_MAX, Stamp, Unread};
use crate::track::{Order, Track};
use crate::translation::Identifications;
use crate::tunnel::Outer;
use std::collections::HashSet;
use std::net::SocketAddr;

/// The judge of one trial.
#[derive(Debug)]
pub struct Witness<S> {
    expect: Expectation,
    sender: S,
    trial: u8,
    limits: Limits,
    /// Addresses and ports that are a service's or a nat server's, and the bare addresses, with port 0.
    known: HashSet<SocketAddr>,
    tracks: [Vec<Track>; 2],
    ends: Ends,
    /// None where nothing is translated between the families.
    ids: Option<Identifications>,
    gaps: [Gaps; 2],
    received: [u64; 2],
    fragments: Fragments,
    fragments_seen: u64,
    foreign: u64,
    record: Record,
}

impl<S: Sender> Witness<S> {
    /// A judge of packets that `sender` sent in `trial`.
    ///
    /// # Errors
    /// When no frame could be judged by the expectation, or there are too many flows.
    pub fn new(expect: Expectation, sender: S, trial: u8, limits: Limits) -> Result<Self, Impossible> {
        expect.check()?;
        if limits.flows > FLOWS_MAX {
            return Err(Impossible(format!("{} flows: a stamp tells {FLOWS_MAX} apart", limits.flows)));
        }
        let flows = usize::try_from(limits.flows).unwrap_or(0);
        let tracks = |wanted: bool| vec![Track::default(); if wanted { flows } else { 0 }];
        Ok(Self {
            ends: Ends::new(&expect, flows),
            ids: Identifications::new(&expect, flows),
            known: known(&expect),
            expect,
            sender,
            trial,
            limits,
            tracks: [tracks(true), tracks(limits.replies)],
            gaps: [Gaps::new(limits.gaps), Gaps::new(limits.gaps)],
            received: [0; 2],
            fragments: Fragments::default(),
            fragments_seen: 0,
            foreign: 0,
            record: Record::new(limits.examples, limits.moves),
        })
    }

    /// Judges one frame, as received, without FCS.
    #[inline]
    pub fn look(&mut self, frame: &[u8], arrival: &Arrival) -> Look {
        // Servers' frames may be wrapped; what comes to clients alone never is.
        if self.ends.has_tunnels()
            && arrival.end != End::Clients
            && let Some(opened) = self.expect.tunnel.open(frame)
        {
            return match opened {
                Ok((outer, packet)) => {
                    self.came(Came { packet: &packet, outer: Some(&outer), arrival, was_cut: false })
                }
                Err(what) => self.malformed(what, arrival),
            };
        }
        match Parsed::new(frame) {
            Ok(packet) => self.came(Came { packet: &packet, outer: None, arrival, was_cut: false }),
            Err(Unparsed::NotIp) => self.stranger(),
            Err(Unparsed::Malformed(what)) => self.malformed(what, arrival),
        }
    }

    /// What it judges by.
    #[must_use]
    pub const fn expectation(&self) -> &Expectation {
        &self.expect
    }

    /// Who knows how packets were sent.
    #[must_use]
    pub const fn sender(&self) -> &S {
        &self.sender
    }

    /// The server that the flow came to last, an index into [`Expectation::servers`]; None: nothing of it came.
    #[must_use]
    pub fn server_of(&self, flow: u32) -> Option<u16> {
        let flow = usize::try_from(flow).ok()?;
        self.tracks[Direction::Forward as usize].get(flow).and_then(Track::server)
    }

    /// What was found up to now. Losses are not known before the trial is over.
    #[must_use]
    pub fn so_far(&self) -> Findings {
        let [forward, reply] = self.received.map(|received| Tally { received, lost: 0 });
        let mut findings = Findings {
            forward,
            reply,
            fragments: self.fragments_seen,
            fragments_left: self.fragments.left(),
            foreign: self.foreign,
            spread: self.ends.spread(),
            ..Findings::default()
        };
        self.record.put_into(&mut findings);
        findings
    }

    /// Ends the trial, after the drain: what was sent and has not come is lost. `sent` says how many packets of each
    /// flow were sent; they are numbered from 0.
    #[must_use]
    pub fn finish(mut self, mut sent: impl FnMut(u32) -> u64) -> Findings {
        let from = self.limits.may_vanish_from;
        let lost = loss::account(&self.tracks, &self.gaps, from, &mut sent, &mut self.record);
        let mut findings = self.so_far();
        findings.forward.lost = lost.forward;
        findings.reply.lost = lost.reply;
        findings.missing = lost.missing;
        findings
    }

    #[inline]
    fn came(&mut self, came: Came<'_>) -> Look {
        if came.packet.is_fragment() { self.fragment(came) } else { self.packet(came) }
    }

    #[inline]
    fn packet(&mut self, came: Came<'_>) -> Look {
        let Came { packet, arrival, .. } = came;
        let (stamp, damaged) = match stamp::read(packet) {
            Ok(stamp) => (stamp, false),
            Err(Unread::Payload(stamp)) => (stamp, true),
            Err(Unread::Head(claimed)) => return self.unread(packet, arrival, Some(claimed)),
            Err(Unread::None) => return self.unread(packet, arrival, None),
        };
        let who = Who { stamp: Some(stamp), at_ns: arrival.at_ns };
        if stamp.trial != self.trial {
            let (now, then) = (self.trial, stamp.trial);
            self.record.find(Kind::OldTrial, who, format_args!("trial {now}"), format_args!("trial {then}"));
            return Look::Wrong;
        }
        let sent =
            if stamp.flow < self.limits.flows { self.sender.sent(stamp.flow, stamp.seq) } else { None };
        let Some(sent) = sent else { return self.never_sent(who, stamp) };
        let direction = direction(packet, &sent, arrival.end);
        if damaged {
            let bytes = packet.payload().len();
            self.record.find(
                Kind::BadPayload,
                who,
                format_args!("the payload that was sent"),
                format_args!("{bytes} bytes with a wrong CRC-32"),
            );
        }
        let first = self.judge(came, &sent, direction, who, stamp);
        Look::Ours { stamp, direction, first }
    }

    /// Checks the headers, and where the packet stands in its flow.
    #[inline]
    fn judge(&mut self, came: Came<'_>, sent: &Sent, direction: Direction, who: Who, stamp: Stamp) -> bool {
        let way = direction as usize;
        self.received[way] += 1;
        let flow = usize::try_from(stamp.flow).unwrap_or(usize::MAX);
        // A reply's too is known from where its flow went.
        let last_server = self.tracks[Direction::Forward as usize].get(flow).and_then(Track::server);
        let mut track = self.tracks[way].get_mut(flow);
        let expect = &self.expect;
        let Some(service) = service_of(expect, sent) else { return false };
        let Came { packet, outer, arrival, was_cut } = came;
        let interface = arrival.interface;
        let translated = match direction {
            Direction::Forward => service.mode == Mode::Snat && packet.is_v4() != service.address.is_ipv4(),
            Direction::Reply => last_server.is_some_and(|server| service.translates_to(expect, server)),
        };
        let case = Case {
            expect,
            packet,
            outer,
            sent,
            service,
            direction,
            interface,
            last_server,
            who,
            translated,
            was_cut,
        };
        let server = case.check(&mut self.record);
        // Replies need not be followed; their headers are judged all the same.
        let Some(track) = &mut track else { return true };
        let moved = server.and_then(|server| Some((server, track.went_to(server)?)));
        if direction == Direction::Forward {
            self.ends.note(&case, stamp.flow, moved.is_some(), &mut self.record);
        }
        if let Some((server, (from, first_time))) = moved {
            let name =
                |index| expect.servers.get(usize::from(index)).map_or("?", |server| server.name.as_str());
            let (old, new) = (name(from), name(server));
            self.record.moved(who, first_time, (from, old), (server, new));
            self.record.find(Kind::WrongServer, who, format_args!("{old}"), format_args!("{new}"));
        }
        let order = track.note(stamp.flow, stamp.seq, &mut self.gaps[way]);
        if let (Some(ids), Order::Ahead | Order::Late) = (&mut self.ids, order) {
            ids.note(&case, stamp.flow, &mut self.record);
        }
        match order {
            Order::Ahead => true,
            Order::Late => {
                self.record.find(
                    Kind::Reordered,
                    who,
                    format_args!("in order"),
                    format_args!("after a later packet"),
                );
                true
            }
            Order::Duplicate => {
                self.record.find(Kind::Duplicate, who, format_args!("once"), format_args!("again"));
                false
            }
            Order::Stale => {
                let got = format_args!("beyond the window: late, or again");
                self.record.find(Kind::Stale, who, format_args!("in order"), got);
                false
            }
        }
    }

    #[cold]
    fn never_sent(&mut self, who: Who, stamp: Stamp) -> Look {
        let got = format_args!("flow {}, packet {}", stamp.flow, stamp.seq);
        self.record.find(Kind::Unknown, who, format_args!("a packet that was sent"), got);
        Look::Wrong
    }

    /// A packet without a stamp that holds: ours by its addresses, or nobody's business.
    #[cold]
    fn unread(&mut self, packet: &Parsed<'_>, arrival: &Arrival, claimed: Option<Stamp>) -> Look {
        // Echo, neighbour discovery and errors of a service's own hosts are no traffic of the service.
        if packet.transport().is_none() {
            return self.stranger();
        }
        let (from, to) = (packet.source(), packet.destination());
        let sent = claimed.filter(|stamp| stamp.flow < self.limits.flows && stamp.trial == self.trial);
        let sent = sent.and_then(|stamp| self.sender.sent(stamp.flow, stamp.seq).map(|sent| (stamp, sent)));
        // The flow's number stood in the damaged bytes: it is believed where the addresses agree.
        let stamp = sent.filter(|(_, sent)| sent.client == from || sent.client == to).map(|(stamp, _)| stamp);
        if stamp.is_none() && !self.known.contains(&from) && !self.known.contains(&to) {
            return self.stranger();
        }
        let who = Who { stamp, at_ns: arrival.at_ns };
        let (protocol, bytes) = (packet.protocol(), packet.payload().len());
        let got = format_args!("{from} to {to}, protocol {protocol}, {bytes} bytes of payload");
        if stamp.is_some() {
            let got = format_args!("{bytes} bytes with a damaged stamp");
            self.record.find(Kind::BadPayload, who, format_args!("the payload that was sent"), got);
        } else if claimed.is_some() {
            self.record.find(Kind::BadPayload, who, format_args!("a stamp"), got);
        } else {
            let flags = packet.tcp_header().get(13).copied().unwrap_or(0);
            let got = format_args!("{got}, TCP flags {flags:#04x}");
            self.record.find(Kind::Unknown, who, format_args!("a stamp"), got);
        }
        Look::Wrong
    }

    fn stranger(&mut self) -> Look {
        self.foreign += 1;
        Look::Foreign
    }

    #[cold]
    fn malformed(&mut self, what: &str, arrival: &Arrival) -> Look {
        let who = Who { stamp: None, at_ns: arrival.at_ns };
        self.record.find(Kind::Malformed, who, format_args!("a whole packet"), format_args!("a bad {what}"));
        Look::Wrong
    }

    #[cold]
    fn fragment(&mut self, came: Came<'_>) -> Look {
        let Came { packet, outer, arrival, .. } = came;
        let bare = |endpoint: SocketAddr| SocketAddr::new(endpoint.ip(), 0);
        if !self.known.contains(&bare(packet.source())) && !self.known.contains(&bare(packet.destination())) {
            return self.stranger();
        }
        self.fragments_seen += 1;
        let who = Who { stamp: None, at_ns: arrival.at_ns };
        if !packet.ip_checksum_ok() {
            let got = format_args!("a wrong one, in a fragment");
            self.record.find(Kind::BadIpChecksum, who, format_args!("a right one"), got);
        }
        let Some(whole) = self.fragments.add(packet, outer) else { return Look::Fragment };
        if whole.uneven {
            let got = format_args!("fragments that differ, overlap or contradict each other");
            self.record.find(
                Kind::HeaderChanged,
                who,
                format_args!("one Ethernet header, TTL and DSCP"),
                got,
            );
        }
        match Parsed::new(&whole.frame) {
            Ok(packet) => {
                self.packet(Came { packet: &packet, outer: whole.outer.as_ref(), arrival, was_cut: true })
            }
            Err(_) => {
                let got = format_args!("fragments of no packet");
                self.record.find(Kind::Malformed, who, format_args!("a whole packet"), got);
                Look::Wrong
            }
        }
    }
}

/// A packet as it came.
#[derive(Clone, Copy)]
struct Came<'a> {
    packet: &'a Parsed<'a>,
    /// What a tunnel put around it.
    outer: Option<&'a Outer>,
    arrival: &'a Arrival,
    /// It was put together again from fragments.
    was_cut: bool,
}

#[inline]
fn service_of<'a>(expect: &'a Expectation, sent: &Sent) -> Option<&'a Service> {
    expect.services.get(usize::from(sent.service))
}

#[inline]
fn direction(packet: &Parsed<'_>, sent: &Sent, end: End) -> Direction {
    match end {
        End::Servers => Direction::Forward,
        End::Clients => Direction::Reply,
        End::Both if packet.destination() == sent.client => Direction::Reply,
        End::Both => Direction::Forward,
    }
}

fn known(expect: &Expectation) -> HashSet<SocketAddr> {
    let mut known = HashSet::new();
    let mut add = |endpoint: SocketAddr| {
        known.insert(endpoint);
        known.insert(SocketAddr::new(endpoint.ip(), 0));
    };
    for service in &expect.services {
        add(service.address);
        let servers = service.servers.iter().filter_map(|index| expect.servers.get(usize::from(*index)));
        match service.mode {
            Mode::Nat | Mode::Snat => servers.for_each(|server| add(server.address)),
            Mode::Dsr | Mode::Tunnel => {}
        }
    }
    known
}
