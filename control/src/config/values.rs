//! Texts and numbers into values: names, durations, addresses, choices, ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::codes;
use super::diagnostics::Findings;

/// The longest name of a port, service, pool, server or health check.
pub(super) const NAME_MAX: usize = 64;

/// Letters are lower case so that names can be labels and paths; `-`, `_` and `.` separate.
pub(super) fn name(what: &str, value: &Spanned<String>, findings: &mut Findings) -> bool {
    let name = value.get_ref();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(allowed) {
        return true;
    }
    findings
        .error(codes::FORMAT, value.span(), format!("{} is no name for a {what}", quoted(name)))
        .help(format!("names have 1 to {NAME_MAX} of the characters a-z 0-9 - _ ."));
    false
}

/// One of `known`; one of `later` is refused as of a later version (one that ends in `:` stands for a prefix).
pub(super) fn choice<T: Copy>(
    key: &str,
    value: &Spanned<String>,
    known: &[(&str, T)],
    later: &[&str],
    findings: &mut Findings,
) -> Option<T> {
    let written = value.get_ref().as_str();
    if let Some((_, meaning)) = known.iter().find(|(word, _)| *word == written) {
        return Some(*meaning);
    }
    let words = known.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    if later.iter().any(|l| *l == written || (l.ends_with(':') && written.starts_with(l))) {
        findings
            .error(
                codes::LATER,
                value.span(),
                format!("{key} = \"{}\" is not in this version", written.escape_debug()),
            )
            .label("not in this version")
            .help(format!("this version has {words}"));
        return None;
    }
    let near = findings.near(written, known.iter().map(|(word, _)| *word));
    let entry = findings.error(codes::CHOICE, value.span(), format!("`{key}` cannot be {}", quoted(written)));
    entry.help(match near {
        Some(near) => format!("a similar value exists: `{near}` (all: {words})"),
        None => format!("it is one of {words}"),
    });
    None
}

/// A number within a range.
pub(super) fn number<T: TryFrom<i64>>(
    key: &str,
    value: &Spanned<i64>,
    range: RangeInclusive<i64>,
    findings: &mut Findings,
) -> Option<T> {
    let number = Some(*value.get_ref()).filter(|n| range.contains(n)).and_then(|n| T::try_from(n).ok());
    if number.is_none() {
        let message = format!("`{key}` must be {} to {}", range.start(), range.end());
        findings.error(codes::RANGE, value.span(), message);
    }
    number
}

/// `500ms`, `2s`, `1m`, `1h`, within a range.
pub(super) fn duration(
    key: &str,
    value: &Spanned<String>,
    range: RangeInclusive<Duration>,
    findings: &mut Findings,
) -> Option<Duration> {
    let written = value.get_ref();
    let Some(duration) = parse_duration(written) else {
        findings
            .error(codes::FORMAT, value.span(), format!("{} is no duration", quoted(written)))
            .help("a duration is a whole number and a unit: \"500ms\", \"2s\", \"1m\" or \"1h\"");
        return None;
    };
    if !range.contains(&duration) {
        let message = format!("`{key}` must be {} to {}", in_words(*range.start()), in_words(*range.end()));
        findings.error(codes::RANGE, value.span(), message);
        return None;
    }
    Some(duration)
}

pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3_600).map(Duration::from_secs),
        _ => None,
    }
}

/// As a configuration would have it.
pub(super) fn in_words(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let whole = units.into_iter().find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{ms}ms"), |(unit, name)| format!("{}{name}", ms / unit))
}

/// A unicast address that packets can be forwarded to, and a port (0 too: what it means is judged elsewhere).
pub(super) fn address(value: &Spanned<String>, findings: &mut Findings) -> Option<SocketAddr> {
    let written = value.get_ref();
    let Ok(address) = written.parse::<SocketAddr>() else {
        let help = match written.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) => format!("add the port: \"{}\"", SocketAddr::new(ip, 80)),
            Err(_) => "write \"192.0.2.10:80\" or \"[2001:db8::1]:80\"; names are not looked up".to_owned(),
        };
        findings
            .error(codes::FORMAT, value.span(), format!("{} is no address with a port", quoted(written)))
            .help(help);
        return None;
    };
    let scoped = matches!(address, SocketAddr::V6(a) if a.scope_id() != 0);
    let why = if scoped { Some("has a scope, which only link-local addresses need") } else { None };
    if let Some(why) = why.or_else(|| unusable(address.ip())) {
        findings.error(codes::ADDRESS_UNUSABLE, value.span(), format!("{} {why}", address.ip()));
        return None;
    }
    Some(address)
}

