//! Packets that are too long once they are translated, or have come too far: their sender is told, in its own family.

use super::*;
use ringlead_io::MemPort;

/// Lets IP packets of that many bytes through, to and from the clients and the servers.
fn mtus(client: usize, servers: usize) -> impl FnOnce(&mut [MemPort; 2]) {
    move |ports| {
        for (port, mtu) in ports.iter_mut().zip([client, servers]) {
            port.caps_mut().frame_max = 14 + mtu;
        }
    }
}

/// The packet with a payload that makes it `len` bytes long from its IP header on.
fn of_len(packet: Packet, len: usize) -> Packet {
    let bare = packet.ip().len();
    packet.payload(vec![0x5a; len - bare])
}

/// Sends a packet that must be answered; the answer must be this error, about the packet as it came.
fn told(rig: &mut Rig, port: usize, packet: &Packet, from: &str, error: (u8, u8, u32)) {
    let before = rig.counters().made.get();
    let (back, answer) = rig.one(port, packet);
    assert_eq!((back, rig.counters().made.get()), (port, before + 1));
    let asked = packet.build();
    let quote = packet.ip();
    let (v4, addresses) = (is_v4(packet), &quote);
    let quoted = &quote[..quote.len().min(if v4 { 576 - 28 } else { 1280 - 48 })];
    let sender: std::net::IpAddr = if v4 {
        <[u8; 4]>::try_from(&addresses[12..16]).unwrap().into()
    } else {
        <[u8; 16]>::try_from(&addresses[8..24]).unwrap().into()
    };
    let expected = Packet::icmp_error(from, sender, error.0, error.1, error.2, quoted);
    let expected = if v4 { expected.tos(0xc0) } else { expected };
    let (dst, src) = (asked[6..12].try_into().unwrap(), asked[..6].try_into().unwrap());
    assert_eq!(answer, expected.mac(src, dst).build());
}

/// RFC 7915 §4.2, §5.2: what fits is told in the sender's family, 20 bytes more or less.
#[test]
fn rfc7915_a_packet_too_long_once_translated_is_answered_with_the_exact_mtu() {
    // The way out is the one that counts; the way in lets more through.
    for (mtu, build) in [(1500, TRANSPORTS[0]), (1500, TRANSPORTS[1]), (1400, TRANSPORTS[1])] {
        for case in CASES {
            let (mut rig, _) = mixed_rig(&Plan::default(), mtus(1700, mtu));
            let known = Known::open(&mut rig, case, build);
            let fits = if case.v4_client { mtu - 20 } else { mtu + 20 };
            let (_, frame) = rig.one(WAN, &from_client(of_len(known.asks(), fits)));
            assert_eq!(frame.len(), 14 + mtu, "just fits");
            let error = if case.v4_client { (3, 4) } else { (2, 0) };
            let (service, _) = case.service.rsplit_once(':').unwrap();
            let service = service.trim_matches(['[', ']']);
            let long = from_client(of_len(known.asks(), fits + 1));
            told(&mut rig, WAN, &long, service, (error.0, error.1, fits as u32));
            assert_eq!(rig.drops_of(Reason::TooBig), 1);

            let (mut rig, _) = mixed_rig(&Plan::default(), mtus(mtu, 1700));
            let known = Known::open(&mut rig, case, build);
            let fits = if case.v4_client { mtu + 20 } else { mtu - 20 };
            let (_, frame) = rig.one(LAN, &from_server(known.server, of_len(known.answers(), fits)));
            assert_eq!(frame.len(), 14 + mtu, "just fits");
            let error = if case.v4_client { (2, 0) } else { (3, 4) };
            let long = from_server(known.server, of_len(known.answers(), fits + 1));
            told(&mut rig, LAN, &long, case.ours, (error.0, error.1, fits as u32));
            assert_eq!(rig.drops_of(Reason::TooBig), 1);
        }
    }
}

/// Links alike: only what grows is too long, and what came by a tagged one too.
#[test]
fn between_links_of_one_mtu_only_ipv6_can_be_too_long() {
    let (mut rig, _) = mixed_rig(&Plan::default(), mtus(1500, 1500));
    let [sixty_four, forty_six] = CASES.map(|case| Known::open(&mut rig, case, TRANSPORTS[1]));
    let (_, frame) = rig.one(WAN, &from_client(of_len(sixty_four.asks(), 1500)));
    assert_eq!(frame.len(), 14 + 1480);
    let (_, frame) = rig.one(LAN, &from_server(forty_six.server, of_len(forty_six.answers(), 1500)));
    assert_eq!(frame.len(), 14 + 1480);
    let long = from_client(of_len(forty_six.asks(), 1500));
    told(&mut rig, WAN, &long, "192.0.2.46", (3, 4, 1480));
    let long = from_server(sixty_four.server, of_len(sixty_four.answers(), 1481));
    told(&mut rig, LAN, &long, OURS4, (3, 4, 1480));
    // Options are lost, so they do not count.
    let options = of_len(forty_six.asks().ip_options(&[1; 40]), 1500);
    let (_, frame) = rig.one(WAN, &from_client(options));
    assert_eq!(frame.len(), 14 + 1480);
}

#[test]
fn a_packet_that_has_come_too_far_is_answered_from_an_address_of_its_family() {
    let (mut rig, _) = mixed_rig(&Plan::default(), |_| ());
    for case in CASES {
        let known = Known::open(&mut rig, case, TRANSPORTS[1]);
        let (asked, answered) = if case.v4_client { (11, 3) } else { (3, 11) };
        let (service, _) = case.service.rsplit_once(':').unwrap();
        for ttl in [0, 1] {
            let packet = from_client(known.asks().ttl(ttl));
            told(&mut rig, WAN, &packet, service.trim_matches(['[', ']']), (asked, 0, 0));
            let packet = from_server(known.server, known.answers().ttl(ttl));
            told(&mut rig, LAN, &packet, case.ours, (answered, 0, 0));
        }
    }
    assert_eq!(rig.drops_of(Reason::TtlExpired), 8);
}
