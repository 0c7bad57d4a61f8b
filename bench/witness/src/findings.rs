//! What the witness found, to be printed and kept: counts, examples, moves and losses.

use crate::gaps::Gap;
use crate::kind::Kind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which way a frame went.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From a client to a server.
    Forward,
    /// From a server to a client.
    Reply,
}

/// Everything that was found. Frames are counted, not bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    /// Packets of this trial that came to servers, duplicates included.
    pub forward: Tally,
    /// Packets of this trial that came back to clients.
    pub reply: Tally,
    /// Fragments among the frames looked at; the packets that they make up are judged and counted whole.
    pub fragments: u64,
    /// Fragments whose packet never became whole; it counts as lost.
    pub fragments_left: u64,
    /// Frames that have nothing to do with the services: not judged.
    pub foreign: u64,
    /// How often each kind was found; kinds that were not are absent.
    pub counts: BTreeMap<Kind, u64>,
    /// The first of each kind, in the order found.
    pub examples: Vec<Example>,
    /// Flows that changed their server.
    pub moves: Moves,
    /// Packets that never came.
    pub missing: Missing,
    /// Over what snat and tunnel spread the flows; zeros in other modes.
    #[serde(default)]
    pub spread: Spread,
}

impl Findings {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.is_clean_but(&[])
    }

    /// Whether nothing was found but these kinds: across a failover flows may well change their server.
    #[must_use]
    pub fn is_clean_but(&self, kinds: &[Kind]) -> bool {
        self.counts.iter().all(|(kind, count)| *count == 0 || kinds.contains(kind))
    }

    /// How often this kind was found.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }
}

/// From how many different ends flows came to servers: addresses of the SNAT pool, or a tunnel's outer sources.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Spread {
    /// Addresses; counted up to 65 536.
    pub sources: u64,
    /// Ports: of the SNAT pool, or a GUE tunnel's UDP source ports.
    pub ports: u64,
    /// Mappings of snat: addresses with their ports.
    pub mappings: u64,
}

/// One direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Packets that came, duplicates included.
    pub received: u64,
    /// Packets that never came; of replies, those to packets that did come to a server. 0 before the trial is over.
    pub lost: u64,
}

/// One finding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Example {
    /// What it is about.
    pub kind: Kind,
    /// The flow, where it is known.
    pub flow: Option<u32>,
    /// The packet of the flow, where it is known.
    pub seq: Option<u32>,
    /// When the frame came, in nanoseconds since the trial's start.
    pub at_ns: u64,
    /// What should have come.
    pub expected: String,
    /// What came.
    pub got: String,
}

/// Flows that changed their server.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Moves {
    /// How many flows moved, each counted once.
    pub flows: u64,
    /// How many times a flow moved.
    pub moves: u64,
    /// The first ones.
    pub first: Vec<Move>,
    /// All of them by the servers that they left and went to, most first. Bounded: pairs that came later than the
    /// 1024th are in [`moves`](Self::moves) only.
    pub pairs: Vec<Pair>,
}

/// One flow that changed its server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Move {
    /// The flow.
    pub flow: u32,
    /// The first packet that came to the new server.
    pub seq: u32,
    /// When it came, in nanoseconds since the trial's start.
    pub at_ns: u64,
    /// The server before.
    pub from: String,
    /// The server now.
    pub to: String,
}

/// All moves from one server to another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pair {
    /// The server before.
    pub from: String,
    /// The server after.
    pub to: String,
    /// How many moves.
    pub moves: u64,
    /// The first one's time, in nanoseconds since the trial's start.
    pub first_ns: u64,
    /// The last one's time.
    pub last_ns: u64,
}

/// Packets that never came, over both directions.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Missing {
    /// Flows that lost packets on the way to servers.
    pub forward_flows: u64,
    /// Flows that lost replies.
    pub reply_flows: u64,
    /// Which packets did not come to servers, by flow.
    pub forward: Vec<Gap>,
    /// Which replies did not come, by flow, to packets that did come to servers.
    pub reply: Vec<Gap>,
    /// Whether the lists name every packet; else there were too many to keep, and only the counts are whole.
    pub complete: bool,
}
