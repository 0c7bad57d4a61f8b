//! The TCP segments of a check by the service's own path, on their way out and back.

use std::net::{IpAddr, SocketAddr};

use ringlead_l4::neighbours::NextHop;
use ringlead_l4::tables::Tunnel;
use ringlead_wire::Ip;
use ringlead_wire::tunnel::{OVERHEAD_MAX, Outer, encapsulate_v4, encapsulate_v6};

use super::super::icmp::checksum;

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const ACK: u8 = 0x10;

pub(super) const TCP: u8 = 6;
const TCP_LEN: u16 = 20;
const ETHERNET_LEN: usize = 14;
/// A server that has not the service's address, but forwards, would send the segment back here, where another server got it
/// and answered: so no forwarder may have it. Behind a tunnel this counts from where the server took it out.
pub(super) const TTL: u8 = 1;

/// A segment that is sent: without options and data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// The node's end.
    pub(super) source: SocketAddr,
    /// The service's address and port, of the same family.
    pub(super) service: SocketAddr,
    pub(super) sequence: u32,
    pub(super) flags: u8,
}

impl Segment {
    /// As an IP packet; `None` when the ends are of two families.
    pub(super) fn packet(&self) -> Option<Vec<u8>> {
        let (mut head, pseudo) = match (self.source.ip(), self.service.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let ends = [from.octets(), to.octets()].concat();
                // RFC 791 section 3.1: don't fragment.
                let mut head = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, TTL, TCP, 0, 0];
                head.extend(&ends);
                let sum = checksum(&head).to_be_bytes();
                head.splice(10..12, sum);
                (head, ends)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let ends = [from.octets(), to.octets()].concat();
                // RFC 8200 section 3.
                let mut head = vec![0x60, 0, 0, 0, 0, 20, TCP, TTL];
                head.extend(&ends);
                (head, ends)
            }
            _ => return None,
        };
        head.extend(self.transport(pseudo));
        Some(head)
    }

    /// RFC 9293 section 3.1. `pseudo`: both addresses.
    fn transport(&self, mut pseudo: Vec<u8>) -> Vec<u8> {
        let mut tcp = [self.source.port().to_be_bytes(), self.service.port().to_be_bytes()].concat();
        tcp.extend(self.sequence.to_be_bytes());
        tcp.extend([0, 0, 0, 0, 0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        // Both families' pseudo headers have the same sum.
        pseudo.extend([[0, TCP], TCP_LEN.to_be_bytes()].concat());
        pseudo.extend(&tcp);
        let sum = checksum(&pseudo).to_be_bytes();
        tcp.splice(16..18, sum);
        tcp
    }
}

/// A whole frame: the packet for the next hop, in the tunnel to `server` where there is one. `None` when a tunnel's families
/// are not the packet's or the server's, which none are.
pub(super) fn frame(
    packet: &[u8],
    hop: &NextHop,
    mac: [u8; 6],
    tunnel: Option<&Tunnel>,
    server: IpAddr,
) -> Option<Vec<u8>> {
    let (packed, start) = match tunnel {
        None => (packet.to_vec(), 0),
        Some(tunnel) => packed(packet, tunnel, server)?,
    };
    let packet = packed.get(start..)?;
    let mut frame = [hop.mac, mac].concat();
    if let Some(vid) = hop.vlan {
        // IEEE 802.1Q-2022 section 9.4, priority 0.
        frame.extend([[0x81, 0x00], vid.get().to_be_bytes()].concat());
    }
    frame.extend(match packet.first()? >> 4 {
        4 => [0x08, 0x00],
        _ => [0x86, 0xdd],
    });
    frame.extend(packet);
    Some(frame)
}

/// The packet with outer headers, and where they begin.
fn packed(packet: &[u8], tunnel: &Tunnel, server: IpAddr) -> Option<(Vec<u8>, usize)> {
    let inner = ETHERNET_LEN + OVERHEAD_MAX;
    let mut bytes = vec![0; inner];
    bytes.extend(packet);
    let (end, inner_v4) = (bytes.len(), packet.first()? >> 4 == 4);
    let how = tunnel.encapsulation;
    let done = match server {
        IpAddr::V4(ip) => {
            let outer = Outer { src: tunnel.source_v4.host_v4(0), dst: ip.octets(), entropy: 0 };
            encapsulate_v4(&mut bytes, inner, end, inner_v4, how, &outer, || 0)
        }
        IpAddr::V6(ip) => {
            let outer = Outer { src: tunnel.source_v6.host_v6(0), dst: ip.octets(), entropy: 0 };
            encapsulate_v6(&mut bytes, inner, end, inner_v4, how, &outer)
        }
    };
    done.then(|| (bytes, inner - how.overhead(server.is_ipv4())))
}

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) acknowledged: u32,
    pub(super) flags: u8,
}

