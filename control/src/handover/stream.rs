//! The stream: what it begins with, and how it is written and read. Nothing is believed before the lengths agree.
//!
//! ```text
//!  "ringlead" 8 | version 4 | length of the head 4 | counts, 8 each | head (JSON) | narrow flows | wide flows | rests | clients
//!  of version 2, besides: accounts
//! ```
//!
//! The length of all of it follows from the four counts of version 1 or the five of version 2, and must be that of the file.
//! Records are read one at a time, so a wrong count costs no memory. Accounts are written last and read first: a flow is stored
//! with its own. A reader that does not say that it knows version 2 gets version 1, and counts begin anew there. Another version
//! is another format: it is named and not looked at any further.

use super::record::{
    ACCOUNT, AccountRecord, CLIENT, ClientRecord, FlowRecord, NARROW, REST, RestRecord, WIDE,
};
use ringlead_flow::Account;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;

/// The version of streams without accounts.
const PLAIN: u32 = 1;
/// The latest version that this program writes and reads.
pub const VERSION: u32 = 2;
const MAGIC: [u8; 8] = *b"ringlead";
/// Bytes before the counts.
const START: u64 = 16;
/// The longest head, bytes: names of all that a configuration can have.
const HEAD_MAX: u32 = 64 << 20;
/// Bytes that are read or written at once.
const CHUNK: usize = 1 << 20;

/// Names for the numbers in the records, and when it was.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Head {
    /// The writer's version.
    pub(super) program: String,
    /// When the writer's workers were told to end: nanoseconds of `CLOCK_MONOTONIC`, which is one clock for all processes.
    pub(super) stopped_ns: u64,
    pub(super) services: Vec<String>,
    pub(super) servers: Vec<ServerName>,
    pub(super) ports: Vec<String>,
    pub(super) tables: Vec<String>,
    pub(super) pools: Vec<String>,
}

/// What makes a server the same one in another process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct ServerName {
    pub(super) pool: String,
    pub(super) name: String,
    pub(super) address: SocketAddr,
}

/// How many records of each kind, in the order of the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Counts {
    pub(super) narrow: u64,
    pub(super) wide: u64,
    pub(super) rests: u64,
    pub(super) clients: u64,
    pub(super) accounts: u64,
}

/// Why a stream is not read.
#[derive(Debug)]
pub enum Unreadable {
    /// It does not begin as every version does.
    NotOurs,
    /// It is of this version, which this program does not know.
    Version(u32),
    /// It is not as long as it says: bytes there are, and bytes that it wants.
    Length(u64, u64),
    /// Its head is too long or says nothing sensible.
    Head(String),
    /// The system said no.
    Io(io::Error),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs => write!(f, "it is no stream of flows"),
            Self::Version(version) => {
                write!(f, "it is of version {version}, and this program reads versions {PLAIN} to {VERSION}")
            }
            Self::Length(is, wants) => write!(f, "it has {is} bytes and says {wants}"),
            Self::Head(why) => write!(f, "its head cannot be read: {why}"),
            Self::Io(error) => write!(f, "reading it: {error}"),
        }
    }
}

impl std::error::Error for Unreadable {}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Counts {
    /// The length of a whole stream, saturated.
    fn total(&self, version: u32, head: u32) -> u64 {
        let sizes = [
            (self.narrow, NARROW),
            (self.wide, WIDE),
            (self.rests, REST),
            (self.clients, CLIENT),
            (self.accounts, ACCOUNT),
        ];
        let records = sizes.into_iter().map(|(count, size)| count.saturating_mul(size as u64));
        records.fold(prelude(version) + u64::from(head), u64::saturating_add)
    }

    /// As a stream of that version has them.
    fn numbers(&self, version: u32) -> impl Iterator<Item = u64> {
        let all = [self.narrow, self.wide, self.rests, self.clients, self.accounts];
        all.into_iter().take(counts(version))
    }
}

/// How many counts a stream of that version has.
const fn counts(version: u32) -> usize {
    if version == PLAIN { 4 } else { 5 }
}

/// Bytes before the head.
const fn prelude(version: u32) -> u64 {
    START + 8 * counts(version) as u64
}

/// Writes a stream. Records come in the order of the stream; their counts are put in at the end.
pub(super) struct Writer<W: Write + Seek> {
    out: BufWriter<W>,
    record: Vec<u8>,
    version: u32,
    counts: Counts,
    /// The first error: the rest is not written.
    failed: io::Result<()>,
}

