//! What can be said about a packet, a field a method.

use crate::build::{Checksum, Packet};
use crate::meta::TcpFlags;

impl Packet {
    /// TCP flags: a sum of [`TcpFlags`]' constants.
    pub fn flags(mut self, flags: u8) -> Self {
        self.flags = TcpFlags(flags);
        self
    }

    /// TCP sequence number.
    pub fn seq(mut self, seq: u32) -> Self {
        self.seq = seq;
        self
    }

    /// TCP acknowledgment number; the ACK flag is [`flags`](Self::flags)' matter.
    pub fn ack(mut self, ack: u32) -> Self {
        self.ack = ack;
        self
    }

    /// TCP window, unscaled.
    pub fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }

    /// TCP options, at most 40 bytes, padded to a multiple of four with zeros.
    pub fn tcp_options(mut self, options: &[u8]) -> Self {
        self.tcp_options = padded(options, 4);
        self
    }

    /// TTL or hop limit (64).
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// Type of service or traffic class: DSCP and ECN.
    pub fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// Identification: the lower 16 bits over IPv4, the fragment header's over IPv6.
    pub fn id(mut self, id: u32) -> Self {
        self.id = id;
        self
    }

    /// Sets IPv4's don't-fragment bit (on by default, off in fragments).
    pub fn dont_fragment(mut self, on: bool) -> Self {
        self.dont_fragment = on;
        self
    }

    /// One more VLAN tag inside those already there, EtherType 0x8100; `control` is PCP, DEI and VID.
    pub fn vlan(self, control: u16) -> Self {
        self.vlan_of_type(0x8100, control)
    }

    /// One more VLAN tag inside those already there, with its EtherType.
    pub fn vlan_of_type(mut self, ethertype: u16, control: u16) -> Self {
        self.tags.push((ethertype, control));
        self
    }

    /// Ethernet source and destination.
    pub fn mac(mut self, src: [u8; 6], dst: [u8; 6]) -> Self {
        self.mac = (src, dst);
        self
    }

    /// What follows the transport header.
    pub fn payload(mut self, payload: impl AsRef<[u8]>) -> Self {
        self.payload = payload.as_ref().to_vec();
        self
    }

    /// UDP without a checksum (0 in the field; illegal over IPv6, and written all the same).
    pub fn no_checksum(mut self) -> Self {
        self.checksum = Checksum::None;
        self
    }

    /// The checksum as Linux leaves it to the hardware: the folded sum of the pseudo header, not complemented.
    pub fn partial_checksum(mut self) -> Self {
        self.checksum = Checksum::Partial;
        self
    }

    /// IPv4 options, at most 40 bytes, padded to a multiple of four with zeros.
    pub fn ip_options(mut self, options: &[u8]) -> Self {
        self.ip_options = padded(options, 4);
        self
    }

    /// One more IPv6 extension header at the end of the chain: its protocol number and all its bytes; the first
    /// (next header) is overwritten. See [`hop_by_hop`](Self::hop_by_hop), [`routing`](Self::routing),
    /// [`destination_options`](Self::destination_options) and [`authentication`](Self::authentication).
    pub fn extension(mut self, number: u8, bytes: &[u8]) -> Self {
        self.extensions.push((number, bytes.to_vec()));
        self
    }

    /// A hop-by-hop options header that holds padding.
    pub fn hop_by_hop(self) -> Self {
        self.extension(0, &[0, 0, 1, 4, 0, 0, 0, 0])
    }

    /// A routing header of type 2 with `segments_left`.
    pub fn routing(self, segments_left: u8) -> Self {
        let mut header = vec![0, 2, 2, segments_left];
        header.resize(24, 0);
        self.extension(43, &header)
    }

    /// A destination options header that holds padding.
    pub fn destination_options(self) -> Self {
        self.extension(60, &[0, 0, 1, 4, 0, 0, 0, 0])
    }

    /// An authentication header with a 12-byte value.
    pub fn authentication(self) -> Self {
        let mut header = vec![0, 4];
        header.resize(24, 0);
        self.extension(51, &header)
    }

    /// Makes it one fragment: `offset` in bytes (a multiple of 8), and whether more follow. At offset 0 the
    /// transport header is there and its checksum covers the payload given here; at others the payload is all. Over
    /// IPv6 the fragment header ends the chain, and (0, false) is an atomic fragment.
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        assert!(offset.is_multiple_of(8), "a fragment starts at a multiple of 8, not at {offset}");
        self.fragment = Some((offset, more));
        self
    }
}

/// Zeros up to the next multiple.
fn padded(bytes: &[u8], multiple: usize) -> Vec<u8> {
    assert!(bytes.len() <= 40, "options of more than 40 bytes");
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(multiple), 0);
    bytes
}
