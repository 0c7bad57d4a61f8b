//! `server add` and `server remove`: the file says what is in force, whatever is said to them.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use ringlead_tests::{
    Config, Family, Farm, Held, Lab, Mode, Node, Protocol, Ringlead, Service, Transfer, needs_ringlead,
    ringlead_binary,
};
use serde_json::Value;

use crate::carries;

/// Connections that stay open while servers come and go: some for every server.
const OPEN: usize = 24;

/// A daemon whose pool stands in a file of its own, with comments.
struct Edited<'a> {
    lab: &'a Lab,
    service: Service,
    ringlead: Ringlead,
    pools: PathBuf,
    tokens: PathBuf,
}

impl<'a> Edited<'a> {
    fn start(lab: &'a Lab) -> Self {
        let mut service = Service::standard(Mode::Nat, Protocol::Tcp, Family::V4).with_servers(&[1, 2]);
        service.name = "web".to_owned();
        let text = Config::empty(lab).service(service.clone()).render();
        let (main, pool) = text.split_at(text.find("[pool.").unwrap());
        let (pools, tokens) = (lab.files().join("pools.toml"), lab.files().join("tokens"));
        let pool =
            pool.replace(" },\n  {", " },   # the old one\n  {").replace("\n]", "\n  # room for more\n]");
        fs::write(&pools, format!("# who serves\n{pool}")).unwrap();
        fs::write(&tokens, "a-token-that-is-long-enough-for-anybody\n").unwrap();
        fs::set_permissions(&tokens, Permissions::from_mode(0o600)).unwrap();
        let main = main.replacen("version = 1\n", "version = 1\ninclude = [\"pools.toml\"]\n", 1);
        let observe =
            format!("[observe]\nreport = \"127.0.0.1:9191\"\nreport-token-file = \"{}\"\n", tokens.display());
        let ringlead = Ringlead::start(lab, &(main + &observe));
        lab.await_servers(&service, "12");
        Self { lab, service, ringlead, pools, tokens }
    }

    fn texts(&self) -> [String; 2] {
        [fs::read_to_string(self.ringlead.file()).unwrap(), fs::read_to_string(&self.pools).unwrap()]
    }

    fn socket(&self, name: &str) -> String {
        self.lab.files().join(name).display().to_string()
    }

    fn server(&self, arguments: &[&str]) -> (i32, String) {
        self.ringlead.ask(&[&["server"], arguments, &["-s", &self.socket("control.sock")]].concat())
    }

    /// Refused for a reason, and no file has another byte.
    #[track_caller]
    fn refused(&self, arguments: &[&str], why: &str) {
        let before = self.texts();
        let (status, said) = self.server(arguments);
        assert!(status == 2 && said.contains(why), "{arguments:?}: {status}: {said}");
        assert_eq!(self.texts(), before, "{arguments:?}");
    }

    /// Whether the daemon has what the file says.
    fn is_in_force(&self) -> bool {
        let file = self.ringlead.file().display().to_string();
        self.ringlead.ask(&["config", "diff", "-c", &file, "--socket-of", &file]).0 == 0
    }

    fn open(&self) -> Vec<Held> {
        let each = Transfer::new(self.service.listen).bytes(20_000, 20_000);
        let open = |_| {
            let mut held = each.hold().unwrap();
            held.send(1_000).unwrap();
            held
        };
        self.lab.within(Node::Client, || (0..OPEN).map(open).collect())
    }
}

#[test]
fn servers_come_and_go_by_command_and_the_file_says_so() {
    needs_ringlead!();
    let lab = Lab::new("server-edit");
    let _farm = Farm::start(&lab);
    carries::nothing_answers(&lab, Mode::Nat);
    let edited = Edited::start(&lab);
    what_is_refused_leaves_the_files(&edited);
    one_is_added(&edited);
    what_the_daemon_refuses_is_put_back(&edited);
    what_is_not_in_force_is_told(&edited);
    one_goes_and_its_connections_end_well(&edited);
    two_at_one_time_are_both_done(&edited);
    shells_complete_pools(&edited);
}

fn what_is_refused_leaves_the_files(edited: &Edited<'_>) {
    edited.refused(&["add", "web/s1", "10.2.0.13:8080"], "two servers are named `s1`");
    edited.refused(&["add", "web/s3", "10.2.0.11:8080"], "two servers have the address 10.2.0.11:8080");
    edited.refused(&["add", "web/s3", "10.2.0.13"], "add the port: \"10.2.0.13:80\"");
    edited.refused(&["add", "wed/s3", "10.2.0.13:8080"], "there is no pool `wed`; there is `web`");
    edited.refused(&["remove", "web/s9"], "pool `web` has no server `s9`; there is `s");
    edited.refused(&["add", "web/s3", "10.2.0.13:8080", "--max-flows", "9"], "error[C");
    let before = edited.texts();
    let read_only = edited.socket("control-ro.sock");
    let asked = ["server", "add", "web/s3", "10.2.0.13:8080", "-s", &read_only];
    let (status, said) = edited.ringlead.ask(&asked);
    assert!(status == 2 && said.contains("this socket is read-only"), "{said}");
    let (status, said) = edited.server(&["add", "web/s3", "10.2.0.13:8080", "--dry-run"]);
    assert_eq!(status, 0, "{said}");
    for part in [
        "+  { name = \"s3\", address = \"10.2.0.13:8080\" },\n",
        "of Maglev slots move",
        "nothing is written",
    ] {
        assert!(said.contains(part), "no `{part}` in {said}");
    }
    assert_eq!(edited.texts(), before);
    edited.lab.await_servers(&edited.service, "12");
}

