//! Metrics, liveness and readiness over HTTP: what is scraped is what happened.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use ringlead_tests::{
    Config, Exchange, Family, Farm, Lab, ManyServices, Mode, Node, Protocol, Ringlead, Scrape, Service,
    needs_ringlead, wait_until, workspace_root,
};

const AT: &str = "127.0.0.1:9090";
const LIMIT: Duration = Duration::from_secs(20);
const OPEN: &str = "Accept: application/openmetrics-text; version=1.0.0";

fn observed(text: &str) -> String {
    format!("{text}\n[observe]\nmetrics = \"{AT}\"\n")
}

/// Status and body of a request by curl inside the balancer; 0: nobody answered.
fn get(lab: &Lab, path: &str, more: &[&str]) -> (u32, String) {
    let url = format!("http://{AT}{path}");
    let fixed = ["--silent", "--max-time", "30", "--write-out", "\n%{http_code}", &url];
    let output = lab.run(Node::Balancer, "curl", &[&fixed, more].concat());
    let said = String::from_utf8(output.stdout).expect("text");
    let (body, status) = said.rsplit_once('\n').expect("a status");
    (status.parse().expect("a number"), body.to_owned())
}

fn scrape(lab: &Lab) -> Scrape {
    let (status, page) = get(lab, "/metrics", &["--header", OPEN]);
    assert_eq!(status, 200, "{page}");
    Scrape::read(&page).unwrap_or_else(|why| panic!("{why}"))
}

fn state(scrape: &Scrape, service: &Service, server: &str, state: &str) -> f64 {
    let labels = [("pool", service.name.as_str()), ("server", server), ("state", state)];
    scrape.value("ringlead_server_state", &labels).expect("a state")
}

#[test]
fn a_scrape_tells_what_happened() {
    needs_ringlead!();
    let lab = Lab::new("metrics");
    let mut farm = Farm::start(&lab);
    let mut service = Service::standard(Mode::Nat, Protocol::Udp, Family::V4);
    service.pool_lines = "panic = { below = 20, then = \"none\" }\n".to_owned();
    let other = Service::standard(Mode::Nat, Protocol::Tcp, Family::V4);
    let alone = Exchange::new(service.listen).times(1, 1).timeout(Duration::from_millis(300));
    assert!(!lab.within(Node::Client, || alone.hold()).perfect(), "it answers without a balancer");
    assert_eq!(get(&lab, "/healthz", &[]).0, 0);

    let config = Config::empty(&lab).service(service.clone());
    let with_other = observed(&config.clone().service(other.clone()).render());
    let mut ringlead = Ringlead::start(&lab, &with_other);
    lab.await_servers(&service, "123");
    traffic_is_counted(&lab, &service);
    text_is_as_asked_for(&lab);
    everything_named_exists(&scrape(&lab));

    farm.kill(2);
    wait_until(LIMIT, "server 2 is down", || state(&scrape(&lab), &service, "s2", "down") == 1.0);
    let dead = scrape(&lab);
    assert_eq!([state(&dead, &service, "s2", "up"), state(&dead, &service, "s2", "ready")], [0.0, 1.0]);
    let failed = [("pool", service.name.as_str()), ("result", "failed")];
    assert!(dead.value("ringlead_health_check_duration_seconds_count", &failed) > Some(0.0));
    assert_eq!(get(&lab, "/readyz", &[]), (200, "ready\n".to_owned()), "two of three are enough");
    none_is_not_ready(&lab, &mut farm, &service);
    a_draining_node_is_not_ready(&lab, &ringlead);

    reloads_are_told(&lab, &mut ringlead, &with_other, &observed(&config.render()), &other);
    refused_reloads_disturb_nobody(&lab, &mut ringlead, &with_other);
    let began = scrape(&lab).value("process_start_time_seconds", &[]);
    let next = Ringlead::take_over(&lab, &with_other).unwrap_or_else(|refusal| panic!("{}", refusal.said));
    assert!(ringlead.ended().success());
    wait_until(LIMIT, "the successor is scraped", || get(&lab, "/readyz", &[]).0 == 200);
    assert!(scrape(&lab).value("process_start_time_seconds", &[]) > began, "{}", next.log());
}

