//! The options that say between which ports and what traffic.

use clap::Args;
use ringlead_traffic::{
    Encapsulation, Mode, Plan, PortRef, Prefix, Rate, Server, Service, Setup, Sizes, TrafficError, TrialSpec,
};
use ringlead_wire::Protocol;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Ports, services and traffic: shared by `send`, `verify`, `search` and `soak`.
#[derive(Clone, Debug, Args)]
pub struct TrafficArgs {
    /// Ports that send: the clients' side
    #[arg(
        long,
        value_name = "[NETNS/]DEV,…",
        value_delimiter = ',',
        required = true,
        help_heading = "Ports"
    )]
    pub out: Vec<PortRef>,
    /// Ports that receive, besides the servers'
    #[arg(long = "in", value_name = "[NETNS/]DEV,…", value_delimiter = ',', help_heading = "Ports")]
    pub inputs: Vec<PortRef>,
    /// Servers to play: address and port as the balancer knows them, and where their frames arrive
    #[arg(long, value_name = "ADDR:PORT@[NETNS/]DEV,…", value_delimiter = ',', help_heading = "Ports")]
    pub server: Vec<Server>,
    /// Where dsr and tunnel servers send replies [default: the first --out port]
    #[arg(long, value_name = "[NETNS/]DEV", help_heading = "Ports")]
    pub back: Option<PortRef>,
    /// The balancer's Ethernet address [default: what the kernel resolves]
    #[arg(long, value_name = "MAC", value_parser = mac, help_heading = "Ports")]
    pub mac: Option<[u8; 6]>,
    /// Threads: 1 for both sides together, 2 for a side each
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2), help_heading = "Ports")]
    pub threads: u8,
    /// Never sleep: for machines with a core to spare for each thread
    #[arg(long, help_heading = "Ports")]
    pub busy: bool,
    /// The balancer's control socket: asked where frames were lost
    #[arg(long, value_name = "PATH", help_heading = "Ports")]
    pub control: Option<PathBuf>,

    /// Services to send to; `/tcp` or `/udp` behind one overrules --proto
    #[arg(long, value_name = "ADDR:PORT[/PROTO],…", value_delimiter = ',', help_heading = "Traffic")]
    pub to: Vec<String>,
    /// Protocols of the services: tcp, udp or both (tcp,udp)
    #[arg(long, value_name = "PROTO,…", value_delimiter = ',', default_value = "tcp", value_parser = protocol, help_heading = "Traffic")]
    pub proto: Vec<Protocol>,
    /// How the balancer forwards: nat, dsr, snat or tunnel
    #[arg(long, value_name = "MODE", default_value = "nat", help_heading = "Traffic")]
    pub mode: Mode,
    /// snat: the prefixes that clients come from at servers
    #[arg(long, value_name = "PREFIX,…", value_delimiter = ',', help_heading = "Traffic")]
    pub snat_source: Vec<Prefix>,
    /// snat: the ports that clients come from at servers [default: 1-65535]
    #[arg(long, value_name = "FIRST-LAST", value_parser = ports, help_heading = "Traffic")]
    pub snat_ports: Option<RangeInclusive<u16>>,
    /// tunnel: how packets come to servers: ipip, gue (variant 1) or gue-0 (variant 0) [default: ipip]
    #[arg(long, value_name = "KIND", help_heading = "Traffic")]
    pub tunnel: Option<Encapsulation>,
    /// tunnel: the servers' UDP port of GUE [default: 6080]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Traffic")]
    pub tunnel_port: Option<u16>,
    /// tunnel: the prefixes that outer source addresses must lie in [default: anywhere]
    #[arg(long, value_name = "PREFIX,…", value_delimiter = ',', help_heading = "Traffic")]
    pub tunnel_source: Vec<Prefix>,
    /// Flows at a time: up to 10M
    #[arg(long, value_name = "N", default_value = "1000", value_parser = count, help_heading = "Traffic")]
    pub flows: u32,
    /// Flows that end a second, each replaced by a new one
    #[arg(long, value_name = "N/s", default_value = "0", value_parser = per_second, help_heading = "Traffic")]
    pub new_flows: u32,
    /// Popularity of flows by Zipf's law with this exponent [default: all alike]
    #[arg(long, value_name = "EXPONENT", help_heading = "Traffic")]
    pub zipf: Option<f64>,
    /// Frame sizes with FCS, in turn: 64, or 64,512,1518, or imix (7:4:1 of 64, 594 and 1518)
    #[arg(long, value_name = "SIZES", default_value = "64", help_heading = "Traffic")]
    pub size: Sizes,
    /// Client addresses; may be given once for each family [default: 198.18.0.0/16 and 2001:2:0:1::/64]
    #[arg(long, value_name = "PREFIX,…", value_delimiter = ',', help_heading = "Traffic")]
    pub from: Vec<Prefix>,
    /// VLAN of the clients' frames, 1 to 4094; servers' frames are untagged
    #[arg(long, value_name = "ID", help_heading = "Traffic")]
    pub vlan: Option<u16>,
    /// DSCP and ECN of the frames: the whole TOS or traffic class byte, 0 to 255
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Traffic")]
    pub tos: u8,
    /// Servers send each frame back, and it is looked at again at the client's port
    #[arg(long, help_heading = "Traffic")]
    pub reply: bool,
    /// Percent of the frames to cut in two fragments; counted apart
    #[arg(long, value_name = "PCT", default_value_t = 0.0, help_heading = "Traffic")]
    pub fragments: f64,
    /// Percent of the frames to spoil the transport checksum of; counted apart
    #[arg(long, value_name = "PCT", default_value_t = 0.0, help_heading = "Traffic")]
    pub bad_checksums: f64,
}

