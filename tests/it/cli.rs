//! The command line over the control socket, by a daemon that carries traffic: listings, flows and their end, explanations,
//! completions.

use crate::carries;
use crate::explained::{Questions, talk};
use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, Transfer, needs_ringlead,
    ringlead_binary, wait_until,
};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);
/// Flows that are foreseen and then made.
const FORESEEN: u16 = 300;

/// The daemon, and what it is asked.
struct Asked<'a> {
    lab: &'a Lab,
    ringlead: Ringlead,
    nat: Service,
    snat: Service,
    sticky: Service,
    least: Service,
}

fn udp_nat() -> Service {
    Service::standard(Mode::Nat, Protocol::Udp, Family::V4)
}

impl<'a> Asked<'a> {
    fn start(lab: &'a Lab) -> Self {
        let turns = |mut service: Service| {
            service.pool_lines = "algorithm = \"round-robin\"\n".to_owned();
            service
        };
        let snat = turns(Service::standard(Mode::Snat, Protocol::Tcp, Family::V4));
        let mut sticky = turns(Service::standard(Mode::Nat, Protocol::Tcp, Family::V4));
        sticky.lines = "persistence = \"src\"\n".to_owned();
        let mut config = Config::empty(lab);
        let mut least =
            Service::on("least", Mode::Nat, Protocol::Udp, Family::V4, 85, Service::NAT_SERVER_PORT);
        least.pool_lines = "algorithm = \"least-flows\"\n".to_owned();
        least.server_keys = [(1, 5), (2, 9)].map(|(n, max)| (n, format!("max-flows = {max}"))).to_vec();
        config.services = vec![udp_nat(), snat.clone(), sticky.clone(), least.clone()];
        let ends = lab.files().join("flows.log");
        let table = format!(
            "[persistence.src]\ntype = \"source\"\ntimeout = \"5m\"\n\
             [observe]\nflow-log = {{ to = \"{}\", format = \"json\", always = [\"killed\"] }}\n",
            ends.display()
        );
        let ringlead = Ringlead::start(lab, &format!("{}{table}", config.render()));
        let this = Self { lab, ringlead, nat: udp_nat(), snat, sticky, least };
        [&this.nat, &this.snat, &this.sticky].iter().for_each(|service| lab.await_servers(service, "123"));
        this
    }

    /// Exit status and standard output.
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(ringlead_binary().expect("a ringlead binary"));
        let output = command.args(arguments).arg("-c").arg(self.ringlead.file()).output().unwrap();
        let said = if output.status.code() == Some(2) { output.stderr } else { output.stdout };
        (output.status.code().expect("an exit status"), String::from_utf8(said).unwrap())
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let (status, said) = self.run(&[arguments, &["--json"]].concat());
        assert!(status < 2, "{arguments:?}: {said}");
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{arguments:?} is no JSON ({e}): {said}"))
    }

    /// The rows of a listing.
    #[track_caller]
    fn rows(&self, arguments: &[&str], key: &str) -> Vec<Value> {
        self.json(arguments)[key].as_array().cloned().unwrap_or_else(|| panic!("{arguments:?}: no {key}"))
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.lab.files().join(name)
    }

    fn drops(&self, reason: &str) -> u64 {
        let rows = self.rows(&["drops", "--all"], "drops");
        let row = rows.iter().find(|row| row["reason"] == reason).expect("a reason");
        row["count"].as_u64().unwrap()
    }
}

#[test]
fn what_the_command_line_says_is_what_the_daemon_does() {
    needs_ringlead!();
    let lab = Lab::new("cli");
    let mut farm = Farm::start(&lab);
    carries::nothing_answers(&lab, Mode::Nat);
    let asked = Asked::start(&lab);
    what_is_foreseen_comes_true(&asked);
    limits_are_foreseen(&asked);
    a_client_that_comes_back_is_foreseen_and_listed(&asked);
    a_flow_is_found_and_ended(&asked);
    listings_agree_with_the_status_in_every_form(&asked);
    shells_complete_what_runs(&asked);
    a_listing_is_watched(&asked);
    a_disk_that_is_full_is_told(&asked);
    exit_statuses_tell_what_is_wrong(&asked, &mut farm);
}