impl<W: Write + Seek> Writer<W> {
    /// `version`: the latest that the reader knows.
    pub(super) fn new(out: W, head: &Head, version: u32) -> io::Result<Self> {
        let version = version.clamp(PLAIN, VERSION);
        let head = serde_json::to_vec(head)?;
        let length = u32::try_from(head.len()).ok().filter(|length| *length <= HEAD_MAX);
        let length = length.ok_or_else(|| io::Error::other("more names than a stream takes"))?;
        let mut out = BufWriter::with_capacity(CHUNK, out);
        out.write_all(&MAGIC)?;
        out.write_all(&version.to_le_bytes())?;
        out.write_all(&length.to_le_bytes())?;
        for count in Counts::default().numbers(version) {
            out.write_all(&count.to_le_bytes())?;
        }
        out.write_all(&head)?;
        let record = Vec::with_capacity(WIDE);
        Ok(Self { out, record, version, counts: Counts::default(), failed: Ok(()) })
    }

    /// Whether what flows have carried belongs into it.
    pub(super) const fn has_accounts(&self) -> bool {
        self.version != PLAIN
    }

    /// Narrow flows come before wide ones.
    pub(super) fn flow(&mut self, flow: &FlowRecord) {
        debug_assert!(!flow.is_narrow() || self.counts.wide == 0, "a narrow flow after a wide one");
        let count = if flow.is_narrow() { &mut self.counts.narrow } else { &mut self.counts.wide };
        *count += 1;
        flow.write(&mut self.record);
        self.flush_record();
    }

    pub(super) fn rest(&mut self, rest: &RestRecord) {
        self.counts.rests += 1;
        rest.write(&mut self.record);
        self.flush_record();
    }

    pub(super) fn client(&mut self, client: &ClientRecord) {
        self.counts.clients += 1;
        client.write(&mut self.record);
        self.flush_record();
    }

    /// In the order of the flows, and only where [`has_accounts`](Self::has_accounts).
    pub(super) fn account(&mut self, account: &AccountRecord) {
        debug_assert!(self.has_accounts(), "the reader does not know of accounts");
        self.counts.accounts += 1;
        account.write(&mut self.record);
        self.flush_record();
    }

    /// Puts the counts in.
    pub(super) fn finish(mut self) -> io::Result<Counts> {
        self.failed?;
        self.out.seek(SeekFrom::Start(START))?;
        for count in self.counts.numbers(self.version) {
            self.out.write_all(&count.to_le_bytes())?;
        }
        self.out.flush()?;
        Ok(self.counts)
    }

    fn flush_record(&mut self) {
        if self.failed.is_ok() {
            self.failed = self.out.write_all(&self.record);
        }
        self.record.clear();
    }
}

/// Reads a stream of a known length.
pub(super) struct Reader<R> {
    from: BufReader<R>,
    pub(super) head: Head,
    pub(super) counts: Counts,
    /// What flows have carried, by their places.
    accounts: VecDeque<AccountRecord>,
}

impl<R: Read + Seek> Reader<R> {
    /// Reads the head. `length`: of the whole file, bytes.
    pub(super) fn new(from: R, length: u64) -> Result<Self, Unreadable> {
        let mut from = BufReader::with_capacity(CHUNK, from);
        let mut start = [0; 16];
        if length < prelude(PLAIN) {
            return Err(Unreadable::NotOurs);
        }
        from.read_exact(&mut start)?;
        let [magic, numbers] = [0, 8].map(|at| start.get(at..at + 8).unwrap_or_default());
        let number = |at: usize| {
            numbers
                .get(at..)
                .and_then(|bytes| bytes.first_chunk())
                .map_or(0, |bytes| u32::from_le_bytes(*bytes))
        };
        let (version, head_length) = (number(0), number(4));
        if magic != MAGIC {
            return Err(Unreadable::NotOurs);
        }
        if !(PLAIN..=VERSION).contains(&version) {
            return Err(Unreadable::Version(version));
        }
        let mut count = || {
            let mut bytes = [0; 8];
            from.read_exact(&mut bytes).map(|()| u64::from_le_bytes(bytes))
        };
        let [narrow, wide, rests, clients] = [count()?, count()?, count()?, count()?];
        let accounts = if version == PLAIN { 0 } else { count()? };
        let counts = Counts { narrow, wide, rests, clients, accounts };
        let wants = counts.total(version, head_length);
        if wants != length {
            return Err(Unreadable::Length(length, wants));
        }
        if head_length > HEAD_MAX {
            return Err(Unreadable::Head(format!("{head_length} bytes")));
        }
        let mut head = vec![0; head_length as usize];
        from.read_exact(&mut head)?;
        let head = serde_json::from_slice(&head).map_err(|error| Unreadable::Head(error.to_string()))?;
        let mut reader = Self { from, head, counts, accounts: VecDeque::new() };
        reader.read_accounts(length)?;
        Ok(reader)
    }

