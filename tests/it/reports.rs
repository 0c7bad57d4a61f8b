//! Health reported over HTTP: who may, what counts, and where the listener is after a reload and a take-over.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::carries;
use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Scrape, Service, needs_ringlead, wait_until,
};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);
const METRICS: &str = "127.0.0.1:9090";
const AT: &str = "127.0.0.1:9091";
const ELSEWHERE: &str = "127.0.0.1:9092";
const OLD: &str = "the-token-of-this-month";
const NEW: &str = "the-token-of-the-next-month";

/// A call by curl inside the balancer: its status and answer; 0: nobody answered.
fn call(lab: &Lab, at: &str, method: &str, path: &str, token: &str, body: &Value) -> (u32, Value) {
    let (url, bearer) = (format!("http://{at}{path}"), format!("Authorization: Bearer {token}"));
    let (body, status) = (body.to_string(), "\n%{http_code}");
    let more =
        ["--silent", "--max-time", "30", "--write-out", status, "--request", method, "--header", &bearer];
    let output = lab.run(Node::Balancer, "curl", &[&more[..], &["--data", &body, &url]].concat());
    let said = String::from_utf8(output.stdout).expect("text");
    let (said, status) = said.rsplit_once('\n').expect("a status");
    (status.parse().expect("a number"), serde_json::from_str(said).unwrap_or(Value::Null))
}

fn put(lab: &Lab, at: &str, token: &str, server: &str, body: &Value) -> (u32, Value) {
    call(lab, at, "PUT", &format!("/v1/servers/{server}/health"), token, body)
}

fn write_tokens(path: &Path, mode: u32, tokens: &[&str]) {
    fs::write(path, tokens.join("\n")).expect("a file");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("its mode");
}

#[test]
fn a_monitoring_system_with_a_token_reports_over_http() {
    needs_ringlead!();
    let lab = Lab::new("reports");
    let _farm = Farm::start(&lab);
    carries::nothing_answers(&lab, Mode::Nat);
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = folder.path().join("tokens");
    write_tokens(&tokens, 0o600, &[OLD]);
    let nat = Service::standard(Mode::Nat, Protocol::Tcp, Family::V4);
    let text = format!(
        "{}\n[observe]\nmetrics = \"{METRICS}\"\nreport = \"{AT}\"\nreport-token-file = \"{}\"\n",
        Config::empty(&lab).service(nat.clone()).render(),
        tokens.display()
    );
    assert_eq!(
        put(&lab, AT, OLD, "web/s1", &json!({"health": "down"})).0,
        0,
        "it answers without a balancer"
    );
    let mut ringlead = Ringlead::start(&lab, &text);
    lab.await_servers(&nat, "123");

    one_server(&lab, &ringlead, &nat);
    many_at_once_or_none(&lab, &nat);
    strangers_change_nothing(&lab, &nat);
    tokens_are_rotated(&lab, &mut ringlead, &nat, &text, &tokens);
    the_listener_follows_the_file(&lab, &mut ringlead, &nat, &text);

    let next = Ringlead::take_over(&lab, &text).unwrap_or_else(|refusal| panic!("{}", refusal.said));
    assert!(ringlead.ended().success());
    let up = json!({"health": "up"});
    wait_until(LIMIT, "the successor takes reports", || put(&lab, AT, NEW, &first(&nat), &up).0 == 200);
    assert_eq!(put(&lab, AT, OLD, &first(&nat), &up).0, 401, "{}", next.log());
}

fn first(service: &Service) -> String {
    format!("{}/s1", service.name)
}

fn one_server(lab: &Lab, ringlead: &Ringlead, nat: &Service) {
    let down = json!({"health": "down", "for": "1h", "reason": "disk full"});
    let (status, said) = put(lab, AT, OLD, &first(nat), &down);
    assert_eq!(status, 200, "{said}");
    let told = [&said["server"], &said["old"], &said["new"], &said["for_s"]];
    assert_eq!(told, [&json!(first(nat)), &json!("up"), &json!("down"), &json!(3600)]);
    assert!(said["expires"].as_str().is_some_and(|at| at.len() == 20 && at.ends_with('Z')), "{said}");
    lab.await_servers(nat, "23");
    let status = ringlead.status();
    let server = &status["pools"][0]["servers"][0];
    assert_eq!(
        (&server["health_source"], &server["reason"]),
        (&json!("report"), &json!("reported: disk full"))
    );
    let log = ringlead.log();
    let told = log.lines().find(|line| line.contains("reported: disk full"));
    let told = told.unwrap_or_else(|| panic!("{log}"));
    assert!(told.contains("127.0.0.1:") && told.contains("token_line") && !told.contains(OLD), "{told}");
    // Both ways are one: what came over HTTP is ended by the command.
    let file = ringlead.file().display().to_string();
    let (code, said) = ringlead.ask(&["server", "report", &first(nat), "clear", "-c", &file]);
    assert!(code == 0 && said.contains("down -> up"), "{said}");
    lab.await_servers(nat, "123");
}

