//! rtnetlink against a real kernel, in namespaces of the test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use lab::{HERE_MAC, Lab, PEER_MAC};
use ringlead_control::net::{Added, Net, NetError, NetEvent, NextHop, PROBE_INTERVAL, Upkeep};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(5);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Read events until one is the wanted one.
async fn until(events: &mut Receiver<NetEvent>, wanted: impl Fn(&NetEvent) -> bool) -> NetEvent {
    let mut seen = Vec::new();
    let found = timeout(PATIENCE, async {
        loop {
            let event = events.recv().await.expect("the subscription ended");
            if wanted(&event) {
                return event;
            }
            seen.push(event);
        }
    });
    found.await.unwrap_or_else(|_| panic!("the event did not come; seen: {seen:?}"))
}

/// Let the kernel's notifications of what was done so far pass by.
async fn settle(events: &mut Receiver<NetEvent>) {
    while timeout(Duration::from_millis(300), events.recv()).await.is_ok() {}
}

/// What `ip` says about one address on p0, as JSON.
fn shown(lab: &Lab, address: &str) -> Option<serde_json::Value> {
    let all: serde_json::Value = serde_json::from_str(&lab.here("ip -j -d address show dev p0")).unwrap();
    let list = all[0]["addr_info"].as_array().unwrap().clone();
    list.into_iter().find(|entry| entry["local"] == address)
}

#[test]
fn service_addresses_carry_their_flags_and_can_be_found_and_removed() {
    lab::run(async |lab| {
        let (net, _events) = Net::open().unwrap();
        let p0 = lab.ifindex("p0");
        for (address, prefix) in [("192.0.2.10", 32), ("2001:db8::10", 128)] {
            assert_eq!(net.add_address(p0, ip(address)).await.unwrap(), Added::New);
            assert_eq!(net.add_address(p0, ip(address)).await.unwrap(), Added::AlreadyOurs);
            let shown = shown(&lab, address).expect("the address");
            assert_eq!(shown["prefixlen"], prefix);
            assert_eq!(shown["deprecated"], true, "{shown}");
            assert_eq!(shown["noprefixroute"], true, "{shown}");
            if address.contains(':') {
                // IPv4 has neither duplicate detection nor a preferred lifetime to show.
                assert_eq!(shown["nodad"], true, "{shown}");
                assert_eq!(shown["tentative"], serde_json::Value::Null, "{shown}");
                assert_eq!(shown["preferred_life_time"], 0, "{shown}");
            }
            assert_eq!(shown["valid_life_time"], u32::MAX, "valid for ever");
            assert!(net.local_addresses().await.unwrap().contains(&ip(address)));
        }
        // A successor of a dead daemon finds them by their tag alone.
        let (successor, _events) = Net::open().unwrap();
        let mut ours = successor.our_addresses().await.unwrap();
        ours.sort();
        assert_eq!(ours, [(p0, ip("192.0.2.10")), (p0, ip("2001:db8::10"))]);
        for (ifindex, address) in ours {
            assert!(successor.remove_address(ifindex, address).await.unwrap());
            assert!(!successor.remove_address(ifindex, address).await.unwrap(), "it is gone already");
            assert!(!net.local_addresses().await.unwrap().contains(&address));
        }
        assert_eq!(net.our_addresses().await.unwrap(), []);
    });
}

#[test]
fn addresses_of_others_are_left_alone() {
    lab::run(async |lab| {
        let (net, _events) = Net::open().unwrap();
        let p0 = lab.ifindex("p0");
        // Also those that look like ours but for the tag.
        lab.here("ip address add 10.9.0.1/32 dev p0; ip address add fd09::1/128 dev p0 nodad");
        for address in ["10.1.0.1", "fd00:1::1", "10.9.0.1", "fd09::1"] {
            let before = shown(&lab, address);
            assert_eq!(net.add_address(p0, ip(address)).await.unwrap(), Added::Foreign);
            assert!(!net.remove_address(p0, ip(address)).await.unwrap());
            assert_eq!(shown(&lab, address), before, "untouched");
        }
        assert_eq!(net.our_addresses().await.unwrap(), []);
    });
}

