//! What TLS has against a server and its certificate, in words.

use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};

const DAY: Duration = Duration::from_secs(86_400);

/// What the library for paths of certificates says beyond [`CertificateError`], by its names.
const PATH_ERRORS: &[(&str, &str)] = &[
    (
        "CaUsedAsEndEntity",
        "certificate is an authority's (CA:TRUE) and not one of those in `ca`: put it there, or give the server another one",
    ),
    ("EndEntityUsedAsCa", "certificate is signed by one that is no authority (CA:FALSE)"),
    ("PathLenConstraintViolated", "certificate's path is longer than an authority in it allows"),
    ("NameConstraintViolation", "certificate has a name that an authority in its path may not sign"),
    ("MaximumPathDepthExceeded", "certificate's path to `ca` is too long"),
    ("UnsupportedCertVersion", "certificate is not of X.509 version 3"),
    ("EmptyEkuExtension", "certificate has an empty extended key usage"),
    ("SignatureAlgorithmMismatch", "certificate names two signature algorithms"),
    ("InvalidSerialNumber", "certificate has a serial number that cannot be"),
];

/// Why a handshake failed.
pub(in crate::health) fn complaint(error: &Error) -> String {
    #[allow(clippy::wildcard_enum_match_arm, reason = "the rest has names that can be spelt")]
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::InvalidMessage(_) => "the answer is no TLS".to_owned(),
        Error::NoCertificatesPresented => "it shows no certificate".to_owned(),
        Error::AlertReceived(AlertDescription::UnrecognisedName) => "no certificate of that name".to_owned(),
        Error::AlertReceived(alert) => {
            format!("it refuses the TLS handshake: {} (alert {})", spelt(alert), u8::from(*alert))
        }
        Error::PeerIncompatible(why) => format!("it cannot speak TLS with us: {}", spelt(why)),
        Error::PeerMisbehaved(why) => format!("it does not keep to TLS: {}", spelt(why)),
        Error::General(why) => format!("TLS: {why}"),
        other => format!("TLS: {}", spelt(other)),
    }
}

fn certificate(error: &CertificateError) -> String {
    #[allow(clippy::wildcard_enum_match_arm, reason = "the rest has names that can be spelt")]
    match error {
        CertificateError::BadEncoding => "certificate cannot be read".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => lifetime(at(*not_after), at(*time)),
        CertificateError::Expired => "certificate expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate is not valid yet".to_owned()
        }
        CertificateError::UnknownIssuer => "certificate is signed by nobody in `ca`".to_owned(),
        CertificateError::BadSignature => "certificate is not signed by the key of its issuer".to_owned(),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "certificate is signed by an algorithm that is not supported".to_owned()
        }
        CertificateError::UnhandledCriticalExtension => {
            "certificate has a critical extension that is not supported".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate is not for servers (extended key usage)".to_owned()
        }
        CertificateError::NotValidForName => "certificate has another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let has = presented.iter().take(3).map(|shown| presented_name(shown)).collect::<Vec<_>>();
            let has = if has.is_empty() { "no subjectAltName".to_owned() } else { has.join(", ") };
            format!("certificate is not for {}: it has {has}", expected.to_str())
        }
        CertificateError::Other(other) => path(&other.0),
        other => format!("bad certificate: {}", spelt(other)),
    }
}

fn path(error: &impl Debug) -> String {
    let name = name(error);
    let known = PATH_ERRORS.iter().find(|(known, _)| *known == name);
    known.map_or_else(|| format!("bad certificate: {}", spelt(error)), |(_, words)| (*words).to_owned())
}

/// From `DnsName("app.example.net")` or `IpAddress(10.0.0.1)`.
fn presented_name(shown: &str) -> &str {
    let inside = shown.split_once('(').map_or(shown, |(_, inside)| inside.trim_end_matches(')'));
    inside.trim_matches('"')
}

/// The name of a variant.
fn name(variant: &impl Debug) -> String {
    format!("{variant:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// The same as words: `NoCipherSuitesInCommon` is "no cipher suites in common".
fn spelt(variant: &impl Debug) -> String {
    let mut words = String::new();
    for letter in name(variant).chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

fn at(time: UnixTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.as_secs())
}

/// "certificate ends in 83 days", "certificate expired 3 days ago".
pub(super) fn lifetime(ends: SystemTime, now: SystemTime) -> String {
    match ends.duration_since(now) {
        Ok(left) => format!("certificate ends in {}", days(left)),
        Err(past) => format!("certificate expired {} ago", days(past.duration())),
    }
}

fn days(duration: Duration) -> String {
    match duration.as_secs() / DAY.as_secs() {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        n => format!("{n} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;
    use rustls::{OtherError, PeerIncompatible};
    use std::sync::Arc;

    #[test]
    fn the_end_of_a_certificate_is_said_in_days() {
        let now = UNIX_EPOCH + 1000 * DAY;
        assert_eq!(lifetime(now + 83 * DAY, now), "certificate ends in 83 days");
        assert_eq!(lifetime(now + DAY, now), "certificate ends in 1 day");
        assert_eq!(lifetime(now + DAY / 2, now), "certificate ends in less than a day");
        assert_eq!(lifetime(now - 3 * DAY, now), "certificate expired 3 days ago");
    }

    #[test]
    fn what_is_wrong_is_said_in_words_whatever_it_is() {
        #[derive(Debug)]
        struct UnheardOf(#[allow(dead_code, reason = "shown")] u8);
        impl std::fmt::Display for UnheardOf {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{self:?}")
            }
        }
        impl std::error::Error for UnheardOf {}
        let unheard_of = CertificateError::Other(OtherError(Arc::new(UnheardOf(7))));
        let expected = ServerName::try_from("a.example.net").unwrap();
        let presented = vec!["DnsName(\"b.example.net\")".to_owned(), "IpAddress(10.0.0.1)".to_owned()];
        let (nobody, others) = ((expected.clone(), Vec::new()), (expected, presented));
        let [nobody, others] = [nobody, others].map(|(expected, presented)| {
            Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented })
        });
        let alert = Error::AlertReceived(AlertDescription::HandshakeFailure);
        let cases = [
            (unheard_of.into(), "bad certificate: unheard of"),
            (CertificateError::UnknownRevocationStatus.into(), "bad certificate: unknown revocation status"),
            (nobody, "certificate is not for a.example.net: it has no subjectAltName"),
            (others, "certificate is not for a.example.net: it has b.example.net, 10.0.0.1"),
            (alert, "it refuses the TLS handshake: handshake failure (alert 40)"),
            (
                PeerIncompatible::NoCipherSuitesInCommon.into(),
                "it cannot speak TLS with us: no cipher suites in common",
            ),
            (Error::DecryptError, "TLS: decrypt error"),
        ];
        for (error, words) in cases {
            assert_eq!(complaint(&error), words);
        }
    }
}
