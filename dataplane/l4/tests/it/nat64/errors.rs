//! ICMP errors across the families: each end reads one about what it has sent itself.

use super::*;

/// What an error says: type, code, second word.
type Said = (u8, u8, u32);

/// IPv4's and IPv6's ways to say the same (RFC 7915 §4.2, §5.2), MTUs 20 bytes apart.
const ALIKE: [(Said, Said); 4] =
    [((3, 3, 0), (1, 4, 0)), ((3, 4, 1400), (2, 0, 1420)), ((11, 0, 0), (3, 0, 0)), ((3, 1, 0), (1, 0, 0))];
const ROUTERS: [&str; 2] = ["203.0.113.1", "2001:db8:e::1"];

fn address(at: &str) -> &str {
    at.rsplit_once(':').unwrap().0.trim_matches(['[', ']'])
}

fn error(from: &str, to: &str, said: Said, quote: &Packet) -> Packet {
    Packet::icmp_error(from, to, said.0, said.1, said.2, &quote.ip())
}

/// The quote as it reads once it is translated: an IPv4 one has no identification.
fn quoted(packet: Packet) -> Packet {
    let short = is_v4(&packet) && packet.ip().len() <= 1260;
    if short { packet.dont_fragment(false) } else { packet }
}

#[test]
fn rfc7915_an_error_about_a_request_reads_to_the_client_as_about_its_own() {
    for (case, build) in CASES.into_iter().flat_map(|case| TRANSPORTS.map(|build| (case, build))) {
        let (mut rig, _) = mixed_rig(&Plan::default(), |_| ());
        let known = Known::open(&mut rig, case, build);
        let router = ROUTERS[usize::from(case.v4_client)];
        for (four, six) in ALIKE {
            let (said, told) = if case.v4_client { (six, four) } else { (four, six) };
            for from in [address(&known.server_at), router] {
                let dress = |packet: Packet| packet.payload([7; 60]).ttl(9).tos(0x20);
                let quote = dress(known.asked()).id(0).dont_fragment(false);
                let packet = error(from, case.ours, said, &quote).tos(0x48);
                let (port, frame) = rig.one(LAN, &from_server(known.server, packet));
                let quote = quoted(dress(known.asks()));
                let expected = error(address(case.service), address(case.client), told, &quote);
                let expected = expected.tos(0x48).ttl(63);
                assert_eq!((port, &frame), (WAN, &to_client(expected, &frame)), "{said:?} {case:?}");
            }
        }
        assert_eq!(rig.counters().flows_created.get(), 1);
    }
}

#[test]
fn rfc7915_an_error_about_a_reply_reads_to_the_server_as_about_its_own() {
    for (case, build) in CASES.into_iter().flat_map(|case| TRANSPORTS.map(|build| (case, build))) {
        let (mut rig, _) = mixed_rig(&Plan::default(), |_| ());
        let known = Known::open(&mut rig, case, build);
        let router = ROUTERS[usize::from(!case.v4_client)];
        for (four, six) in ALIKE {
            let (said, told) = if case.v4_client { (four, six) } else { (six, four) };
            for (from, tags) in [(address(case.client), 0), (router, 2)] {
                let dress = |packet: Packet| packet.payload([7; 60]).ttl(9);
                let quote = dress(known.answered()).dont_fragment(false);
                let packet = tagged(error(from, address(case.service), said, &quote), tags);
                let (port, frame) = rig.one(WAN, &from_client(packet));
                let quote = quoted(dress(known.answers()));
                let expected = error(case.ours, address(&known.server_at), told, &quote).ttl(63);
                let expected = to_server(&known, expected, &frame);
                assert_eq!((port, &frame), (LAN, &expected), "{said:?} {case:?}");
            }
        }
    }
}