/// Explained before, connected after: the same server.
fn what_is_foreseen_comes_true(asked: &Asked<'_>) {
    let client = Lab::clients(Family::V4)[0];
    let mut questions = Questions::to(asked.lab);
    let mut foreseen = Vec::new();
    for port in 20_000..20_000 + FORESEEN {
        let at = SocketAddr::new(client, port);
        let answer = questions.explain(at, &asked.nat);
        assert_eq!((&answer["ours"], &answer["decided_by"]), (&true.into(), &"algorithm".into()), "{answer}");
        assert!(answer["slot"].as_u64().unwrap() < answer["slots"].as_u64().unwrap(), "{answer}");
        foreseen.push((at, answer["server"].as_str().unwrap().to_owned()));
    }
    let names: BTreeSet<&String> = foreseen.iter().map(|(_, server)| server).collect();
    assert_eq!(names.len(), 3, "all three servers get some: {names:?}");
    asked.lab.within(Node::Client, || {
        for (at, server) in &foreseen {
            let name = talk(*at, asked.nat.listen);
            assert_eq!(format!("{}/s{name}", asked.nat.name), *server, "{at}");
        }
    });
    // The table says the same of every one of them, and says it again as a flow that there is.
    let rows = asked.rows(&["flows", "--client", &client.to_string(), "--protocol", "udp"], "flows");
    for (at, server) in &foreseen {
        let row = rows.iter().find(|row| row["client"] == at.to_string()).unwrap_or_else(|| panic!("{at}"));
        assert_eq!((&row["server"], &row["state"]), (&server.as_str().into(), &"datagram".into()), "{row}");
    }
    let (at, server) = &foreseen[0];
    let (status, said) = asked.run(&["explain", "udp", &at.to_string(), &asked.nat.listen.to_string()]);
    assert!(status == 0 && said.contains(&format!("an established flow goes to {server}")), "{said}");
    assert!(
        said.contains("way: next hop 10.2.0.1") && said.contains("by port lan (l1), neighbour "),
        "{said}"
    );
    let whose = SocketAddr::new(asked.nat.listen.ip(), 81).to_string();
    let (status, said) = asked.run(&["explain", "udp", &at.to_string(), &whose]);
    assert!(status == 1 && said.contains("the packet is this node's kernel's"), "{said}");
}

/// The fewest flows, of those that have room: at last that is one.
fn limits_are_foreseen(asked: &Asked<'_>) {
    let mut questions = Questions::to(asked.lab);
    let (seen, several) = questions.come_true(asked.lab, &asked.least, 30_000..30_023);
    assert_eq!(seen, BTreeSet::from(['1', '2', '3']));
    assert_eq!(
        several,
        2 * 5 + 4,
        "the first two of three, then the first of two, until two servers are full"
    );
    let (seen, several) = questions.come_true(asked.lab, &asked.least, 30_023..30_030);
    assert_eq!((seen, several), (BTreeSet::from(['3']), 0), "the others are full");
    let told = questions.explain(SocketAddr::new(Lab::clients(Family::V4)[0], 30_100), &asked.least);
    assert_eq!(told["servers"][0]["why"], "full: 5 of 5 flows", "{told}");
}

fn a_client_that_comes_back_is_foreseen_and_listed(asked: &Asked<'_>) {
    let client = Lab::clients(Family::V4)[40];
    let each = Transfer::new(asked.sticky.listen).bytes(100, 100).from(client);
    let mut home = None;
    wait_until(LIMIT, "an answer", || {
        home = asked.lab.within(Node::Client, || each.make()).ok().map(|done| done.server);
        home.is_some()
    });
    let server = format!("{}/s{}", asked.sticky.name, home.unwrap());
    let rows = asked.rows(&["persist", "--client", &client.to_string()], "clients");
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((&rows[0]["server"], &rows[0]["table"]), (&server.as_str().into(), &"src".into()));
    assert_eq!(rows[0]["client"], format!("{client}/32"));
    let told = asked.json(&["explain", "tcp", &format!("{client}:9"), &asked.sticky.name]);
    assert_eq!(
        (&told["server"], &told["decided_by"]),
        (&server.as_str().into(), &"persistence".into()),
        "{told}"
    );
    // A stranger's turn is not to be told.
    let stranger = SocketAddr::new(Lab::clients(Family::V4)[41], 9).to_string();
    let told = asked.json(&["explain", "tcp", &stranger, &asked.snat.name]);
    assert_eq!(
        (&told["server"], told["candidates"].as_array().map(Vec::len)),
        (&Value::Null, Some(3)),
        "{told}"
    );
}