impl TrafficArgs {
    /// Where the generator stands.
    ///
    /// # Errors
    /// What is wrong with the options, in a sentence.
    pub fn setup(&self) -> Result<Setup, TrafficError> {
        let mut setup = Setup::new(self.mode);
        setup.out.clone_from(&self.out);
        setup.inputs.clone_from(&self.inputs);
        setup.servers.clone_from(&self.server);
        setup.back.clone_from(&self.back);
        setup.services = self.services().map_err(TrafficError::Setup)?;
        setup.next_hop = self.mac;
        self.set_mode(&mut setup)?;
        setup.threads = self.threads;
        setup.busy = self.busy;
        setup.control.clone_from(&self.control);
        for prefix in &self.from {
            *(if prefix.base.is_ipv4() { &mut setup.clients_v4 } else { &mut setup.clients_v6 }) = *prefix;
        }
        Ok(setup)
    }

    /// What the modes need; an option of another mode is a mistake.
    fn set_mode(&self, setup: &mut Setup) -> Result<(), TrafficError> {
        let of_snat =
            [("--snat-source", !self.snat_source.is_empty()), ("--snat-ports", self.snat_ports.is_some())];
        let of_tunnel = [
            ("--tunnel", self.tunnel.is_some()),
            ("--tunnel-port", self.tunnel_port.is_some()),
            ("--tunnel-source", !self.tunnel_source.is_empty()),
        ];
        for (mode, options) in [(Mode::Snat, of_snat.as_slice()), (Mode::Tunnel, &of_tunnel)] {
            let stray = options.iter().find(|(_, given)| *given && self.mode != mode);
            if let Some((name, _)) = stray {
                return Err(TrafficError::Setup(format!("{name} is for --mode {mode}, not {}", self.mode)));
            }
        }
        let nets = |prefixes: &[Prefix]| prefixes.iter().map(|prefix| (*prefix).into()).collect();
        setup.snat.sources = nets(&self.snat_source);
        setup.tunnel.sources = nets(&self.tunnel_source);
        if let Some(ports) = &self.snat_ports {
            setup.snat.ports = ports.clone();
        }
        setup.tunnel.encapsulation = self.tunnel.unwrap_or_default();
        setup.tunnel.port = self.tunnel_port.unwrap_or(setup.tunnel.port);
        if setup.tunnel.encapsulation == Encapsulation::Ipip && self.tunnel_port.is_some() {
            return Err(TrafficError::Setup("--tunnel-port: ipip has no ports".to_owned()));
        }
        Ok(())
    }

    /// What is sent.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan {
            flows: self.flows,
            new_flows_per_s: self.new_flows,
            zipf: self.zipf,
            sizes: self.size.clone(),
            vlan: self.vlan,
            tos: self.tos,
            fragments_pct: self.fragments,
            bad_checksums_pct: self.bad_checksums,
            ..Plan::default()
        }
    }

    /// A trial of this traffic.
    #[must_use]
    pub fn trial(&self, rate: Rate, duration: Duration) -> TrialSpec {
        TrialSpec { reply: self.reply, ..TrialSpec::new(self.plan(), rate, duration) }
    }

    fn services(&self) -> Result<Vec<Service>, String> {
        let mut services = Vec::new();
        for text in &self.to {
            let why = || format!("'{text}' is no service: ADDRESS:PORT, perhaps with /tcp or /udp");
            let (address, protocols) = match text.rsplit_once('/') {
                Some((address, named)) => (address, vec![protocol(named)?]),
                None => (text.as_str(), self.proto.clone()),
            };
            let address: SocketAddr = address.parse().map_err(|_| why())?;
            services.extend(protocols.into_iter().map(|protocol| Service { address, protocol }));
        }
        Ok(services)
    }
}

/// A number with a unit prefix: `100k`, `1.5M`.
fn count(text: &str) -> Result<u32, String> {
    let (number, scale) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1e3),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let value = number.parse::<f64>().ok().map(|number| (number * scale).round());
    let value = value.filter(|value| (0.0..=f64::from(u32::MAX)).contains(value));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked")]
    value.map(|value| value as u32).ok_or_else(|| format!("'{text}' is no count: 1000, 100k or 1.5M"))
}

