//! TCP, UDP and ICMP with their checksums.

use etherparse::checksum::Sum16BitWords;

use crate::build::ip::octets;
use crate::build::{Body, Checksum, Packet, length};

impl Packet {
    /// The transport header and the payload.
    pub(super) fn transport(&self) -> Vec<u8> {
        match self.body {
            Body::Tcp => self.tcp_segment(),
            Body::Udp => self.udp_datagram(),
            Body::Icmp { kind, code, rest } => self.icmp_message(kind, code, rest),
            Body::Raw { .. } => self.payload.clone(),
        }
    }

    fn tcp_segment(&self) -> Vec<u8> {
        let header_len = 20 + self.tcp_options.len();
        let [_, offset] = (length(header_len / 4) << 4).to_be_bytes();
        let mut segment = self.src.port().to_be_bytes().to_vec();
        segment.extend(self.dst.port().to_be_bytes());
        segment.extend(self.seq.to_be_bytes());
        segment.extend(self.ack.to_be_bytes());
        segment.extend([offset, self.flags.0]);
        segment.extend(self.window.to_be_bytes());
        segment.extend([0; 4]);
        segment.extend(&self.tcp_options);
        segment.extend(&self.payload);
        let checksum = match self.checksum {
            Checksum::Full => self.pseudo_header(&segment).add_slice(&segment).ones_complement().to_be(),
            Checksum::Partial => !self.pseudo_header(&segment).ones_complement().to_be(),
            Checksum::None => 0,
        };
        segment[16..18].copy_from_slice(&checksum.to_be_bytes());
        segment
    }

    fn udp_datagram(&self) -> Vec<u8> {
        let mut datagram = self.src.port().to_be_bytes().to_vec();
        datagram.extend(self.dst.port().to_be_bytes());
        datagram.extend(length(8 + self.payload.len()).to_be_bytes());
        datagram.extend([0; 2]);
        datagram.extend(&self.payload);
        let full =
            || self.pseudo_header(&datagram).add_slice(&datagram).to_ones_complement_with_no_zero().to_be();
        let checksum = match self.checksum {
            Checksum::Full => full(),
            Checksum::Partial => !self.pseudo_header(&datagram).ones_complement().to_be(),
            Checksum::None => 0,
        };
        datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
        datagram
    }

    fn icmp_message(&self, kind: u8, code: u8, rest: u32) -> Vec<u8> {
        let mut message = vec![kind, code, 0, 0];
        message.extend(rest.to_be_bytes());
        message.extend(&self.payload);
        let start = if self.src.is_ipv4() { Sum16BitWords::new() } else { self.pseudo_header(&message) };
        let checksum = start.add_slice(&message).ones_complement().to_be();
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        message
    }

    /// The sum of both addresses, the protocol and the length.
    fn pseudo_header(&self, body: &[u8]) -> Sum16BitWords {
        Sum16BitWords::new()
            .add_slice(&octets(self.src.ip()))
            .add_slice(&octets(self.dst.ip()))
            .add_2bytes([0, self.proto()])
            .add_2bytes(length(body.len()).to_be_bytes())
    }
}
