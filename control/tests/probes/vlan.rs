//! Checks by the service's own path where the server is in a VLAN: frames both ways have its tag, as on a trunk, which the kernel has
//! no device for. The test is the wire, and TCP of its own the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringlead_control::config;
use ringlead_control::health::{HttpProbe, PathProbe, Probe, Prober, Road};
use ringlead_control::plan::Plan;
use ringlead_flow::{FlowTable, ServerId, Sizes};
use ringlead_l4::Shared;
use ringlead_l4::neighbours::{NeighbourId, NextHop};
use ringlead_wire::Vid;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TunTapInterface, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as Moment;
use smoltcp::wire::{HardwareAddress, IpCidr};

use crate::asked::{PATIENT, asked};
use crate::lab;

const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 4];
const VID: u8 = 20;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const FILE: &str = r#"
version = 1
[dataplane]
cores = [1]
[port.lan]
device = "tap0"
[service.web]
listen = "10.9.0.2:80"
protocol = "tcp"
mode = "dsr"
pool = "web"
[pool.web]
algorithm = "maglev"
server = [{ name = "a", address = "10.2.0.11:80" }]
"#;

/// The server's end of the wire: takes and gives IP packets in frames with its tag and no others.
struct Tagged(TunTapInterface);

struct Packet(Vec<u8>);

impl RxToken for Packet {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Sender<T>(T);

impl<T: TxToken> TxToken for Sender<T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let written = write(&mut packet);
        let kind: [u8; 2] = if packet[0] >> 4 == 4 { [0x08, 0] } else { [0x86, 0xdd] };
        let head = [&NODE_MAC[..], &SERVER_MAC, &[0x81, 0, 0, VID], &kind].concat();
        let frame = [head, packet].concat();
        self.0.consume(frame.len(), |bytes| bytes.copy_from_slice(&frame));
        written
    }
}

impl Device for Tagged {
    type RxToken<'a> = Packet;
    type TxToken<'a> = Sender<<TunTapInterface as Device>::TxToken<'a>>;

    fn receive(&mut self, now: Moment) -> Option<(Packet, Self::TxToken<'_>)> {
        loop {
            let frame = self.0.receive(now)?.0.consume(<[u8]>::to_vec);
            if frame[..6] == SERVER_MAC && frame[12..16] == [0x81, 0, 0, VID] {
                let sender = Sender(self.0.transmit(now)?);
                return Some((Packet(frame[18..].to_vec()), sender));
            }
        }
    }

    fn transmit(&mut self, now: Moment) -> Option<Self::TxToken<'_>> {
        self.0.transmit(now).map(Sender)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut can = DeviceCapabilities::default();
        (can.medium, can.max_transmission_unit) = (Medium::Ip, 1400);
        can
    }
}

/// Answers one request after the other, for ever.
async fn serve(mut wire: Tagged, services: [SocketAddr; 2]) {
    let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut wire, Moment::ZERO);
    interface.update_ip_addrs(|all| {
        for service in services {
            let bits = if service.is_ipv4() { 32 } else { 128 };
            all.push(IpCidr::new(service.ip().into(), bits)).unwrap();
        }
    });
    let mut sockets = SocketSet::new(Vec::new());
    let buffer = || tcp::SocketBuffer::new(vec![0; 4096]);
    let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
    let began = Instant::now();
    loop {
        let now = Moment::from_millis(i64::try_from(began.elapsed().as_millis()).unwrap());
        interface.poll(now, &mut wire, &mut sockets);
        let socket = sockets.get_mut::<tcp::Socket>(handle);
        if !socket.is_open() {
            socket.listen(80).unwrap();
        }
        if socket.can_recv() && socket.recv(|bytes| (bytes.len(), bytes.ends_with(b"\r\n\r\n"))).unwrap() {
            socket.send_slice(ANSWER).unwrap();
            socket.close();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_server_in_a_vlan_is_asked_and_heard_with_its_tag() {
    lab::run(async |lab| {
        let tap = TunTapInterface::new("tap0", Medium::Ethernet).unwrap();
        for command in [
            "ip link set tap0 address 02:00:00:00:00:03 up",
            "ip address add 10.2.0.1/24 dev tap0",
            "ip address add fd02::1/64 dev tap0 nodad",
            // As on a node: answers come from an address of its own.
            "ip address add 10.9.0.2/32 dev lo",
            "ip address add fd09::2/128 dev lo",
        ] {
            lab.here(command);
        }
        let mut plan = Plan::new(config::parse("vlan.toml", FILE).unwrap().0).unwrap();
        let flows = FlowTable::new(&Sizes { flows_max: 64, workers: 1, seed: [1, 2, 3, 4] }).unwrap();
        let shared = Shared::new(plan.snapshot(), Arc::new(flows), 16, 64, 1);
        let prober = Prober::new(shared.clone(), vec![(lab.ifindex("tap0"), NODE_MAC)]);
        let services = ["10.9.0.2:80", "[fd09::2]:80"].map(|at| at.parse::<SocketAddr>().unwrap());
        let ask = async |service: SocketAddr, vlan: Option<u16>, timeout| {
            let hop = NextHop { port: 0, vlan: vlan.and_then(Vid::new), mac: SERVER_MAC };
            shared.neighbours.set(NeighbourId(3), Some(hop));
            let source = if service.is_ipv4() { "10.2.0.1" } else { "fd02::1" };
            let probe = Probe::Path(PathProbe {
                asks: Arc::new(Probe::Http(page())),
                server: ServerId(50),
                first_hop: Some(NeighbourId(3)),
                roads: vec![Road { service, tunnel: None }],
                source: Some(source.parse().unwrap()),
                prober: prober.clone(),
            });
            asked(probe, service, timeout).await
        };
        let checks = async {
            for service in services {
                let silence = Duration::from_millis(300);
                for wrong in [None, Some(21)] {
                    let (up, why) = ask(service, wrong, silence).await;
                    assert!(!up && why.starts_with("no answer from"), "{service}, {wrong:?}: {why}");
                }
                let (up, why) = ask(service, Some(VID.into()), PATIENT).await;
                assert_eq!((up, why.as_str()), (true, "by the service's path: HTTP 200"), "{service}");
            }
        };
        tokio::select! {
            () = checks => {}
            () = serve(Tagged(tap), services) => {}
        }
    });
}

fn page() -> HttpProbe {
    HttpProbe { statuses: vec![(200, 200)], ..HttpProbe::default() }
}
