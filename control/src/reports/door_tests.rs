use super::*;
use crate::engine::requests::reported::ReportedHealth;
use crate::reports::{STATUSES, UNANSWERED};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TOKEN: &str = "a-token-of-a-monitoring-system";
const PUT: &str = "PUT /v1/servers/web/a/health";

/// A door with one valid token.
fn door(calls_max: usize) -> (Arc<Door>, mpsc::Receiver<ReportCall>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    std::fs::write(&path, TOKEN).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (sender, calls) = mpsc::channel(calls_max);
    let door = Arc::new(Door::new(sender));
    door.set_tokens(Tokens::read(&path).unwrap());
    (door, calls)
}

/// An answer's status line and headers, and its body.
async fn ask(at: SocketAddr, line: &str, token: Option<&str>, body: &str) -> (String, Value) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let token = token.map(|token| format!("Authorization: {token}\r\n")).unwrap_or_default();
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{token}Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), serde_json::from_str(body).unwrap())
}

/// Takes every report but those on `nobody`.
async fn control_loop(mut calls: mpsc::Receiver<ReportCall>) {
    while let Some(call) = calls.recv().await {
        let nobody = call.reports.iter().position(|report| report.server == "nobody");
        let answered = |report: &ReportRequest| ReportAnswer {
            server: format!("{}/{}", report.pool, report.server),
            old: "up".to_owned(),
            new: if report.health == ReportedHealth::Down { "down" } else { "up" }.to_owned(),
            source: "report".to_owned(),
            for_s: report.for_s,
            expires: None,
        };
        let why = "there is no such server".to_owned();
        call.answer
            .send(match nobody {
                Some(at) => Err(ReportRefused { at, reason: RefusedFor::Nobody, why }),
                None => Ok(call.reports.iter().map(answered).collect()),
            })
            .unwrap();
    }
}

#[tokio::test]
async fn each_way_to_be_wrong_has_its_status_and_is_counted() {
    let (door, calls) = door(8);
    let server = door.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let control = tokio::spawn(control_loop(calls));
    let bearer = format!("Bearer {TOKEN}");
    let down = r#"{"health": "down", "for": "60s"}"#;
    let many = r#"[{"pool": "web", "server": "a", "health": "up"}, {"pool": "web", "server": "b", "health": "down"}]"#;
    let unknown = many.replace("\"b\"", "\"nobody\"");
    let long = " ".repeat(BODY_MAX + 1);
    let cases = [
        (PUT, Some(bearer.as_str()), down, 200, json!({"server": "web/a", "new": "down", "for_s": 60})),
        ("POST /v1/report", Some("bearer   a-token-of-a-monitoring-system"), many, 200, json!(null)),
        (PUT, None, down, 401, json!({"error": "a report needs a valid token: Authorization: Bearer TOKEN"})),
        (PUT, Some("Bearer another-token-of-somebody"), down, 401, json!(null)),
        (PUT, Some("Basic YTpi"), down, 401, json!(null)),
        (PUT, Some(TOKEN), down, 401, json!(null)),
        ("GET /v1/nothing", None, "", 401, json!(null)),
        ("PUT /v1/nothing", Some(&bearer), down, 404, json!(null)),
        ("GET /v1/servers/web/a/health", Some(&bearer), "", 405, json!({"error": "only PUT"})),
        ("PUT /v1/report", Some(&bearer), many, 405, json!({"error": "only POST"})),
        (PUT, Some(&bearer), "{", 400, json!(null)),
        (PUT, Some(&bearer), "{}", 422, json!(null)),
        ("POST /v1/report", Some(&bearer), "[]", 422, json!(null)),
        (
            "POST /v1/report",
            Some(&bearer),
            &unknown,
            404,
            json!({"error": "there is no such server", "at": 1}),
        ),
        (PUT, Some(&bearer), &long, 413, json!(null)),
    ];
    let mut counted: Vec<(String, u64)> =
        STATUSES.iter().map(|status| (status.as_str().to_owned(), 0)).collect();
    counted.push((UNANSWERED.to_owned(), 0));
    for (line, token, body, status, expected) in cases {
        let (head, said) = ask(server.at(), line, token, body).await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{line} {token:?} {body:.60}: {head}");
        assert_eq!(said["error"].is_string(), status != 200, "{said}");
        for (key, value) in expected.as_object().into_iter().flatten() {
            assert_eq!(&said[key], value, "{line}: {said}");
        }
        counted.iter_mut().filter(|(code, _)| *code == status.to_string()).for_each(|(_, n)| *n += 1);
    }
    assert_eq!(door.counts().get(), counted);
    drop((server, door));
    control.abort();
}