    /// Reads what flows have carried, and goes back to the first of them. The length has been checked.
    fn read_accounts(&mut self, length: u64) -> Result<(), Unreadable> {
        let count = self.counts.accounts;
        if count == 0 {
            return Ok(());
        }
        let flows = self.from.stream_position()?;
        self.from.seek(SeekFrom::Start(length.saturating_sub(count.saturating_mul(ACCOUNT as u64))))?;
        let mut read = VecDeque::with_capacity(usize::try_from(count).unwrap_or(0));
        self.records::<ACCOUNT, _>(count, AccountRecord::read, |record| read.push_back(*record))?;
        self.accounts = read;
        self.from.seek(SeekFrom::Start(flows))?;
        Ok(())
    }

    /// Hands out every flow with its account, if it has one, in one go and before what follows.
    pub(super) fn flows(
        &mut self,
        mut take: impl FnMut(&FlowRecord, Option<Account>),
    ) -> Result<(), Unreadable> {
        let Counts { narrow, wide, .. } = self.counts;
        let (mut accounts, mut place) = (std::mem::take(&mut self.accounts), 0_u32);
        let mut take = |flow: &FlowRecord| {
            let account = accounts.front().copied().filter(|record| record.flow == place);
            if account.is_some() {
                accounts.pop_front();
            }
            place = place.wrapping_add(1);
            take(flow, account.map(|record| record.account));
        };
        self.records::<NARROW, _>(narrow, |bytes| FlowRecord::read(bytes, true), &mut take)?;
        self.records::<WIDE, _>(wide, |bytes| FlowRecord::read(bytes, false), &mut take)
    }

    /// Hands out every group of resting ports, after the flows.
    pub(super) fn rests(&mut self, take: impl FnMut(&RestRecord)) -> Result<(), Unreadable> {
        self.records::<REST, _>(self.counts.rests, RestRecord::read, take)
    }

    /// Hands out every remembered client, after the resting ports.
    pub(super) fn clients(&mut self, take: impl FnMut(&ClientRecord)) -> Result<(), Unreadable> {
        self.records::<CLIENT, _>(self.counts.clients, ClientRecord::read, take)
    }

