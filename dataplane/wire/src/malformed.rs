//! Why a frame cannot be parsed: one list makes the enum, the names and the texts.

macro_rules! malformed {
    ($($variant:ident, $name:literal, $text:literal, $advice:literal;)+) => {
        /// Why [`parse`](crate::parse()) refused a frame.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum Malformed {
            $(#[doc = $text] $variant,)+
        }

        impl Malformed {
            /// Every reason, in the order of its number (`ALL[i] as usize == i`).
            pub const ALL: [Self; [$(Self::$variant),+].len()] = [$(Self::$variant),+];

            /// The kebab-case name that metrics, logs and commands show.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// One sentence for people: what is wrong with such a frame.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// One sentence for people: what to look at or do.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)+ }
            }
        }
    };
}

malformed! {
    FrameShort, "frame-short",
        "The frame ends inside its Ethernet header or its VLAN tags.",
        "Find the sender by its Ethernet address with a capture before the node: its card, driver or tunnel cuts frames.";
    NotIp, "not-ip",
        "The frame carries neither IPv4 nor IPv6 (ARP, LLDP and others belong to the kernel).",
        "Nothing: on AF_XDP such frames stay with the kernel, so they are counted in replay and tests only.";
    VlanDepth, "vlan-depth",
        "The frame has more than two VLAN tags.",
        "Take tags off at the switch: at most two (802.1Q, 802.1ad) can be read.";
    Oversized, "oversized",
        "The IP packet ends beyond byte 65535 of the frame.",
        "Turn GRO and LRO off on the port (ethtool -K DEVICE gro off lro off) and look for a sender of forged lengths.";
    IpShort, "ip-short",
        "The frame ends inside its IP header.",
        "Look for a sender or tunnel that cuts packets, by a capture before the node.";
    IpVersion, "ip-version",
        "The IP version does not match the EtherType.",
        "A sender writes broken or forged packets: find it by its Ethernet address with a capture.";
    IpHeaderLength, "ip-header-length",
        "The IPv4 header length is below 20 bytes or beyond the frame (RFC 791 section 3.1).",
        "A sender writes broken or forged packets: find it by its Ethernet address with a capture.";
    IpTotalLength, "ip-total-length",
        "The IP total or payload length is shorter than the header or longer than the frame.",
        "A sender or a tunnel on the way cuts packets or writes wrong lengths: capture before and behind it.";
    IpChecksum, "ip-checksum",
        "The IPv4 header checksum is wrong (RFC 1812 section 5.2.2).",
        "A device on the way damages or rewrites headers: look at error counters of switches, cables and of ethtool -S.";
    IpOptions, "ip-options",
        "An IPv4 option has an impossible length (RFC 791 section 3.1).",
        "A sender writes broken or forged options; no ordinary host does.";
    SourceRouted, "source-routed",
        "The packet asks for source routing, so its destination is not where it ends (RFC 7126 section 4.3, RFC 8200 section 4.4).",
        "Nothing: ordinary hosts do not send such packets, and routers should drop them before.";
    MartianSource, "martian-source",
        "The source is no unicast address of the internet: multicast, broadcast, loopback, unspecified, class E or IPv4-mapped (RFC 1812 section 5.3.7).",
        "Filter such sources at the network's edge (BCP 38): they are forged, or a host is set up wrongly.";
    MartianDestination, "martian-destination",
        "The destination is loopback, unspecified or IPv4-mapped (RFC 1812 section 5.3.7).",
        "Look for a host or route that is set up wrongly: no such packet should be on a wire.";
    Land, "land",
        "Source and destination are the same address and port (a land attack).",
        "Filter it at the network's edge: a source that is the service's own address is forged.";
    ExtensionShort, "extension-short",
        "The packet ends inside an IPv6 extension header.",
        "A sender writes broken or forged packets: find it by a capture before the node.";
    ExtensionChain, "extension-chain",
        "The packet has more than six IPv6 extension headers (RFC 7045), or its hop-by-hop header is not the first (RFC 8200 section 4.1).",
        "Nothing for an attack; a host that needs such headers cannot be balanced.";
    FragmentLength, "fragment-length",
        "A fragment is empty, not a multiple of eight bytes before the last, or ends beyond byte 65535 of its datagram.",
        "A sender writes broken or forged fragments: find it by a capture before the node.";
    FragmentTiny, "fragment-tiny",
        "A first fragment does not hold the whole transport header (RFC 1858 section 3, RFC 7112).",
        "Nothing: such fragments are made to get past filters. A host that sends them has a path MTU that is far too small.";
    FragmentOverlap, "fragment-overlap",
        "A TCP fragment starts at byte 8, where it would overwrite the flags (RFC 3128).",
        "Nothing: such fragments are made to get past filters.";
    TransportShort, "transport-short",
        "The packet ends inside its transport header.",
        "A sender or a tunnel on the way cuts packets: capture before and behind it.";
    TcpHeaderLength, "tcp-header-length",
        "The TCP header length is below 20 bytes or beyond the packet (RFC 9293 section 3.1).",
        "A sender writes broken or forged segments: find it by a capture before the node.";
    UdpLength, "udp-length",
        "The UDP length is below 8 bytes or beyond the packet (RFC 768).",
        "A sender writes broken or forged datagrams: find it by a capture before the node.";
    UdpChecksumZero, "udp-checksum-zero",
        "A UDP datagram over IPv6 has no checksum (RFC 8200 section 8.1).",
        "Let the sender write checksums: over IPv6 they are not optional, but for some tunnels.";
    IcmpShort, "icmp-short",
        "The packet ends inside its ICMP header.",
        "A sender or a tunnel on the way cuts packets: capture before and behind it.";
    IcmpChecksum, "icmp-checksum",
        "The checksum of an ICMP error is wrong (RFC 5508 REQ-3).",
        "A device on the way damages packets, or the error is forged: capture before the node.";
    IcmpEmbedded, "icmp-embedded",
        "An ICMP error quotes too little of a packet, or something that is none.",
        "The router that sent it quotes too little, or it is forged: its source address says who it claims to be.";
    IcmpMismatch, "icmp-mismatch",
        "An ICMP error was not sent to the source of the packet that it quotes, so it is forged.",
        "Nothing against a forgery; a NAT on the way that translates only the outer header makes such errors, too.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_its_number_its_own_name_and_a_sentence() {
        let mut names = HashSet::new();
        for (number, reason) in Malformed::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            assert!(names.insert(reason.name()), "{} twice", reason.name());
            assert!(reason.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
            assert!(reason.text().ends_with('.'), "{}", reason.text());
            assert_eq!(reason.name().replace('-', ""), format!("{reason:?}").to_lowercase());
        }
    }
}