/// 8 sockets send 5 datagrams each, and each is answered.
fn traffic_is_counted(lab: &Lab, service: &Service) {
    let before = scrape(lab);
    let talk = Exchange::new(service.listen).times(8, 5);
    let during = lab.within(Node::Client, || talk.hold());
    assert!(during.perfect());
    let after = scrape(lab);
    let of = |scrape: &Scrape, name: &str, more: &[(&str, &str)]| {
        scrape.sum(name, &[&[("service", service.name.as_str())], more].concat())
    };
    for dir in ["in", "out"] {
        let packets = |s: &Scrape| of(s, "ringlead_service_packets_total", &[("dir", dir)]);
        assert_eq!(packets(&after) - packets(&before), 40.0, "{dir}");
        let bytes = |s: &Scrape| of(s, "ringlead_service_bytes_total", &[("dir", dir)]);
        assert!(bytes(&after) - bytes(&before) >= 40.0 * 42.0, "{dir}");
    }
    let flows = |s: &Scrape| of(s, "ringlead_service_flows_total", &[]);
    assert_eq!(flows(&after) - flows(&before), 8.0);
    let timed = |s: &Scrape| s.sum("ringlead_forward_latency_seconds_count", &[]);
    assert!(timed(&after) - timed(&before) >= 80.0, "every frame has its time");
    assert!(after.sum("ringlead_forward_latency_seconds_sum", &[]) > 0.0);
    let live = after.sum("ringlead_server_flows", &[("pool", service.name.as_str())]);
    assert!(live >= 8.0 && after.sum("ringlead_flow_table_entries", &[]) >= 8.0, "{live} flows");
    assert_eq!(before.gone_back_in(&after), Vec::<String>::new());
    assert_eq!(after.matching("ringlead_worker_seconds_total", &[]).count(), 4, "two workers, busy and idle");
}

/// The same figures in both formats, by HEAD without a body; nothing else is served.
fn text_is_as_asked_for(lab: &Lab) {
    let (status, plain) = get(lab, "/metrics", &[]);
    assert!(status == 200 && plain.contains("\n# TYPE ringlead_service_packets_total counter\n"), "{plain}");
    assert!(!plain.contains("# EOF") && plain.contains("\n# TYPE ringlead_build_info gauge\n"));
    let (status, head) = get(lab, "/metrics", &["--head", "--header", OPEN]);
    assert!(
        status == 200 && head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    assert!(!head.contains("ringlead_"), "{head}");
    assert_eq!(get(lab, "/metrics", &["--request", "POST"]).0, 405);
    assert_eq!(get(lab, "/status", &[]).0, 404);
}

/// Every metric that the alerts and the dashboard ask for.
fn everything_named_exists(scrape: &Scrape) {
    for file in ["prometheus/ringlead.rules.yml", "grafana/ringlead.json"] {
        let text = fs::read_to_string(workspace_root().join("examples").join(file)).expect(file);
        let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = text.split(|c| !part_of_name(c));
        let names: BTreeSet<_> =
            words.filter(|w| w.starts_with("ringlead_") || w.starts_with("process_")).collect();
        assert!(names.len() >= 10, "{file}: {names:?}");
        let unknown: Vec<_> = names.iter().filter(|name| !scrape.has(name)).collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}");
    }
}

/// Without a server the node lives and is not ready, and what it drops is the service's.
fn none_is_not_ready(lab: &Lab, farm: &mut Farm, service: &Service) {
    let of_pool = |name: &str| scrape(lab).value(name, &[("pool", service.name.as_str())]);
    let panic = || [of_pool("ringlead_pool_panic"), of_pool("ringlead_pool_servers_up")];
    assert_eq!(panic(), [Some(0.0), Some(2.0)]);
    farm.kill(1);
    farm.kill(3);
    // Another service of the same servers may lack them a moment earlier.
    let line = format!("service {0}: 0 of 3 servers of pool {0} take flows, 1 needed", service.name);
    wait_until(LIMIT, "not ready", || {
        let (status, said) = get(lab, "/readyz", &[]);
        status == 503 && said.starts_with("not ready\n") && said.contains(&line)
    });
    assert_eq!(panic(), [Some(1.0), Some(0.0)]);
    assert_eq!(get(lab, "/healthz", &[]), (200, "alive\n".to_owned()));
    let talk = Exchange::new(service.listen).times(2, 1).timeout(Duration::from_millis(300));
    let labels = [("service", service.name.as_str()), ("reason", "no-server")];
    let dropped = |s: &Scrape| s.value("ringlead_drops_total", &labels).unwrap_or(0.0);
    let unknown = |s: &Scrape| s.value("ringlead_drops_total", &[("service", ""), ("reason", "no-server")]);
    let before = scrape(lab);
    assert!(!lab.within(Node::Client, || talk.hold()).perfect());
    let after = scrape(lab);
    assert!(dropped(&after) - dropped(&before) >= 2.0, "{} {}", dropped(&before), dropped(&after));
    assert_eq!((unknown(&before), unknown(&after)), (Some(0.0), Some(0.0)));
    for server in [1, 2, 3] {
        farm.bring_back(server);
    }
    wait_until(LIMIT, "ready again", || get(lab, "/readyz", &[]).0 == 200);
}

