//! HTTP checks.

use std::net::SocketAddr;

use ringlead_control::health::{HttpProbe, Probe};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::asked::{PATIENT, SHORT, fails, passes};

fn probe() -> HttpProbe {
    HttpProbe {
        tls: None,
        method: "GET".to_owned(),
        path: "/healthz".to_owned(),
        host: None,
        headers: Vec::new(),
        statuses: vec![(200, 299), (301, 301)],
        body_contains: None,
    }
}

fn wanting(text: &str) -> Probe {
    Probe::Http(HttpProbe { body_contains: Some(text.to_owned()), ..probe() })
}

/// A server that reads a request and then does this.
async fn server<F>(answer: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            request(&mut stream).await;
            answer(stream).await;
        }
    });
    address
}

async fn request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await.unwrap();
        text.push(byte);
    }
    String::from_utf8(text).unwrap()
}

async fn endless(mut stream: TcpStream) {
    while stream.write_all(&[b'x'; 1024]).await.is_ok() {}
}

/// A server that always answers this, and closes.
async fn saying(text: &'static str) -> SocketAddr {
    server(async |mut stream| stream.write_all(text.as_bytes()).await.unwrap()).await
}

#[tokio::test]
async fn the_status_decides() {
    let ok = saying("HTTP/1.1 204 No Content\r\n\r\n").await;
    passes(Probe::Http(probe()), ok, "HTTP 204").await;
    let moved = saying("HTTP/1.1 301 Moved\r\ncontent-length: 0\r\n\r\n").await;
    passes(Probe::Http(probe()), moved, "HTTP 301").await;
    let bad = saying("HTTP/1.1 503 Busy\r\ncontent-length: 2\r\n\r\nok").await;
    fails(Probe::Http(probe()), bad, PATIENT, "HTTP 503, expected 200-299, 301").await;
}

#[tokio::test]
async fn the_body_decides_where_it_is_asked_for() {
    let ok = saying("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nall ok").await;
    passes(wanting("ok"), ok, "HTTP 200 with \"ok\"").await;
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nall\r\n3\r\n ok\r\n0\r\n\r\n";
    passes(wanting("all ok"), saying(chunked).await, "HTTP 200 with \"all ok\"").await;
    let why = "HTTP 200, but the body does not contain \"fine\"";
    fails(wanting("fine"), ok, PATIENT, why).await;
}

#[tokio::test]
async fn the_request_is_as_configured_rfc9112() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, mut requests) = mpsc::channel(1);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        sender.send(request(&mut stream).await).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    });
    let (method, host) = ("HEAD".to_owned(), Some("app.example.net".to_owned()));
    let headers = vec![("x-probe".to_owned(), "1".to_owned())];
    passes(Probe::Http(HttpProbe { method, host, headers, ..probe() }), address, "HTTP 200").await;
    let request = requests.recv().await.unwrap().to_lowercase();
    assert!(request.starts_with("head /healthz http/1.1\r\n"), "{request}");
    for field in ["host: app.example.net\r\n", "x-probe: 1\r\n", "connection: close\r\n"] {
        assert!(request.contains(field), "{field} in {request}");
    }
}

#[tokio::test]
async fn nothing_endless_is_read_to_its_end() {
    let body = server(async |mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        endless(stream).await;
    });
    let why = "HTTP 200, but the first 64 KiB do not contain \"ok\"";
    fails(wanting("ok"), body.await, PATIENT, why).await;
    let head = server(async |mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await.unwrap();
        endless(stream).await;
    });
    fails(Probe::Http(probe()), head.await, PATIENT, "the answer's header is longer than 16 KiB").await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_says_how() {
    let probe = || Probe::Http(probe());
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    fails(probe(), closed, PATIENT, "connection refused").await;
    let mute = server(async |stream| {
        tokio::time::sleep(PATIENT).await;
        drop(stream);
    });
    fails(probe(), mute.await, SHORT, "no answer within 200 ms").await;
    let slow = server(async |mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\no").await.unwrap();
        tokio::time::sleep(PATIENT).await;
    });
    fails(wanting("ok"), slow.await, SHORT, "no answer within 200 ms").await;
    let closes = server(async |stream| drop(stream)).await;
    fails(probe(), closes, PATIENT, "the connection was closed before the answer's end").await;
    let resets = server(async |stream| stream.set_zero_linger().unwrap()).await;
    fails(probe(), resets, PATIENT, "connection reset").await;
    let garbage = saying("220 mail.example.net ESMTP\r\n\r\n").await;
    fails(probe(), garbage, PATIENT, "the answer is no HTTP/1").await;
}
