//! One frame a reason why parsing refuses one, towards services that would take it otherwise.

use super::scene::{Case, Scene};
use etherparse::Ipv4HeaderSlice;
use ringlead_wire::TcpFlags;
use ringlead_wire::build::{Packet, arp_request};

const KERNEL: &str = "kernel: not ours";
const CLIENT: &str = "198.51.100.7:40000";
const CLIENT6: &str = "[2001:db8:c::7]:40000";
const WEB: &str = "192.0.2.10:80";
const DNS: &str = "192.0.2.10:53";
const WEB6: &str = "[2001:db8::10]:80";
const DNS6: &str = "[2001:db8::10]:53";
const SERVER: &str = "10.0.0.11:8080";

/// Where headers begin in an untagged frame.
const IP: usize = 14;
const L4: usize = IP + 20;
const L4_6: usize = IP + 40;

pub(super) fn case() -> Case {
    let mut s = Scene::new("malformed");
    left_to_the_kernel(&mut s);
    ip_headers(&mut s);
    addresses(&mut s);
    extensions(&mut s);
    pieces(&mut s);
    transports(&mut s);
    errors(&mut s);
    s.wan(web(), "to server: web (nat) -> web/s1, new flow"); // nothing of it all did harm
    s.end()
}

fn web() -> Packet {
    Packet::tcp(CLIENT, WEB).flags(TcpFlags::SYN)
}

fn web6() -> Packet {
    Packet::tcp(CLIENT6, WEB6).flags(TcpFlags::SYN)
}

/// Too broken for the steering program to know whose they are: frame-short, not-ip, vlan-depth, ip-short, ip-version.
fn left_to_the_kernel(s: &mut Scene) {
    s.wan(web().build()[..13].to_vec(), KERNEL);
    s.wan(web().vlan(1).build()[..16].to_vec(), KERNEL);
    s.wan(arp_request("198.51.100.7", "192.0.2.10"), KERNEL);
    s.wan(web().vlan_of_type(0x88a8, 1).vlan(2).vlan(3), KERNEL);
    s.wan(web().build()[..IP + 19].to_vec(), KERNEL);
    s.wan(web6().build()[..IP + 39].to_vec(), KERNEL);
    s.wan(patched(web(), IP, &[0x65]), KERNEL);
}

fn ip_headers(s: &mut Scene) {
    s.wan(patched(web6(), IP + 4, &[0xff, 0xff]), "drop: oversized");
    // A header of 60 bytes in a frame of 40, seen because a fragment needs no ports.
    let long = patched(Packet::tcp(CLIENT, WEB).fragment(80, true).payload([0; 8]), IP, &[0x4f]);
    s.wan(long, "drop: ip-header-length");
    s.wan(summed(patched(web(), IP + 2, &[0, 19])), "drop: ip-total-length");
    s.wan(summed(patched(web(), IP + 2, &[0, 41])), "drop: ip-total-length");
    s.wan(patched(web6(), IP + 4, &[0, 21]), "drop: ip-total-length");
    let checksum = web().build()[IP + 11] ^ 1;
    s.wan(patched(web(), IP + 11, &[checksum]), "drop: ip-checksum");
    s.wan(web().ip_options(&[148, 1]), "drop: ip-options");
    s.wan(web().ip_options(&[148, 9]), "drop: ip-options");
    s.wan(web().ip_options(&[131, 7, 4, 10, 0, 0, 1]), "drop: source-routed");
    s.wan(web().ip_options(&[137, 7, 4, 10, 0, 0, 1]), "drop: source-routed");
    s.wan(web6().routing(1), "drop: source-routed");
}

fn addresses(s: &mut Scene) {
    for martian in ["127.0.0.1:40000", "224.0.0.1:40000", "255.255.255.255:40000", "0.0.0.1:40000"] {
        s.wan(Packet::tcp(martian, WEB).flags(TcpFlags::SYN), "drop: martian-source");
    }
    for martian in ["[::1]:40000", "[::]:40000", "[ff02::1]:40000"] {
        s.wan(Packet::tcp(martian, WEB6).flags(TcpFlags::SYN), "drop: martian-source");
    }
    // Only a server's packet is ours whatever its destination.
    for martian in ["127.0.0.1:40000", "0.0.0.0:40000"] {
        s.lan(Packet::tcp(SERVER, martian), "drop: martian-destination");
    }
    s.wan(Packet::tcp(WEB, WEB).flags(TcpFlags::SYN), "drop: land");
    s.wan(Packet::udp(DNS6, DNS6), "drop: land");
}

