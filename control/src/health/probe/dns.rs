//! A DNS question over UDP (RFC 1035) and the wanted answer.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, TYPE};

use super::udp::{connected, refused};
use super::{Attempt, Outcome, Passed, failed, inconclusive, judge, shown};
use crate::health::DnsProbe;

/// Without EDNS a message has at most 512 bytes (RFC 1035 section 4.2.1); more is cut off and will not parse.
const MESSAGE_MAX: usize = 512;

pub(super) async fn attempt(probe: &DnsProbe, target: SocketAddr) -> Attempt {
    let id = u16::try_from(RandomState::new().hash_one(target) & 0xffff).unwrap_or_default();
    let question = question(probe, id).ok_or_else(|| inconclusive("the question cannot be written"))?;
    let socket = connected(target).await.map_err(|error| judge(&error))?;
    socket.send(&question).await.map_err(|error| refused(&error))?;
    let mut buffer = [0; MESSAGE_MAX];
    loop {
        let len = socket.recv(&mut buffer).await.map_err(|error| refused(&error))?;
        let answer = buffer.get(..len).unwrap_or_default();
        // An answer to another question, late or forged (RFC 5452 section 9.1), says nothing about this one.
        if answer.get(..2).is_none_or(|bytes| bytes == id.to_be_bytes()) {
            return judged(probe, answer);
        }
    }
}

fn question(probe: &DnsProbe, id: u16) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(&probe.name).ok()?;
    packet.questions.push(Question::new(name, kind(probe)?, CLASS::IN.into(), false));
    packet.build_bytes_vec().ok()
}

fn kind(probe: &DnsProbe) -> Option<QTYPE> {
    let kind = match probe.kind {
        "A" => TYPE::A,
        "AAAA" => TYPE::AAAA,
        "CNAME" => TYPE::CNAME,
        "NS" => TYPE::NS,
        "PTR" => TYPE::PTR,
        "TXT" => TYPE::TXT,
        "MX" => TYPE::MX,
        "SOA" => TYPE::SOA,
        "SRV" => TYPE::SRV,
        _ => return None,
    };
    Some(QTYPE::TYPE(kind))
}

fn judged(probe: &DnsProbe, answer: &[u8]) -> Attempt {
    let garbage = || failed(format!("no DNS answer: {}", shown(answer)));
    let packet = Packet::parse(answer).map_err(|_| garbage())?;
    if !packet.has_flags(PacketFlag::RESPONSE) {
        return Err(garbage());
    }
    let asked = Name::new(&probe.name).map_err(|_| garbage())?;
    let same = |name: &Name<'_>| name.to_string().eq_ignore_ascii_case(&asked.to_string());
    if packet.questions.first().is_some_and(|question| !same(&question.qname)) {
        return Err(failed("it answers another question"));
    }
    let code = code(packet.rcode());
    if code != probe.rcode {
        return Err(failed(format!("{code}, expected {}", probe.rcode)));
    }
    let count = packet.answers.len();
    let Some(wanted) = &probe.answer else {
        return Ok(Passed::new(format!("{code}, {count} answers")));
    };
    if packet.answers.iter().any(|record| is(&record.rdata, wanted)) {
        return Ok(Passed::new(format!("{code}, {wanted} among {count} answers")));
    }
    Err(missing(wanted, count, packet.has_flags(PacketFlag::TRUNCATION)))
}

fn missing(wanted: &str, count: usize, is_cut: bool) -> Outcome {
    let cut = if is_cut { ", and the message was cut off" } else { "" };
    failed(format!("{wanted} is not among the {count} answers{cut}"))
}

/// Whether a record has this data.
fn is(data: &RData<'_>, wanted: &str) -> bool {
    let same = |name: &Name<'_>| {
        name.to_string().trim_end_matches('.').eq_ignore_ascii_case(wanted.trim_end_matches('.'))
    };
    #[allow(clippy::wildcard_enum_match_arm, reason = "the configuration compares no other type")]
    match data {
        RData::A(a) => wanted.parse() == Ok(std::net::Ipv4Addr::from(a.address)),
        RData::AAAA(a) => wanted.parse() == Ok(std::net::Ipv6Addr::from(a.address)),
        RData::CNAME(name) => same(&name.0),
        RData::NS(name) => same(&name.0),
        RData::PTR(name) => same(&name.0),
        RData::TXT(text) => String::try_from(text.clone()).is_ok_and(|text| text == wanted),
        _ => false,
    }
}

/// RFC 6895 section 2.3.
fn code(code: RCODE) -> &'static str {
    match code {
        RCODE::NoError => "NOERROR",
        RCODE::FormatError => "FORMERR",
        RCODE::ServerFailure => "SERVFAIL",
        RCODE::NameError => "NXDOMAIN",
        RCODE::NotImplemented => "NOTIMP",
        RCODE::Refused => "REFUSED",
        RCODE::YXDOMAIN => "YXDOMAIN",
        RCODE::YXRRSET => "YXRRSET",
        RCODE::NXRRSET => "NXRRSET",
        RCODE::NOTAUTH => "NOTAUTH",
        RCODE::NOTZONE => "NOTZONE",
        RCODE::BADVERS => "BADVERS",
        RCODE::Reserved => "a reserved response code",
    }
}