/// The filter finds the very connection that the kernels at both ends hold; it ends where it is told to.
fn a_flow_is_found_and_ended(asked: &Asked<'_>) {
    let mut stream = None;
    wait_until(LIMIT, "a connection", || {
        stream = asked.lab.within(Node::Client, || TcpStream::connect(asked.snat.listen)).ok();
        stream.is_some()
    });
    let mut stream = stream.unwrap();
    let client = stream.local_addr().unwrap();
    let (ip, port) = (client.ip().to_string(), client.port().to_string());
    let this: &[&str] = &["--client", &ip, "--client-port", &port, "--service", &asked.snat.name];
    let find = || asked.rows(&[&["flows"], this].concat(), "flows");
    wait_until(LIMIT, "an established flow", || find().iter().any(|row| row["state"] == "established"));
    let [row] = &find()[..] else { panic!("{:?}", find()) };
    assert_eq!((&row["client"], &row["mode"]), (&client.to_string().into(), &"snat".into()), "{row}");
    let number: u8 = row["server"].as_str().unwrap().trim_start_matches("snat-tcp4/s").parse().unwrap();
    let sockets = asked.lab.must_run(Node::Server(number), "cat", &["/proc/net/tcp"]);
    let at = |key: &str| hex(row[key].as_str().unwrap().parse().unwrap());
    let held = format!("{} {} 01 ", at("server_address"), at("source"));
    assert!(sockets.contains(&held), "server {number} has no socket {held}:\n{sockets}");

    let kill = |more: &[&str]| asked.run(&[&["flow", "kill"], more].concat());
    let (status, said) = kill(&[]);
    assert!(status == 2 && said.contains("--all"), "{said}");
    let read_only = asked.socket("control-ro.sock");
    let (status, said) =
        asked.ringlead.ask(&[&["flow", "kill", "-s", read_only.to_str().unwrap()], this].concat());
    assert!(status == 2 && said.contains("this socket is read-only"), "{said}");
    assert_eq!(find().len(), 1);
    let before = asked.drops("unknown-flow");
    assert_eq!(kill(this), (0, "1 flow ended\n".to_owned()));
    assert_eq!(kill(this), (1, "0 flows ended\n".to_owned()));
    stream.write_all(b"is anybody there?").unwrap();
    wait_until(LIMIT, "its packets are dropped", || asked.drops("unknown-flow") > before);
    assert!(find().is_empty());
    wait_until(LIMIT, "its line in the flow log", || {
        let ends = std::fs::read_to_string(asked.lab.files().join("flows.log")).unwrap_or_default();
        let of = |line: &str| line.contains(&format!("\"{client}\"")) && line.contains("\"end\":\"killed\"");
        ends.lines().filter(|line| of(line)).count() == 1
    });
}

/// As the kernel's tables write it.
fn hex(at: SocketAddr) -> String {
    let SocketAddr::V4(at) = at else { panic!("IPv4 only") };
    format!("{:08X}:{:04X}", u32::from_ne_bytes(at.ip().octets()), at.port())
}

fn listings_agree_with_the_status_in_every_form(asked: &Asked<'_>) {
    let status = asked.ringlead.status();
    let names = |list: &Value| {
        list.as_array().unwrap().iter().map(|entry| entry["name"].clone()).collect::<Vec<Value>>()
    };
    for (command, key) in
        [("services", "services"), ("pools", "pools"), ("snat", "snat"), ("persist", "persistence")]
    {
        let rows = Value::Array(asked.rows(&[command], key));
        assert_eq!(names(&rows), names(&status[key]), "{command}");
        assert!(!names(&rows).is_empty(), "{command}");
    }
    assert_eq!(asked.rows(&["servers"], "servers").len(), 12);
    let of_pool = asked.rows(&["servers", &asked.nat.name], "servers");
    assert!(of_pool.len() == 3 && of_pool.iter().all(|row| row["health"] == "up"), "{of_pool:?}");
    assert_eq!(asked.rows(&["workers"], "workers").len(), 2);
    assert_eq!(asked.rows(&["ports"], "ports").len(), 4, "two queues of each port");
    let drops = asked.rows(&["drops"], "drops");
    let unknown = drops.iter().find(|row| row["reason"] == "unknown-flow").expect("dropped before");
    let code = unknown["code"].as_str().unwrap();
    assert!(asked.run(&["explain", code]).1.contains(unknown["text"].as_str().unwrap()));

    let lists: [&[&str]; 9] = [
        &["services"],
        &["pools"],
        &["servers"],
        &["workers"],
        &["ports"],
        &["drops"],
        &["snat"],
        &["persist"],
        &["persist", "--entries"],
    ];
    for command in lists {
        let (status, text) = asked.run(&[command, &["--csv"]].concat());
        assert_eq!(status, 0, "{command:?}: {text}");
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let columns = reader.headers().unwrap().len();
        let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert!(columns >= 4 && !records.is_empty(), "{command:?}: {text}");
        let (status, table) = asked.run(command);
        assert!(status == 0 && table.lines().count() > records.len(), "{command:?}: {table}");
        assert!(!table.contains('\u{1b}'), "colour in a pipe: {table}");
    }
    flows_in_every_form(asked);
}

