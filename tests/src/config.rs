//! The configuration files of the tests.

use std::fmt::Write;
use std::net::SocketAddr;

use crate::lab::{Lab, Network, SERVERS};

/// The port of the standard services. Those of nat and snat have servers on [`Service::NAT_SERVER_PORT`].
const SERVICE_PORT: u16 = 80;

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    fn digit(self) -> char {
        if self == Self::V4 { '4' } else { '6' }
    }
}

/// How a service reaches its servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Destination translated; replies come back through the balancer.
    Nat,
    /// Source and destination translated; servers answer to an address of the balancer's.
    Snat,
    /// Sent on untouched but for the MAC; replies go around the balancer.
    Dsr,
    /// Sent on inside another packet; replies go around the balancer.
    Tunnel,
}

impl Mode {
    /// All.
    pub const ALL: [Self; 4] = [Self::Nat, Self::Snat, Self::Dsr, Self::Tunnel];

    /// Its name in a configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Snat => "snat",
            Self::Dsr => "dsr",
            Self::Tunnel => "tunnel",
        }
    }

    /// Where the servers of its standard services listen: where ports are translated, on another than the service's.
    #[must_use]
    pub fn server_port(self) -> u16 {
        match self {
            Self::Nat | Self::Snat => Service::NAT_SERVER_PORT,
            Self::Dsr | Self::Tunnel => SERVICE_PORT,
        }
    }
}

/// TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    fn word(self) -> &'static str {
        if self == Self::Tcp { "tcp" } else { "udp" }
    }
}

/// A service and its pool of the same name.
#[derive(Debug, Clone)]
pub struct Service {
    /// Name of the service and of its pool.
    pub name: String,
    /// How it reaches its servers.
    pub mode: Mode,
    /// Its protocol.
    pub protocol: Protocol,
    /// Where clients connect to.
    pub listen: SocketAddr,
    /// Its servers: the name, and where each listens.
    pub servers: Vec<(String, SocketAddr)>,
    /// Whether they are checked, by connecting to them.
    pub checked: bool,
    /// More lines for `[service.*]`, such as `tunnel = "ipip"`.
    pub lines: String,
    /// More lines for its `[pool.*]`; the algorithm is maglev unless one of them says otherwise.
    pub pool_lines: String,
    /// More keys of single servers, by their numbers: `(3, "backup = true")`.
    pub server_keys: Vec<(u8, String)>,
}

impl Service {
    /// Where the servers of the standard nat and snat services listen: another port than the service's.
    pub const NAT_SERVER_PORT: u16 = 8080;

    /// The standard service of a mode, protocol and family: port 80, with all servers.
    #[must_use]
    pub fn standard(mode: Mode, protocol: Protocol, family: Family) -> Self {
        let name = format!("{}-{}{}", mode.word(), protocol.word(), family.digit());
        Self::on(&name, mode, protocol, family, SERVICE_PORT, mode.server_port())
    }

    /// A service of another port, with all servers.
    #[must_use]
    pub fn on(
        name: &str,
        mode: Mode,
        protocol: Protocol,
        family: Family,
        port: u16,
        server_port: u16,
    ) -> Self {
        let servers = (1..=SERVERS)
            .map(|n| (format!("s{n}"), SocketAddr::new(Lab::server(family, n), server_port)))
            .collect();
        let listen = SocketAddr::new(Lab::service(family, mode), port);
        Self {
            name: name.to_owned(),
            mode,
            protocol,
            listen,
            servers,
            checked: true,
            lines: String::new(),
            pool_lines: String::new(),
            server_keys: Vec::new(),
        }
    }

    /// The same with its servers' addresses of this family, whatever the service's own is.
    #[must_use]
    pub fn reached_by(mut self, family: Family) -> Self {
        for ((_, address), number) in self.servers.iter_mut().zip(1..) {
            address.set_ip(Lab::server(family, number));
        }
        self
    }

    /// The same with these servers only.
    #[must_use]
    pub fn with_servers(mut self, numbers: &[u8]) -> Self {
        self.servers.retain(|(name, _)| numbers.iter().any(|n| *name == format!("s{n}")));
        self
    }

    /// The same with servers that count as up without being checked.
    #[must_use]
    pub fn unchecked(mut self) -> Self {
        self.checked = false;
        self
    }