fn per_second(text: &str) -> Result<u32, String> {
    count(text.strip_suffix("/s").unwrap_or(text))
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        _ => Err(format!("'{text}' is no protocol: tcp or udp")),
    }
}

/// `1024-65535`, or one port.
fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(first..=last),
        _ => Err(format!("'{text}' is no range of ports: 1024-65535")),
    }
}

fn mac(text: &str) -> Result<[u8; 6], String> {
    let why = || format!("'{text}' is no Ethernet address: 02:00:00:00:00:01");
    let bytes: Vec<u8> = text
        .split(':')
        .map(
            |byte| if byte.len() == 2 { u8::from_str_radix(byte, 16).map_err(|_| why()) } else { Err(why()) },
        )
        .collect::<Result<_, _>>()?;
    bytes.try_into().map_err(|_| why())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: TrafficArgs,
    }

    fn read(line: &str) -> Result<TrafficArgs, String> {
        let words = ["bench"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.args).map_err(|e| e.to_string())
    }

    #[test]
    fn a_line_becomes_ports_services_and_a_plan() {
        let line = "--out c/c0 --server 10.2.0.11:80@s1/e0,[fd02::11]:80@s1/e0 --to 10.9.0.1:80,[fd09::1]:53/udp \
            --proto tcp,udp --flows 1.5M --new-flows 2k/s --size imix --from 10.1.0.0/24 --tos 185 --mac 02:00:00:00:00:0a";
        let args = read(line).unwrap();
        let setup = args.setup().unwrap();
        setup.check().unwrap();
        let services: Vec<String> = setup.services.iter().map(ToString::to_string).collect();
        assert_eq!(services, ["10.9.0.1:80/tcp", "10.9.0.1:80/udp", "[fd09::1]:53/udp"]);
        assert_eq!((setup.clients_v4.to_string().as_str(), setup.clients_v6.len), ("10.1.0.0/24", 64));
        assert_eq!(setup.next_hop, Some([2, 0, 0, 0, 0, 10]));
        let plan = args.plan();
        assert_eq!((plan.flows, plan.new_flows_per_s, plan.sizes), (1_500_000, 2000, Sizes::imix()));
        assert_eq!(plan.tos, 185);
    }

    #[test]
    fn modes_have_their_own_options() {
        let base = "--out c0 --server 10.2.0.11:80@e0 --to 10.9.0.1:80";
        let setup = |more: &str| read(&format!("{base} {more}")).unwrap().setup().unwrap();
        let snat = setup("--mode snat --snat-source 10.3.0.7/24,fd03::/120 --snat-ports 1024-2047");
        snat.check().unwrap();
        let sources: Vec<String> = snat.snat.sources.iter().map(ToString::to_string).collect();
        assert_eq!(
            (sources.as_slice(), snat.snat.ports),
            (&["10.3.0.0/24".into(), "fd03::/120".into()][..], 1024..=2047)
        );
        assert_eq!(setup("--mode snat --snat-source 10.3.0.7/24 --snat-ports 9").snat.ports, 9..=9);
        let gue = setup("--mode tunnel --tunnel gue-0 --tunnel-port 5555 --tunnel-source 10.4.0.0/16").tunnel;
        assert_eq!((gue.encapsulation, gue.port, gue.sources.len()), (Encapsulation::GueZero, 5555, 1));
        let plain = setup("--mode tunnel").tunnel;
        assert_eq!((plain.encapsulation, plain.port, plain.sources.len()), (Encapsulation::Ipip, 6080, 0));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let base = "--out c0 --server 10.2.0.11:80@e0";
        for (more, word) in [
            ("--flows many", "many"),
            ("--size 20", "20"),
            ("--mode gre", "gre"),
            ("--tunnel gre", "gre"),
            ("--tunnel-port 0", "0"),
            ("--snat-ports 9-8", "9-8"),
            ("--proto sctp", "sctp"),
            ("--mac 02:00", "02:00"),
            ("--from 10.0.0.0", "10.0.0.0"),
            ("--threads 3", "3"),
        ] {
            assert!(read(&format!("{base} {more}")).is_err_and(|why| why.contains(word)), "{more}");
        }
        for (more, word) in [
            ("--mode snat --tunnel ipip", "--tunnel is for --mode tunnel"),
            ("--tunnel-source 10.0.0.0/8", "--tunnel-source is for --mode tunnel"),
            ("--mode tunnel --snat-ports 9", "--snat-ports is for --mode snat"),
            ("--mode tunnel --tunnel-port 9", "ipip has no ports"),
        ] {
            let setup = read(&format!("{base} --to 10.9.0.1:80 {more}")).unwrap().setup();
            assert!(setup.is_err_and(|why| why.to_string().contains(word)), "{more}");
        }
        let args = read(&format!("{base} --to 10.9.0.1")).unwrap();
        assert!(args.setup().is_err_and(|why| why.to_string().contains("10.9.0.1")));
    }
}