/// A file that is refused and one without a service: what is told of both, and no counter goes back.
fn reloads_are_told(lab: &Lab, ringlead: &mut Ringlead, with: &str, without: &str, gone: &Service) {
    let last = |scrape: &Scrape| scrape.value("ringlead_config_last_reload_successful", &[]);
    let of_gone =
        |s: &Scrape| s.matching("ringlead_service_packets_total", &[("service", &gone.name)]).count();
    let before = scrape(lab);
    assert_eq!((last(&before), of_gone(&before)), (Some(1.0), 2));
    let said = ringlead.reload("version = 1\nnonsense = 1\n");
    assert!(said.contains("refused"), "{said}");
    let refused = scrape(lab);
    assert_eq!((last(&refused), of_gone(&refused)), (Some(0.0), 2));
    // A place that somebody else has: nothing changes either.
    let listener = lab.within(Node::Balancer, || TcpListener::bind("127.0.0.1:9091")).expect("a listener");
    let said = ringlead.reload(&with.replace(AT, "127.0.0.1:9091"));
    assert!(said.contains("metrics: cannot listen at 127.0.0.1:9091"), "{said}");
    drop(listener);
    ringlead.reload(without);
    let after = scrape(lab);
    assert_eq!((last(&after), of_gone(&after)), (Some(1.0), 0));
    assert_eq!(after.value("ringlead_config_reloads_total", &[]), Some(3.0));
    assert_eq!(before.gone_back_in(&after), Vec::<String>::new());
    // Where metrics are served follows the file without a restart.
    ringlead.reload(without.split("\n[observe]").next().expect("the rest"));
    assert_eq!(get(lab, "/metrics", &[]).0, 0, "nobody listens any more");
    // Each of these overlaps with the one before, on the same port.
    for at in [AT, "0.0.0.0:9090", "[::]:9090", AT] {
        let said = ringlead.reload(&with.replace(AT, at));
        assert!(said.contains("is in force"), "{at}: {said}");
        assert_eq!(get(lab, "/readyz", &[]).0, 200, "{at}");
    }
}

/// The new place would take new connections at once, but the file is refused: for a file it names, and for another place.
fn refused_reloads_disturb_nobody(lab: &Lab, ringlead: &mut Ringlead, with: &str) {
    let said = ringlead.reload(&with.replace(AT, "0.0.0.0:9090"));
    assert!(said.contains("is in force"), "{said}");
    let file = with.replace("type = \"tcp\"", "type = \"https\"\nca = \"/nonexistent/ca.pem\"");
    let tokens = lab.files().join("report-tokens");
    fs::write(&tokens, "0123456789abcdef0123456789abcdef\n").expect("tokens");
    fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600)).expect("its mode");
    let place = format!("{with}report = \"127.0.0.1:9091\"\nreport-token-file = \"{}\"\n", tokens.display());
    let taken = lab.within(Node::Balancer, || TcpListener::bind("127.0.0.1:9091")).expect("a listener");
    let end = AtomicBool::new(false);
    let knocked = thread::scope(|scope| {
        let knock = || lab.within(Node::Balancer, || knock(AT, &end));
        let clients = [scope.spawn(knock), scope.spawn(knock)];
        for _ in 0..8 {
            for (text, why) in [(&file, "/nonexistent/ca.pem"), (&place, "cannot listen at 127.0.0.1:9091")] {
                let said = ringlead.reload(text);
                assert!(said.contains("refused") && said.contains(why), "{said}");
            }
        }
        end.store(true, Ordering::Relaxed);
        clients.map(|client| client.join().expect("a client"))
    });
    drop(taken);
    for (answered, failed) in knocked {
        assert!(answered > 0 && failed.is_empty(), "{answered} answered, {failed:?}");
    }
    ringlead.reload(with);
}