/// RFC 7915 §4.2, §5.2: no MTU is named that the links here do not carry in the other family.
#[test]
fn rfc7915_an_mtu_is_bounded_by_the_links_of_both_families() {
    // (clients' link, servers' link), what a router named, what is told.
    for (wan, lan, named, four, six) in
        [(1500, 1500, 1500, 1480, 1500), (1500, 1400, 1490, 1380, 1420), (1350, 1700, 1600, 1350, 1350)]
    {
        for case in CASES {
            let (mut rig, _) = mixed_rig(&Plan::default(), |ports| {
                for (port, mtu) in ports.iter_mut().zip([wan, lan]) {
                    port.caps_mut().frame_max = 14 + mtu;
                }
            });
            let known = Known::open(&mut rig, case, TRANSPORTS[1]);
            let (said, told) =
                if case.v4_client { ((2, 0, named), (3, 4, four)) } else { ((3, 4, named), (2, 0, six)) };
            let quote = known.asked().payload([1; 30]).dont_fragment(false);
            let packet = error(address(&known.server_at), case.ours, said, &quote);
            let (_, frame) = rig.one(LAN, &from_server(known.server, packet));
            let quote = quoted(known.asks().payload([1; 30]));
            let expected = error(address(case.service), address(case.client), told, &quote).ttl(63);
            assert_eq!(frame, to_client(expected, &frame), "{wan} {lan} {case:?}");
        }
    }
}

#[test]
fn an_error_without_a_counterpart_is_dropped_by_name() {
    let (mut rig, _) = mixed_rig(&Plan::default(), |_| ());
    for case in CASES {
        let known = Known::open(&mut rig, case, TRANSPORTS[1]);
        // Host precedence violation; unrecognized IPv6 option.
        let (asked, answered) = if case.v4_client { ((4, 2), (3, 14)) } else { ((3, 14), (4, 2)) };
        let packet = error(address(&known.server_at), case.ours, (asked.0, asked.1, 0), &known.asked());
        rig.dropped(LAN, from_server(known.server, packet).build(), Reason::Untranslatable);
        let said = (answered.0, answered.1, 0);
        let packet = error(address(case.client), address(case.service), said, &known.answered());
        rig.dropped(WAN, from_client(packet).build(), Reason::Untranslatable);
    }
}

#[test]
fn rfc4787_r12_an_error_neither_refreshes_a_flow_nor_moves_its_client() {
    for case in CASES {
        let (mut rig, _) = mixed_rig(&Plan::default(), |_| ());
        let known = Known::open(&mut rig, case, TRANSPORTS[1]);
        let said = if case.v4_client { (3, 3, 0) } else { (1, 4, 0) };
        let about = error(address(case.client), address(case.service), said, &known.answered());
        rig.one(WAN, &about.clone().mac([2, 0, 0, 0, 0, 0xc9], WAN_MAC));
        let (_, frame) = rig.one(LAN, &from_server(known.server, known.answers()));
        assert_eq!(frame, to_client(known.answered().ttl(63), &frame));
        rig.now += 290 * SECOND;
        rig.one(WAN, &from_client(about));
        rig.now += 20 * SECOND;
        rig.dropped(LAN, from_server(known.server, known.answers()).build(), Reason::ServerWithoutFlow);
    }
}

#[test]
fn an_error_that_waits_and_one_that_has_come_too_far() {
    let (mut rig, _) = mixed_rig(&Plan { servers: 1, ..Plan::default() }, |_| ());
    for case in CASES {
        let known = Known::open(&mut rig, case, TRANSPORTS[1]);
        let (said, told) = if case.v4_client { ((3, 3, 0), (1, 4, 0)) } else { ((1, 4, 0), (3, 3, 0)) };
        let about = error(address(case.client), address(case.service), said, &known.answered());
        rig.dropped(WAN, from_client(about.clone().ttl(1)).build(), Reason::TtlExpired);
        for family in 0..2 {
            rig.shared.neighbours.set(NeighbourId(family), None);
        }
        assert!(rig.send(WAN, &[from_client(about).build()]).is_empty());
        rig.resolve(0);
        let sent = rig.tick();
        assert_eq!(sent.len(), 1);
        let expected = error(case.ours, address(&known.server_at), told, &quoted(known.answers())).ttl(63);
        assert_eq!(sent[0], (LAN, to_server(&known, expected, &sent[0].1)));
    }
}
