//! TLS and HTTPS checks.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use ringlead_control::health::{HttpProbe, Probe, TlsProbe};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::asked::{PATIENT, SHORT, asked, asked_fully, fails, passes};

const NAME: &str = "app.example.net";
const DAY: Duration = Duration::from_secs(86_400);

/// Who signs, with its certificate in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// An HTTPS server whose certificate ends this long from now, or ended.
    async fn server(&self, ends: SystemTime) -> SocketAddr {
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        params.not_before = (ends - 400 * DAY).into();
        params.not_after = ends.into();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        showing(certificate.der().clone(), &key).await
    }
}

/// A server with its own certificate as `openssl req -x509` makes it, an authority's, and the folder of its file.
async fn self_signed(ends: SystemTime) -> (SocketAddr, tempfile::TempDir) {
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = (ends - 400 * DAY).into();
    params.not_after = ends.into();
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
    (showing(certificate.der().clone(), &key).await, folder)
}

/// A server that shows a certificate.
async fn showing(certificate: CertificateDer<'static>, key: &KeyPair) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        );
    serve(TlsAcceptor::from(Arc::new(config.unwrap()))).await
}

async fn serve(acceptor: TlsAcceptor) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 1024];
            if stream.read(&mut request).await.is_ok_and(|len| len > 0) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        }
    });
    address
}

fn tls(ca: Option<PathBuf>, sni: &str) -> TlsProbe {
    TlsProbe { ca, sni: Some(sni.to_owned()) }
}

fn later(days: u32) -> SystemTime {
    SystemTime::now() + days * DAY + DAY / 2
}

#[tokio::test]
async fn a_good_certificate_passes_and_its_end_is_shown() {
    let authority = Authority::new("ours");
    let ends = later(83);
    let server = authority.server(ends).await;
    let verified = || tls(Some(authority.file()), NAME);
    passes(Probe::Tls(verified()), server, "TLS 1.3, certificate ends in 83 days").await;
    passes(Probe::Tls(TlsProbe::default()), server, "TLS 1.3, certificate ends in 83 days").await;
    let https = Probe::Http(HttpProbe {
        tls: Some(verified()),
        method: "GET".to_owned(),
        path: "/".to_owned(),
        host: None,
        headers: Vec::new(),
        statuses: vec![(200, 200)],
        body_contains: Some("ok".to_owned()),
    });
    let (up, reason, status) = asked_fully(https, server, PATIENT).await;
    assert_eq!((up, reason.as_str()), (true, "HTTP 200 with \"ok\", certificate ends in 83 days"));
    let shown = status.last.unwrap().certificate_ends.expect("the end");
    assert!(ends.duration_since(shown).unwrap() < Duration::from_secs(1), "{shown:?}");
}

#[tokio::test]
async fn a_bad_certificate_fails_only_where_it_is_verified() {
    let authority = Authority::new("ours");
    let good = authority.server(later(9)).await;
    let why = "certificate is not for db.example.net: it has app.example.net";
    fails(Probe::Tls(tls(Some(authority.file()), "db.example.net")), good, PATIENT, why).await;
    let other = Authority::new("theirs");
    let why = "certificate is signed by nobody in `ca`";
    fails(Probe::Tls(tls(Some(other.file()), NAME)), good, PATIENT, why).await;
    let old = authority.server(SystemTime::now() - 3 * DAY - DAY / 2).await;
    let why = "certificate expired 3 days ago";
    fails(Probe::Tls(tls(Some(authority.file()), NAME)), old, PATIENT, why).await;
    passes(Probe::Tls(tls(None, NAME)), old, "TLS 1.3, certificate expired 3 days ago").await;
}

#[tokio::test]
async fn a_self_signed_certificate_is_good_where_it_is_itself_in_the_file() {
    let (server, folder) = self_signed(later(83)).await;
    let own = || Some(folder.path().join("ca.pem"));
    passes(Probe::Tls(tls(own(), NAME)), server, "TLS 1.3, certificate ends in 83 days").await;
    let why = "certificate is not for db.example.net: it has app.example.net";
    fails(Probe::Tls(tls(own(), "db.example.net")), server, PATIENT, why).await;
    let other = Authority::new("theirs");
    let why = "certificate is an authority's (CA:TRUE) and not one of those in `ca`: put it there, or give the server another one";
    fails(Probe::Tls(tls(Some(other.file()), NAME)), server, PATIENT, why).await;
    let (old, folder) = self_signed(SystemTime::now() - 3 * DAY - DAY / 2).await;
    let own = Some(folder.path().join("ca.pem"));
    fails(Probe::Tls(tls(own, NAME)), old, PATIENT, "certificate expired 3 days ago").await;
    let (early, folder) = self_signed(later(500)).await;
    let own = Some(folder.path().join("ca.pem"));
    fails(Probe::Tls(tls(own, NAME)), early, PATIENT, "certificate is not valid yet").await;
}

#[tokio::test]
async fn who_speaks_no_tls_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut plain, _) = listener.accept().await.unwrap();
        plain.write_all(b"220 mail.example.net ESMTP\r\n").await.unwrap();
        let (mute, _) = listener.accept().await.unwrap();
        let (closes, _) = listener.accept().await.unwrap();
        let mut closes = closes;
        let _ = closes.read(&mut [0; 1024]).await;
        drop(closes);
        tokio::time::sleep(PATIENT).await;
        drop(mute);
    });
    let probe = || Probe::Tls(TlsProbe::default());
    fails(probe(), address, PATIENT, "the answer is no TLS").await;
    fails(probe(), address, SHORT, "no answer within 200 ms").await;
    let why = "the connection was closed during the TLS handshake";
    fails(probe(), address, PATIENT, why).await;
    let missing = PathBuf::from("/nonexistent/ca.pem");
    assert!(ringlead_control::health::check_ca(&missing).unwrap_err().contains("/nonexistent/ca.pem"));
    let (up, why) = asked(probe(), address, SHORT).await;
    assert!(!up, "{why}");
}