/// Asks without a pause, each time on a new connection, until told to end: how many were answered, and what the others got. Who is kept
/// from asking for a second, which a place that closes waits, may get nothing.
fn knock(at: &str, end: &AtomicBool) -> (u64, Vec<String>) {
    let (mut answered, mut failed) = (0, Vec::new());
    while !end.load(Ordering::Relaxed) {
        let (begin, mut is_late) = (Instant::now(), false);
        let mut once = || -> io::Result<String> {
            let mut stream = TcpStream::connect(at)?;
            stream.set_read_timeout(Some(LIMIT))?;
            let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            is_late = begin.elapsed() >= Duration::from_secs(1);
            asked?;
            let mut said = String::new();
            stream.read_to_string(&mut said).map(|_| said)
        };
        match once() {
            Ok(said) if said.starts_with("HTTP/1.1 200 OK") => answered += 1,
            _ if is_late => {}
            other => failed.push(format!("{other:?}")),
        }
    }
    (answered, failed)
}

fn a_draining_node_is_not_ready(lab: &Lab, ringlead: &Ringlead) {
    let file = ringlead.file().display().to_string();
    assert_eq!(ringlead.ask(&["node", "drain", "--reason", "new kernel", "-c", &file]).0, 0);
    let (status, said) = get(lab, "/readyz", &[]);
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("the node drains: new kernel"), "{said}");
    assert_eq!(get(lab, "/healthz", &[]).0, 200);
    assert_eq!(ringlead.ask(&["node", "ready", "-c", &file]).0, 0);
    assert_eq!(get(lab, "/readyz", &[]).0, 200);
}

/// A thread that is stopped for as long as this lives: a process with one that is held cannot be ended.
struct Held(Pid);

impl Held {
    fn seize(thread: Pid) -> Self {
        ptrace::seize(thread, ptrace::Options::empty()).expect("seize a thread");
        let held = Self(thread);
        ptrace::interrupt(thread).expect("interrupt it");
        waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it stops");
        held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to let go.
        let _ = ptrace::detach(self.0, None);
    }
}

/// One of the worker's threads is held as a debugger would; the others and the control loop go on.
#[test]
fn a_worker_that_stands_still_is_not_alive() {
    needs_ringlead!();
    let lab = Lab::new("alive");
    let ringlead = Ringlead::start(&lab, &observed(&Config::empty(&lab).render()));
    assert_eq!(get(&lab, "/healthz", &[]), (200, "alive\n".to_owned()));
    let threads = ringlead.threads();
    let (id, name) = threads.iter().find(|(_, name)| name.starts_with("worker-")).expect("a worker");
    let worker = Pid::from_raw(i32::try_from(*id).expect("an id"));
    let held = Held::seize(worker);
    wait_until(LIMIT, "the worker is missed", || get(&lab, "/healthz", &[]).0 == 503);
    let (_, said) = get(&lab, "/healthz", &[]);
    let core = name.trim_start_matches("worker-");
    assert!(
        said.starts_with("not alive\n") && said.contains(&format!("on core {core} has been silent")),
        "{said}"
    );
    let told = || ringlead.log().contains("the worker has been silent for a second");
    wait_until(LIMIT, "the log says so too", told);
    drop(held);
    wait_until(LIMIT, "alive again", || get(&lab, "/healthz", &[]).0 == 200);
}

/// The whole page of 10 000 services, while the control loop is kept for a small part of what it takes to make it.
#[test]
fn ten_thousand_services_are_scraped_off_the_control_thread() {
    needs_ringlead!();
    let lab = Lab::new("metrics-many");
    let many = ManyServices::ten_thousand();
    let ringlead = Ringlead::start(&lab, &observed(&many.render(&lab)));
    let (mut shares, mut page) = (Vec::new(), String::new());
    for _ in 0..4 {
        let begin = Instant::now();
        let (status, text) = get(&lab, "/metrics", &["--header", OPEN]);
        assert_eq!(status, 200);
        let took = begin.elapsed().as_secs_f64();
        let line = text.lines().find_map(|line| line.strip_prefix("ringlead_scrape_control_seconds "));
        let control: f64 = line.expect("the control loop's share").parse().expect("seconds");
        println!(
            "10 000 services: {} bytes in {took:.3} s, of which {control:.6} s on the control loop",
            text.len()
        );
        shares.push(control / took);
        page = text;
    }
    let scraped = Scrape::read(&page).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(scraped.matching("ringlead_service_packets_total", &[]).count(), 20_000);
    assert_eq!(scraped.matching("ringlead_server_state", &[]).count(), 8_000);
    assert!(scraped.len() < 100_000, "{} samples", scraped.len());
    let least = shares.iter().copied().fold(1.0, f64::min);
    assert!(least < 0.1, "the control loop is kept for {least} of a scrape");
    assert!(!ringlead.log().contains("silent for a second"), "{}", ringlead.log());
}