#[tokio::test]
async fn no_call_of_a_proxys_is_lost_and_one_too_many_is_answered_and_counted() {
    let (door, calls) = door(8);
    let server = door.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let control = tokio::spawn(control_loop(calls));
    let at = server.at();
    let clients = (0..8).map(|_| {
        tokio::spawn(async move {
            for _ in 0..20 {
                let bearer = format!("Bearer {TOKEN}");
                let (head, said) = ask(at, PUT, Some(&bearer), r#"{"health": "down"}"#).await;
                assert!(head.starts_with("http/1.1 200 "), "{head} {said}");
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let count = |code: &str| door.counts().get().into_iter().find(|(known, _)| known == code).unwrap().1;
    assert_eq!([count("200"), count("429"), count(UNANSWERED)], [160, 0, 0]);
    let answer = door.too_many(at);
    assert!(answer.status() == 429 && answer.headers().contains_key("retry-after"), "{answer:?}");
    door.turned_away(at);
    assert_eq!([count("429"), count(UNANSWERED)], [1, 1]);
    drop(server);
    control.abort();
}

#[tokio::test]
async fn a_stranger_is_told_how_to_authenticate_rfc6750_3() {
    let (door, _calls) = door(1);
    let server = door.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let (head, _) = ask(server.at(), PUT, None, "{}").await;
    assert!(head.contains("\r\nwww-authenticate: bearer realm=\"ringlead\"\r\n"), "{head}");
    let (head, _) = ask(server.at(), PUT, Some("Bearer nonsense"), "{}").await;
    assert!(
        head.contains("www-authenticate: bearer realm=\"ringlead\", error=\"invalid_token\"\r\n"),
        "{head}"
    );
    door.set_tokens(Tokens::default());
    let (head, _) = ask(server.at(), PUT, Some(&format!("Bearer {TOKEN}")), "{}").await;
    assert!(head.starts_with("http/1.1 401"), "it was valid before: {head}");
}

#[tokio::test]
async fn a_strangers_connection_is_closed_rfc9112_9_6() {
    let (door, _calls) = door(1);
    let server = door.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut stream = TcpStream::connect(server.at()).await.unwrap();
    let request = format!("{PUT} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{{}}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    let said = said.to_ascii_lowercase();
    assert!(said.starts_with("http/1.1 401") && said.contains("\r\nconnection: close\r\n"), "{said}");
}

#[test]
fn many_strangers_are_one_line_of_the_log() {
    let (mut strangers, begin) = (Seldom::default(), Instant::now());
    let mut lines = |seconds: u64| strangers.note(begin + Duration::from_secs(seconds));
    assert_eq!(lines(0), Some(1));
    assert_eq!((0..100).filter_map(|n| lines(n / 10)).count(), 0);
    assert_eq!(lines(10), Some(101));
    assert_eq!(lines(30), Some(1));
}

#[tokio::test]
async fn a_control_loop_that_is_busy_is_not_queued_for_without_end() {
    let (door, mut calls) = door(1);
    let server = door.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let (at, bearer) = (server.at(), format!("Bearer {TOKEN}"));
    let body = r#"{"health": "up"}"#;
    let waiting = tokio::spawn({
        let bearer = bearer.clone();
        async move { ask(at, PUT, Some(&bearer), body).await }
    });
    while door.calls.capacity() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (head, _) = ask(at, PUT, Some(&bearer), body).await;
    assert!(head.starts_with("http/1.1 429") && head.contains("\r\nretry-after: 1"), "{head}");
    // The daemon ends, or leaves the node to a successor.
    let call = calls.recv().await.unwrap();
    assert!(call.by.peer.ip().is_loopback() && call.by.token == TokenLine(1), "{:?}", call.by);
    drop(call);
    assert!(waiting.await.unwrap().0.starts_with("http/1.1 503"));
    drop(calls);
    assert!(ask(at, PUT, Some(&bearer), body).await.0.starts_with("http/1.1 503"));
}
