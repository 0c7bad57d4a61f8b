//! An independent judge: etherparse decides whether a frame's checksums are right.

use etherparse::checksum::Sum16BitWords;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

/// Every checksum of an unfragmented frame that starts with Ethernet: IPv4 header, TCP, UDP, ICMP, ICMPv6.
pub(crate) fn checksums(frame: &[u8]) -> Result<(), String> {
    let packet = SlicedPacket::from_ethernet(frame).map_err(|e| e.to_string())?;
    let net = packet.net.as_ref().ok_or("no IP")?;
    let (addresses, total): (Vec<u8>, usize) = match net {
        NetSlice::Ipv4(v4) => {
            let header = v4.header();
            let expected = header.to_header().calc_header_checksum();
            if header.header_checksum() != expected {
                return Err(format!("IPv4 {:#06x}, expected {expected:#06x}", header.header_checksum()));
            }
            ([header.source(), header.destination()].concat(), v4.payload().payload.len())
        }
        NetSlice::Ipv6(v6) => {
            let header = v6.header();
            ([header.source(), header.destination()].concat(), v6.payload().payload.len())
        }
        NetSlice::Arp(_) => return Err("ARP".into()),
    };
    let v4 = addresses.len() == 8;
    let pseudo = |proto: u8, len: usize| {
        let len = u16::try_from(len).unwrap();
        Sum16BitWords::new().add_slice(&addresses).add_2bytes([0, proto]).add_2bytes(len.to_be_bytes())
    };
    let sum = match packet.transport.as_ref() {
        Some(TransportSlice::Tcp(tcp)) => pseudo(6, total).add_slice(tcp.slice()),
        Some(TransportSlice::Udp(udp)) if v4 && udp.checksum() == 0 => return Ok(()),
        Some(TransportSlice::Udp(udp)) if udp.checksum() == 0 => return Err("UDP 0 over IPv6".into()),
        Some(TransportSlice::Udp(udp)) => pseudo(17, udp.slice().len()).add_slice(udp.slice()),
        Some(TransportSlice::Icmpv4(icmp)) => Sum16BitWords::new().add_slice(icmp.slice()),
        Some(TransportSlice::Icmpv6(icmp)) => pseudo(58, total).add_slice(icmp.slice()),
        _ => return Ok(()),
    };
    if sum.ones_complement() == 0 { Ok(()) } else { Err(format!("transport off by {sum:?}")) }
}

/// The same for a bare IP packet, such as the one an ICMP error quotes in full.
pub(crate) fn packet_checksums(ip: &[u8]) -> Result<(), String> {
    let mut frame = vec![0; 12];
    frame.extend(if ip[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] });
    frame.extend(ip);
    checksums(&frame)
}

/// Puts a right IPv4 header checksum into a frame that a test has bent.
pub(crate) fn mend_ipv4(frame: &mut [u8], l3: usize) {
    let header_len = usize::from(frame[l3] & 15) * 4;
    frame[l3 + 10..l3 + 12].fill(0);
    let end = (l3 + header_len).min(frame.len());
    let checksum = Sum16BitWords::new().add_slice(&frame[l3..end]).ones_complement().to_be();
    frame[l3 + 10..l3 + 12].copy_from_slice(&checksum.to_be_bytes());
}
