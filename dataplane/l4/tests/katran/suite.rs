//! The suite as data: what is configured, which packets come in, what Katran makes of them.

use crate::headers::{ETHERNET, sum};
use ringlead_wire::{Endpoint, Ip, Protocol};
use serde_json::Value;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Where the suites are, when it is not beside the workspace.
const FOLDER: &str = "RINGLEAD_PEER_SUITES";

/// What all sets have in common.
pub(crate) struct Suite {
    json: Value,
    /// The next hop of every server.
    pub(crate) router: [u8; 6],
    /// Where GUE's outer packets come from.
    pub(crate) gue_source_v4: Ip,
    pub(crate) gue_source_v6: Ip,
    pub(crate) gue_port: u16,
    /// The longest frame without tags that leaves.
    pub(crate) frame_max: usize,
    /// Slots of a pool's table.
    pub(crate) table_size: u32,
}

/// Cases that run in order through one flow table.
pub(crate) struct Set {
    pub(crate) gue: bool,
    pub(crate) vips: Vec<Vip>,
    pub(crate) cases: Vec<Case>,
}

pub(crate) struct Vip {
    /// Port 0 is any.
    pub(crate) at: Endpoint,
    pub(crate) reals: Vec<Ip>,
    /// Those of `reals` that are marked down.
    pub(crate) down: Vec<Ip>,
    /// The destination port alone decides the server.
    pub(crate) by_port: bool,
}

pub(crate) struct Case {
    /// `SET/NUMBER`.
    pub(crate) id: String,
    pub(crate) verdict: Theirs,
    pub(crate) input: Vec<u8>,
    /// What is sent, where something is.
    pub(crate) output: Vec<u8>,
}

/// What Katran does with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Theirs {
    Sent,
    Kernel,
    Dropped,
}

impl Suite {
    /// `None` where the suites are not on this machine.
    pub(crate) fn find() -> Option<Self> {
        let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/peer-suites");
        let folder = std::env::var_os(FOLDER).map_or_else(beside, PathBuf::from);
        let text = std::fs::read_to_string(folder.join("katran.json")).ok()?;
        let json: Value = serde_json::from_str(&text).expect("katran.json is JSON");
        let global = &json["config"]["global"];
        let number = |key: &str| {
            let text = global[key].to_string();
            let digits: String =
                text.chars().filter(|c| *c != '"').take_while(char::is_ascii_digit).collect();
            digits.parse::<u32>().unwrap_or_else(|_| panic!("{key} is {text}"))
        };
        Some(Self {
            router: mac(string(&global["default_router_mac(outer dst mac)"])),
            gue_source_v4: ip(&global["gue_src_v4"]),
            gue_source_v6: ip(&global["gue_src_v6"]),
            gue_port: number("gue_dport").try_into().unwrap(),
            frame_max: number("mtu_max_frame").try_into().unwrap(),
            table_size: number("ring_size"),
            json,
        })
    }

    /// The set of this name.
    pub(crate) fn set(&self, name: &str) -> Set {
        let config = &self.json["config"]["sets"][name];
        let cases = list(&self.json["fixtures"]).iter().filter(|case| case["set"] == name);
        Set {
            gue: config["encap"] == "gue",
            vips: list(&config["vips"]).iter().map(vip).collect(),
            cases: cases.map(case).collect(),
        }
    }
}

impl Case {
    /// The same with a right checksum in the ICMPv6 message that comes in, and in the same one that goes out inside.
    pub(crate) fn repaired(&self) -> Self {
        let packet = &self.input[ETHERNET..];
        assert!(packet[0] >> 4 == 6 && packet[6] == 58, "{} is no ICMPv6", self.id);
        let pseudo = [&packet[8..40], &[0, 58], &packet[4..6]].concat();
        let mut message = packet[40..].to_vec();
        message[2..4].fill(0);
        let checksum = !sum(&[pseudo, message].concat());
        // From the end, where both have the message.
        let at = packet.len() - 40 - 2;
        let write = |frame: &[u8]| {
            let mut frame = frame.to_vec();
            let start = frame.len() - at;
            frame[start..start + 2].copy_from_slice(&checksum.to_be_bytes());
            frame
        };
        let (input, output) = (write(&self.input), write(&self.output));
        Self { id: format!("{}, repaired", self.id), verdict: self.verdict, input, output }
    }
}

fn vip(json: &Value) -> Vip {
    let flags: Vec<&str> = list(&json["flags"]).iter().map(string).collect();
    // "…; real index 1 (10.0.0.1) marked down"
    let down = flags.iter().filter(|flag| flag.ends_with("marked down")).map(|flag| {
        let (_, behind) = flag.split_once('(').unwrap();
        Ip::from(behind.split_once(')').unwrap().0.parse::<IpAddr>().unwrap())
    });
    Vip {
        at: Endpoint {
            ip: ip(&json["address"]),
            port: json["port"].as_u64().and_then(|port| port.try_into().ok()).unwrap(),
            protocol: if json["proto"] == "tcp" { Protocol::Tcp } else { Protocol::Udp },
        },
        reals: list(&json["reals"]).iter().map(ip).collect(),
        down: down.collect(),
        by_port: flags.contains(&"HASH_DPORT_ONLY"),
    }
}

fn case(json: &Value) -> Case {
    Case {
        id: string(&json["id"]).to_owned(),
        verdict: match string(&json["verdict"]) {
            "XDP_TX" => Theirs::Sent,
            "XDP_PASS" => Theirs::Kernel,
            "XDP_DROP" => Theirs::Dropped,
            other => panic!("verdict {other}"),
        },
        input: bytes(string(&json["input_hex"])),
        output: bytes(string(&json["output_hex"])),
    }
}

fn list(json: &Value) -> &[Value] {
    json.as_array().unwrap_or_else(|| panic!("no list: {json}"))
}

fn string(json: &Value) -> &str {
    json.as_str().unwrap_or_else(|| panic!("no text: {json}"))
}

fn ip(json: &Value) -> Ip {
    string(json).parse::<IpAddr>().unwrap().into()
}

fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "half a byte");
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok()).unwrap();
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn mac(text: &str) -> [u8; 6] {
    bytes(&text.replace(':', "")).try_into().unwrap()
}