fn flows_in_every_form(asked: &Asked<'_>) {
    let this: &[&str] =
        &["flows", "--pool", &asked.nat.name, "--client", &Lab::clients(Family::V4)[0].to_string()];
    let (_, text) = asked.run(&[this, &["--csv", "--sort", "client"]].concat());
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let clients: Vec<SocketAddr> =
        reader.records().map(|record| record.unwrap()[1].parse().unwrap()).collect();
    assert!(clients.len() >= usize::from(FORESEEN) && clients.is_sorted(), "{}", clients.len());
    let count: usize = asked.run(&[this, &["--count"]].concat()).1.trim().parse().unwrap();
    assert_eq!(count, clients.len());
    let (_, table) = asked.run(&[this, &["--limit", "7"]].concat());
    assert_eq!(table.matches("datagram").count(), 7, "{table}");
    assert!(table.contains("--count says how many"), "{table}");
    assert_eq!(asked.rows(&[this, &["--limit", "7"]].concat(), "flows").len(), 7);
    let (status, said) = asked.run(&["flows", "--service", "nobody"]);
    assert!(status == 2 && said.contains("no service `nobody`"), "{said}");
}

fn shells_complete_what_runs(asked: &Asked<'_>) {
    let binary = ringlead_binary().expect("a ringlead binary");
    let complete = |words: &[&str], file: &Path| {
        let output = Command::new(&binary)
            .env("RINGLEAD_COMPLETE", "fish")
            .args(["--", "ringlead"])
            .args(words)
            .arg("-c")
            .arg(file)
            .arg("nat-udp4/")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let found = complete(&["server", "drain"], asked.ringlead.file());
    let names: Vec<&str> = found.lines().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(names, ["nat-udp4/s1", "nat-udp4/s2", "nat-udp4/s3"], "{found}");
    assert!(found.contains("ready up"), "{found}");
    assert_eq!(
        complete(&["server", "drain"], Path::new("/nowhere.toml")),
        "",
        "no daemon, no names, no error"
    );
    for shell in ["bash", "zsh", "fish"] {
        let (status, script) = asked.ringlead.ask(&["completions", shell]);
        assert!(status == 0 && script.contains("RINGLEAD_COMPLETE"), "{shell}: {script}");
    }
    let script = asked.ringlead.ask(&["completions", "bash"]).1;
    let read =
        Command::new("bash").args(["-c", &format!("{script}\ncomplete -p ringlead")]).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let (status, page) = asked.ringlead.ask(&["man"]);
    assert!(status == 0 && page.contains(".TH ringlead 1"), "{page}");
}

fn a_listing_is_watched(asked: &Asked<'_>) {
    let mut child = Command::new(ringlead_binary().expect("a ringlead binary"))
        .args(["drops", "--all", "--json", "--watch", "0.2", "-c"])
        .arg(asked.ringlead.file())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let seen: Vec<Value> = lines.take(3).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(seen[0]["drops"][0]["rate"], Value::Null);
    assert!(seen[1..].iter().all(|all| all["drops"][0]["rate"].is_number()), "{seen:?}");
}

/// A truncated export must not look like a good one; a reader that has seen enough is no fault.
fn a_disk_that_is_full_is_told(asked: &Asked<'_>) {
    let run = |arguments: &[&str], output: Stdio| {
        let mut command = Command::new(ringlead_binary().expect("a ringlead binary"));
        let child = command.args(arguments).stdout(output).stderr(Stdio::piped()).spawn().unwrap();
        let done = child.wait_with_output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let file = asked.ringlead.file().display().to_string();
    let commands: [&[&str]; 5] = [
        &["config", "example"],
        &["config", "show", "-c", &file],
        &["status", "-c", &file],
        &["services", "--json", "-c", &file],
        &["flows", "--csv", "-c", &file],
    ];
    for command in commands {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (status, said) = run(command, full.into());
        assert!(status == Some(2) && said.contains("could not be written"), "{command:?}: {status:?} {said}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(run(command, writer.into()), (Some(0), String::new()), "{command:?}");
    }
}

fn exit_statuses_tell_what_is_wrong(asked: &Asked<'_>, farm: &mut Farm<'_>) {
    assert_eq!(asked.run(&["servers"]).0, 0);
    farm.kill(2);
    wait_until(LIMIT, "server 2 is told to be down", || asked.run(&["servers"]).0 == 1);
    let (status, table) = asked.run(&["servers"]);
    assert!(status == 1 && table.contains("connection refused"), "{table}");
    assert_eq!(asked.run(&["services"]).0, 0, "two servers of three are enough");
    let (status, said) = asked.run(&["servers", "nobody"]);
    assert!(status == 2 && said.contains("no pool `nobody`"), "{said}");
    let (status, said) = asked.ringlead.ask(&["services", "-s", "/nowhere.sock"]);
    assert!(status == 2 && said.contains("no daemon listens"), "{said}");
}
