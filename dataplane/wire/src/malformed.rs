//! Why a frame cannot be parsed: one list makes the enum, the names and the texts.

macro_rules! malformed {
    ($($variant:ident, $name:literal, $text:literal;)+) => {
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
        }
    };
}

malformed! {
    FrameShort, "frame-short",
        "The frame ends inside its Ethernet header or its VLAN tags.";
    NotIp, "not-ip",
        "The frame carries neither IPv4 nor IPv6 (ARP, LLDP and others belong to the kernel).";
    VlanDepth, "vlan-depth",
        "The frame has more than two VLAN tags.";
    Oversized, "oversized",
        "The IP packet ends beyond byte 65535 of the frame.";
    IpShort, "ip-short",
        "The frame ends inside its IP header.";
    IpVersion, "ip-version",
        "The IP version does not match the EtherType.";
    IpHeaderLength, "ip-header-length",
        "The IPv4 header length is below 20 bytes or beyond the frame (RFC 791 section 3.1).";
    IpTotalLength, "ip-total-length",
        "The IP total or payload length is shorter than the header or longer than the frame.";
    IpChecksum, "ip-checksum",
        "The IPv4 header checksum is wrong (RFC 1812 section 5.2.2).";
    IpOptions, "ip-options",
        "An IPv4 option has an impossible length (RFC 791 section 3.1).";
    SourceRouted, "source-routed",
        "The packet asks for source routing, so its destination is not where it ends (RFC 7126 section 4.3, RFC 8200 section 4.4).";
    MartianSource, "martian-source",
        "The source is no unicast address of the internet: multicast, broadcast, loopback, unspecified, class E or IPv4-mapped (RFC 1812 section 5.3.7).";
    MartianDestination, "martian-destination",
        "The destination is loopback, unspecified or IPv4-mapped (RFC 1812 section 5.3.7).";
    Land, "land",
        "Source and destination are the same address and port (a land attack).";
    ExtensionShort, "extension-short",
        "The packet ends inside an IPv6 extension header.";
    ExtensionChain, "extension-chain",
        "The packet has more than six IPv6 extension headers (RFC 7045), or its hop-by-hop header is not the first (RFC 8200 section 4.1).";
    FragmentLength, "fragment-length",
        "A fragment is empty, not a multiple of eight bytes before the last, or ends beyond byte 65535 of its datagram.";
    FragmentTiny, "fragment-tiny",
        "A first fragment does not hold the whole transport header (RFC 1858 section 3, RFC 7112).";
    FragmentOverlap, "fragment-overlap",
        "A TCP fragment starts at byte 8, where it would overwrite the flags (RFC 3128).";
    TransportShort, "transport-short",
        "The packet ends inside its transport header.";
    TcpHeaderLength, "tcp-header-length",
        "The TCP header length is below 20 bytes or beyond the packet (RFC 9293 section 3.1).";
    UdpLength, "udp-length",
        "The UDP length is below 8 bytes or beyond the packet (RFC 768).";
    UdpChecksumZero, "udp-checksum-zero",
        "A UDP datagram over IPv6 has no checksum (RFC 8200 section 8.1).";
    IcmpShort, "icmp-short",
        "The packet ends inside its ICMP header.";
    IcmpChecksum, "icmp-checksum",
        "The checksum of an ICMP error is wrong (RFC 5508 REQ-3).";
    IcmpEmbedded, "icmp-embedded",
        "An ICMP error quotes too little of a packet, or something that is none.";
    IcmpMismatch, "icmp-mismatch",
        "An ICMP error was not sent to the source of the packet that it quotes, so it is forged.";
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