fn many_at_once_or_none(lab: &Lab, nat: &Service) {
    let list = |servers: [&str; 2]| {
        let one = |server: &&str| json!({"pool": nat.name, "server": server, "health": "down", "for": "1h"});
        Value::Array(servers.iter().map(one).collect())
    };
    let post = |body: &Value| call(lab, AT, "POST", "/v1/report", OLD, body);
    let (status, said) = post(&list(["s2", "s9"]));
    assert!(status == 404 && said["at"] == 1, "{status} {said}");
    let (status, said) = post(&list(["s2", "s2"]));
    assert!(status == 422 && said["at"] == 1, "{status} {said}");
    let (status, said) = post(&list(["s2", "s3"]));
    assert!(status == 200 && said[0]["old"] == "up" && said[1]["new"] == "down", "none before: {said}");
    lab.await_servers(nat, "1");
    for server in ["s2", "s3"] {
        let (status, said) =
            put(lab, AT, OLD, &format!("{}/{server}", nat.name), &json!({"health": "clear"}));
        assert!(status == 200 && said["expires"].is_null(), "{status} {said}");
    }
    lab.await_servers(nat, "123");
}

fn strangers_change_nothing(lab: &Lab, nat: &Service) {
    let refused = || {
        let labels = [("code", "401")];
        let url = format!("http://{METRICS}/metrics");
        let header = "Accept: application/openmetrics-text; version=1.0.0";
        let output = lab.run(Node::Balancer, "curl", &["--silent", "--header", header, &url]);
        let page = Scrape::read(&String::from_utf8_lossy(&output.stdout)).expect("metrics");
        page.value("ringlead_report_calls_total", &labels).expect("a counter")
    };
    let before = refused();
    let (status, said) = put(lab, AT, NEW, &first(nat), &json!({"health": "down"}));
    assert!(status == 401 && said["old"].is_null(), "{status} {said}");
    assert_eq!(refused() - before, 1.0);
    let (status, said) = put(lab, AT, OLD, &first(nat), &json!({"health": "up"}));
    assert!(status == 200 && said["old"] == "up", "{status} {said}");
}

/// Both are valid for a while; a file that others can read is none.
fn tokens_are_rotated(lab: &Lab, ringlead: &mut Ringlead, nat: &Service, text: &str, tokens: &Path) {
    let valid =
        || [OLD, NEW].map(|token| put(lab, AT, token, &first(nat), &json!({"health": "up"})).0 == 200);
    for (tokens_now, expected) in [(&[OLD, NEW][..], [true, true]), (&[NEW], [false, true])] {
        write_tokens(tokens, 0o640, tokens_now);
        ringlead.reload(text);
        assert_eq!(valid(), expected);
    }
    write_tokens(tokens, 0o644, &[OLD]);
    let said = ringlead.reload(text);
    assert!(said.contains("refused") && said.contains("(mode 0644): chmod 0600"), "{said}");
    assert_eq!(valid(), [false, true]);
    write_tokens(tokens, 0o600, &[NEW]);
}

fn the_listener_follows_the_file(lab: &Lab, ringlead: &mut Ringlead, nat: &Service, text: &str) {
    let up = json!({"health": "up"});
    let at = |at: &str| put(lab, at, NEW, &first(nat), &up).0;
    let moved = text.replace(AT, ELSEWHERE);
    let taken = lab.within(Node::Balancer, || TcpListener::bind(ELSEWHERE)).expect("a listener");
    let said = ringlead.reload(&moved);
    assert!(said.contains("report: cannot listen at 127.0.0.1:9092"), "{said}");
    assert_eq!(at(AT), 200, "a reload that is refused changes nothing");
    drop(taken);
    ringlead.reload(&moved);
    assert_eq!([at(AT), at(ELSEWHERE)], [0, 200]);
    ringlead.reload(text);
    assert_eq!([at(AT), at(ELSEWHERE)], [200, 0]);
}
