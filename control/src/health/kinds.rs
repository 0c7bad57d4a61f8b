//! What a check asks, and which answer it wants. Data only: comparing two tells whether a check changed.

use std::path::PathBuf;

use super::probe::path::PathProbe;

/// One kind of check with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A TCP connection that is accepted.
    Tcp,
    /// One of those with a connection, by the service's own path: see [`PathProbe`].
    Path(PathProbe),
    /// An echo request that is answered (RFC 792, RFC 4443).
    Icmp,
    /// A TLS handshake that succeeds.
    Tls(TlsProbe),
    /// An HTTP/1.1 request with the wanted answer.
    Http(HttpProbe),
    /// A datagram that is not refused, or that gets the wanted reply.
    Udp(UdpProbe),
    /// A DNS question with the wanted answer (RFC 1035).
    Dns(DnsProbe),
    /// A line of an agent: neither passes nor fails, but says what is to be given to the server.
    Agent(AgentProbe),
}

impl Probe {
    /// `tcp`, `http`, …: the word for it in a configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Path(path) => path.asks.name(),
            Self::Tcp => "tcp",
            Self::Icmp => "icmp",
            Self::Tls(_) => "tls",
            Self::Http(HttpProbe { tls: None, .. }) => "http",
            Self::Http(HttpProbe { tls: Some(_), .. }) => "https",
            Self::Udp(_) => "udp",
            Self::Dns(_) => "dns",
            Self::Agent(_) => "agent",
        }
    }

    /// Whether it asks a port.
    #[must_use]
    pub const fn has_port(&self) -> bool {
        !matches!(self, Self::Icmp)
    }

    /// Sockets that an attempt has at one time, at most.
    pub(super) fn sockets(&self) -> u32 {
        if let Self::Path(path) = self { path.sockets() } else { 1 }
    }

    /// The file with the certificates that sign the server's, where it is verified.
    #[must_use]
    pub fn ca(&self) -> Option<&PathBuf> {
        match self {
            Self::Tls(tls) | Self::Http(HttpProbe { tls: Some(tls), .. }) => tls.ca.as_ref(),
            Self::Path(path) => path.asks.ca(),
            Self::Tcp | Self::Icmp | Self::Udp(_) => None,
            Self::Dns(_) | Self::Http(_) | Self::Agent(_) => None,
        }
    }
}

/// How TLS is spoken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsProbe {
    /// A PEM file with those who may have signed the server's certificate; `None`: any certificate will do.
    pub ca: Option<PathBuf>,
    /// The name asked for (RFC 6066 section 3), and verified where `ca` is given; `None`: the server's address.
    pub sni: Option<String>,
}

/// One HTTP/1.1 request and the wanted answer (RFC 9112).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProbe {
    /// Inside TLS.
    pub tls: Option<TlsProbe>,
    /// The method, a token.
    pub method: String,
    /// The target: a path, with a query perhaps.
    pub path: String,
    /// The `Host`; `None`: the server's address and port.
    pub host: Option<String>,
    /// More header fields, valid ones.
    pub headers: Vec<(String, String)>,
    /// First and last status of each range that is good; not empty.
    pub statuses: Vec<(u16, u16)>,
    /// What must be in the first 64 KiB of the body.
    pub body_contains: Option<String>,
}

/// What counts where the file says nothing: `GET /` in the clear, good with a status of 200 to 299.
impl Default for HttpProbe {
    fn default() -> Self {
        Self {
            tls: None,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            host: None,
            headers: Vec::new(),
            statuses: vec![(200, 299)],
            body_contains: None,
        }
    }
}

/// One datagram and the wanted reply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UdpProbe {
    /// What is sent; empty: an empty datagram.
    pub send: String,
    /// What a reply must contain; `None`: none is needed, only no refusal (ICMP port unreachable).
    pub reply: Option<String>,
}

/// Whom to ask for a server's state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentProbe {
    /// What is sent first; empty: nothing.
    pub send: String,
}

/// One question and the wanted answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsProbe {
    /// A valid name.
    pub name: String,
    /// The type of the records asked for: see [`DnsProbe::TYPES`].
    pub kind: &'static str,
    /// The response code that is good: see [`DnsProbe::RCODES`].
    pub rcode: &'static str,
    /// The data of a record that must be among the answers: an address, a name or a text.
    pub answer: Option<String>,
}

impl DnsProbe {
    /// The types that can be asked for.
    pub const TYPES: [&'static str; 9] = ["A", "AAAA", "CNAME", "NS", "PTR", "TXT", "MX", "SOA", "SRV"];
    /// The types whose data an expected answer can be compared with.
    pub const TYPES_COMPARED: [&'static str; 6] = ["A", "AAAA", "CNAME", "NS", "PTR", "TXT"];
    /// The response codes by their names (RFC 6895 section 2.3).
    pub const RCODES: [&'static str; 6] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];
}