fn one_is_added(edited: &Edited<'_>) {
    let [main, pools] = edited.texts();
    let (status, said) = edited.server(&["add", "web/s3", "10.2.0.13:8080", "--weight", "1"]);
    assert!(status == 0 && said.contains("web/s3: none -> 10.2.0.13:8080\n"), "{said}");
    edited.lab.await_servers(&edited.service, "123");
    let line = "  { name = \"s3\", address = \"10.2.0.13:8080\", weight = 1 },\n";
    let wanted = pools.replace("  # room for more\n", &format!("{line}  # room for more\n"));
    assert!(wanted.contains("# the old one") && wanted.len() > pools.len(), "{wanted}");
    assert_eq!(edited.texts(), [main, wanted]);
    assert!(edited.is_in_force());
    let (_, events) =
        edited.ringlead.ask(&["events", "--kind", "operator-command", "-s", &edited.socket("control.sock")]);
    assert!(events.contains("server add web/s3") && events.contains("uid="), "{events}");
}

/// The check of the text passes, and the machine's part of it does not: strangers could read the tokens.
fn what_the_daemon_refuses_is_put_back(edited: &Edited<'_>) {
    fs::set_permissions(&edited.tokens, Permissions::from_mode(0o644)).unwrap();
    edited.refused(&["remove", "web/s1"], "pools.toml has its old text again");
    fs::set_permissions(&edited.tokens, Permissions::from_mode(0o600)).unwrap();
    edited.lab.await_servers(&edited.service, "123");
    assert!(edited.is_in_force());
    let socket = edited.socket("control.sock");
    assert_eq!(edited.ringlead.ask(&["reload", "--confirm", "1h", "-s", &socket]).0, 0);
    edited.refused(&["remove", "web/s1"], "waits for confirm");
    assert_eq!(edited.ringlead.ask(&["confirm", "-s", &socket]).0, 0);
}

fn what_is_not_in_force_is_told(edited: &Edited<'_>) {
    let [_, pools] = edited.texts();
    fs::write(&edited.pools, pools.replace("weight = 1 }", "weight = 2 }")).unwrap();
    edited.refused(&["remove", "web/s1"], "server s3 weight 1 -> 2");
    fs::write(&edited.pools, pools.replace("weight", "wieght")).unwrap();
    edited.refused(&["remove", "web/s1", "--also-pending"], "error[C001]: unknown key `wieght`");
    fs::write(&edited.pools, pools.replace("weight = 1 }", "weight = 2 }")).unwrap();
}

fn one_goes_and_its_connections_end_well(edited: &Edited<'_>) {
    let open = edited.open();
    let (status, said) = edited.server(&["remove", "web/s2", "--also-pending", "--json"]);
    assert_eq!(status, 0, "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["old"], &said["new"]), (&"10.2.0.12:8080".into(), &Value::Null), "{said}");
    assert!(said["flows"].as_u64().is_some_and(|flows| flows > 0) && said["written"] == true, "{said}");
    assert_eq!(said["pending"]["same"], false, "{said}");
    edited.lab.await_servers(&edited.service, "13");
    assert!(edited.is_in_force());
    let [_, pools] = edited.texts();
    assert!(!pools.contains("\"s2\"") && pools.contains("weight = 2 }"), "{pools}");
    assert!(pools.contains("# the old one") && pools.contains("# room for more"), "{pools}");
    let ended: Vec<char> = open.into_iter().map(|held| held.finish().unwrap().server).collect();
    assert!(ended.contains(&'2'), "none was open to it: {ended:?}");
    edited.refused(&["remove", "web/s2"], "has no server `s2`");
    assert_eq!(edited.server(&["remove", "web/s1"]).0, 0);
    edited.refused(&["remove", "web/s3"], "has no server");
}

/// Each waits for the other's reload, and finds its server in the file.
fn two_at_one_time_are_both_done(edited: &Edited<'_>) {
    let names = ["s5", "s6", "s7", "s8"];
    thread::scope(|scope| {
        let adding = |name: &'static str| {
            let (server, address) =
                (format!("web/{name}"), format!("10.2.0.13:{}", 8_080 + u16::from(name.as_bytes()[1])));
            scope.spawn(move || edited.server(&["add", &server, &address]))
        };
        for added in names.map(adding) {
            let (status, said) = added.join().unwrap();
            assert_eq!(status, 0, "{said}");
        }
    });
    let [_, pools] = edited.texts();
    assert!(names.iter().all(|name| pools.contains(&format!("\"{name}\""))), "{pools}");
    assert!(edited.is_in_force());
}

fn shells_complete_pools(edited: &Edited<'_>) {
    let complete = |command: &str| {
        let output = Command::new(ringlead_binary().unwrap())
            .env("RINGLEAD_COMPLETE", "fish")
            .args(["--", "ringlead", "server", command, "-s", &edited.socket("control.sock"), "w"])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines().filter_map(|line| line.split('\t').next().map(str::to_owned)).collect::<BTreeSet<_>>()
    };
    let names = |names: &[&str]| names.iter().map(|name| format!("web/{name}")).collect();
    assert_eq!(complete("add"), names(&[""]));
    assert_eq!(complete("remove"), names(&["s3", "s5", "s6", "s7", "s8"]));
}