/// Why packets for this address cannot be forwarded.
fn unusable(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => unusable_v4(ip),
        IpAddr::V6(ip) => unusable_v6(ip),
    }
}

/// RFC 6890 section 2.2.2.
fn unusable_v4(ip: Ipv4Addr) -> Option<&'static str> {
    match ip.octets() {
        [0, ..] => Some("is in 0.0.0.0/8, \"this network\": no host has it"),
        [127, ..] => Some("is a loopback address, which no other host can reach"),
        [224..=239, ..] => Some("is a multicast address; services and servers are unicast"),
        [255, 255, 255, 255] => Some("is the broadcast address"),
        [240..=255, ..] => Some("is in 240.0.0.0/4, which is reserved"),
        _ => None,
    }
}

/// RFC 4291 section 2.4 and 2.5.5.2.
fn unusable_v6(ip: Ipv6Addr) -> Option<&'static str> {
    if ip.is_unspecified() {
        Some("is the unspecified address")
    } else if ip.is_loopback() {
        Some("is the loopback address, which no other host can reach")
    } else if ip.is_multicast() {
        Some("is a multicast address; services and servers are unicast")
    } else if ip.to_ipv4_mapped().is_some() {
        Some("is an IPv4 address in IPv6 form; write it as IPv4")
    } else if ip.is_unicast_link_local() {
        Some("is link-local: it means another host on every link")
    } else {
        None
    }
}

/// An absolute path without a NUL, of at most `bytes_max` bytes.
pub(super) fn path(
    key: &str,
    value: &Spanned<String>,
    text: &str,
    bytes_max: usize,
    findings: &mut Findings,
) -> Option<PathBuf> {
    if text.starts_with('/') && !text.contains('\0') && text.len() <= bytes_max {
        return Some(PathBuf::from(text));
    }
    let message = format!("`{key}` must be an absolute path of at most {bytes_max} bytes");
    findings.error(codes::FORMAT, value.span(), message);
    None
}

/// 32 hexadecimal digits.
pub(super) fn key128(key: &str, value: &Spanned<String>, findings: &mut Findings) -> Option<[u8; 16]> {
    let text = value.get_ref();
    let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match u128::from_str_radix(text, 16) {
        Ok(number) if digits => Some(number.to_be_bytes()),
        _ => {
            findings
                .error(codes::FORMAT, value.span(), format!("`{key}` must have 32 hexadecimal digits"))
                .help("make one with: openssl rand -hex 16; nodes that share services share the key");
            None
        }
    }
}

/// The most similar of `names`, if one is similar enough to have been meant.
pub(super) fn near<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = written.chars().count();
    if length > NAME_MAX {
        return None;
    }
    let distance_max = (length / 3).max(1);
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, _)| *distance <= distance_max)
        .min()
        .map(|(_, name)| name)
}

/// In backquotes, control characters made visible, long ones cut.
pub(super) fn quoted(text: &str) -> String {
    if text.is_empty() {
        return "\"\"".to_owned();
    }
    let cut: String = text.chars().take(NAME_MAX + 1).flat_map(char::escape_debug).collect();
    let more = if text.chars().nth(NAME_MAX + 1).is_some() { "…" } else { "" };
    format!("`{cut}{more}`")
}

/// `an integer`, `a string`.
pub(super) fn a_or_an(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [("500ms", 500), ("2s", 2_000), ("1m", 60_000), ("1h", 3_600_000), ("0s", 0)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        let bad = ["", "2", "s", "2 s", "-2s", "+2s", "1.5s", "2S", "2us", "1d", "99999999999999999999s"];
        for text in bad.iter().chain(&["18446744073709551615h", "²s"]) {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_that_no_host_has_are_refused_rfc6890_rfc4291() {
        let bad = [
            "0.1.2.3",
            "127.0.0.2",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "fe80::1",
        ];
        for ip in bad {
            assert!(unusable(ip.parse().unwrap()).is_some(), "{ip}");
        }
        for ip in ["10.0.0.1", "100.64.0.1", "169.254.1.1", "192.0.2.1", "fd00::1", "2001:db8::1"] {
            assert_eq!(unusable(ip.parse().unwrap()), None, "{ip}");
        }
    }

    #[test]
    fn near_names_are_near() {
        let names = ["weight", "address", "state", "name"];
        assert_eq!(near("wieght", names), Some("weight"));
        assert_eq!(near("adress", names), Some("address"));
        assert_eq!(near("naem", names), Some("name"));
        assert_eq!(near("colour", names), None);
        assert_eq!(near("x", names), None);
        assert_eq!(near(&"w".repeat(1_000), names), None);
    }
}
