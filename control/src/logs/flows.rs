//! The flow log: one line at a flow's end.

use super::entry::Entry;
use super::orders::{Giver, Obeyer, Patience, orders};
use super::sink::Sink;
use crate::config::{FlowLogConfig, LogFormat, LogTarget};
use crossbeam::channel::{Receiver, Sender, bounded};
use ringlead_flow::{Account, FlowTable};
use ringlead_l4::chosen::{Among, Chosen};
use ringlead_l4::ends::{Accounts, EndQueue, Ended};
use serde_json::Value;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tracing::Level;

/// Names that are kept, those of services that have gone among them.
const SERVICES_MAX: usize = 20_000;
/// Lines that are written before the next order is looked at.
const AT_ONCE_MAX: usize = 8_192;
/// How long the writer rests when no flow ended.
const REST: Duration = Duration::from_millis(50);
/// How long the end waits for the last lines.
const LAST_LINES: Duration = Duration::from_millis(200);

/// What numbers in flows are called.
#[derive(Debug, Default)]
pub struct Names {
    /// By the service's word without its way ([`ringlead_l4::tables::ServiceId::to_u32`]).
    pub services: HashMap<u32, String>,
    /// `POOL/SERVER` and address by id.
    pub servers: HashMap<u32, (String, SocketAddr)>,
}

impl Names {
    /// Keeps names of services that have gone: their flows end after the reload that took them out.
    fn keep_of(&mut self, old: Self) {
        for (id, name) in old.services {
            if self.services.len() >= SERVICES_MAX {
                break;
            }
            self.services.entry(id).or_insert(name);
        }
    }
}

/// A flow log that has been opened and is not in force yet; `None`: none is wanted. Without a sink it goes on to where it goes.
#[derive(Debug)]
pub struct PreparedFlows(Option<(FlowLogConfig, Option<Sink>)>);

impl PreparedFlows {
    /// Opens what a configuration names, unless that is where lines go now ([`FlowLog::to`]): a line may have been begun there. Makes
    /// room in the table for what flows carry. May wait for the file system.
    ///
    /// # Errors
    /// When it cannot be opened, or memory is wanting.
    pub fn open(
        config: Option<&FlowLogConfig>,
        now: Option<&LogTarget>,
        table: &FlowTable,
    ) -> Result<Self, String> {
        let Some(config) = config else { return Ok(Self(None)) };
        table.keep_accounts().map_err(|error| format!("the flow log: {error}"))?;
        let sink = match &config.to {
            to if Some(to) == now => None,
            LogTarget::Stderr => Some(Sink::stderr(false)),
            LogTarget::Journal => Some(Sink::journal()?),
            LogTarget::File(path) => Some(Sink::file(path)?),
        };
        Ok(Self(Some((config.clone(), sink))))
    }
}

/// What the thread is told, in the order in which it does it.
#[derive(Debug, Default)]
struct Orders {
    /// Write there from now on, or nowhere.
    to: Option<Option<Sink>>,
    /// And so, with these names.
    form: Option<(LogFormat, Names)>,
    /// Open the file anew.
    reopen: bool,
}

/// The way to the thread that writes it, which starts with the first log that is wanted and ends with this.
#[derive(Debug)]
pub struct FlowLog {
    ends: Arc<EndQueue>,
    /// Where lines go; `None`: nowhere.
    to: Option<LogTarget>,
    orders: Option<Giver<Orders>>,
    /// Disconnected when the thread has ended.
    ended: Option<Receiver<()>>,
}

impl FlowLog {
    /// Off.
    #[must_use]
    pub fn new(ends: Arc<EndQueue>) -> Self {
        Self { ends, to: None, orders: None, ended: None }
    }

    /// Where lines go; `None`: nowhere.
    #[must_use]
    pub fn to(&self) -> Option<&LogTarget> {
        self.to.as_ref()
    }

    /// Puts a log into force, or none. `names` are those of the configuration in force.
    pub fn adopt(&mut self, prepared: PreparedFlows, names: impl FnOnce() -> Names) {
        let Some((config, sink)) = prepared.0 else {
            self.ends.take(0, &[], Accounts::Sampled);
            self.to = None;
            if let Some(orders) = &self.orders {
                orders.give(|orders| orders.to = Some(None));
            }
            return;
        };
        let started = self.started().map(|orders| {
            let mut names = names();
            orders.give(|orders| {
                if sink.is_some() {
                    orders.to = Some(sink);
                }
                if let Some((_, waiting)) = orders.form.take() {
                    names.keep_of(waiting);
                }
                orders.form = Some((config.format, names));
            });
        });
        match started {
            Ok(()) => {
                self.to = Some(config.to);
                self.ends.take(config.sample, &config.always, config.count);
            }
            Err(error) => tracing::error!(event = "log", %error, "the flow log stays as it was"),
        }
    }

