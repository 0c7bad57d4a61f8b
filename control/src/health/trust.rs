//! Whose certificates are good: TLS settings of checks, made once for each `ca`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// The longest file of certificates.
const FILE_MAX: u64 = 1024 * 1024;

/// The TLS settings of all checks, by the file that is trusted.
#[derive(Debug, Default)]
pub(super) struct Trust {
    made: Mutex<BTreeMap<Option<PathBuf>, Arc<ClientConfig>>>,
}

impl Trust {
    /// Settings that accept certificates signed by one in `ca`, or any certificate. A file is read once.
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
            let roots = Arc::new(roots(file)?);
            let builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
            builder.build().map_err(|error| format!("{}: {error}", file.display()))?
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

fn roots(file: &Path) -> Result<RootCertStore, String> {
    let bad =
        |error: &dyn std::fmt::Display| format!("cannot read certificates from {}: {error}", file.display());
    let mut text = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(FILE_MAX + 1).read_to_end(&mut text))
        .map_err(|error| bad(&error))?;
    if u64::try_from(text.len()).is_ok_and(|len| len > FILE_MAX) {
        return Err(bad(&"the file is longer than 1 MiB"));
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| bad(&error))?;
        roots.add(certificate).map_err(|error| bad(&error))?;
    }
    if roots.is_empty() {
        return Err(bad(&"there is none in PEM"));
    }
    Ok(roots)
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