    fn render(&self, text: &mut String) {
        let Self { name, mode, protocol, listen, servers, checked, lines, pool_lines, server_keys } = self;
        let (mode, protocol) = (mode.word(), protocol.word());
        let _ = writeln!(
            text,
            "[service.{name}]\nlisten = \"{listen}\"\nprotocol = \"{protocol}\"\nmode = \"{mode}\"\npool = \"{name}\"\n{lines}\n"
        );
        let health = if *checked { "health = \"tcp\"\n" } else { "" };
        let algorithm = if pool_lines.contains("algorithm =") { "" } else { "algorithm = \"maglev\"\n" };
        let _ = writeln!(text, "[pool.{name}]\n{algorithm}{pool_lines}{health}server = [");
        for (server, address) in servers {
            let of =
                |(number, key): &(u8, String)| (*server == format!("s{number}")).then(|| format!(", {key}"));
            let more: String = server_keys.iter().filter_map(of).collect();
            let _ = writeln!(text, "  {{ name = \"{server}\", address = \"{address}\"{more} }},");
        }
        let _ = writeln!(text, "]\n");
    }
}

/// A configuration file.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its services.
    pub services: Vec<Service>,
    /// The cores of the workers. One each receive queue on a machine of two cores.
    pub cores: Vec<u8>,
    /// The ports: name, device, and whom it faces.
    pub ports: Vec<(&'static str, &'static str, &'static str)>,
    /// More lines for each `[port.*]`, such as `attach = "generic"`.
    pub port_lines: String,
    /// What servers of snat services see in place of clients: addresses, and a range of ports.
    pub snat: (Vec<String>, String),
    head: String,
}

impl Config {
    /// A file for this lab with all standard services: each mode, TCP and UDP, IPv4 and IPv6.
    #[must_use]
    pub fn standard(lab: &Lab) -> Self {
        let mut config = Self::empty(lab);
        for mode in Mode::ALL {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                for family in Family::ALL {
                    config.services.push(Service::standard(mode, protocol, family));
                }
            }
        }
        config
    }

    /// A file for this lab without services.
    #[must_use]
    pub fn empty(lab: &Lab) -> Self {
        let (files, bpf) = (lab.files().display(), lab.bpf_dir());
        let head = format!(
            "version = 1\n\n[node]\nname = \"lab\"\nstate-dir = \"{files}/state\"\n\
             control = \"unix:{files}/control.sock\"\nbpf-dir = \"{}\"\n\n",
            bpf.display()
        );
        let cores = match lab.network() {
            Network { queues: 1, .. } => vec![1], // the other core is the control thread's
            Network { queues, .. } => (0..queues).collect(),
        };
        let snat = (vec![Lab::SNAT_V4.to_owned(), Lab::SNAT_V6.to_owned()], "1024-65535".to_owned());
        let ports = vec![("wan", "l0", "clients"), ("lan", "l1", "servers")];
        Self { services: Vec::new(), cores, ports, port_lines: String::new(), snat, head }
    }

    /// The same with one more service.
    #[must_use]
    pub fn service(mut self, service: Service) -> Self {
        self.services.push(service);
        self
    }

    /// The same with all services restricted to these servers.
    #[must_use]
    pub fn with_servers(mut self, numbers: &[u8]) -> Self {
        self.services = self.services.into_iter().map(|service| service.with_servers(numbers)).collect();
        self
    }

    /// The file's text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.head.clone();
        let cores: Vec<String> = self.cores.iter().map(u8::to_string).collect();
        let _ = writeln!(
            text,
            "[dataplane]\ncores = [{}]\ncontrol-core = 0\nmax-flows = 65536\n",
            cores.join(", ")
        );
        for (name, device, faces) in &self.ports {
            let more = &self.port_lines;
            let _ = writeln!(text, "[port.{name}]\ndevice = \"{device}\"\nfaces = \"{faces}\"\n{more}\n");
        }
        text.push_str(
            // Tests kill servers and bring them back as often as they like: none is held down for that.
            "[health.tcp]\ntype = \"tcp\"\ninterval = \"300ms\"\ntimeout = \"200ms\"\nrise = 1\nfall = 2\nflaps = 0\n\n",
        );
        if self.services.iter().any(|service| service.mode == Mode::Snat) {
            let (addresses, ports) = &self.snat;
            let _ = writeln!(text, "[snat.out]\naddresses = {addresses:?}\nports = \"{ports}\"\n");
        }
        for service in &self.services {
            service.render(&mut text);
        }
        text
    }
}

/// The standard configuration of a lab.
#[must_use]
pub fn config(lab: &Lab) -> String {
    Config::standard(lab).render()
}
