//! The file's shape as serde reads it: every value with its place, nothing judged yet.
//!
//! Every field may be absent: what must be there is decided by the checks, which can then complain about all of
//! it at once.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor, value::SeqAccessDeserializer};
use toml::Spanned;

use super::source::Span;

/// A value that may be absent.
pub(super) type Opt<T> = Option<Spanned<T>>;

/// A table with its place.
pub(super) struct Table<T> {
    /// The key and its headers, for messages: `[pool.app.server[0]]`.
    pub(super) path: String,
    /// The header, or the braces of an inline table.
    pub(super) span: Span,
    /// Keys that are there, but misspelt or of the wrong type: reported already, so not missing.
    pub(super) broken: BTreeSet<String>,
    pub(super) raw: T,
}

impl<T> Table<T> {
    /// Whether a key that was read as absent really is.
    pub(super) fn lacks(&self, key: &str) -> bool {
        !self.broken.contains(key)
    }
}

/// `[KIND.NAME]`.
pub(super) struct Named<T> {
    pub(super) name: Spanned<String>,
    pub(super) table: Table<T>,
}

/// The whole file.
pub(super) struct File {
    pub(super) version: Table<Version>,
    pub(super) node: Option<Table<Node>>,
    pub(super) dataplane: Option<Table<Dataplane>>,
    pub(super) ports: Vec<Named<Port>>,
    pub(super) services: Vec<Named<Service>>,
    pub(super) pools: Vec<Named<Pool>>,
    pub(super) tunnels: Vec<Named<Tunnel>>,
    pub(super) persistence: Vec<Named<Persistence>>,
    pub(super) snats: Vec<Named<Snat>>,
    pub(super) checks: Vec<Named<Health>>,
    pub(super) observe: Option<Table<Observe>>,
    /// Tables that are there, but misspelt or no tables: reported already, so not missing.
    pub(super) broken: BTreeSet<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Version {
    pub(super) version: Opt<i64>,
    /// Followed before the tree was walked; read for its type.
    #[serde(rename = "include")]
    pub(super) _include: Opt<OneOrMany<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Node {
    pub(super) name: Opt<String>,
    pub(super) state_dir: Opt<String>,
    pub(super) control: Opt<String>,
    pub(super) bpf_dir: Opt<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Dataplane {
    pub(super) driver: Opt<String>,
    pub(super) cores: Opt<Vec<Spanned<i64>>>,
    pub(super) control_core: Opt<i64>,
    pub(super) idle: Opt<String>,
    pub(super) max_flows: Opt<i64>,
    pub(super) hash_key: Opt<String>,
    pub(super) frames: Opt<i64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Port {
    pub(super) device: Opt<String>,
    pub(super) queues: Opt<OneOrMany<i64>>,
    pub(super) zero_copy: Opt<String>,
    pub(super) attach: Opt<String>,
    pub(super) rx_checksum: Opt<String>,
    pub(super) faces: Opt<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Service {
    pub(super) listen: Opt<OneOrMany<String>>,
    pub(super) protocol: Opt<String>,
    pub(super) layer: Opt<String>,
    pub(super) nodes: Opt<String>,
    pub(super) hand_off: Opt<String>,
    pub(super) mode: Opt<String>,
    pub(super) pool: Opt<String>,
    pub(super) tunnel: Opt<String>,
    pub(super) snat: Opt<String>,
    pub(super) on_no_server: Opt<String>,
    pub(super) persistence: Opt<String>,
    pub(super) addresses: Opt<String>,
    pub(super) timeouts: Opt<String>,
    pub(super) mss_clamp: Opt<i64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Pool {
    pub(super) algorithm: Opt<String>,
    pub(super) hash: Opt<String>,
    pub(super) table_size: Opt<i64>,
    pub(super) slow_start: Opt<String>,
    pub(super) min_servers: Opt<i64>,
    pub(super) on_server_down: Opt<String>,
    pub(super) health: Opt<String>,
    pub(super) agent: Opt<String>,
    /// Read one by one, so that each has its own findings.
    #[serde(skip)]
    pub(super) server: Opt<Vec<Table<Server>>>,
    /// Read on its own, so that it has its own findings.
    #[serde(skip)]
    pub(super) panic: Option<Table<Panic>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Panic {
    pub(super) below: Opt<i64>,
    pub(super) then: Opt<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Server {
    pub(super) name: Opt<String>,
    pub(super) address: Opt<String>,
    pub(super) weight: Opt<i64>,
    pub(super) state: Opt<String>,
    pub(super) max_flows: Opt<i64>,
    pub(super) backup: Opt<bool>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Tunnel {
    pub(super) r#type: Opt<String>,
    pub(super) variant: Opt<i64>,
    pub(super) port: Opt<i64>,
    pub(super) source: Opt<OneOrMany<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Persistence {
    pub(super) r#type: Opt<String>,
    pub(super) mask: Opt<i64>,
    pub(super) mask6: Opt<i64>,
    pub(super) timeout: Opt<String>,
    pub(super) size: Opt<i64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Snat {
    pub(super) addresses: Opt<OneOrMany<String>>,
    pub(super) ports: Opt<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Health {
    pub(super) r#type: Opt<String>,
    pub(super) interval: Opt<String>,
    pub(super) interval_changing: Opt<String>,
    pub(super) timeout: Opt<String>,
    pub(super) rise: Opt<i64>,
    pub(super) fall: Opt<i64>,
    pub(super) flaps: Opt<i64>,
    pub(super) flap_window: Opt<String>,
    pub(super) flap_hold: Opt<String>,
    pub(super) flap_hold_max: Opt<String>,
    pub(super) port: Opt<i64>,
    pub(super) request: Opt<String>,
    pub(super) host: Opt<String>,
    pub(super) headers: Opt<OneOrMany<String>>,
    pub(super) ca: Opt<String>,
    pub(super) sni: Opt<String>,
    pub(super) send: Opt<String>,
    pub(super) query: Opt<String>,
    pub(super) via: Opt<String>,
    pub(super) probe_source: Opt<String>,
    /// Read on its own, so that it has its own findings.
    #[serde(skip)]
    pub(super) expect: Option<Table<Expect>>,
    /// The same.
    #[serde(skip)]
    pub(super) passive: Option<Table<Passive>>,
    pub(super) unreported: Opt<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Passive {
    pub(super) errors: Opt<i64>,
    pub(super) window: Opt<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Expect {
    pub(super) status: Opt<String>,
    pub(super) body_contains: Opt<String>,
    pub(super) reply: Opt<String>,
    pub(super) rcode: Opt<String>,
    pub(super) answer: Opt<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Observe {
    pub(super) metrics: Opt<String>,
    pub(super) report: Opt<String>,
    pub(super) report_token_file: Opt<String>,
    /// Read on its own, so that it has its own findings.
    #[serde(skip)]
    pub(super) log: Option<Table<Log>>,
    /// As `log`.
    #[serde(skip)]
    pub(super) flow_log: Option<Table<FlowLog>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Log {
    pub(super) to: Opt<String>,
    pub(super) format: Opt<String>,
    pub(super) level: Opt<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct FlowLog {
    pub(super) to: Opt<String>,
    pub(super) format: Opt<String>,
    pub(super) sample: Opt<String>,
    pub(super) always: Opt<Vec<Spanned<String>>>,
    pub(super) count: Opt<String>,
}

/// A string, or a list of values with their places.
pub(super) enum OneOrMany<T> {
    One(String),
    Many(Vec<Spanned<T>>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(OneOrMany::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMany::Many)
            }
        }

        deserializer.deserialize_any(Either(std::marker::PhantomData))
    }
}
