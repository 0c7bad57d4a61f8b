//! `ringlead bench http`: requests at a rate or in loops.

use super::load::{CloseArgs, LoadArgs, bytes, refuse};
use clap::Args;
use ringlead_load::http::{Spec, run_seen};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

/// `ringlead bench http`.
#[derive(Debug, Args)]
pub struct HttpArgs {
    /// Where to: `http://HOST[:PORT][/PATH]`. A name is resolved before the namespace is entered
    #[arg(value_name = "URL", value_parser = Url::read)]
    url: Url,
    /// Requests at a time in a closed loop
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "rate",
        value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: u32,
    /// Most connections in an open loop; requests wait for one, and are charged for it [default: as many as in flight]
    #[arg(long, value_name = "N", requires = "rate", value_parser = clap::value_parser!(u32).range(1..))]
    connections: Option<u32>,
    /// Requests in all [default: as many as the duration has room for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Requests on a connection; 1: a connection a request [default: as many as the server lets it have]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests_per_connection: Option<u64>,
    /// The method
    #[arg(long, short = 'X', value_name = "METHOD", default_value = "GET")]
    method: String,
    /// The Host header [default: that of the URL]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Another header, `Name: value`
    #[arg(long, short = 'H', value_name = "HEADER", value_parser = header)]
    header: Vec<(String, String)>,
    /// Bytes of the request's body
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = bytes)]
    body_bytes: u64,
    /// The status that a right answer has
    #[arg(long, value_name = "STATUS", default_value_t = 200, value_parser = clap::value_parser!(u16).range(100..=999))]
    status: u16,
    /// Bytes that the body of a right answer has
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    answer_bytes: Option<u64>,
    /// SHA-256 of the body of a right answer, as sha256sum prints it
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    answer_sha256: Option<[u8; 32]>,
    #[command(flatten)]
    close: CloseArgs,
    #[command(flatten)]
    load: LoadArgs,
}

/// A URL as far as it is understood here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Url {
    /// Host and port as written: the `Host` header.
    authority: String,
    host: String,
    port: u16,
    path: String,
}

impl Url {
    fn read(text: &str) -> Result<Self, String> {
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => return Err("TLS is not spoken here, only http://".to_owned()),
            Some((scheme, _)) => return Err(format!("{scheme} is not spoken here, only http://")),
            None => text,
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        if authority.contains('@') {
            return Err("a user in a URL is not understood; there is --header".to_owned());
        }
        let colon = authority.rfind(':').filter(|colon| !authority[*colon..].contains(']'));
        let (host, port) = match colon {
            Some(colon) => (&authority[..colon], &authority[colon + 1..]),
            None => (authority, "80"),
        };
        let port = port.parse().map_err(|_| format!("{port} is no port"))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err("no host".to_owned());
        }
        if host.contains(':') && !authority.starts_with('[') {
            return Err(format!("an IPv6 address is written in brackets: http://[{authority}]/"));
        }
        Ok(Self { authority: authority.to_owned(), host: host.to_owned(), port, path })
    }

    /// The first address of the host.
    fn address(&self) -> Result<SocketAddr, String> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(SocketAddr::new(address, self.port));
        }
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        let found = found.map_err(|why| format!("{}: {why}", self.host))?.next();
        found.ok_or_else(|| format!("{} has no address", self.host))
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once(':').ok_or_else(|| format!("{text} is no header, such as Accept: text/html"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn sha256(text: &str) -> Result<[u8; 32], String> {
    let wrong = || format!("{text} is not 64 hexadecimal digits");
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

/// Runs it.
#[must_use]
pub fn run(args: &HttpArgs) -> ExitCode {
    let target = match args.url.address() {
        Ok(target) => target,
        Err(why) => return refuse(&why),
    };
    let mut settings = args.load.settings(target, args.concurrency);
    settings.connections_max = args.connections;
    (settings.total, settings.close) = (args.requests, args.close.into());
    let spec = Spec {
        method: args.method.clone(),
        headers: args.header.clone(),
        body_bytes: usize::try_from(args.body_bytes).unwrap_or(usize::MAX),
        status: args.status,
        answer_bytes: args.answer_bytes,
        answer_sha256: args.answer_sha256,
        requests_per_connection: args.requests_per_connection,
        ..Spec::get(settings, args.host.as_ref().unwrap_or(&args.url.authority), &args.url.path)
    };
    args.load.run(|seen| run_seen(&spec, seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let read = |text| {
            let url = Url::read(text).unwrap();
            (url.authority, url.host, url.port, url.path)
        };
        let parts = |a: &str, h: &str, port, path: &str| (a.to_owned(), h.to_owned(), port, path.to_owned());
        assert_eq!(read("http://10.9.0.1/"), parts("10.9.0.1", "10.9.0.1", 80, "/"));
        assert_eq!(read("http://a.example:8080"), parts("a.example:8080", "a.example", 8080, "/"));
        assert_eq!(read("http://[fd09::1]/a/b?c#d"), parts("[fd09::1]", "fd09::1", 80, "/a/b?c"));
        assert_eq!(read("[fd09::1]:81?x"), parts("[fd09::1]:81", "fd09::1", 81, "/?x"));
        let address = Url::read("http://[fd09::1]:81/").unwrap().address();
        assert_eq!(address, Ok("[fd09::1]:81".parse().unwrap()));
    }

    #[test]
    fn what_is_no_url_is_refused_with_its_reason() {
        for (text, word) in [
            ("https://a/", "TLS"),
            ("ftp://a/", "ftp"),
            ("http:///x", "no host"),
            ("http://a:b/", "b is no port"),
            ("http://a:99999/", "99999"),
            ("http://fd09::1/", "brackets"),
            ("http://me@a/", "--header"),
        ] {
            assert!(Url::read(text).is_err_and(|why| why.contains(word)), "{text}: {:?}", Url::read(text));
        }
    }

    #[test]
    fn digests_and_headers_are_read() {
        let digest = sha256(&"0f".repeat(32)).unwrap();
        assert_eq!(digest, [15; 32]);
        for text in ["", "0f", &"0g".repeat(32), &"é".repeat(32)] {
            assert!(sha256(text).is_err(), "{text}");
        }
        assert_eq!(header("A: b: c"), Ok(("A".to_owned(), "b: c".to_owned())));
        assert!(header("A").is_err());
    }
}