/// Reads a packet from its IP header on; `None` when it is no first or only piece of a TCP segment.
pub(super) fn heard(packet: &[u8]) -> Option<Heard> {
    let byte = |at: usize| packet.get(at).copied();
    let (from, to, tcp) = match byte(0)? >> 4 {
        4 if byte(9)? == TCP && (byte(6)? & 0x1f, byte(7)?) == (0, 0) => {
            let ip = |at| Some(Ip::from_v4(array(packet, at)?));
            (ip(12)?, ip(16)?, usize::from(byte(0)? & 0x0f) * 4)
        }
        6 if byte(6)? == TCP => {
            let ip = |at| Some(Ip::from_v6(array(packet, at)?));
            (ip(8)?, ip(24)?, 40)
        }
        _ => return None,
    };
    let port = |at| Some(u16::from_be_bytes(array(packet, tcp + at)?));
    Some(Heard {
        from: SocketAddr::new(from.into(), port(0)?),
        to: SocketAddr::new(to.into(), port(2)?),
        acknowledged: u32::from_be_bytes(array(packet, tcp + 8)?),
        flags: byte(tcp + 13)?,
    })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringlead_l4::tables::Prefix;
    use ringlead_wire::checksum::transport_checksum_ok;
    use ringlead_wire::tunnel::Encapsulation;
    use ringlead_wire::{TcpFlags, Vid, build, parse};

    const ENDS: [[&str; 2]; 2] = [["10.2.0.1:40000", "10.9.0.2:80"], ["[fd02::1]:40000", "[fd09::2]:80"]];

    fn syn([source, service]: [&str; 2]) -> Segment {
        let [source, service] = [source, service].map(|end| end.parse().unwrap());
        Segment { source, service, sequence: 0x1234_5678, flags: SYN }
    }

    fn hop(vlan: Option<Vid>) -> NextHop {
        NextHop { port: 0, vlan, mac: [2; 6] }
    }

    #[test]
    fn a_segment_is_what_another_builder_makes_rfc9293() {
        for ends in ENDS {
            let ours = syn(ends);
            let other = build::Packet::tcp(ours.source, ours.service);
            let other = other.ttl(1).seq(ours.sequence).flags(TcpFlags::SYN).ip();
            assert_eq!(ours.packet().unwrap(), other);
        }
        let mixed = Segment { service: "[fd09::2]:80".parse().unwrap(), ..syn(ENDS[0]) };
        assert_eq!(mixed.packet(), None);
    }

    #[test]
    fn frames_are_tagged_packed_and_whole() {
        let server = "10.2.0.11".parse().unwrap();
        let prefix = |ip: &str, bits| Prefix::new(ip.parse::<IpAddr>().unwrap().into(), bits).unwrap();
        let (source_v4, source_v6) = (prefix("172.16.0.0", 16), prefix("100::", 64));
        let tunnel = Tunnel { encapsulation: Encapsulation::Ipip, source_v4, source_v6 };
        for ends in ENDS {
            let packet = syn(ends).packet().unwrap();
            let plain = frame(&packet, &hop(Vid::new(20)), [4; 6], None, server).unwrap();
            assert_eq!(plain[..16], [2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 0x81, 0, 0, 20]);
            assert!(transport_checksum_ok(&plain, &parse(&plain).unwrap()));
            let inside = frame(&packet, &hop(None), [4; 6], Some(&tunnel), server).unwrap();
            assert_eq!(inside[12..14], [8, 0]);
            assert_eq!(inside[26..34], [172, 16, 0, 0, 10, 2, 0, 11]);
            assert_eq!(inside[34..], packet);
            let over_v6 = frame(&packet, &hop(None), [4; 6], Some(&tunnel), "fd02::11".parse().unwrap());
            assert_eq!(over_v6.unwrap()[14 + 40..], packet);
        }
    }

    #[test]
    fn an_answer_is_read_and_nothing_else() {
        for [source, service] in ENDS {
            let flags = TcpFlags::SYN | TcpFlags::ACK;
            let answer = build::Packet::tcp(service, source).ack(7).flags(flags);
            let (from, to) = (service.parse().unwrap(), source.parse().unwrap());
            let expected = Heard { from, to, acknowledged: 7, flags: SYN | ACK };
            assert_eq!(heard(&answer.ip()), Some(expected));
            let whole = answer.ip();
            (0..whole.len() - 6).for_each(|len| assert_eq!(heard(&whole[..len]), None, "{len} bytes"));
            assert_eq!(heard(&build::Packet::udp(service, source).payload([0; 40]).ip()), None);
        }
        let piece = build::Packet::tcp(ENDS[0][1], ENDS[0][0]).fragment(64, true).payload([0; 40]);
        assert_eq!(heard(&piece.ip()), None);
    }
}
