//! A server in or out of a configuration on disk: checked whole, in the file that has its pool, and in memory only.

use std::fs;
use std::path::{Path, PathBuf};

use ringlead_control::config::edit::{Change, Edit, EditError, NewServer};
use ringlead_control::config::{self, OperatorState};

const HEAD: &str = "version = 1\ninclude = \"pools/*.toml\" # the pools\n[dataplane]\ncores = [1]\n[port.wan]\ndevice = \"eth0\"\n\
    [service.web]\nlisten = \"192.0.2.10:80\"\nprotocol = \"tcp\"\nmode = \"nat\"\npool = \"web\"\n\
    [service.api]\nlisten = \"192.0.2.10:81\"\nprotocol = \"tcp\"\nmode = \"nat\"\npool = \"api\"\n\
    [pool.api]\nalgorithm = \"round-robin\"\n[[pool.api.server]]\nname = \"a1\"\naddress = \"10.0.0.1:81\"\n";
const WEB: &str = "# web\n[pool.web]\nalgorithm = \"maglev\"\nserver = [\n  { name = \"w1\", address = \"10.0.0.1:80\" }, # one\n\
    \x20 { name = \"w2\", address = \"10.0.0.2:80\" },\n]\n";

/// The configuration's folder and first file.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("pools")).unwrap();
    fs::write(dir.path().join("pools/web.toml"), WEB).unwrap();
    let first = dir.path().join("main.toml");
    fs::write(&first, HEAD).unwrap();
    (dir, first)
}

fn server(name: &str, address: &str) -> NewServer {
    NewServer { name: name.to_owned(), address: address.to_owned(), ..NewServer::default() }
}

fn texts(first: &Path) -> [String; 2] {
    [first.to_owned(), first.with_file_name("pools/web.toml")].map(|path| fs::read_to_string(path).unwrap())
}

/// Why not, without the folder's name.
#[track_caller]
fn refused(first: &Path, pool: &str, change: &Change) -> String {
    let before = texts(first);
    let why = match Edit::of(first, pool, change) {
        Err(EditError::Unusable(found) | EditError::Wrong(found)) => found.to_string(),
        Err(EditError::Refused(why)) => why,
        Ok(edit) => panic!("not refused:\n{}", edit.new),
    };
    assert_eq!(texts(first), before);
    why.replace(&format!("{}/", first.parent().unwrap().display()), "")
}

#[test]
fn the_file_that_has_the_pool_is_the_one_to_change() {
    let (dir, first) = folder();
    let full = NewServer {
        weight: Some(7),
        state: Some(OperatorState::Drain),
        backup: true,
        ..server("w3", "10.0.0.3:80")
    };
    let edit = Edit::of(&first, "web", &Change::Add(full)).unwrap();
    assert_eq!(edit.file, dir.path().join("pools/web.toml"));
    let line =
        "  { name = \"w3\", address = \"10.0.0.3:80\", weight = 7, state = \"drain\", backup = true },\n]\n";
    assert_eq!((edit.old.as_str(), edit.new), (WEB, format!("{}{line}", WEB.trim_end_matches("]\n"))));
    let servers = &edit.after.config.pools.iter().find(|pool| pool.name == "web").unwrap().servers;
    assert_eq!((servers.len(), servers[2].weight, servers[2].backup), (3, 7, true));
    assert_eq!(edit.before.effective, config::load_whole(&first).unwrap().effective);
    assert_eq!(texts(&first), [HEAD, WEB], "in memory only");

    let edit = Edit::of(&first, "api", &Change::Add(server("a2", "10.0.0.2:81"))).unwrap();
    assert_eq!(edit.file, first);
    assert_eq!(edit.new, format!("{HEAD}[[pool.api.server]]\nname = \"a2\"\naddress = \"10.0.0.2:81\"\n"));
    let edit = Edit::of(&first, "web", &Change::Remove("w1".to_owned())).unwrap();
    assert_eq!(edit.after.config.pools.iter().map(|pool| pool.servers.len()).sum::<usize>(), 2);
}

#[test]
fn what_would_be_wrong_is_told_as_the_check_tells_it() {
    let (_dir, first) = folder();
    let add = |name: &str, address: &str| refused(&first, "web", &Change::Add(server(name, address)));
    let twice = add("w1", "10.0.0.3:80");
    assert!(
        twice.contains("two servers are named `w1`") && twice.contains("--> pools/web.toml:7:"),
        "{twice}"
    );
    assert!(add("w3", "10.0.0.2:80").contains("two servers have the address 10.0.0.2:80"));
    assert!(add("w3", "10.0.0.3").contains("add the port: \"10.0.0.3:80\""));
    assert!(add("w3", "[2001:db8::1]:80").contains("all IPv4 or all IPv6"));
    assert!(add("W3", "10.0.0.3:80").contains("is no name for a server"));
    let limited = NewServer { flows_max: Some(9), ..server("w3", "10.0.0.3:80") };
    assert!(refused(&first, "web", &Change::Add(limited)).contains("error[C"), "not with maglev");
    let last = refused(&first, "api", &Change::Remove("a1".to_owned()));
    assert!(last.contains("[pool.api] has no server"), "{last}");
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let (_dir, first) = folder();
    let remove = |name: &str| Change::Remove(name.to_owned());
    assert_eq!(refused(&first, "wed", &remove("w1")), "there is no pool `wed`; there is `web`");
    assert_eq!(
        refused(&first, "nowhere", &Change::Add(server("x", "10.0.0.3:80"))),
        "there is no pool `nowhere`"
    );
    assert_eq!(refused(&first, "web", &remove("x1")), "pool `web` has no server `x1`; there is `w1`");
    // What cannot be used as it is stays as it is.
    fs::write(&first, HEAD.replace("cores", "corse")).unwrap();
    assert!(refused(&first, "web", &remove("w1")).contains("unknown key `corse`"));
}
