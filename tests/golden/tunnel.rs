//! A packet inside another one, taken out again.

use crate::ip::Ip;
use crate::setup::{Link, Packing};
use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice, UdpHeaderSlice};
use ringlead_tests::pcap_cases::Port;
use std::net::{IpAddr, SocketAddr};

/// What the outer headers say.
struct Outer {
    source: IpAddr,
    destination: IpAddr,
    class: u8,
    ttl: u8,
    protocol: u8,
    /// IPv4 only.
    dont_fragment: Option<bool>,
    /// Where they end.
    len: usize,
}

/// Checks what stands in front of `inner`, and that it is what it was. Returns the outer source; port 0 in IPIP.
pub(crate) fn unpacked(
    packing: &Packing,
    link: &Link,
    server: IpAddr,
    inner: &Ip,
    frame: &[u8],
) -> Result<SocketAddr, String> {
    let (to, tags) = link;
    let header: Vec<u8> =
        tags.iter().flat_map(|(kind, control)| [&kind.to_be_bytes()[..], control].concat()).collect();
    let header = [&to[..], &Port::Lan.mac(), &header].concat();
    let packet =
        frame.strip_prefix(&header[..]).ok_or_else(|| format!("Ethernet is {:02x?}", &frame[..14]))?;
    let outer = outer(packet)?;
    let carried = if inner.v4() { 4 } else { 41 };
    let prefix = match outer.source {
        IpAddr::V4(ip) => ip.octets()[..2] == [172, 16],
        IpAddr::V6(ip) => ip.segments()[..4] == [0x100, 0, 0, 0],
    };
    if outer.destination != server || !prefix || outer.ttl != 64 {
        return Err(format!("outer: {} to {}, TTL {}", outer.source, outer.destination, outer.ttl));
    }
    // Uniform DSCP (RFC 2983), normal mode of ECN (RFC 6040 §4.1), don't-fragment as inside (RFC 2003 §3.1).
    if outer.class != inner.class() || outer.dont_fragment.is_some_and(|set| set != inner.dont_fragment()) {
        return Err(format!("outer class {:#x}, inner {:#x}, or DF", outer.class, inner.class()));
    }
    let rest = &packet[2 + outer.len..];
    let (at, port) = match packing {
        Packing::Ipip if outer.protocol == carried => (0, 0),
        Packing::Gue { variant } if outer.protocol == 17 => gue(*variant, carried, rest)?,
        _ => return Err(format!("outer protocol {}", outer.protocol)),
    };
    same(inner, &rest[at..])?;
    Ok(SocketAddr::new(outer.source, port))
}

/// The outer IP header, from the EtherType on.
fn outer(bytes: &[u8]) -> Result<Outer, String> {
    let (kind, bytes) = bytes.split_at(2);
    if kind == [0x08, 0x00] {
        let ip = Ipv4HeaderSlice::from_slice(bytes).map_err(|e| e.to_string())?;
        let whole = usize::from(ip.total_len()) == bytes.len() && ip.ihl() == 5;
        if !whole || ip.to_header().calc_header_checksum() != ip.header_checksum() {
            return Err("outer IPv4 length or checksum".to_owned());
        }
        return Ok(Outer {
            source: ip.source_addr().into(),
            destination: ip.destination_addr().into(),
            class: bytes[1],
            ttl: ip.ttl(),
            protocol: ip.protocol().0,
            dont_fragment: Some(ip.dont_fragment()),
            len: 20,
        });
    }
    let ip = Ipv6HeaderSlice::from_slice(bytes).map_err(|e| e.to_string())?;
    // RFC 6438 §3: a label for those who spread by it.
    if usize::from(ip.payload_length()) + 40 != bytes.len()
        || ip.flow_label().value() == 0
        || kind != [0x86, 0xdd]
    {
        return Err("outer IPv6 length, flow label or EtherType".to_owned());
    }
    Ok(Outer {
        source: ip.source_addr().into(),
        destination: ip.destination_addr().into(),
        class: ip.traffic_class(),
        ttl: ip.hop_limit(),
        protocol: ip.next_header().0,
        dont_fragment: None,
        len: 40,
    })
}

/// UDP and GUE (draft-ietf-intarea-gue): where the inner packet starts, and the source port.
fn gue(variant: i64, carried: u8, bytes: &[u8]) -> Result<(usize, u16), String> {
    let udp = UdpHeaderSlice::from_slice(bytes).map_err(|e| e.to_string())?;
    let right = usize::from(udp.length()) == bytes.len() && udp.checksum() == 0;
    if !right || udp.destination_port() != 6080 || udp.source_port() < 0xc000 {
        return Err(format!("outer UDP is {:?}", udp.to_header()));
    }
    if variant == 1 {
        return Ok((8, udp.source_port()));
    }
    let header = &bytes[8..12];
    let right = header == [0, carried, 0, 0];
    if right { Ok((12, udp.source_port())) } else { Err(format!("GUE header is {header:02x?}")) }
}

/// The inner packet as it came; of a clamped SYN all but the checksum.
fn same(inner: &Ip, bytes: &[u8]) -> Result<(), String> {
    let is = Ip::of(bytes).ok_or("the inner packet is unreadable")?;
    if let Some(checksum) = is.wrong_checksum() {
        return Err(format!("inside: wrong {checksum}"));
    }
    let untouched = is == *inner;
    let clamped = inner.wrong_checksum().is_some()
        && (is.what_nobody_changes(), is.endpoints(), is.ttl())
            == (inner.what_nobody_changes(), inner.endpoints(), inner.ttl());
    if untouched || clamped { Ok(()) } else { Err("the inner packet has changed".to_owned()) }
}
