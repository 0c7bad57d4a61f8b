//! Where ringlead differs from the suite on purpose. SPEC.md gives the reasons, under the same names.

use std::collections::BTreeSet;

/// What happens in place of what Katran does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Instead {
    /// The front leaves the frame to the kernel.
    Kernel,
    /// The packet goes through the tunnel to the flow's server, packed as Katran would pack it for that server.
    Served,
    /// The packet is dropped as too big, and its sender told what fits.
    TooBig,
    /// The packet, an ICMP error over IPv6, is dropped for its wrong checksum; with a right one it fares as Katran's.
    Damaged,
}

/// Outer fields that no case compares.
pub(crate) const FIELDS: [&str; 5] =
    ["outer source address", "outer identification", "outer flow label", "GUE source port", "GUE checksum"];

/// Cases with another outcome.
pub(crate) const CASES: &[(&str, Instead)] = &[
    // Echo requests.
    ("base/8", Instead::Kernel),
    ("base/9", Instead::Kernel),
    ("gue/6", Instead::Kernel),
    ("gue/7", Instead::Kernel),
    // IPv4 options.
    ("base/12", Instead::Served),
    ("gue/10", Instead::Served),
    // A fragment header in front of another transport.
    ("base/14", Instead::Kernel),
    ("gue/12", Instead::Kernel),
    // A server by destination port alone.
    ("base/20", Instead::Served),
    ("gue/18", Instead::Served),
    // A server by QUIC connection id.
    ("base/26", Instead::Served),
    ("base/27", Instead::Served),
    ("base/29", Instead::Served),
    ("base/30", Instead::Served),
    ("base/31", Instead::Served),
    ("base/32", Instead::Served),
    ("base/34", Instead::Served),
    ("base/35", Instead::Served),
    ("gue/24", Instead::Served),
    ("gue/25", Instead::Served),
    ("gue/27", Instead::Served),
    ("gue/28", Instead::Served),
    ("gue/29", Instead::Served),
    ("gue/30", Instead::Served),
    ("gue/33", Instead::Served),
    ("gue/34", Instead::Served),
    // A wrong ICMPv6 checksum.
    ("base/11", Instead::Damaged),
    ("gue/9", Instead::Damaged),
    // Too big.
    ("base/33", Instead::TooBig),
    ("icmp_too_big/1", Instead::TooBig),
    ("icmp_too_big/2", Instead::TooBig),
    ("icmp_too_big_origin_gue/1", Instead::TooBig),
    ("icmp_too_big_origin_gue/2", Instead::TooBig),
];

pub(crate) fn of(id: &str) -> Option<Instead> {
    CASES.iter().find(|(case, _)| *case == id).map(|(_, instead)| *instead)
}

/// The names of all of them.
pub(crate) fn names() -> BTreeSet<String> {
    CASES.iter().map(|(id, _)| *id).chain(FIELDS).map(str::to_owned).collect()
}

/// The names in the first column of SPEC.md's table.
pub(crate) fn specified() -> BTreeSet<String> {
    let text = include_str!("../../../../SPEC.md");
    let (_, section) =
        text.split_once("\n## Deviations from Katran's suite\n").expect("SPEC.md has the section");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let cells = rows.map(|(first, _)| first).filter(|first| *first != "what");
    cells.flat_map(|cell| cell.split(", ")).map(str::to_owned).collect()
}
