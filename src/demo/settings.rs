//! The configuration file of the demo's balancer.

use std::fmt::Write;

use super::lab::Lab;
use super::service::{Family, Service, Way, server_name, sources};

/// The balancer's own source addresses, as the file names them.
const SOURCES: &str = "out";

/// The file's text: all services with these servers, and a worker on each of these cores.
pub(super) fn text(lab: &Lab, cores: &[usize], servers: &[u8]) -> String {
    let (files, bpf) = (lab.files().display(), lab.bpf_dir());
    let mut text = format!(
        "version = 1\n\n[node]\nname = \"demo\"\nstate-dir = \"{files}/state\"\n\
         control = \"unix:{files}/control.sock\"\nbpf-dir = \"{}\"\n\n",
        bpf.display()
    );
    let list: Vec<String> = cores.iter().map(usize::to_string).collect();
    let control = cores.first().copied().unwrap_or_default();
    let _ = writeln!(
        text,
        "[dataplane]\ncores = [{}]\ncontrol-core = {control}\nmax-flows = 65536\n",
        list.join(", ")
    );
    for (name, device, faces) in [("wan", "l0", "clients"), ("lan", "l1", "servers")] {
        let _ = writeln!(text, "[port.{name}]\ndevice = \"{device}\"\nfaces = \"{faces}\"\n");
    }
    text.push_str(
        "[health.tcp]\ntype = \"tcp\"\ninterval = \"300ms\"\ntimeout = \"200ms\"\nrise = 1\nfall = 2\n\n",
    );
    let list: Vec<String> =
        [Family::Ipv4, Family::Ipv6].into_iter().flat_map(sources).map(|ip| format!("\"{ip}\"")).collect();
    let _ = writeln!(text, "[snat.{SOURCES}]\naddresses = [{}]\n", list.join(", "));
    for service in Service::all() {
        write_service(&mut text, service, servers);
    }
    for service in Service::l7() {
        let listen = service.listen();
        let _ = writeln!(
            text,
            "[service.{service}]\nlisten = \"{listen}\"\nprotocol = \"tcp\"\nlayer = \"l7\"\n"
        );
    }
    text
}

fn write_service(text: &mut String, service: Service, servers: &[u8]) {
    let (mode, protocol, listen) = (service.way.mode().word(), service.protocol.word(), service.listen());
    let more = match service.way {
        Way::Nat | Way::Dsr | Way::L7 => String::new(),
        Way::Snat | Way::Translated => format!("snat = \"{SOURCES}\"\n"),
        Way::Ipip => "tunnel = \"ipip\"\n".to_owned(),
        Way::Gue => "tunnel = \"gue\"\n".to_owned(),
    };
    let _ = writeln!(
        text,
        "[service.{service}]\nlisten = \"{listen}\"\nprotocol = \"{protocol}\"\nmode = \"{mode}\"\n\
         {more}pool = \"{service}\"\n\n[pool.{service}]\nalgorithm = \"maglev\"\nhealth = \"tcp\"\nserver = ["
    );
    for &number in servers {
        let (name, address) = (server_name(number), service.server(number));
        let _ = writeln!(text, "  {{ name = \"{name}\", address = \"{address}\" }},");
    }
    let _ = writeln!(text, "]\n");
}