    /// Opens its file anew.
    pub fn reopen(&self) {
        if let Some(orders) = &self.orders {
            orders.give(|orders| orders.reopen = true);
        }
    }

    fn started(&mut self) -> std::io::Result<&Giver<Orders>> {
        if self.orders.is_none() {
            let (giver, told_what) = orders();
            let ends = Arc::clone(&self.ends);
            let (ending, ended) = bounded(0);
            let patience = told_what.patience();
            let body = move || {
                let _ending: Sender<()> = ending;
                Writer::new(ends, patience).run(&told_what);
            };
            std::thread::Builder::new().name("flow-log".to_owned()).spawn(body)?;
            (self.orders, self.ended) = (Some(giver), Some(ended));
        }
        self.orders.as_ref().ok_or_else(|| std::io::Error::other("not started"))
    }
}

impl Drop for FlowLog {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(ended) = self.ended.take() {
            // What ended is written, unless the other end hangs.
            let _ = ended.recv_timeout(LAST_LINES);
        }
    }
}

struct Writer {
    ends: Arc<EndQueue>,
    patience: Patience,
    sink: Option<Sink>,
    format: LogFormat,
    names: Names,
    /// Lines that could not be written.
    failed: u64,
    /// Losses that a line has told.
    told: u64,
}

impl Writer {
    fn new(ends: Arc<EndQueue>, patience: Patience) -> Self {
        let (format, names) = (LogFormat::default(), Names::default());
        Self { ends, patience, sink: None, format, names, failed: 0, told: 0 }
    }

    /// Ends with the [`FlowLog`], after what ended before it.
    fn run(mut self, orders: &Obeyer<Orders>) {
        loop {
            let word = orders.woken.recv_timeout(REST);
            self.write_all();
            match word {
                Ok(()) => self.obey(orders.take()),
                Err(error) if error.is_disconnected() => {
                    self.failed += self.sink.as_mut().map_or(0, Sink::end);
                    return;
                }
                Err(_) => {}
            }
        }
    }

    fn obey(&mut self, orders: Orders) {
        if let Some(to) = orders.to {
            let old = std::mem::replace(&mut self.sink, to);
            self.failed += old.map_or(0, |mut old| old.end());
        }
        if let Some((format, names)) = orders.form {
            let old = std::mem::replace(&mut self.names, names);
            self.names.keep_of(old);
            self.format = format;
        }
        if orders.reopen
            && let Some(sink) = &mut self.sink
        {
            match sink.reopen() {
                Ok(cut_off) => self.failed += cut_off,
                Err(error) => {
                    tracing::error!(event = "log", %error, "the flow log cannot be opened anew, the old file stays");
                }
            }
        }
    }

    fn write_all(&mut self) {
        if self.sink.is_none() {
            return;
        }
        // No more at once: orders are waiting, too.
        for _ in 0..AT_ONCE_MAX {
            let Some(ended) = self.ends.next() else { break };
            let line = self.line(&ended);
            self.write(&line);
        }
        let lost = self.ends.lost() + self.failed;
        if lost > self.told {
            let message = format!("{} flows that ended were not logged", lost - self.told);
            tracing::warn!(event = "log", "{message}");
            self.write(&entry(message, Vec::new()));
            self.told = lost;
        }
    }

    fn write(&mut self, entry: &Entry) {
        let (format, patience) = (self.format, &mut self.patience);
        if self.sink.as_mut().is_some_and(|sink| sink.write(entry, format, patience).is_err()) {
            self.failed += 1;
        }
    }

    /// `client`, `to`, `protocol`, `service`, `server`, `address`, `end`, and [`counts`].
    fn line(&self, ended: &Ended) -> Entry {
        let (flow, at) = (&ended.gone.flow, &ended.gone.flow.client);
        let protocol = if at.proto == 6 { "tcp" } else { "udp" };
        let service = ringlead_l4::tables::ServiceId::from_u32(flow.service).to_u32();
        let service = self.names.services.get(&service).map_or("", String::as_str);
        let server = self.names.servers.get(&flow.server_id.0);
        let mut fields: Vec<(&'static str, Value)> = vec![
            ("client", SocketAddr::new(IpAddr::from(at.src), at.sport).to_string().into()),
            ("to", SocketAddr::new(IpAddr::from(at.dst), at.dport).to_string().into()),
            ("protocol", protocol.into()),
            ("service", service.into()),
        ];
        if let Some((name, address)) = server {
            fields.push(("server", name.as_str().into()));
            fields.push(("address", address.to_string().into()));
        }
        fields.push(("end", ended.why.name().into()));
        if let Some(account) = &ended.gone.account {
            counts(account, flow.server.is_some(), &mut fields);
        }
        entry(String::new(), fields)
    }
}

