//! Whose certificates are good: TLS settings of checks, made once for each `ca`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_cert::der::Decode;

use super::probe::complaint::complaint;

/// The longest file of certificates.
const FILE_MAX: u64 = 1024 * 1024;

/// The TLS settings of all checks, by the file that is trusted.
#[derive(Debug, Default)]
pub(super) struct Trust {
    made: Mutex<BTreeMap<Option<PathBuf>, Arc<ClientConfig>>>,
}

impl Trust {
    /// Settings that accept certificates in `ca` and those signed by one in it, or any certificate. A file is read once.
    pub(super) fn client(&self, ca: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
        let key = ca.map(Path::to_path_buf);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = made.get(&key) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(client(ca)?);
        made.insert(key, Arc::clone(&config));
        Ok(config)
    }

    /// Reads every file again when it is needed next: a reload may have been made because of it.
    pub(super) fn forget(&self) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Whether a file can be trusted: it is there and has certificates.
///
/// # Errors
/// In words with the file's path, when it cannot be read, is longer than 1 MiB or has no usable certificate.
pub fn check_ca(ca: &Path) -> Result<(), String> {
    client(Some(ca)).map(drop)
}

fn client(ca: Option<&Path>) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match ca {
        None => Arc::new(Anybody(Arc::clone(&provider))),
        Some(file) => {
            let own = certificates(file)?;
            let roots = Arc::new(roots(file, &own)?);
            let builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
            let signed = builder.build().map_err(|error| format!("{}: {error}", file.display()))?;
            Arc::new(Named { own, signed })
        }
    };
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    // A resumed session shows no certificate, and the check is about that too.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// All certificates of a file, one at least.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut text = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(FILE_MAX + 1).read_to_end(&mut text))
        .map_err(|error| bad(file, &error))?;
    if u64::try_from(text.len()).is_ok_and(|len| len > FILE_MAX) {
        return Err(bad(file, &"the file is longer than 1 MiB"));
    }
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let read = read.map_err(|error| bad(file, &error))?;
    if read.is_empty() { Err(bad(file, &"there is none in PEM")) } else { Ok(read) }
}

fn roots(file: &Path, certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).map_err(|error| bad(file, &complaint(&error)))?;
    }
    Ok(roots)
}

fn bad(file: &Path, error: &dyn std::fmt::Display) -> String {
    format!("cannot read certificates from {}: {error}", file.display())
}

/// Who is signed by one of a file, or shows one of the file itself, as a self-signed server does: that may call itself an authority,
/// which is never the last one of a path (RFC 5280 section 4.2.1.9). Its name and its time count all the same.
#[derive(Debug)]
struct Named {
    own: Vec<CertificateDer<'static>>,
    signed: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.own.contains(shown) {
            return self.signed.verify_server_cert(shown, between, name, ocsp, now);
        }
        is_in_time(shown, now)?;
        verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

/// RFC 5280 section 4.1.2.5: both ends are part of the time.
fn is_in_time(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let read = x509_cert::Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let validity = read.tbs_certificate.validity;
    let [not_before, not_after] = [validity.not_before, validity.not_after]
        .map(|time| UnixTime::since_unix_epoch(time.to_unix_duration()));
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after });
    }
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before });
    }
    Ok(())
}

/// Any certificate is good, but who shows it must have its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
