//! The second judge: works out from configuration and packets what must have become of each. It shares no code with
//! the packet path: etherparse reads and sums, the table of conversations is its own.

use crate::conversation::Conversations;
use crate::ip::Frame;
use crate::output::{Output, Record};
use crate::replay::replayed;
use crate::setup::Setup;
use etherparse::TcpSlice;
use ringlead_tests::pcap_cases::Case;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Every packet of the source is in the output once, unchanged, at its time, with one comment: the one asked for.
pub(crate) fn verdicts(case: &Case) -> Vec<String> {
    let run = replayed(case);
    let received: Vec<&Record> = run.output.records.iter().filter(|record| record.received()).collect();
    let mut faults = Vec::new();
    if received.len() != case.inputs.len() {
        faults.push(format!("{}: {} packets in, {} written", case.name, case.inputs.len(), received.len()));
    }
    for (number, (input, record)) in (1..).zip(case.inputs.iter().zip(received)) {
        let fault = |what: String| format!("{}: packet {number}: {what}", case.name);
        if (record.port(), record.time_ns, &record.frame) != (input.port.name(), input.time_ns, &input.frame)
        {
            faults.push(fault(format!("is not what was sent: {record:02x?}")));
        }
        if record.comments.len() != 1 || !is_like(record.verdict(), input.verdict) {
            faults.push(fault(format!("{:?}, not {:?}", record.comments, input.verdict)));
        }
    }
    faults
}

/// Drops whose senders are, or may be, told by ICMP.
const TOLD: [&str; 4] = ["drop: too-big", "drop: ttl-expired", "drop: no-server", "drop: snat-exhausted"];

/// Every packet that left was made of one that arrived, by the rules of its service, and nothing is missing.
pub(crate) fn rewrites(case: &Case) -> Vec<String> {
    let run = replayed(case);
    let setup = Setup::of(case);
    let mut conversations = Conversations::default();
    let (mut waiting, mut told): (Vec<&Record>, Vec<&Record>) = (Vec::new(), Vec::new());
    let mut faults = Vec::new();
    for (number, record) in (1..).zip(&run.output.records) {
        let verdict = record.verdict();
        if record.received() {
            if verdict.starts_with("to ") || verdict == "drop: answered" {
                waiting.push(record);
            } else if TOLD.contains(&verdict) {
                told.push(record);
            }
            continue;
        }
        if verdict.starts_with("answer: icmp") {
            // Not everybody is told (RFC 1812 §4.3.2.7), so those who are not are not missed.
            let place = told.iter().position(|dropped| is_error(&setup, dropped, record).is_ok());
            match place {
                Some(place) => drop(told.remove(place)),
                None => faults.push(format!("{}: record {number} ({verdict}): about nothing", case.name)),
            }
            continue;
        }
        // Both ports may receive at the same time; then the verdict tells which of the two left.
        let question = if verdict.starts_with("answer") { "drop: answered" } else { verdict };
        let came = waiting.iter().position(|came| came.verdict() == question).map(|at| waiting.remove(at));
        let checked = match came {
            None => Err("left without having arrived".to_owned()),
            Some(came) if came.time_ns != record.time_ns => Err("left at another time".to_owned()),
            Some(came) if came.verdict() != verdict => is_reset(came, record),
            Some(came) => conversations.check(&setup, came, record),
        };
        if let Err(what) = checked {
            faults.push(format!("{}: record {number} ({verdict}): {what}", case.name));
        }
    }
    faults.extend(waiting.iter().map(|record| format!("{}: never left: {}", case.name, record.verdict())));
    faults
}

/// RFC 1812 §4.3.2, RFC 4443 §2.4: the error goes back where the packet came from, and quotes it from its beginning.
fn is_error(setup: &Setup, about: &Record, answer: &Record) -> Result<(), String> {
    let read = |record: &Record| Frame::of(&record.frame).ok_or("unreadable");
    let (about_frame, answer_frame) = (read(about)?, read(answer)?);
    let (from, to) = about_frame.ip.endpoints();
    let (service, client) = answer_frame.ip.endpoints();
    let mirrored = answer.port() == about.port()
        && (answer_frame.to, answer_frame.from) == (about_frame.from, about_frame.to)
        && answer_frame.tags == about_frame.tags
        && client.ip() == from.ip();
    // What a client's packet went to; a server hears it from the service that it answers for.
    let answers_for = |s: &crate::setup::Service| {
        s.listen.iter().any(|at| at.ip() == service.ip())
            && s.servers.values().any(|server| server.ip() == from.ip())
    };
    let ours = service.ip() == to.ip() || setup.services.values().any(answers_for);
    let body = answer_frame.ip.body();
    let (kind, code, quote) = (body[0], body[1], &body[8..]);
    let v4 = from.is_ipv4();
    let right = match about.verdict() {
        "drop: too-big" => (kind, code) == if v4 { (3, 4) } else { (2, 0) } && mtu(setup, from, to, body),
        "drop: ttl-expired" => (kind, code) == if v4 { (11, 0) } else { (3, 0) },
        _ => (kind, code) == if v4 { (3, 1) } else { (1, 3) },
    };
    let quoted = quote.len() >= 28 && about.frame.windows(quote.len()).any(|part| part == quote);
    let summed = answer_frame.ip.checksum_of_own();
    if mirrored && ours && right && quoted && summed { Ok(()) } else { Err("is not about it".to_owned()) }
}

