//! What can be wrong with a frame: one list makes the enum, the names and the texts.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! kinds {
    ($($variant:ident, $name:literal, $text:literal;)+) => {
        /// What a finding is about.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum Kind {
            $(#[doc = $text] #[serde(rename = $name)] $variant,)+
        }

        impl Kind {
            /// Every kind, in the order of its number (`ALL[i] as usize == i`).
            pub const ALL: [Self; [$(Self::$variant),+].len()] = [$(Self::$variant),+];

            /// The kebab-case name that reports show; it never changes.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

kinds! {
    Malformed, "malformed",
        "A header is cut off or contradicts itself.";
    Unknown, "unknown",
        "A frame of a service or server that was never sent: no stamp, no such flow, or a packet beyond the last one sent.";
    OldTrial, "old-trial",
        "A frame of an earlier trial.";
    BadPayload, "bad-payload",
        "The stamp or the payload behind it is damaged.";
    WrongAddress, "wrong-address",
        "An IP address is neither the one sent nor the one that the mode puts there.";
    WrongPort, "wrong-port",
        "A TCP or UDP port is neither the one sent nor the one that the mode puts there.";
    WrongMac, "wrong-mac",
        "The destination MAC address is not the receiver's.";
    WrongInterface, "wrong-interface",
        "The frame arrived where its server or client is not.";
    WrongVlan, "wrong-vlan",
        "The frame is in another VLAN than its receiver, or tagged instead of untagged.";
    WrongServer, "wrong-server",
        "The flow went to another server than before.";
    BadIpChecksum, "bad-ip-checksum",
        "The IPv4 header checksum is wrong (RFC 791 section 3.1).";
    BadL4Checksum, "bad-l4-checksum",
        "The TCP or UDP checksum is wrong, is missing, or is there where none was sent (RFC 768, RFC 9293 section 3.1).";
    HiddenDamage, "hidden-damage",
        "A packet sent with a wrong checksum came back with a right one.";
    WrongTtl, "wrong-ttl",
        "The TTL or hop limit is not the one that the mode leaves (RFC 1812 section 5.3.1).";
    WrongDscp, "wrong-dscp",
        "The DSCP or ECN bits changed (RFC 2474, RFC 3168).";
    HeaderChanged, "header-changed",
        "Another field changed: identification, flow label, fragment flags, options, TCP flags, window or urgent pointer.";
    Duplicate, "duplicate",
        "The same packet came twice.";
    Reordered, "reordered",
        "A packet came after a later one of its flow.";
    Stale, "stale",
        "A packet came so late that it cannot be told from a duplicate; it also counts as lost.";
    Lost, "lost",
        "A packet that was sent did not come.";
    ChangedMapping, "changed-mapping",
        "The flow came to the same server from another address or port of the SNAT pool than before.";
    SharedMapping, "shared-mapping",
        "Two live flows of one protocol came from the same address and port of the SNAT pool (RFC 4787 REQ-3).";
    BadTranslation, "bad-translation",
        "A field of the other family's IP header is not as RFC 7915 has it: DF, flow label, or it came in fragments.";
    RepeatedId, "repeated-id",
        "Two packets of a flow that may be fragmented came with one identification, one behind the other (RFC 6864 section 4.3).";
    NotTunnelled, "not-tunnelled",
        "The packet came to its server without the tunnel's header, or in another encapsulation.";
    OuterChecksum, "outer-checksum",
        "A checksum of the tunnel's header is wrong: IPv4, or UDP where there is one.";
    OuterHeader, "outer-header",
        "The tunnel's header has a wrong length, a TTL of 0, or another DF bit than the packet inside (RFC 2003 section 3.1).";
    OuterDscp, "outer-dscp",
        "The tunnel's DSCP or ECN is not the packet's (RFC 6040 section 4.1, normal mode).";
    OuterAddress, "outer-address",
        "The tunnel leads to no server, or comes from outside of its source prefix.";
    OuterChanged, "outer-changed",
        "The tunnel's source address, UDP source port or flow label changed within the flow.";
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