/// Of a flow whose account was kept: `seconds` from its first packet to its last, `packets-in` and `bytes-in` of the client,
/// `packets-out` and `bytes-out` of the server where its packets pass here, and why it had that server: `chosen`, and where that
/// is not all, `among`, `tried` and `midway`.
fn counts(account: &Account, two_sided: bool, fields: &mut Vec<(&'static str, Value)>) {
    let micros = account.last_us.saturating_sub(account.began_us);
    let (client, server) = (account.client, account.server);
    fields.push(("seconds", Duration::from_micros(micros).as_secs_f64().into()));
    fields.extend([("packets-in", client.packets.into()), ("bytes-in", client.bytes.into())]);
    if two_sided {
        fields.extend([("packets-out", server.packets.into()), ("bytes-out", server.bytes.into())]);
    }
    let Some(Chosen { by, among, tried, midway }) = Chosen::from_mark(account.why) else { return };
    fields.push(("chosen", by.name().into()));
    if among != Among::Pool {
        fields.push(("among", among.name().into()));
    }
    if tried > 0 {
        fields.push(("tried", tried.into()));
    }
    if midway {
        fields.push(("midway", true.into()));
    }
}

fn entry(message: String, fields: Vec<(&'static str, Value)>) -> Entry {
    Entry { at: SystemTime::now(), level: Level::INFO, event: Some("flow".to_owned()), message, fields }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::test_flow::datagram;
    use ringlead_flow::{Inserted, Sizes, Tick, Volume};
    use ringlead_l4::Shared;
    use ringlead_l4::chosen::By;
    use ringlead_l4::ends::Why;
    use ringlead_l4::tables::Tables;
    use ringlead_pick::FrontHash;
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    /// A node whose flows end by a sweep, as they do after the workers' end.
    fn node() -> Shared {
        let flows = FlowTable::new(&Sizes { flows_max: 20_000, workers: 1, seed: [1; 4] }).unwrap();
        Shared::new(Tables::empty(FrontHash::new([7; 16])), Arc::new(flows), 1, 4, 1)
    }

    fn end(shared: &Shared, sports: std::ops::Range<u16>) {
        for sport in sports {
            shared.loads.add(1);
            assert!(matches!(shared.flows.insert(&datagram(sport), Tick::from_nanos(0)), Inserted::New(_)));
        }
        shared.sweep(Tick::from_nanos(1_000_000_000_000));
    }

    fn log(path: &Path, shared: &Shared, sample: u32, always: Vec<Why>) -> PreparedFlows {
        let (to, count) = (LogTarget::File(path.to_owned()), Accounts::Sampled);
        let config = FlowLogConfig { to, format: LogFormat::Json, sample, always, count };
        PreparedFlows::open(Some(&config), None, &shared.flows).unwrap()
    }

    fn again(flows: &FlowLog, shared: &Shared, path: &Path) -> PreparedFlows {
        let (to, always, count) = (LogTarget::File(path.to_owned()), Vec::new(), Accounts::Sampled);
        let config = FlowLogConfig { to, format: LogFormat::Text, sample: 1, always, count };
        PreparedFlows::open(Some(&config), flows.to(), &shared.flows).unwrap()
    }

    fn names() -> Names {
        let server = ("app/s1".to_owned(), "10.0.0.1:8053".parse().unwrap());
        Names { services: HashMap::from([(5, "dns".to_owned())]), servers: HashMap::from([(1, server)]) }
    }

    #[test]
    fn a_flow_that_ends_is_a_line_with_the_names_of_its_numbers() {
        let (dir, shared) = (tempfile::tempdir().unwrap(), node());
        let path = dir.path().join("flows");
        let mut flows = FlowLog::new(Arc::clone(&shared.ends));
        end(&shared, 1..2);
        flows.adopt(log(&path, &shared, 1, Vec::new()), names);
        end(&shared, 2..3);
        drop(flows);
        let text = std::fs::read_to_string(&path).unwrap();
        let line: Value = serde_json::from_str(text.trim()).unwrap_or_else(|e| panic!("{e}: {text}"));
        let expected = serde_json::json!({
            "client": "198.51.100.7:2", "to": "192.0.2.1:53", "protocol": "udp", "service": "dns",
            "server": "app/s1", "address": "10.0.0.1:8053", "end": "service-removed",
        });
        assert_eq!((&line["event"], &line["fields"]), (&"flow".into(), &expected));
    }

    #[test]
    fn a_line_tells_what_was_counted_and_why_the_server() {
        let volume = |n| Volume { packets: n, bytes: 1000 * n };
        let chosen = Chosen { by: By::RoundRobin, among: Among::Pool, tried: 0, midway: false };
        let account = |chosen: Chosen| Account {
            why: chosen.to_mark(),
            began_us: 1_000_000,
            last_us: 3_500_000,
            client: volume(2),
            server: volume(3),
        };
        let told = |chosen, two_sided| {
            let mut fields = Vec::new();
            counts(&account(chosen), two_sided, &mut fields);
            serde_json::Value::Object(
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            )
        };
        let expected = serde_json::json!({
            "seconds": 2.5, "packets-in": 2, "bytes-in": 2000, "packets-out": 3, "bytes-out": 3000,
            "chosen": "round-robin",
        });
        assert_eq!(told(chosen, true), expected);
        let odd = Chosen { by: By::Maglev, among: Among::Sorry, tried: 2, midway: true };
        let expected = serde_json::json!({
            "seconds": 2.5, "packets-in": 2, "bytes-in": 2000,
            "chosen": "maglev", "among": "sorry-pool", "tried": 2, "midway": true,
        });
        assert_eq!(told(odd, false), expected);
    }

    #[test]
    fn more_than_the_queue_holds_is_lost_and_told() {
        let (dir, shared) = (tempfile::tempdir().unwrap(), node());
        let path = dir.path().join("flows");
        // The writer begins when the queue is full already.
        shared.ends.take(1, &[], Accounts::Sampled);
        end(&shared, 1..10_001);
        let lost = shared.ends.lost();
        assert!(lost > 0);
        let mut flows = FlowLog::new(Arc::clone(&shared.ends));
        flows.adopt(log(&path, &shared, 1, Vec::new()), names);
        let told = format!("{lost} flows that ended were not logged");
        let begin = std::time::Instant::now();
        while !std::fs::read_to_string(&path).unwrap().contains(&told) {
            assert!(begin.elapsed() < Duration::from_secs(60), "nobody says: {told}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What else a reload changes is in force at once; a renamed file is opened anew by an order to do so, or after it was off.
    #[test]
    fn a_log_that_stays_where_it_is_is_not_opened_again() {
        let (dir, shared) = (tempfile::tempdir().unwrap(), node());
        let (path, old) = (dir.path().join("flows"), dir.path().join("old"));
        let mut flows = FlowLog::new(Arc::clone(&shared.ends));
        flows.adopt(log(&path, &shared, 1, Vec::new()), names);
        std::fs::rename(&path, &old).unwrap();
        flows.adopt(again(&flows, &shared, &path), names);
        assert!(!path.exists(), "opened again");
        end(&shared, 1..2);
        let begin = std::time::Instant::now();
        while !std::fs::read_to_string(&old).unwrap().contains("app/s1") {
            assert!(begin.elapsed() < Duration::from_secs(60), "nobody writes to where it went");
            std::thread::sleep(Duration::from_millis(20));
        }
        let text = std::fs::read_to_string(&old).unwrap();
        assert!(!text.starts_with('{'), "the old format: {text}");
        flows.adopt(PreparedFlows(None), names);
        flows.adopt(again(&flows, &shared, &path), names);
        assert!(path.exists(), "off, and on again");
    }

    /// The writer closes what it wrote to, so a pipe's reader sees the end.
    #[test]
    fn off_is_an_order() {
        let (dir, shared) = (tempfile::tempdir().unwrap(), node());
        let path = dir.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut options = std::fs::OpenOptions::new();
        let mut reader = options.read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let mut flows = FlowLog::new(Arc::clone(&shared.ends));
        flows.adopt(log(&path, &shared, 1, Vec::new()), names);
        end(&shared, 1..2);
        let (begin, mut text) = (std::time::Instant::now(), Vec::new());
        let mut read_until = |what: &str, fits: &dyn Fn(&[u8], bool) -> bool| loop {
            let mut bytes = [0; 4_096];
            let read = reader.read(&mut bytes);
            text.extend_from_slice(&bytes[..*read.as_ref().unwrap_or(&0)]);
            if fits(&text, read.is_ok_and(|length| length == 0)) {
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::sleep(Duration::from_millis(20));
        };
        read_until("no line came", &|text, _| text.ends_with(b"\n"));
        flows.adopt(PreparedFlows(None), names);
        read_until("the pipe is still open", &|_, at_end| at_end);
    }
}
