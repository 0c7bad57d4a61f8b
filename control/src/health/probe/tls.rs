//! A TLS handshake, and what is wrong with the certificate in words.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, Error};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_cert::der::Decode;

use super::{Attempt, Outcome, Passed, failed, inconclusive, judge, tcp};
use crate::health::TlsProbe;
use crate::health::trust::Trust;

const DAY: Duration = Duration::from_secs(86_400);

/// What the handshake showed.
pub(super) struct Seen {
    version: &'static str,
    /// When the server's certificate ends, where it can be read.
    pub(super) ends: Option<SystemTime>,
}

impl Seen {
    /// "certificate ends in 83 days".
    pub(super) fn ends_in_words(&self) -> Option<String> {
        self.ends.map(|ends| lifetime(ends, SystemTime::now()))
    }
}

pub(super) async fn attempt(probe: &TlsProbe, target: SocketAddr, trust: &Trust) -> Attempt {
    over(probe, target, tcp::connect(target).await?, trust).await
}

/// The same over a connection that is there.
pub(super) async fn over(
    probe: &TlsProbe,
    target: SocketAddr,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    trust: &Trust,
) -> Attempt {
    let (mut stream, seen) = handshake(probe, target, stream, trust).await?;
    // It has passed already: the closure alert (RFC 8446 section 6.1) is a courtesy.
    let _ = stream.shutdown().await;
    let words = match seen.ends_in_words() {
        Some(ends) => format!("{}, {ends}", seen.version),
        None => seen.version.to_owned(),
    };
    Ok(Passed { certificate_ends: seen.ends, ..Passed::new(words) })
}

pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    probe: &TlsProbe,
    target: SocketAddr,
    stream: S,
    trust: &Trust,
) -> Result<(TlsStream<S>, Seen), Outcome> {
    let config = trust.client(probe.ca.as_deref()).map_err(Outcome::Inconclusive)?;
    let name = match &probe.sni {
        Some(name) => ServerName::try_from(name.clone()).map_err(|_| inconclusive("`sni` is no name"))?,
        None => ServerName::IpAddress(target.ip().into()),
    };
    let shake = TlsConnector::from(config).connect(name, stream).await;
    let stream = shake.map_err(|error| match reason(&error) {
        Some(reason) => failed(reason),
        None => judge(&error),
    })?;
    let (_, session) = stream.get_ref();
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        _ => "TLS",
    };
    let ends = session.peer_certificates().and_then(<[_]>::first).and_then(end_of);
    Ok((stream, Seen { version, ends }))
}

fn end_of(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate.validity.not_after.to_system_time())
}

/// What TLS has against a server; `None` when the error is none of TLS.
pub(super) fn reason(error: &io::Error) -> Option<String> {
    if error.raw_os_error().is_none() && error.kind() == io::ErrorKind::UnexpectedEof {
        return Some("the connection was closed during the TLS handshake".to_owned());
    }
    let tls = error.get_ref()?.downcast_ref::<Error>()?;
    #[allow(clippy::wildcard_enum_match_arm, reason = "rustls says the rest in words of its own")]
    Some(match tls {
        Error::InvalidCertificate(error) => certificate(error),
        Error::InvalidMessage(_) => "the answer is no TLS".to_owned(),
        Error::AlertReceived(AlertDescription::UnrecognisedName) => "no certificate of that name".to_owned(),
        Error::AlertReceived(alert) => format!("it refuses the TLS handshake: {alert:?}"),
        other => format!("TLS: {other}"),
    })
}

fn certificate(error: &CertificateError) -> String {
    #[allow(clippy::wildcard_enum_match_arm, reason = "rustls says the rest in words of its own")]
    match error {
        CertificateError::ExpiredContext { time, not_after } => lifetime(at(*not_after), at(*time)),
        CertificateError::Expired => "certificate expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate is not valid yet".to_owned()
        }
        CertificateError::UnknownIssuer => "certificate is signed by nobody in `ca`".to_owned(),
        CertificateError::NotValidForName => "certificate has another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            // As `DnsName("app.example.net")`.
            let name = |shown: &'_ String| shown.split('"').nth(1).unwrap_or(shown).to_owned();
            let has = presented.iter().take(3).map(name).collect::<Vec<_>>().join(", ");
            format!("certificate is not for {}: it has {has}", expected.to_str())
        }
        other => format!("bad certificate: {other}"),
    }
}

fn at(time: UnixTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.as_secs())
}

/// "certificate ends in 83 days", "certificate expired 3 days ago".
fn lifetime(ends: SystemTime, now: SystemTime) -> String {
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

    #[test]
    fn the_end_of_a_certificate_is_said_in_days() {
        let now = UNIX_EPOCH + 1000 * DAY;
        assert_eq!(lifetime(now + 83 * DAY, now), "certificate ends in 83 days");
        assert_eq!(lifetime(now + DAY, now), "certificate ends in 1 day");
        assert_eq!(lifetime(now + DAY / 2, now), "certificate ends in less than a day");
        assert_eq!(lifetime(now - 3 * DAY, now), "certificate expired 3 days ago");
    }
}
