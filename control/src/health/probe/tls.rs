//! A TLS handshake, and when the certificate ends.

use std::io;
use std::net::SocketAddr;
use std::time::SystemTime;

use rustls::Error;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_cert::der::Decode;

use super::complaint::{complaint, lifetime};
use super::{Attempt, Outcome, Passed, failed, inconclusive, judge, tcp};
use crate::health::TlsProbe;
use crate::health::trust::Trust;

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
    Some(complaint(tls))
}
