//! Byte for byte what was written down: `in.pcapng`, `out.pcapng`, `counters.json`.

use crate::output::Output;
use crate::replay::{folder, replayed};
use ringlead_tests::pcap_cases::Case;
use ringlead_tests::workspace_root;
use std::collections::BTreeSet;
use std::path::Path;

/// What lies in `tests/pcap`.
pub(crate) fn folders() -> BTreeSet<String> {
    let entries = std::fs::read_dir(workspace_root().join("tests/pcap")).unwrap();
    let folders = entries.map(Result::unwrap).filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// Where a case differs from its folder; with `bless` the folder is made to agree.
pub(crate) fn compare(case: &Case, bless: bool) -> Vec<String> {
    let run = replayed(case);
    let capture = case.capture();
    let files: [(&str, &[u8]); 3] =
        [("in.pcapng", &capture), ("out.pcapng", &run.file), ("counters.json", run.counters.as_bytes())];
    files.into_iter().filter_map(|(name, is)| one(case, &folder(case).join(name), is, bless)).collect()
}

fn one(case: &Case, path: &Path, is: &[u8], bless: bool) -> Option<String> {
    let was = std::fs::read(path).ok();
    if was.as_deref() == Some(is) {
        return None;
    }
    if bless {
        std::fs::write(path, is).unwrap();
        println!("blessed {}", path.display());
        return None;
    }
    let name = path.file_name().unwrap_or_default().display();
    let how = match was {
        None => "is missing".to_owned(),
        Some(was) if path.extension().is_some_and(|ending| ending == "pcapng") => packets(&was, is),
        Some(was) => lines(&String::from_utf8_lossy(&was), &String::from_utf8_lossy(is)),
    };
    Some(format!("{}/{name} {how} (wanted so? tests/pcap/README.md says how to bless it)", case.name))
}

/// The first packet that differs.
fn packets(was: &[u8], is: &[u8]) -> String {
    let (was, is) = (Output::of(was).records, Output::of(is).records);
    let same = was.iter().zip(&is).take_while(|(was, is)| was == is).count();
    let show =
        |records: &[_]| records.get(same).map_or("nothing".to_owned(), |record| format!("{record:02x?}"));
    format!("differs from record {} on:\n  was {}\n  is  {}", same + 1, show(&was), show(&is))
}

/// The lines that differ.
fn lines(was: &str, is: &str) -> String {
    let gone = was.lines().filter(|line| !is.contains(line)).map(|line| format!("\n  - {line}"));
    let new = is.lines().filter(|line| !was.contains(line)).map(|line| format!("\n  + {line}"));
    format!("differs:{}", gone.chain(new).collect::<String>())
}
