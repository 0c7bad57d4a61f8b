//! `ringlead server`: operators take servers out and back while traffic runs, and it is kept.

use crate::carries;
use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, Transfer, needs_ringlead,
    ringlead_binary, tcp_transfers, wait_until,
};
use serde_json::Value;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

/// Runs `ringlead server` for the daemon of this configuration file.
pub(crate) fn tell(file: &Path, arguments: &[&str]) -> Output {
    let binary = ringlead_binary().expect("a ringlead binary");
    Command::new(binary).arg("server").args(arguments).arg("-c").arg(file).output().unwrap()
}

/// The same, where it must work: what it prints.
#[track_caller]
pub(crate) fn told(file: &Path, arguments: &[&str]) -> String {
    let output = tell(file, arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// A server's entry in the status.
pub(crate) fn server(ringlead: &Ringlead, pool: &str, name: &str) -> Value {
    let status = ringlead.status();
    let find = |list: &Value, name: &str| {
        list.as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap().clone()
    };
    find(&find(&status["pools"], pool)["servers"], name)
}

/// The first server of a pool in what the daemon of this file says of its pools, once it answers.
fn server_of(file: &Path, pool: &str) -> Value {
    let binary = ringlead_binary().expect("a ringlead binary");
    let output = Command::new(binary).args(["servers", pool, "--json", "-c"]).arg(file).output().unwrap();
    serde_json::from_slice::<Value>(&output.stdout).map_or(Value::Null, |all| all["servers"][0].clone())
}

fn service(mode: Mode) -> Service {
    let mut service = Service::standard(mode, Protocol::Tcp, Family::V4);
    service.pool_lines = "algorithm = \"round-robin\"\n".to_owned();
    service
}

fn start(lab: &Lab, services: &[Service], more: &str) -> (Ringlead, String) {
    let mut config = Config::empty(lab);
    config.services = services.to_vec();
    let config = format!("{}{more}", config.render());
    (Ringlead::start(lab, &config), config)
}

#[test]
fn a_drain_under_load_breaks_nothing_and_ends() {
    needs_ringlead!();
    let lab = Lab::new("states-drain");
    let _farm = Farm::start(&lab);
    let services = [Mode::Nat, Mode::Snat, Mode::Dsr].map(service);
    carries::nothing_answers(&lab, Mode::Nat);
    let (ringlead, _) = start(&lab, &services, "");
    services.iter().for_each(|service| lab.await_servers(service, "123"));
    let clients = &Lab::clients(Family::V4)[..12];
    thread::scope(|scope| {
        let lab = &lab;
        let transfers = services.each_ref().map(|service| {
            let each = Transfer::new(service.listen).bytes(300_000, 300_000).lasting(Duration::from_secs(5));
            scope.spawn(move || lab.within(Node::Client, || tcp_transfers(each, 12, clients)))
        });
        for service in &services {
            let pool = service.name.as_str();
            let has_flows = || server(&ringlead, pool, "s1")["flows"].as_u64().unwrap() >= 4;
            wait_until(Duration::from_secs(5), "flows of server 1", has_flows);
            let said = told(ringlead.file(), &["drain", &format!("{pool}/s1"), "--reason", "kernel update"]);
            assert!(said.starts_with(&format!("{pool}/s1: ready -> drain, ")), "{said}");
            assert!(said.ends_with(" flows left\n") && !said.contains(", 0 flows"), "{said}");
            lab.await_servers(service, "23");
        }
        for transfer in transfers {
            let broken: Vec<_> = transfer.join().unwrap().into_iter().filter_map(Result::err).collect();
            assert!(broken.is_empty(), "{broken:?}");
        }
    });
    let entry = server(&ringlead, &services[0].name, "s1");
    assert_eq!((&entry["operator"], &entry["operator_file"]), (&"drain".into(), &"ready".into()), "{entry}");
    assert_eq!(
        (&entry["said"]["reason"], &entry["health"]),
        (&"kernel update".into(), &"up".into()),
        "{entry}"
    );
    for service in &services {
        let name = format!("{}/s1", service.name);
        let said = told(ringlead.file(), &["drain", &name, "--wait", "60s", "--then", "offline"]);
        assert!(said.contains("0 flows left after the wait\n"), "{said}");
        assert!(said.ends_with("drain -> offline, 0 flows left\n"), "{said}");
        told(ringlead.file(), &["ready", &name]);
        lab.await_servers(service, "123");
    }
}

/// Round-robin would send half of a client's flows to another server.
#[test]
fn drain_keeps_sticky_clients_and_offline_does_not() {
    needs_ringlead!();
    let lab = Lab::new("states-sticky");
    let _farm = Farm::start(&lab);
    let mut sticky = service(Mode::Nat);
    sticky.lines = "persistence = \"src\"\n".to_owned();
    let table = "[persistence.src]\ntype = \"source\"\nmask6 = 128\ntimeout = \"5m\"\n";
    let (ringlead, _) = start(&lab, std::slice::from_ref(&sticky), table);
    let client = Lab::clients(Family::V4)[0];
    let ask = || {
        let each = Transfer::new(sticky.listen).bytes(100, 100).from(client);
        lab.within(Node::Client, || each.make()).map(|done| done.server)
    };
    wait_until(Duration::from_secs(10), "an answer", || ask().is_ok());
    let home = ask().unwrap();
    let name = format!("{}/s{home}", sticky.name);
    told(ringlead.file(), &["drain", &name]);
    (0..6).for_each(|_| assert_eq!(ask().unwrap(), home));
    told(ringlead.file(), &["offline", &name]);
    (0..6).for_each(|_| assert_ne!(ask().unwrap(), home));
}

/// What is left after the wait is told, by words and exit status; others' ends do not matter.
#[test]
fn a_wait_that_is_too_short_says_what_is_left() {
    needs_ringlead!();
    let lab = Lab::new("states-wait");
    let _farm = Farm::start(&lab);
    let one = service(Mode::Nat).with_servers(&[1]);
    let (ringlead, _) = start(&lab, std::slice::from_ref(&one), "");
    lab.await_servers(&one, "1");
    let name = format!("{}/s1", one.name);
    let open = lab.within(Node::Client, || TcpStream::connect(one.listen)).unwrap();
    let output = tell(ringlead.file(), &["drain", &name, "--wait", "500ms"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.ends_with(" left after the wait\n") && !said.contains(" 0 flows left after"), "{said}");
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(warned.contains(&format!("no server may get new flows of {} now", one.name)), "{warned}");
    // What is over is still in the table, and nobody has to wait for it.
    drop(open);
    wait_until(Duration::from_secs(20), "a drain of closed connections", || {
        let output = tell(ringlead.file(), &["drain", &name, "--wait", "100ms"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success() && said.contains(" left, all of them closed and kept for late segments after")
    });
    let output = tell(ringlead.file(), &["drain", &name, "--for", "2s", "--wait", "5s"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("`--for` must be longer"), "{said}");
}

/// The wait goes on over the death of the daemon, and ends as soon as the state is another one.
#[test]
fn a_wait_outlives_the_daemon_and_sees_another_state() {
    needs_ringlead!();
    let lab = Lab::new("states-outlived");
    let _farm = Farm::start(&lab);
    let one = service(Mode::Nat).with_servers(&[1]);
    let (ringlead, config) = start(&lab, std::slice::from_ref(&one), "");
    lab.await_servers(&one, "1");
    let name = format!("{}/s1", one.name);
    let file = ringlead.file().to_owned();
    let held = lab.within(Node::Client, || TcpStream::connect(one.listen)).unwrap();
    let drains = || server_of(&file, &one.name)["operator"] == "drain";
    thread::scope(|scope| {
        let waiter = || tell(&file, &["drain", &name, "--wait", "5m", "--then", "close"]);
        let waits = scope.spawn(waiter);
        wait_until(Duration::from_secs(30), "the drain", drains);
        told(&file, &["ready", &name]);
        let ended = waits.join().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.code() == Some(2) && said.contains("it is ready now"), "{said}");

        let waits = scope.spawn(waiter);
        wait_until(Duration::from_secs(30), "the drain", drains);
        ringlead.kill();
        let ringlead = Ringlead::start(&lab, &config);
        // Its flows went with the daemon: the wait is over, and what follows it is done.
        let ended = waits.join().unwrap();
        let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
        assert!(ended.status.success() && said.contains("drain -> closed"), "{said}");
        drop(ringlead);
    });
    drop(held);
}

/// By reload, SIGTERM, take-over, SIGKILL; a time that is over ends it, and `clear` does.
#[test]
fn states_are_kept_until_their_time_is_over() {
    needs_ringlead!();
    let lab = Lab::new("states-kept");
    let _farm = Farm::start(&lab);
    let nat = service(Mode::Nat);
    let (mut ringlead, config) = start(&lab, std::slice::from_ref(&nat), "");
    lab.await_servers(&nat, "123");
    let (first, second) = (format!("{}/s1", nat.name), format!("{}/s2", nat.name));
    told(ringlead.file(), &["drain", &first]);
    ringlead.reload(&config);
    lab.await_servers(&nat, "23");
    assert!(ringlead.stop().success());
    let ringlead = Ringlead::start(&lab, &config);
    lab.await_servers(&nat, "23");
    let next = Ringlead::take_over(&lab, &config).unwrap_or_else(|refusal| panic!("{}", refusal.said));
    assert!(ringlead.ended().success());
    lab.await_servers(&nat, "23");
    next.kill();
    let ringlead = Ringlead::start(&lab, &config);
    lab.await_servers(&nat, "23");
    told(ringlead.file(), &["offline", &second, "--for", "4s"]);
    lab.await_servers(&nat, "3");
    lab.await_servers(&nat, "23");
    told(ringlead.file(), &["clear", &first]);
    lab.await_servers(&nat, "123");
    assert_eq!(server(&ringlead, &nat.name, "s1")["said"], Value::Null);
    // A file that nobody can read costs the states, not the start.
    told(ringlead.file(), &["drain", &first]);
    assert!(ringlead.stop().success());
    let kept = lab.files().join("state/operator-states.json");
    std::fs::write(&kept, "{\"version\":1,").unwrap();
    let ringlead = Ringlead::start(&lab, &config);
    lab.await_servers(&nat, "123");
    assert!(ringlead.log().contains("are set aside"), "{}", ringlead.log());
    assert!(kept.with_extension("json.damaged").exists());
    told(ringlead.file(), &["drain", &first]);
    unread_states_come_back_or_are_kept(&lab, ringlead, &config, &nat);
}

/// A link to itself stands for a file that cannot be read at the moment.
fn unread_states_come_back_or_are_kept(lab: &Lab, ringlead: Ringlead, config: &str, nat: &Service) {
    let kept = lab.files().join("state/operator-states.json");
    let earlier = kept.with_extension("earlier");
    let start_without = |before: Ringlead| {
        assert!(before.stop().success());
        std::fs::rename(&kept, &earlier).unwrap();
        symlink(&kept, &kept).unwrap();
        let ringlead = Ringlead::start(lab, config);
        lab.await_servers(nat, "123");
        ringlead
    };
    let ringlead = start_without(ringlead);
    std::fs::rename(&earlier, &kept).unwrap();
    lab.await_servers(nat, "23");
    // Once an operator says something else it is not read any more, but kept.
    let ringlead = start_without(ringlead);
    told(ringlead.file(), &["drain", &format!("{}/s2", nat.name)]);
    lab.await_servers(nat, "13");
    assert!(kept.with_extension("json.unread").is_symlink(), "{}", ringlead.log());
    assert!(std::fs::read_to_string(&kept).unwrap().contains("\"s2\""));
}

#[test]
fn what_cannot_be_done_is_refused() {
    needs_ringlead!();
    let lab = Lab::new("states-refused");
    let _farm = Farm::start(&lab);
    let nat = service(Mode::Nat);
    let (ringlead, _) = start(&lab, std::slice::from_ref(&nat), "");
    let first = format!("{}/s1", nat.name);
    let unknown = format!("{}/s9", nat.name);
    let refused: [(&[&str], &str); 5] = [
        (&["drain", "s1"], "is no POOL/SERVER"),
        (&["drain", &unknown], "has no server `s9`"),
        (&["drain", "nobody/s1"], "there is no pool `nobody`"),
        (&["weight", &first, "0"], "0 is not in 1..=256"),
        (&["weight", &unknown, "2"], "has no server `s9`"),
    ];
    for (arguments, why) in refused {
        let output = tell(ringlead.file(), arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(why), "{arguments:?}: {said}");
    }
    let status: Vec<String> = std::fs::read_dir(lab.files())
        .unwrap()
        .filter_map(|entry| entry.ok()?.path().to_str().map(str::to_owned))
        .filter(|path| path.ends_with("-ro.sock"))
        .collect();
    let read_only = status.first().expect("a read-only socket");
    let output = Command::new(ringlead_binary().unwrap())
        .args(["server", "drain", &first, "-s", read_only])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("this socket is read-only"), "{said}");
    assert_eq!(server(&ringlead, &nat.name, "s1")["operator"], "ready");
}

/// How many of a hundred new flows server 1 gets.
fn share_of_first(lab: &Lab, service: &Service) -> usize {
    let each = Transfer::new(service.listen).bytes(100, 100);
    let made = lab.within(Node::Client, || tcp_transfers(each, 100, &Lab::clients(Family::V4)));
    made.iter().filter(|made| made.as_ref().is_ok_and(|made| made.server == '1')).count()
}

/// By reload, SIGTERM and SIGKILL. Each start looks at what is kept, and `clear` and `ready` end it.
#[test]
fn weights_and_the_nodes_state_are_kept() {
    needs_ringlead!();
    let lab = Lab::new("states-weight");
    let _farm = Farm::start(&lab);
    let mut maglev = Service::standard(Mode::Nat, Protocol::Tcp, Family::V4);
    maglev.pool_lines = "algorithm = \"maglev\"\n".to_owned();
    let (mut ringlead, config) = start(&lab, std::slice::from_ref(&maglev), "");
    lab.await_servers(&maglev, "123");
    let before = share_of_first(&lab, &maglev);
    assert!((10..60).contains(&before), "{before} of 100 with a third of the weight");
    let name = format!("{}/s1", maglev.name);
    // What `clear` takes back is told, all of it.
    told(ringlead.file(), &["weight", &name, "9"]);
    let said = told(ringlead.file(), &["clear", &name]);
    assert!(said.contains("ready -> ready") && said.contains(": weight 9 -> 1: "), "{said}");
    let said = told(ringlead.file(), &["weight", &name, "100"]);
    assert!(said.starts_with(&format!("{name}: weight 1 -> 100: 6")), "{said}");
    assert!(said.ends_with(" % of Maglev slots move, 0 established flows move\n"), "{said}");
    let file = ringlead.file().display().to_string();
    let (status, said) =
        ringlead.ask(&["node", "drain", "--reason", "new kernel", "--wait", "200ms", "-c", &file]);
    assert!(said.starts_with("node: ready -> drain, ") && said.ends_with(" left after the wait\n"), "{said}");
    assert_eq!(status, 1, "{said}");
    let kept = |ringlead: &Ringlead, how: &str| {
        let entry = server(ringlead, &maglev.name, "s1");
        assert_eq!((&entry["weight"], &entry["weight_file"]), (&100.into(), &1.into()), "{how}");
        let status = ringlead.status();
        let node = (&status["node_state"], &status["node_said"]["reason"]);
        assert_eq!(node, (&"drain".into(), &"new kernel".into()), "{how}");
        wait_until(Duration::from_secs(10), "answers", || lab.servers_seen(&maglev).contains(&'1'));
        let share = share_of_first(&lab, &maglev);
        assert!(share >= 90, "{how}: {share} of 100, all served though the node drains");
    };
    kept(&ringlead, "at once");
    ringlead.reload(&config);
    kept(&ringlead, "after a reload");
    assert!(ringlead.stop().success());
    let ringlead = Ringlead::start(&lab, &config);
    kept(&ringlead, "after SIGTERM");
    ringlead.kill();
    let ringlead = Ringlead::start(&lab, &config);
    kept(&ringlead, "after SIGKILL");
    told(ringlead.file(), &["clear", &name]);
    let (status, said) = ringlead.ask(&["node", "ready", "-c", &file]);
    assert!(status == 0 && said.starts_with("node: drain -> ready, "), "{said}");
    assert_eq!(server(&ringlead, &maglev.name, "s1")["weight"], 1);
    assert_eq!(ringlead.status()["node_state"], "ready");
    let after = share_of_first(&lab, &maglev);
    assert!((10..60).contains(&after), "{after} of 100 with a third of the weight");
}