/// RFC 6724 rule 3 before rule 8: without deprecation the service address has the longer match and wins.
#[test]
fn a_service_address_never_becomes_the_source_of_a_health_check() {
    lab::run(async |lab| {
        let (net, _events) = Net::open().unwrap();
        net.add_address(lab.ifindex("p0"), ip("fd00:1::3")).await.unwrap();
        net.add_address(lab.ifindex("p0"), ip("10.1.0.3")).await.unwrap();
        let route = lab.here("ip -6 route get fd00:1::2");
        assert!(route.contains("src fd00:1::1 "), "{route}");
        let route = lab.here("ip route get 10.1.0.2");
        assert!(route.contains("src 10.1.0.1 "), "{route}");
    });
}

#[test]
fn the_peer_resolves_a_service_address() {
    lab::run(async |lab| {
        let (net, _events) = Net::open().unwrap();
        net.add_address(lab.ifindex("p0"), ip("fd00:1::3")).await.unwrap();
        net.add_address(lab.ifindex("p0"), ip("10.1.0.3")).await.unwrap();
        lab.peer("ip neighbour replace fd00:1::3 dev p1 use nud none; ip neighbour replace 10.1.0.3 dev p1 use nud none");
        // A first solicitation may come before the kernel joined the address's multicast group; the next is 1 s later.
        let started = Instant::now();
        loop {
            let neighbours = lab.peer("ip neighbour show");
            let resolved = |address: &str| {
                let line = neighbours.lines().find(|l| l.starts_with(address)).unwrap_or_default();
                line.contains("02:00:00:00:00:01")
            };
            if resolved("fd00:1::3 ") && resolved("10.1.0.3 ") {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{neighbours}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

#[test]
fn a_neighbour_is_told_when_resolved_changed_and_deleted() {
    lab::run(async |lab| {
        let (net, mut events) = Net::open().unwrap();
        let p0 = lab.ifindex("p0");
        for server in ["10.1.0.2", "fd00:1::2"] {
            assert_eq!(net.manage_neighbour(p0, ip(server)).await.unwrap(), Upkeep::Kernel);
            let told = |mac| NetEvent::Neighbour { ifindex: p0, ip: ip(server), mac };
            until(&mut events, |e| *e == told(Some(PEER_MAC))).await;
            assert!(net.neighbours().await.unwrap().contains(&(p0, ip(server), PEER_MAC)));

            lab.here(&format!("ip neighbour replace {server} dev p0 lladdr 02:00:00:00:00:77 nud reachable"));
            let moved = [2, 0, 0, 0, 0, 0x77];
            until(&mut events, |e| *e == told(Some(moved))).await;
            assert!(net.neighbours().await.unwrap().contains(&(p0, ip(server), moved)));

            net.unmanage_neighbour(p0, ip(server)).await.unwrap();
            lab.here(&format!("ip neighbour del {server} dev p0"));
            until(&mut events, |e| *e == told(None)).await;
            assert!(!net.neighbours().await.unwrap().iter().any(|n| n.1 == ip(server)));
        }
    });
}

/// The kernel tries it again for as long as it has the entry. Its garbage collection may delete one that has failed, where all
/// namespaces together have more than gc_thresh1, as while other tests run: that is told, and the neighbour is to be managed anew.
#[test]
fn a_managed_neighbour_that_failed_is_resolved_when_it_appears() {
    lab::run(async |lab| {
        // The kernel's 1 s between requests, made short; the 5 s between attempts belong to no namespace.
        lab.here("echo 50 > /proc/sys/net/ipv4/neigh/p0/retrans_time_ms");
        let (net, mut events) = Net::open().unwrap();
        let (p0, late) = (lab.ifindex("p0"), ip("10.1.0.50"));
        assert_eq!(net.manage_neighbour(p0, late).await.unwrap(), Upkeep::Kernel);
        let told = |mac| NetEvent::Neighbour { ifindex: p0, ip: late, mac };
        until(&mut events, |e| *e == told(None)).await;
        assert!(!net.neighbours().await.unwrap().iter().any(|n| n.1 == late));

        lab.peer("ip address add 10.1.0.50/24 dev p1");
        let is_there = || lab.here("ip neighbour show dev p0").contains("10.1.0.50 ");
        let appeared = tokio::time::timeout(6 * PATIENCE, async {
            loop {
                let event = events.recv().await.expect("the subscription");
                if event == told(Some(PEER_MAC)) {
                    return;
                }
                if event == told(None) && !is_there() {
                    net.manage_neighbour(p0, late).await.unwrap();
                }
            }
        });
        if appeared.await.is_err() {
            let seen = (net.neighbours().await, lab.here("ip -s neighbour show dev p0"));
            panic!("the kernel does not try a managed neighbour again: {seen:?}");
        }
    });
}

#[test]
fn upkeep_ends_when_asked_and_spares_permanent_entries() {
    lab::run(async |lab| {
        let (net, mut events) = Net::open().unwrap();
        let (p0, server, fixed) = (lab.ifindex("p0"), ip("10.1.0.2"), ip("10.1.0.9"));
        let line = |server: IpAddr| {
            let all = lab.here("ip neighbour show dev p0");
            all.lines().find(|l| l.starts_with(&format!("{server} "))).unwrap_or_default().to_owned()
        };
        net.manage_neighbour(p0, server).await.unwrap();
        until(&mut events, |e| matches!(e, NetEvent::Neighbour { mac: Some(_), .. })).await;
        assert!(line(server).contains("managed"), "{}", line(server));
        net.unmanage_neighbour(p0, server).await.unwrap();
        let after = line(server);
        assert!(!after.contains("managed") && after.contains("02:00:00:00:00:02"), "{after}");
        net.unmanage_neighbour(p0, ip("10.1.0.200")).await.expect("one that does not exist is fine");

        lab.here("ip neighbour add 10.1.0.9 dev p0 lladdr 02:00:00:00:00:09 nud permanent");
        assert_eq!(net.manage_neighbour(p0, fixed).await.unwrap(), Upkeep::Static);
        assert_eq!(net.manage_neighbour_by_probes(p0, fixed).await.unwrap(), Upkeep::Static);
        assert!(line(fixed).contains("PERMANENT"), "{}", line(fixed));
        let refused = net.manage_neighbour(9999, server).await.unwrap_err();
        assert!(refused.to_string().contains("interface 9999"), "{refused}");
    });
}

/// What a kernel without managed neighbours gets: the flag is not used, the entry comes back all the same.
#[test]
fn probes_resolve_a_neighbour_again_after_it_was_lost() {
    lab::run(async |lab| {
        let (net, mut events) = Net::open().unwrap();
        let (p0, server) = (lab.ifindex("p0"), ip("10.1.0.2"));
        let told = |mac| NetEvent::Neighbour { ifindex: p0, ip: server, mac };
        assert_eq!(net.manage_neighbour_by_probes(p0, server).await.unwrap(), Upkeep::Probes);
        until(&mut events, |e| *e == told(Some(PEER_MAC))).await;
        assert!(!lab.here("ip neighbour show dev p0").contains("managed"));

        lab.here("ip neighbour del 10.1.0.2 dev p0");
        until(&mut events, |e| *e == told(None)).await;
        tokio::time::sleep(PROBE_INTERVAL).await;
        until(&mut events, |e| *e == told(Some(PEER_MAC))).await;
    });
}

#[test]
fn next_hops_are_the_kernels() {
    lab::run(async |lab| {
        let (net, _events) = Net::open().unwrap();
        let p0 = lab.ifindex("p0");
        lab.here("ip route add 198.51.100.0/24 via 10.1.0.2");
        lab.here("ip route add 2001:db8:1::/48 via fd00:1::2");
        lab.here("ip route add 203.0.113.0/24 via inet6 fd00:1::2");
        lab.here("ip route add blackhole 192.0.2.0/24");
        lab.here("ip route add unreachable 2001:db8:2::/48");
        let hops = [
            ("10.1.0.7", "10.1.0.7"),
            ("fd00:1::7", "fd00:1::7"),
            ("198.51.100.9", "10.1.0.2"),
            ("2001:db8:1::9", "fd00:1::2"),
            ("203.0.113.9", "fd00:1::2"),
        ];
        for (to, gateway) in hops {
            let hop = net.route_to(ip(to)).await.unwrap();
            assert_eq!(hop, NextHop { gateway: ip(gateway), ifindex: p0 }, "to {to}");
        }
        for own in ["10.1.0.1", "fd00:1::1", "127.0.0.1"] {
            let refused = net.route_to(ip(own)).await.unwrap_err();
            assert!(matches!(refused, NetError::LocalAddress { .. }), "{own}: {refused}");
        }
        for nowhere in ["8.8.8.8", "2600::1", "192.0.2.1", "2001:db8:2::1", "10.1.0.255", "224.0.0.5"] {
            let refused = net.route_to(ip(nowhere)).await;
            assert!(matches!(refused, Err(NetError::NoRoute { .. })), "{nowhere}: {refused:?}");
        }
    });
}

#[test]
fn addresses_and_routes_tell_that_they_changed() {
    lab::run(async |lab| {
        let (net, mut events) = Net::open().unwrap();
        for address in ["10.7.0.1/24", "fd07::1/64"] {
            for verb in ["add", "del"] {
                settle(&mut events).await;
                lab.here(&format!("ip address {verb} {address} dev p0"));
                until(&mut events, |e| *e == NetEvent::Addresses).await;
            }
        }
        for route in ["198.51.100.0/24 via 10.1.0.2", "2001:db8:1::/48 via fd00:1::2"] {
            for verb in ["add", "del"] {
                settle(&mut events).await;
                lab.here(&format!("ip route {verb} {route}"));
                until(&mut events, |e| *e == NetEvent::Routes).await;
            }
        }
        let local = net.local_addresses().await.unwrap();
        for own in ["127.0.0.1", "::1", "10.1.0.1", "fd00:1::1"] {
            assert!(local.contains(&ip(own)), "{own} in {local:?}");
        }
        assert!(!local.contains(&ip("10.7.0.1")));
    });
}

#[test]
fn links_are_told_and_listed() {
    lab::run(async |lab| {
        let (net, mut events) = Net::open().unwrap();
        let p0 = lab.ifindex("p0");
        settle(&mut events).await;
        lab.here("ip link set p0 mtu 1400");
        let told = |up, mtu| NetEvent::Link { ifindex: p0, up, mac: Some(HERE_MAC), mtu, vlan: None };
        until(&mut events, |e| *e == told(true, 1400)).await;
        let links = net.links().await.unwrap();
        let link = links.iter().find(|l| l.ifindex == p0).unwrap();
        assert_eq!((link.name.as_str(), link.up, link.mac, link.mtu), ("p0", true, Some(HERE_MAC), 1400));
        assert_eq!(link.kind.as_deref(), Some("veth"));
        let lo = links.iter().find(|l| l.name == "lo").unwrap();
        assert_eq!((lo.up, lo.kind.as_deref()), (true, None));

        // The carrier goes although the link stays administratively up.
        lab.peer("ip link set p1 down");
        until(&mut events, |e| *e == told(false, 1400)).await;
        lab.here("ip link del p0");
        until(&mut events, |e| *e == NetEvent::LinkRemoved { ifindex: p0 }).await;
    });
}

#[test]
fn lost_notifications_become_a_resync() {
    lab::run(async |lab| {
        let (net, mut events) = Net::open().unwrap();
        settle(&mut events).await;
        // This runtime has one thread, which waits for the command: nobody reads meanwhile.
        lab.here(
            "for i in $(seq 2 41); do for j in $(seq 1 250); do \
             echo neighbour replace 10.1.$i.$j dev p0 lladdr 02:00:00:00:00:09 nud permanent; \
             done; done | ip -batch -",
        );
        until(&mut events, |e| *e == NetEvent::Resync).await;
        assert_eq!(net.neighbours().await.unwrap().len(), 10_000, "a dump tells all of it");
        // The subscription lives on.
        settle(&mut events).await;
        lab.here("ip link set p0 mtu 1300");
        until(&mut events, |e| matches!(e, NetEvent::Link { mtu: 1300, .. })).await;
    });
}

#[test]
fn a_slow_receiver_loses_nothing_that_fits() {
    lab::run(async |lab| {
        let (_net, mut events) = Net::open().unwrap();
        settle(&mut events).await;
        for i in 1..=200 {
            lab.here(&format!(
                "ip neighbour replace 10.1.0.{i} dev p0 lladdr 02:00:00:00:00:09 nud permanent"
            ));
        }
        for i in 1..=200 {
            let wanted = IpAddr::from([10, 1, 0, i]);
            until(&mut events, |e| matches!(e, NetEvent::Neighbour { ip, .. } if *ip == wanted)).await;
        }
    });
}