fn extensions(s: &mut Scene) {
    // The IP packet ends inside the header, padding behind it looks like TCP.
    s.wan(patched(web6().hop_by_hop(), IP + 4, &[0, 4]), "drop: extension-short");
    let long = (0..7).fold(web6(), |packet, _| packet.destination_options());
    s.wan(long, "drop: extension-chain");
    s.wan(web6().destination_options().hop_by_hop(), "drop: extension-chain");
}

/// A piece that cannot be one.
fn pieces(s: &mut Scene) {
    let piece = |offset, more| Packet::udp(CLIENT, DNS).fragment(offset, more);
    s.wan(piece(80, true).payload([0; 9]), "drop: fragment-length");
    s.wan(piece(80, false), "drop: fragment-length");
    s.wan(piece(65_528, false).payload([0; 8]), "drop: fragment-length");
    let tiny = summed(patched(Packet::tcp(CLIENT, WEB).fragment(0, true), IP + 2, &[0, 36]));
    s.wan(tiny, "drop: fragment-tiny");
    s.wan(Packet::tcp(CLIENT, WEB).fragment(8, true).payload([0; 16]), "drop: fragment-overlap");
    let first = Packet::udp(CLIENT6, DNS6).fragment(0, true).payload([0; 8]);
    s.wan(first.no_checksum(), "drop: udp-checksum-zero");
}

fn transports(s: &mut Scene) {
    s.wan(cut(web(), 10), "drop: transport-short");
    s.wan(cut(Packet::udp(CLIENT, DNS), 1), "drop: transport-short");
    s.wan(patched(web(), L4 + 12, &[0x40]), "drop: tcp-header-length");
    s.wan(patched(web(), L4 + 12, &[0x60]), "drop: tcp-header-length");
    s.wan(patched(web6(), L4_6 + 12, &[0x40]), "drop: tcp-header-length");
    s.wan(patched(Packet::udp(CLIENT, DNS), L4 + 4, &[0, 7]), "drop: udp-length");
    s.wan(patched(Packet::udp(CLIENT, DNS), L4 + 4, &[0, 9]), "drop: udp-length");
    s.wan(Packet::udp(CLIENT6, DNS6).no_checksum(), "drop: udp-checksum-zero");
}

/// ICMP errors about what the service sent.
fn errors(s: &mut Scene) {
    let (router, router6) = ("203.0.113.1", "2001:db8:ffff::1");
    let sent = Packet::tcp(WEB, CLIENT).payload(b"page").ip();
    let sent6 = Packet::tcp(WEB6, CLIENT6).payload(b"page").ip();
    let error = |to: &str, quote: &[u8]| Packet::icmp_error(router, to, 3, 4, 1280, quote);
    let error6 = |to: &str, quote: &[u8]| Packet::icmp_error(router6, to, 2, 0, 1280, quote);
    s.wan(summed(patched(error("192.0.2.10", &sent), IP + 2, &[0, 24])), "drop: icmp-short");
    s.wan(patched(error("192.0.2.10", &sent), L4 + 7, &[1]), "drop: icmp-checksum");
    s.wan(patched(error6("2001:db8::10", &sent6), L4_6 + 7, &[1]), "drop: icmp-checksum");
    s.wan(error("192.0.2.10", &sent[..27]), "drop: icmp-embedded");
    s.wan(error6("2001:db8::10", &sent6[..47]), "drop: icmp-embedded");
    s.wan(error("192.0.2.11", &sent), "drop: icmp-mismatch");
    s.wan(error6("2001:db8::11", &sent6), "drop: icmp-mismatch");
}

/// The frame with other bytes at one place.
fn patched(packet: Packet, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = packet.build();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// The frame with the IPv4 header checksum of what it says now.
fn summed(mut frame: Vec<u8>) -> Vec<u8> {
    let checksum = Ipv4HeaderSlice::from_slice(&frame[IP..]).unwrap().to_header().calc_header_checksum();
    frame[IP + 10..IP + 12].copy_from_slice(&checksum.to_be_bytes());
    frame
}

/// The IPv4 packet without its last bytes, and honest about it.
fn cut(packet: Packet, bytes: usize) -> Vec<u8> {
    let mut frame = packet.build();
    frame.truncate(frame.len() - bytes);
    let length = u16::try_from(frame.len() - IP).unwrap();
    frame[IP + 2..IP + 4].copy_from_slice(&length.to_be_bytes());
    summed(frame)
}