    fn records<const N: usize, T>(
        &mut self,
        count: u64,
        read: impl Fn(&[u8]) -> Option<T>,
        mut take: impl FnMut(&T),
    ) -> Result<(), Unreadable> {
        let mut bytes = [0; N];
        for _ in 0..count {
            self.from.read_exact(&mut bytes)?;
            if let Some(record) = read(&bytes) {
                take(&record);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ringlead_flow::{Link, Profile, Tuple, Volume};
    use ringlead_wire::Ip;
    use std::io::Cursor;

    type Flows = Vec<(FlowRecord, Option<Account>)>;
    type Records = (Flows, Vec<RestRecord>, Vec<ClientRecord>);

    fn ip(v4: bool) -> impl Strategy<Value = Ip> {
        any::<[u8; 16]>().prop_map(move |a| {
            if v4 {
                Ip::from_v4([a[0], a[1], a[2], a[3]])
            } else {
                Ip::from_v6([&[0x20][..], &a[1..]].concat().try_into().unwrap())
            }
        })
    }

    fn tuple(v4: bool, proto: u8) -> impl Strategy<Value = Tuple> {
        (ip(v4), ip(v4), any::<[u16; 2]>()).prop_map(move |(src, dst, [sport, dport])| Tuple {
            src,
            dst,
            sport,
            dport,
            proto,
        })
    }

    prop_compose! {
        fn flow(v4: bool)(proto in any::<u8>(), crosses in any::<bool>(), two_sided in any::<bool>())(
            client in tuple(v4, proto),
            server in tuple(if v4 { true } else { crosses }, proto),
            two_sided in Just(two_sided),
            numbers in any::<[u32; 3]>(), bytes in any::<[u8; 4]>(), mac in any::<[u8; 6]>(),
            vlan in any::<[u16; 2]>(), long in any::<bool>(),
        ) -> FlowRecord {
            FlowRecord {
                client,
                server: two_sided.then_some(server),
                service: numbers[0], server_at: numbers[1], idle: numbers[2],
                way: bytes[0], marks: bytes[1],
                profile: if long { Profile::Rfc5382 } else { Profile::Lb },
                link: Link { mac, port: bytes[2], vlans: bytes[3], vlan },
            }
        }
    }

    prop_compose! {
        fn account()(why: u8, times: [u64; 2], sums: [u64; 4]) -> Account {
            let [began_us, last_us] = times;
            let [a, b, c, d] = sums;
            let (client, server) = (Volume { packets: a, bytes: b }, Volume { packets: c, bytes: d });
            Account { why, began_us, last_us, client, server }
        }
    }

    prop_compose! {
        fn records()(
            mut narrow in prop::collection::vec((flow(true), prop::option::of(account())), 0..9),
            wide in prop::collection::vec((flow(false), prop::option::of(account())), 0..9),
            rests in prop::collection::vec((ip(true), any::<u8>(), any::<u16>(), any::<u64>()), 0..5),
            clients in prop::collection::vec((ip(false), any::<[u32; 4]>()), 0..5),
        ) -> Records {
            narrow.extend(wide);
            let rest = |(ip, protocol, group, ports)| RestRecord { ip, protocol, group, ports };
            let client = |(source, [table, pool, server, idle]): (Ip, [u32; 4])| ClientRecord { table, pool, server, idle, source };
            (narrow, rests.into_iter().map(rest).collect(), clients.into_iter().map(client).collect())
        }
    }

    fn write((flows, rests, clients): &Records, head: &Head) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        let mut writer = Writer::new(&mut out, head, VERSION).unwrap();
        flows.iter().for_each(|(flow, _)| writer.flow(flow));
        rests.iter().for_each(|rest| writer.rest(rest));
        clients.iter().for_each(|client| writer.client(client));
        for (flow, (_, account)) in (0..).zip(flows) {
            account.iter().for_each(|account| writer.account(&AccountRecord { flow, account: *account }));
        }
        writer.finish().unwrap();
        out.into_inner()
    }

    fn read(bytes: &[u8], length: u64) -> Result<(Head, Records), Unreadable> {
        let mut reader = Reader::new(Cursor::new(bytes), length)?;
        let (mut flows, mut rests, mut clients) = Records::default();
        reader.flows(|flow, account| flows.push((*flow, account)))?;
        reader.rests(|rest| rests.push(*rest))?;
        reader.clients(|client| clients.push(*client))?;
        Ok((reader.head, (flows, rests, clients)))
    }

    fn head() -> Head {
        let address = "10.0.0.1:80".parse().unwrap();
        let server = ServerName { pool: "web".to_owned(), name: "one".to_owned(), address };
        Head { program: "1".to_owned(), stopped_ns: 7, servers: vec![server], ..Head::default() }
    }

    fn length(bytes: &[u8]) -> u64 {
        u64::try_from(bytes.len()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_written_is_read(records in records()) {
            let bytes = write(&records, &head());
            prop_assert_eq!(read(&bytes, length(&bytes)).unwrap(), (head(), records));
        }

        #[test]
        fn cut_short_anywhere_it_is_refused(records in records()) {
            let bytes = write(&records, &head());
            for cut in 0..bytes.len() {
                let short = &bytes[..cut];
                prop_assert!(read(short, length(short)).is_err(), "{} of {}", cut, bytes.len());
                // Also where the file lies about its length.
                prop_assert!(read(short, length(&bytes)).is_err());
            }
        }

        #[test]
        fn damage_is_refused_or_harmless(records in records(), at: prop::sample::Index, to: u8) {
            let mut bytes = write(&records, &head());
            *at.get_mut(&mut bytes) = to;
            let _ = read(&bytes, length(&bytes));
        }
    }

    #[test]
    fn another_version_is_named_and_absurd_counts_cost_nothing() {
        let good = write(&Records::default(), &head());
        let with = |at: usize, with: &[u8]| {
            let mut bytes = good.clone();
            bytes[at..at + with.len()].copy_from_slice(with);
            read(&bytes, length(&bytes)).unwrap_err()
        };
        assert!(matches!(with(0, b"x"), Unreadable::NotOurs));
        let version = with(8, &9_u32.to_le_bytes());
        assert!(version.to_string().contains("version 9"), "{version}");
        for at in [16, 24, 32, 40, 48] {
            for count in [1, u64::from(u32::MAX), u64::MAX] {
                assert!(matches!(with(at, &count.to_le_bytes()), Unreadable::Length(..)), "{at} {count}");
            }
        }
        assert!(matches!(with(12, &u32::MAX.to_le_bytes()), Unreadable::Length(..)));
        assert!(matches!(with(56, b"["), Unreadable::Head(_)));
    }
}
