//! The binary's run over a case, once a case.

use crate::output::Output;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, Endianness, TsResolution};
use ringlead_tests::pcap_cases::{self, Case};
use ringlead_tests::{ringlead_binary, workspace_root};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// What a replay gave.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// `out.pcapng`, as it is.
    pub(crate) file: Vec<u8>,
    /// The same, read.
    pub(crate) output: Output,
    /// What `--json` printed.
    pub(crate) counters: String,
}

/// The folder of a case.
pub(crate) fn folder(case: &Case) -> PathBuf {
    workspace_root().join("tests/pcap").join(case.name)
}

/// The case of a name.
pub(crate) fn case(name: &str) -> Case {
    pcap_cases::all().into_iter().find(|case| case.name == name).unwrap()
}

/// The case's own capture, replayed. Later calls return what the first saw.
pub(crate) fn replayed(case: &Case) -> Arc<Replayed> {
    static DONE: LazyLock<Mutex<BTreeMap<&str, Arc<Replayed>>>> = LazyLock::new(Mutex::default);
    let mut done = DONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let run = || Arc::new(replay(case, &case.capture()));
    Arc::clone(done.entry(case.name).or_insert_with(run))
}

/// Replays a capture with the case's configuration.
pub(crate) fn replay(case: &Case, capture: &[u8]) -> Replayed {
    let (files, folder) = (tempfile::tempdir().unwrap(), folder(case));
    let (input, output) = (files.path().join("in"), files.path().join("out.pcapng"));
    std::fs::write(&input, capture).unwrap();
    let mut command = Command::new(ringlead_binary().unwrap());
    command.args(["replay", "--json", "--config"]).arg(folder.join("config.toml")).arg(input).arg(&output);
    let neighbours = folder.join("neighbours");
    if neighbours.exists() {
        command.arg("--neighbours").arg(neighbours);
    }
    let ran = command.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}: {}: {said}", case.name, ran.status);
    let file = std::fs::read(output).unwrap();
    let output = Output::of(&file);
    Replayed { file, output, counters: String::from_utf8(ran.stdout).unwrap() }
}

/// The case as a classic pcap file, big-endian and in nanoseconds. It has no interfaces: all arrives at the first port.
pub(crate) fn classic_capture(case: &Case) -> Vec<u8> {
    let header = PcapHeader {
        endianness: Endianness::Big,
        ts_resolution: TsResolution::NanoSecond,
        datalink: DataLink::ETHERNET,
        ..PcapHeader::default()
    };
    let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
    for input in &case.inputs {
        let original_len = u32::try_from(input.frame.len()).unwrap();
        let data = Cow::Borrowed(&input.frame[..]);
        let packet =
            PcapPacket { timestamp: Duration::from_nanos(input.time_ns), orig_len: original_len, data };
        writer.write_packet(&packet).unwrap();
    }
    writer.into_writer()
}
