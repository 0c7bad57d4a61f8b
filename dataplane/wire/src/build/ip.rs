//! Ethernet, IPv4 and IPv6 headers around a body.

use std::net::IpAddr;

use etherparse::checksum::Sum16BitWords;

use crate::build::{Body, Packet, length};

impl Packet {
    pub(super) fn ethernet_around(&self, ip: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(22 + ip.len());
        frame.extend(self.mac.1);
        frame.extend(self.mac.0);
        for (ethertype, control) in &self.tags {
            frame.extend(ethertype.to_be_bytes());
            frame.extend(control.to_be_bytes());
        }
        frame.extend(if self.src.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] });
        frame.extend(ip);
        frame
    }

    pub(super) fn ip_around(&self, body: &[u8]) -> Vec<u8> {
        let mut ip = if self.src.is_ipv4() { self.ipv4(body) } else { self.ipv6(body) };
        ip.extend(body);
        ip
    }

    fn ipv4(&self, body: &[u8]) -> Vec<u8> {
        let header_len = 20 + self.ip_options.len();
        let (offset, more) = self.fragment.unwrap_or((0, false));
        let dont_fragment = self.dont_fragment && self.fragment.is_none();
        let field = (offset / 8) | (u16::from(more) << 13) | (u16::from(dont_fragment) << 14);
        let [version_ihl, _] = (0x4000 | (length(header_len / 4) << 8)).to_be_bytes();
        let [_, _, id0, id1] = self.id.to_be_bytes();
        let mut header = vec![version_ihl, self.tos];
        header.extend(length(header_len + body.len()).to_be_bytes());
        header.extend([id0, id1]);
        header.extend(field.to_be_bytes());
        header.extend([self.ttl, self.proto(), 0, 0]);
        header.extend(octets(self.src.ip()));
        header.extend(octets(self.dst.ip()));
        header.extend(&self.ip_options);
        // etherparse sums in the machine's order: its result is written as the big-endian bytes of `to_be`.
        let checksum = Sum16BitWords::new().add_slice(&header).ones_complement().to_be();
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    fn ipv6(&self, body: &[u8]) -> Vec<u8> {
        let mut chain = self.extensions.clone();
        if let Some((offset, more)) = self.fragment {
            let mut header = vec![0, 0];
            header.extend((offset | u16::from(more)).to_be_bytes());
            header.extend(self.id.to_be_bytes());
            chain.push((44, header));
        }
        let mut next = self.proto();
        for (number, header) in chain.iter_mut().rev() {
            header[0] = next;
            next = *number;
        }
        let extensions: Vec<u8> = chain.into_iter().flat_map(|(_, header)| header).collect();
        let mut header = (0x6000_0000 | (u32::from(self.tos) << 20)).to_be_bytes().to_vec();
        header.extend(length(extensions.len() + body.len()).to_be_bytes());
        header.extend([next, self.ttl]);
        header.extend(octets(self.src.ip()));
        header.extend(octets(self.dst.ip()));
        header.extend(extensions);
        header
    }

    /// The transport's protocol number.
    pub(super) fn proto(&self) -> u8 {
        match self.body {
            Body::Tcp => 6,
            Body::Udp => 17,
            Body::Icmp { .. } if self.src.is_ipv4() => 1,
            Body::Icmp { .. } => 58,
            Body::Raw { proto } => proto,
        }
    }
}

/// An address as it stands in a header.
pub(super) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}
