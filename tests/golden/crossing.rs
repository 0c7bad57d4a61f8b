//! A packet of one family that has become one of the other (RFC 7915).

use crate::ip::Ip;

/// Whether `after` says what `before` did, as far as the other family can. Ends, TTL and checksums are judged elsewhere.
pub(crate) fn compare(before: &Ip, after: &Ip) -> Result<(), String> {
    if after.class() != before.class() {
        return Err(format!("class is {:#x}, not {:#x}", after.class(), before.class()));
    }
    let header_len = if after.v4() { 20 } else { 40 };
    if after.header_len() != header_len {
        return Err("options or extension headers".to_owned());
    }
    // RFC 7915 §5.1: what fits into 1280 bytes of IPv6 may be fragmented.
    if after.v4() && after.dont_fragment() != (after.bytes.len() > 1260) {
        return Err("don't-fragment is wrong".to_owned());
    }
    match (before.quote(), after.quote()) {
        (None, None) => transport(before, after),
        (Some(was), Some(is)) => error(before, after, &was, &is),
        _ => Err("an error has become none".to_owned()),
    }
}

fn transport(before: &Ip, after: &Ip) -> Result<(), String> {
    let same = after.protocol == before.protocol && after.body_without_ends() == before.body_without_ends();
    if same { Ok(()) } else { Err("more than ports and checksum of the transport has changed".to_owned()) }
}

/// RFC 7915 §4.2 and §5.2: type, code and MTU, and the quoted packet as its sender sent it.
fn error(before: &Ip, after: &Ip, was: &Ip, is: &Ip) -> Result<(), String> {
    let word = |ip: &Ip, at: usize| u16::from_be_bytes([ip.body()[at], ip.body()[at + 1]]);
    let ([kind, code], mtu) = ([before.body()[0], before.body()[1]], word(before, 6));
    let wanted = match (before.v4(), kind, code) {
        (true, 3, 0 | 1) => (1, 0, 0),
        (true, 3, 3) => (1, 4, 0),
        (true, 3, 4) => (2, 0, mtu + 20),
        (true, 11, 0) => (3, 0, 0),
        (false, 1, 0 | 3) => (3, 1, 0),
        (false, 1, 4) => (3, 3, 0),
        (false, 2, 0) => (3, 4, mtu - 20),
        (false, 3, 0) => (11, 0, 0),
        other => return Err(format!("the witness does not know {other:?}")),
    };
    let seen = (after.body()[0], after.body()[1], word(after, 6));
    if seen != wanted || word(after, 4) != 0 {
        return Err(format!("type, code and MTU are {seen:?}, not {wanted:?}"));
    }
    let (was_body, is_body) = (was.body_without_ends(), is.body_without_ends());
    let quoted = is.protocol == was.protocol && is_body.len() >= 8 && was_body.starts_with(&is_body);
    if quoted && is.ttl() == was.ttl() && is.class() == was.class() {
        return Ok(());
    }
    Err("the quote is another packet's".to_owned())
}