/// RFC 1191 §3, RFC 4443 §3.2: whether it names what would have fitted: Ethernet's 1500 bytes, less what the packet grows by.
fn mtu(setup: &Setup, from: SocketAddr, to: SocketAddr, body: &[u8]) -> bool {
    let asked = setup.services.values().find(|service| service.listens_at(to));
    let fits = 1500 - asked.map_or(0, |service| service.growth(from.ip()));
    i64::from(u32::from_be_bytes([body[4], body[5], body[6], body[7]])) == fits
}

/// RFC 9293 section 3.10.7.1: the reset goes back where the segment came from and fits its numbers.
fn is_reset(asked: &Record, answer: &Record) -> Result<(), String> {
    let read = |record: &Record| Frame::of(&record.frame).ok_or("unreadable");
    let (asked_frame, answer_frame) = (read(asked)?, read(answer)?);
    if let Some(checksum) = answer_frame.ip.wrong_checksum() {
        return Err(format!("wrong {checksum}"));
    }
    let (from, to) = asked_frame.ip.endpoints();
    let mirrored = answer.port() == asked.port()
        && answer.verdict().starts_with("answer: tcp reset")
        && (answer_frame.to, answer_frame.from) == (asked_frame.from, asked_frame.to)
        && answer_frame.tags == asked_frame.tags
        && answer_frame.ip.endpoints() == (to, from);
    if !mirrored {
        return Err("does not go back where the segment came from".to_owned());
    }
    let segment = |frame: &Frame| TcpSlice::from_slice(frame.ip.body()).map(|tcp| tcp.to_header());
    let segments = segment(&asked_frame).and_then(|asked| Ok((asked, segment(&answer_frame)?)));
    let (asked, answer) = segments.map_err(|error| error.to_string())?;
    let numbers = if asked.ack {
        (answer.sequence_number, answer.ack) == (asked.acknowledgment_number, false)
    } else {
        (answer.acknowledgment_number, answer.ack) == (asked.sequence_number + u32::from(asked.syn), true)
    };
    if answer.rst && !answer.syn && numbers { Ok(()) } else { Err("its numbers do not fit".to_owned()) }
}

/// Received, sent, made and every drop, counted from the capture.
pub(crate) fn counters(case: &Case) -> Vec<String> {
    let run = replayed(case);
    let counted: serde_json::Value = serde_json::from_str(&run.counters).unwrap();
    let seen = seen(&run.output);
    let number = |name: &str| counted[name].as_u64().unwrap();
    let drops: BTreeMap<&str, u64> = counted["drops"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, count)| (name.as_str(), count.as_u64().unwrap()))
        .collect();
    let mut faults = Vec::new();
    let mut compare = |what: &str, counted: String, seen: String| {
        if counted != seen {
            faults.push(format!("{}: {what}: counted {counted}, seen {seen}", case.name));
        }
    };
    for (name, seen) in [
        ("received", seen.received),
        ("sent", seen.sent),
        ("made", seen.made),
        ("flows_created", seen.flows),
        ("stateless", seen.stateless),
    ] {
        compare(name, number(name).to_string(), seen.to_string());
    }
    compare("drops", format!("{drops:?}"), format!("{:?}", seen.drops));
    faults
}

/// What a capture says that the counters must say.
#[derive(Default)]
struct Seen<'a> {
    received: u64,
    sent: u64,
    made: u64,
    flows: u64,
    stateless: u64,
    drops: BTreeMap<&'a str, u64>,
}

fn seen(output: &Output) -> Seen<'_> {
    let mut seen = Seen::default();
    for record in &output.records {
        let verdict = record.verdict();
        if !record.received() {
            seen.sent += 1;
            seen.made += u64::from(verdict.starts_with("answer"));
            continue;
        }
        // The kernel's frames, and what no frame can hold, never reach a worker.
        seen.received += u64::from(!verdict.starts_with("kernel") && !verdict.starts_with("not replayed"));
        seen.flows += u64::from(verdict.ends_with("new flow"));
        seen.stateless += u64::from(verdict.contains("computed"));
        if let Some(reason) = verdict.strip_prefix("drop: ") {
            *seen.drops.entry(reason).or_default() += 1;
        }
    }
    seen
}

/// Whether the text is the pattern, in which `*` stands for anything.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return text == pattern };
    let Some(rest) = text.strip_prefix(before) else { return false };
    if after.contains('*') {
        return (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| is_like(rest, after)));
    }
    rest.ends_with(after)
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn a_star_stands_for_anything() {
        assert!(is_like("to a -> s1, flow", "to a -> *, flow"));
        assert!(is_like("to a4 (x) -> s1, flow", "to a* (x) -> *, flow"));
        assert!(!is_like("to a -> s1, flow", "to b -> *, flow"));
        assert!(!is_like("to a -> s1, new", "to a -> *, flow"));
        assert!(!is_like("drop: fragment", "drop: fragment-tiny"));
    }
}
