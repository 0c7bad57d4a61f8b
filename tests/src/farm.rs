//! Servers for all standard services, and looking at services from the client's side.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use crate::config::{Family, Mode, Protocol, Service};
use crate::lab::{Lab, Node, SERVERS};
use crate::{BlobServer, EchoServer, Exchange, Transfer, tcp_transfers, wait_until};

/// The lab's servers, each serving all standard services by TCP and UDP. Server 1 calls itself `1`.
#[derive(Debug)]
pub struct Farm<'a> {
    lab: &'a Lab,
    servers: Vec<Option<(BlobServer, EchoServer)>>,
}

impl<'a> Farm<'a> {
    /// Starts all servers.
    #[must_use = "dropping the farm ends its servers"]
    pub fn start(lab: &'a Lab) -> Self {
        let mut farm = Self { lab, servers: (0..SERVERS).map(|_| None).collect() };
        for number in 1..=SERVERS {
            farm.bring_back(number);
        }
        farm
    }

    /// Lets a server die: its sockets are closed, its connections broken.
    pub fn kill(&mut self, number: u8) {
        self.servers[usize::from(number - 1)] = None;
    }

    /// Starts a server that died.
    pub fn bring_back(&mut self, number: u8) {
        let mut addresses = Vec::new();
        for family in Family::ALL {
            let own = Lab::server(family, number);
            addresses.push(SocketAddr::new(own, Service::NAT_SERVER_PORT));
            addresses.push(SocketAddr::new(own, 80)); // for the checks of dsr and tunnel services
            addresses.push(SocketAddr::new(Lab::service(family, Mode::Dsr), 80));
            addresses.push(SocketAddr::new(Lab::service(family, Mode::Tunnel), 80));
        }
        let (node, name) = (Node::Server(number), char::from(b'0' + number));
        let blob = BlobServer::start(self.lab, node, name, &addresses);
        let echo = EchoServer::start(self.lab, node, name, &addresses);
        self.servers[usize::from(number - 1)] = Some((blob, echo));
    }
}

impl Lab {
    /// Stands for the server of a flow that none answered.
    pub const NOBODY: char = '-';

    /// Which servers answer new flows of a service just now, [`Lab::NOBODY`] among them when a flow is not answered
    /// within half a second; 32 flows are tried.
    #[must_use]
    pub fn servers_seen(&self, service: &Service) -> BTreeSet<char> {
        self.servers_seen_from(service, &Self::clients(family_of(service.listen)))
    }

    /// The same asked from these addresses of the client.
    #[must_use]
    pub fn servers_seen_from(&self, service: &Service, sources: &[IpAddr]) -> BTreeSet<char> {
        let timeout = Duration::from_millis(500);
        self.within(Node::Client, || match service.protocol {
            Protocol::Tcp => {
                let short = Transfer::new(service.listen).bytes(100, 100).timeout(timeout);
                tcp_transfers(short, 32, sources)
                    .into_iter()
                    .map(|made| made.map_or(Self::NOBODY, |made| made.server))
                    .collect()
            }
            Protocol::Udp => {
                let talk = Exchange::new(service.listen).from(sources).times(32, 1).timeout(timeout);
                let stats = talk.hold();
                let nobody = (stats.answered < stats.sent).then_some(Self::NOBODY);
                stats.per_server.into_keys().chain(nobody).collect()
            }
        })
    }

    /// The negative control: asks all of these services at once, and none may answer.
    ///
    /// # Panics
    /// When one does.
    #[track_caller]
    pub fn nobody_answers(&self, services: &[Service]) {
        let nobody = BTreeSet::from([Self::NOBODY]);
        let seen: Vec<_> = thread::scope(|scope| {
            let asked: Vec<_> =
                services.iter().map(|service| scope.spawn(|| self.servers_seen(service))).collect();
            asked.into_iter().map(|seen| seen.join().unwrap()).collect()
        });
        for (service, seen) in services.iter().zip(seen) {
            assert_eq!(seen, nobody, "{} is answered without a balancer", service.name);
        }
    }

    /// Waits until exactly these servers answer new flows of a service, and every flow is answered.
    ///
    /// # Panics
    /// When that does not happen within 10 s.
    #[track_caller]
    pub fn await_servers(&self, service: &Service, names: &str) {
        let wanted: BTreeSet<char> = names.chars().collect();
        let what = format!("servers {wanted:?} of {}", service.name);
        wait_until(Duration::from_secs(10), &what, || {
            let seen = self.servers_seen(service);
            if seen != wanted {
                eprintln!("{}: {seen:?} answer", service.name);
            }
            seen == wanted
        });
    }
}

fn family_of(address: SocketAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}
