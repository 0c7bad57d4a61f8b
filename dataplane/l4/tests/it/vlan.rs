//! VLAN tags of the client's side: taken off towards the server, put back on replies.

use crate::rig::*;
use ringlead_wire::build::Packet;

#[test]
fn a_tagged_clients_replies_carry_its_tags() {
    // Two tags are a service tag and a customer tag (IEEE 802.1ad).
    for tags in [&[(0x8100, 5_u16)][..], &[(0x88a8, 7), (0x8100, 9)]] {
        let mut rig = Rig::new(&Plan::default());
        let tagged =
            |packet: Packet| tags.iter().fold(packet, |packet, tag| packet.vlan_of_type(tag.0, tag.1));
        let request = from_client(tagged(Packet::udp("198.51.100.7:5353", NAT4).payload(b"request")));
        let (port, frame) = rig.one(WAN, &request);
        let server = server_of(&frame);
        let address = server_address(server, false);
        let expected = Packet::udp("198.51.100.7:5353", &address).payload(b"request").ttl(63);
        assert_eq!((port, frame), (LAN, expected.mac(LAN_MAC, server_mac(server)).build()));

        let reply = from_server(server, Packet::udp(&address, "198.51.100.7:5353").payload(b"reply"));
        let (port, frame) = rig.one(LAN, &reply);
        let expected = tagged(Packet::udp(NAT4, "198.51.100.7:5353").payload(b"reply").ttl(63));
        assert_eq!((port, frame), (WAN, expected.mac(WAN_MAC, CLIENT_MAC).build()));
    }
}
