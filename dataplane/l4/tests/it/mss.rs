//! A service may bound the segment size that SYNs offer (RFC 879, RFC 9293 §3.7.1).

use crate::rig::*;
use ringlead_l4::tables::{Chooser, Delivery};
use ringlead_pick::{HashBy, Maglev, Member, RoundRobin};
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;

const AT: &str = "192.0.2.9:80";
const CLIENT: &str = "198.51.100.7:40000";
const MOST: u16 = 1300;

fn rig(delivery: Delivery) -> Rig {
    let plan = Plan::default();
    let rig = Rig::new(&plan);
    let pool = pool_of(9, Chooser::RoundRobin(RoundRobin::new(&[1])), &[0], false);
    let extra = Extra { mss: Some(MOST), ..Extra::new(AT, delivery, pool) };
    rig.publish(with_extras(tables(&plan, 2), &[extra]));
    rig
}

/// A segment that offers `mss`.
fn offer(packet: Packet, flags: u8, mss: u16) -> Packet {
    let [high, low] = mss.to_be_bytes();
    packet.flags(flags).tcp_options(&[2, 4, high, low])
}

/// What it offers on its way out; its checksum must be whole.
fn offered(frame: &[u8]) -> u16 {
    let meta = ringlead_wire::parse(frame).unwrap();
    let l4 = usize::from(meta.l4);
    let packet = etherparse::SlicedPacket::from_ethernet(frame).unwrap();
    let Some(etherparse::NetSlice::Ipv4(ip)) = packet.net else { panic!("no IPv4") };
    let tcp = etherparse::TcpSlice::from_slice(ip.payload().payload).unwrap();
    let header = ip.header().to_header();
    assert_eq!(tcp.calc_checksum_ipv4(header.source, header.destination).unwrap(), tcp.checksum());
    u16::from_be_bytes([frame[l4 + 22], frame[l4 + 23]])
}

#[test]
fn rfc9293_both_ends_offers_are_lowered_and_never_raised() {
    let mut rig = rig(Delivery::Nat);
    let syn = |mss| from_client(offer(Packet::tcp(CLIENT, AT), TcpFlags::SYN, mss));
    assert_eq!(offered(&rig.one(WAN, &syn(1460)).1), MOST, "the SYN that makes the flow");
    assert_eq!(offered(&rig.one(WAN, &syn(1460)).1), MOST, "and one that repeats it");
    assert_eq!(offered(&rig.one(WAN, &syn(900)).1), 900, "never raised");
    let answer = |mss| {
        let packet = Packet::tcp(server_address(0, false), CLIENT);
        from_server(0, offer(packet, TcpFlags::SYN | TcpFlags::ACK, mss))
    };
    assert_eq!(offered(&rig.one(LAN, &answer(1460)).1), MOST, "the server's offer");
    let later = from_client(offer(Packet::tcp(CLIENT, AT), TcpFlags::ACK, 1460));
    assert_eq!(offered(&rig.one(WAN, &later).1), 1460, "no SYN");
    let other = from_client(offer(Packet::tcp(CLIENT, NAT4), TcpFlags::SYN, 1460));
    assert_eq!(offered(&rig.one(WAN, &other).1), 1460, "another service");
}

#[test]
fn a_clients_offer_is_lowered_in_dsr_too() {
    let mut rig = rig(Delivery::Dsr);
    let syn = from_client(offer(Packet::tcp(CLIENT, AT), TcpFlags::SYN, 1460));
    assert_eq!(offered(&rig.one(WAN, &syn).1), MOST);
}

#[test]
fn an_offer_is_lowered_without_an_entry_too() {
    let plan = Plan { flows_max: 64, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    let members = [Member { identity: 1, weight: 1 }];
    let chooser = Chooser::Maglev { table: Maglev::build(&members, 251), by: HashBy::FiveTuple };
    let extra = Extra { mss: Some(MOST), ..Extra::new(AT, Delivery::Dsr, pool_of(9, chooser, &[0], false)) };
    rig.publish(with_extras(tables(&plan, 2), &[extra]));
    for port in 0..100 {
        let client = format!("198.51.100.7:{}", 40_000 + port);
        let syn = from_client(offer(Packet::tcp(client, AT), TcpFlags::SYN, 1460));
        assert_eq!(offered(&rig.one(WAN, &syn).1), MOST);
    }
    rig.tick();
    assert!(rig.counters().stateless.get() > 0, "the table was never full");
}
