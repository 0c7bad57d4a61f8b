//! `[port.NAME]`.

use toml::Spanned;

use super::super::model::{Attach, Faces, PortConfig, Queues, RxChecksum, ZeroCopy};
use super::super::raw::{File, Named, OneOrMany, Port};
use super::super::values::{choice, number, quoted};
use super::{Findings, Once, at_most, codes, optional, required, values};

const PORTS_MAX: usize = 16;
/// `IFNAMSIZ` less its NUL.
const DEVICE_BYTES_MAX: usize = 15;
const QUEUE_MAX: i64 = 1_023;

const ZERO_COPY: [(&str, ZeroCopy); 3] =
    [("prefer", ZeroCopy::Prefer), ("require", ZeroCopy::Require), ("off", ZeroCopy::Off)];
const ATTACH: [(&str, Attach); 3] =
    [("auto", Attach::Auto), ("native", Attach::Native), ("generic", Attach::Generic)];
const RX_CHECKSUM: [(&str, RxChecksum); 3] =
    [("auto", RxChecksum::Auto), ("trust", RxChecksum::Trust), ("fix-partial", RxChecksum::FixPartial)];
const FACES: [(&str, Faces); 3] =
    [("clients", Faces::Clients), ("servers", Faces::Servers), ("both", Faces::Both)];

/// One entry a table, `None` where something was wrong.
pub(super) fn check(file: &File, findings: &mut Findings) -> Vec<Option<PortConfig>> {
    let tables = &file.ports;
    if tables.is_empty() && !file.broken.contains("port") {
        findings
            .error(codes::MISSING, 0..0, "no [port.NAME]: packets have no way in")
            .help("add, for example, [port.wan] with device = \"eth0\"");
    }
    at_most("ports", PORTS_MAX, tables.iter().map(|t| &t.name), findings);
    let mut devices = Once::new();
    let ports: Vec<_> = tables
        .iter()
        .map(|named| {
            let port = port(named, findings);
            if let Some(device) = &named.table.raw.device
                && let Some(first) = devices.first(device.get_ref().clone(), &device.span())
            {
                let message = format!("device {} is in two ports", quoted(device.get_ref()));
                findings.error(codes::DEVICE_TWICE, device.span(), message).also(&first, "first here");
            }
            port
        })
        .collect();
    facing(tables, &ports, findings);
    one_mode(tables, findings);
    ports
}

fn port(named: &Named<Port>, findings: &mut Findings) -> Option<PortConfig> {
    let raw = &named.table.raw;
    let named_well = values::name("port", &named.name, findings);
    let device =
        required(&named.table, "device", &raw.device, "\"eth0\"", findings).and_then(|v| device(v, findings));
    let queues = optional(raw.queues.as_ref(), |v| queues(v, findings));
    let zero_copy = optional(raw.zero_copy.as_ref(), |v| choice("zero-copy", v, &ZERO_COPY, &[], findings));
    let attach = optional(raw.attach.as_ref(), |v| choice("attach", v, &ATTACH, &[], findings));
    let rx_checksum =
        optional(raw.rx_checksum.as_ref(), |v| choice("rx-checksum", v, &RX_CHECKSUM, &[], findings));
    let faces = optional(raw.faces.as_ref(), |v| choice("faces", v, &FACES, &[], findings));
    named_well.then_some(())?;
    Some(PortConfig {
        name: named.name.get_ref().clone(),
        device: device?,
        queues: queues.ok()?.unwrap_or_default(),
        zero_copy: zero_copy.ok()?.unwrap_or_default(),
        attach: attach.ok()?.unwrap_or_default(),
        rx_checksum: rx_checksum.ok()?.unwrap_or_default(),
        faces: faces.ok()?.unwrap_or_default(),
    })
}

/// What the kernel takes as an interface's name (`dev_valid_name`).
fn device(value: &Spanned<String>, findings: &mut Findings) -> Option<String> {
    let name = value.get_ref();
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > DEVICE_BYTES_MAX || name.contains(bad) || name == "." || name == ".." {
        findings
            .error(codes::FORMAT, value.span(), format!("{} is no interface name", quoted(name)))
            .help(format!("a name has 1 to {DEVICE_BYTES_MAX} bytes, as `ip link` shows it"));
        return None;
    }
    Some(name.clone())
}

fn queues(value: &Spanned<OneOrMany<i64>>, findings: &mut Findings) -> Option<Queues> {
    let list = match value.get_ref() {
        OneOrMany::One(word) => {
            let word = Spanned::new(value.span(), word.clone());
            return choice("queues", &word, &[("auto", ())], &[], findings).map(|()| Queues::Auto);
        }
        OneOrMany::Many(list) => list,
    };
    if list.is_empty() {
        findings
            .error(codes::MISSING, value.span(), "`queues` is empty")
            .help("every receive queue needs a worker: leave it at \"auto\"");
        return None;
    }
    let mut once = Once::new();
    let mut numbers = Vec::with_capacity(list.len());
    for queue in list {
        if let Some(first) = once.first(*queue.get_ref(), &queue.span()) {
            findings
                .error(codes::QUEUE_TWICE, queue.span(), format!("queue {} is listed twice", queue.get_ref()))
                .also(&first, "first here");
        }
        numbers.push(number("queues", queue, 0..=QUEUE_MAX, findings));
    }
    let mut numbers = numbers.into_iter().collect::<Option<Vec<u32>>>()?;
    numbers.sort_unstable();
    Some(Queues::List(numbers))
}

/// A worker's ports share their packet memory and with it the mode.
fn one_mode(tables: &[Named<Port>], findings: &mut Findings) {
    let wish = |word: &str| {
        let mut wishes = tables.iter().filter_map(|t| Some((&t.name, t.table.raw.zero_copy.as_ref()?)));
        wishes.find(|(_, wish)| wish.get_ref() == word)
    };
    if let (Some((require, there)), Some((off, here))) = (wish("require"), wish("off")) {
        let [off, require] = [off, require].map(|name| name.get_ref().escape_debug());
        let message = format!("port `{require}` requires zero-copy and port `{off}` turns it off");
        let why = "a worker's ports share their packet memory, and with it the mode";
        findings
            .error(codes::ZERO_COPY_MIXED, here.span(), message)
            .also(&there.span(), "required here")
            .help(format!("{why}: use zero-copy = \"prefer\" on one of them, or \"off\" on all"));
    }
}

/// Services need a way in and a way out.
fn facing(tables: &[Named<Port>], ports: &[Option<PortConfig>], findings: &mut Findings) {
    let (Some(first), false) = (tables.first(), ports.iter().any(Option::is_none)) else { return };
    for (who, faces) in [("clients", Faces::clients as fn(Faces) -> bool), ("servers", Faces::servers)] {
        if !ports.iter().flatten().any(|p| faces(p.faces)) {
            findings
                .error(codes::NO_PORT_FACES, first.table.span.clone(), format!("no port faces {who}"))
                .help(format!("set faces = \"{who}\" or \"both\" on a port that reaches them"));
        }
    }
}
