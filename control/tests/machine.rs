//! What a machine says of configurations that are right in themselves, as golden files: `machine/NAME.toml` gives exactly
//! `machine/NAME.stderr` on the machine that the test makes up for it. `RINGLEAD_BLESS=1` writes them anew.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use ringlead_control::config::{self, Loaded, Severity};
use ringlead_control::machine::{self, Judge, Machine, Memory};
use ringlead_control::plan::{HopKey, Obstacle, Plan, Unreachable, Way};
use ringlead_flow::ServerId;
use ringlead_io::device::DeviceFacts;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Error, ErrorKind};
use std::net::IpAddr;
use std::path::Path;

/// A machine that is made up, and what its kernel answers.
struct Fake {
    machine: Machine,
    /// How the one server is reached.
    reach: Result<Way, Unreachable>,
    /// The addresses that it has.
    local: BTreeSet<IpAddr>,
    /// What comes of listening for scrapes.
    listening: Option<Error>,
}

fn device(ifindex: u32) -> DeviceFacts {
    DeviceFacts {
        ifindex,
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        rx_queues: 2,
        driver: "ice".to_owned(),
        up: true,
        strips_vlan: false,
    }
}

fn by(port: u8, ip: &str) -> Result<Way, Unreachable> {
    Ok(Way::Via(HopKey::untagged(port, ip.parse().unwrap())))
}

fn not(what: Obstacle, why: &str) -> Result<Way, Unreachable> {
    Err(Unreachable { what, why: why.to_owned() })
}

/// One on which every file but these is right.
fn good() -> Fake {
    Fake {
        machine: Machine {
            devices: vec![Ok(device(2)), Ok(device(3))],
            memory: Some(Memory { bytes: 8 << 30, beside: false }),
            cores_missing: Vec::new(),
        },
        reach: by(1, "10.0.0.11"),
        local: ["10.0.0.1", "198.18.0.1"].map(|ip| ip.parse().unwrap()).into(),
        listening: None,
    }
}

fn with_device(number: usize, change: impl FnOnce(&mut DeviceFacts)) -> Fake {
    let mut fake = good();
    change(fake.machine.devices[number].as_mut().unwrap());
    fake
}

/// The machine for each file.
fn machine_for(name: &str) -> Fake {
    match name {
        "queue-unowned" | "queue-gap" => with_device(0, |device| device.rx_queues = 4),
        "queues-few" => with_device(1, |device| device.rx_queues = 1),
        "not-adjacent" => {
            let why = "dsr needs the server on a port's own network, its route goes via 10.0.9.1";
            Fake { reach: not(Obstacle::Router, why), ..good() }
        }
        "narrow-nat" => with_device(0, |device| device.mtu = 3000),
        "memory" | "memory-beside" => {
            let mut fake = good();
            let mib = if name == "memory" { 256 } else { 64 };
            fake.machine.memory = Some(Memory { bytes: mib << 20, beside: name == "memory-beside" });
            fake
        }
        "device-missing" => {
            let mut fake = good();
            fake.machine.devices[1] = Err("No such device (os error 19)".to_owned());
            fake
        }
        "device-down" => with_device(1, |device| device.up = false),
        "core-missing" => {
            let mut fake = good();
            fake.machine.cores_missing = vec![1];
            fake
        }
        "unreachable" => {
            Fake { reach: not(Obstacle::NoRoute, "no route to 10.0.0.11: network unreachable"), ..good() }
        }
        "own-address" => {
            Fake { reach: not(Obstacle::OwnAddress, "10.0.0.11 is an address of this node"), ..good() }
        }
        "not-a-port" => {
            let why = "its route leaves by interface 9, neither a port of ours nor an 802.1Q device on one";
            Fake { reach: not(Obstacle::NoPort, why), ..good() }
        }
        "metrics-taken" => Fake { listening: Some(Error::from(ErrorKind::AddrInUse)), ..good() },
        "metrics-elsewhere" => Fake { listening: Some(Error::from(ErrorKind::AddrNotAvailable)), ..good() },
        "frames-long" => with_device(1, |device| device.mtu = 9000),
        _ => good(),
    }
}

/// Everything that is said there of a file.
fn judged(loaded: &Loaded, fake: &Fake) -> config::Diagnostics {
    let mut plan = Plan::new(loaded.config.clone()).unwrap();
    let ids: Vec<ServerId> = plan.servers().map(|server| server.id).collect();
    for id in &ids {
        plan.set_reach(*id, fake.reach.clone()).unwrap();
    }
    let mtus: Vec<u32> = fake.machine.devices.iter().flatten().map(|device| device.mtu).collect();
    let mut judge = Judge::new(&loaded.config, &loaded.origin);
    for id in ids {
        judge.unreachable(&plan, id);
    }
    judge.sources(&fake.local, Some(32_768..=60_999));
    judge.network(&plan, &mtus, &fake.local);
    if let (Some(error), Some(at)) = (&fake.listening, loaded.config.observe.metrics) {
        judge.listening("metrics", at, error);
    }
    machine::before(loaded, &fake.machine).and(judge.end())
}

#[test]
fn every_machine_gives_its_messages() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machine");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    files.sort();
    let mut wrong = Vec::new();
    for file in &files {
        let (name, stem) = (file.file_name().unwrap(), file.file_stem().unwrap().to_str().unwrap());
        let text = fs::read_to_string(file).unwrap();
        let loaded = config::parse_whole(name.to_str().unwrap(), &text).unwrap_or_else(|e| panic!("{e}"));
        assert!(loaded.warnings.is_empty(), "{stem}: it is right in itself: {:?}", loaded.warnings);
        let found = judged(&loaded, &machine_for(stem));
        let got: String = found.entries().iter().map(|entry| format!("{entry}\n\n")).collect();
        assert_eq!(got.is_empty(), stem == "fits", "{stem}: {got}");
        let golden = file.with_extension("stderr");
        if std::env::var_os("RINGLEAD_BLESS").is_some() {
            fs::write(&golden, &got).unwrap();
        }
        if fs::read_to_string(&golden).unwrap_or_default() != got {
            wrong.push(format!("--- {stem}: got\n{got}"));
        }
        // On the good machine there is nothing to say of it, but for what it always does.
        if !["files", "snat-ephemeral", "address-absent", "queue-missing", "narrow-tunnel"].contains(&stem)
            && machine_for(stem).machine != good().machine
        {
            let quiet = judged(&loaded, &good());
            let odd = ["queue-unowned", "queue-gap"].contains(&stem) && quiet.has_errors();
            assert!(quiet.entries().is_empty() || odd, "{stem}: {quiet}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a start refuses, and what it only tells.
#[test]
fn what_would_lose_traffic_is_an_error_and_what_harms_some_is_a_warning() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machine");
    let severity = |name: &str| {
        let loaded = config::load_whole(folder.join(name).with_extension("toml")).unwrap();
        judged(&loaded, &machine_for(name)).entries()[0].severity
    };
    for name in
        ["queue-unowned", "queues-few", "memory", "device-down", "snat-ephemeral", "files", "frames-long"]
    {
        assert_eq!(severity(name), Severity::Error, "{name}");
    }
    for name in
        ["not-adjacent", "beside-clients", "narrow-nat", "core-missing", "unreachable", "address-absent"]
    {
        assert_eq!(severity(name), Severity::Warning, "{name}");
    }
}
