//! What `ringlead status` shows, as one JSON object: the stable format. `report` fills it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of this format.
    pub format: u32,
    /// ringlead's version.
    pub version: String,
    /// The node's name.
    pub node: String,
    /// The daemon's process id.
    pub pid: u32,
    /// Seconds since start.
    pub uptime_s: f64,
    /// Whether it has started completely.
    pub ready: bool,
    /// `ready`, or `drain` when an operator wants no more traffic to come here.
    #[serde(default)]
    pub node_state: String,
    /// Why and since when it drains; `None`: it does not.
    #[serde(default)]
    pub node_said: Option<SaidStatus>,
    /// The snapshot in force.
    pub epoch: u64,
    /// The last reload.
    pub reload: ReloadStatus,
    /// What came over from a predecessor; absent when it did not begin by taking over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take_over: Option<TakeOverStatus>,
    /// What clients connect to.
    pub services: Vec<ServiceStatus>,
    /// Who serves.
    pub pools: Vec<PoolStatus>,
    /// What servers see in place of clients.
    pub snat: Vec<SnatStatus>,
    /// Who comes back to the same server.
    pub persistence: Vec<PersistenceStatus>,
    /// Network interfaces.
    pub ports: Vec<PortStatus>,
    /// Pinned cores.
    pub workers: Vec<WorkerStatus>,
    /// Flows in the table.
    pub flows: FlowStatus,
    /// Frames dropped since start, by reason; only reasons that occurred.
    pub drops: BTreeMap<String, u64>,
    /// The steering program's counters.
    pub steering: BTreeMap<String, u64>,
}

/// What came over from a predecessor that served until then.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TakeOverStatus {
    /// Flows.
    pub flows: u64,
    /// Flows that did not, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// Clients that are remembered.
    pub clients: u64,
    /// For how long nobody forwarded, in milliseconds.
    pub gap_ms: f64,
}

/// One `[snat.NAME]`.
#[derive(Debug, Serialize, Deserialize)]
pub struct SnatStatus {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// The range of ports of each: `1024-65535`.
    pub ports: String,
    /// Of TCP flows.
    pub tcp: SnatPortsStatus,
    /// Of UDP flows.
    pub udp: SnatPortsStatus,
}

/// Source ports of one transport, of all addresses together.
#[derive(Debug, Serialize, Deserialize)]
pub struct SnatPortsStatus {
    /// How many there are.
    pub total: usize,
    /// Held by a flow.
    pub used: usize,
    /// Of ended flows, not yet free again.
    pub quarantined: usize,
}

/// The last reload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// How many were tried since start.
    pub count: u64,
    /// Whether the last one was taken over.
    pub successful: bool,
    /// Why not.
    pub error: Option<String>,
    /// When, in seconds since 1970.
    pub at: Option<f64>,
    /// Seconds until it is undone unless confirmed; `None`: it does not wait.
    #[serde(default)]
    pub waits_s: Option<u64>,
}

/// One service.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// `l4` or `l7`.
    pub layer: String,
    /// `nat`, `snat`, `dsr` or `tunnel`; of layer l7 how other nodes get what is theirs, or `kernel` where there are none.
    pub mode: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Where it listens.
    pub listen: Vec<String>,
    /// Its pool, or its nodes; empty where it has none.
    pub pool: String,
    /// Of layer l7: whether a socket of this node listens wherever the service does.
    pub listening: Option<bool>,
    /// What clients get when no server can take them: `drop`, `reset` or `icmp-unreachable`.
    pub on_no_server: String,
    /// The pool that takes them before that answer.
    pub sorry: Option<String>,
    /// The persistence table that knows its clients.
    pub persistence: Option<String>,
    /// Servers that may get new flows: in a panic that sends to all, dead ones too.
    pub servers_eligible: usize,
    /// Servers that their checks and agents find up, whatever an operator or a panic makes of that.
    #[serde(default)]
    pub servers_up: usize,
    /// Whom its pool's panic sends new flows to: `all`, `none` or `backup`; `None`: there is no panic.
    #[serde(default)]
    pub panic: Option<String>,
    /// All servers.
    pub servers: usize,
    /// Flows created.
    pub flows_created: u64,
    /// Frames from clients sent on.
    pub packets_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Frames from servers sent on (nat).
    pub packets_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
}

/// One pool, with its servers or how many they are.
#[derive(Debug, Serialize, Deserialize)]
pub struct PoolStatus<S = Vec<ServerStatus>> {
    /// Its name.
    pub name: String,
    /// `maglev`, `round-robin`, `least-flows` or `random-2`.
    pub algorithm: String,
    /// What of a flow decides, with maglev: `5-tuple`, `src` or `src+dport`.
    pub hash: Option<String>,
    /// The slots of the table, with maglev.
    pub table_size: Option<u32>,
    /// Seconds from a server's first flow to its full weight.
    pub slow_start_s: Option<f64>,
    /// With fewer servers eligible that are no backups, the backups join.
    pub min_servers: usize,
    /// Whether there are fewer.
    pub below_min_servers: bool,
    /// Servers that their checks and agents find up, whatever an operator or a panic makes of that.
    #[serde(default)]
    pub servers_up: usize,
    /// Whom its panic sends new flows to: `all`, `none` or `backup`; `None`: there is no panic.
    #[serde(default)]
    pub panic: Option<String>,
    /// Whether backups get flows now.
    pub backups_in_use: bool,
    /// Its servers.
    pub servers: S,
}

/// One server.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Its weight, by command or else by the file.
    pub weight: u16,
    /// What the file says.
    #[serde(default)]
    pub weight_file: u16,
    /// Its weight of now: less while it starts slowly.
    pub weight_now: f64,
    /// Whether it gets flows only while too few others are eligible.
    pub backup: bool,
    /// The most flows that it may have.
    pub flows_max: Option<u32>,
    /// `ready`, `drain` or `offline`: what the operator wants, by command or else by the file.
    pub operator: String,
    /// What the file says.
    pub operator_file: String,
    /// The command that `operator` comes from; `None`: it comes from the file.
    pub said: Option<SaidStatus>,
    /// What its agent says, beside the state and the checks; `None`: its pool has no agent.
    #[serde(default)]
    pub agent: Option<AgentStatus>,
    /// `up`, `down`, `unknown` or `unchecked`.
    pub health: String,
    /// Why, in words: what the last change of `health` came from.
    pub reason: String,
    /// All that there is to say of its state: the reason, for how long that counts or good checks are not believed yet, what its
    /// agent says, and a panic that sends flows to it all the same.
    #[serde(default)]
    pub why: String,
    /// Who says so: `check`, `passive` (clients' connections), `report` or `nobody`.
    #[serde(default)]
    pub health_source: String,
    /// What was reported of it, and counts before what is found here.
    #[serde(default)]
    pub reported: Option<ReportedStatus>,
    /// How long its last good checks took; `None`: none has passed yet, or nobody asks.
    #[serde(default)]
    pub check_times: Option<CheckTimesStatus>,
    /// What clients' connections showed since start.
    #[serde(default)]
    pub connections: ConnectionStatus,
    /// For how many seconds good checks do not bring it up yet, because it has come and gone too often.
    #[serde(default)]
    pub held_s: Option<f64>,
    /// Whether new flows may go there.
    pub eligible: bool,
    /// Flows now.
    pub flows: i64,
    /// Its next hop, or why there is none.
    pub next_hop: String,
    /// Whether the next hop's Ethernet address is known.
    pub neighbour: Option<String>,
}

/// How long checks took that a server passed, to a sixteenth of the time.
#[derive(Debug, Serialize, Deserialize)]
pub struct CheckTimesStatus {
    /// How many are counted: the last ones, 1000 at most.
    pub checks: u64,
    /// Half of them took no longer, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 took no longer, in milliseconds.
    pub p99_ms: f64,
}

/// How the TCP connections went that clients asked a server for, as far as this node saw; counters of 32 bits, which wrap.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ConnectionStatus {
    /// The server took them.
    pub answered: u32,
    /// The SYN was repeated, or the flow ended, without an answer.
    pub unanswered: u32,
    /// The server reset them at once.
    pub refused: u32,
    /// An ICMP error said that the server cannot be reached.
    pub unreachable: u32,
}

/// What somebody reported of a server's health.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReportedStatus {
    /// Up or down.
    pub up: bool,
    /// Why, in the reporter's words.
    pub reason: Option<String>,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// Seconds until it ends.
    pub left_s: f64,
}

/// What an agent says of its server.
#[derive(Debug, Serialize, Deserialize)]
pub struct AgentStatus {
    /// All of it in the agent's words: `up, drain, 50%`.
    pub says: String,
    /// `ready`, `drain` or `maint`.
    pub wish: String,
    /// Whether an operator's command stands above that wish.
    pub overruled: bool,
    /// Whether it says that the server is down.
    pub down: bool,
    /// The share of the configured weight that it asks for.
    pub percent: u16,
    /// Whether that share changes nothing, because nodes of a maglev pool must choose alike.
    pub weight_kept: bool,
    /// Why, in its words.
    pub reason: Option<String>,
    /// Words of its last line that mean nothing here.
    pub ignored: Option<String>,
    /// Why it did not answer the last question: what it said before stands.
    pub problem: Option<String>,
}

/// What an operator said of a server at run time.
#[derive(Debug, Serialize, Deserialize)]
pub struct SaidStatus {
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// Until when; `None`: until another command.
    pub until: Option<u64>,
}

/// One `[persistence.NAME]`.
#[derive(Debug, Serialize, Deserialize)]
pub struct PersistenceStatus {
    /// Its name.
    pub name: String,
    /// `source`.
    pub kind: String,
    /// The bits of an IPv4 source that count.
    pub mask: u8,
    /// The bits of an IPv6 source that count.
    pub mask6: u8,
    /// Seconds until a client that begins no flow is forgotten.
    pub timeout_s: f64,
    /// Clients that are known now.
    pub used: usize,
    /// The most that can be.
    pub size: usize,
}

/// One port.
#[derive(Debug, Serialize, Deserialize)]
pub struct PortStatus {
    /// Its name.
    pub name: String,
    /// Its device.
    pub device: String,
    /// How it is driven: `af-xdp native copy`.
    pub mode: String,
    /// Its queues.
    pub queues: Vec<QueueStatus>,
}

/// One queue of a port.
#[derive(Debug, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Its number.
    pub queue: u32,
    /// The worker that owns it.
    pub worker: usize,
    /// Frames received.
    pub rx: u64,
    /// Frames sent.
    pub tx: u64,
    /// Frames lost because a ring was full.
    pub rx_lost: u64,
    /// Frames the device refused to send.
    pub tx_invalid: u64,
}

/// One worker.
#[derive(Debug, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its number.
    pub worker: usize,
    /// Its core.
    pub core: usize,
    /// The share of time spent on frames, over 1, 10 and 60 seconds.
    pub load: [f64; 3],
    /// Milliseconds since its last heartbeat.
    pub beat_ms: u64,
    /// The snapshot it uses.
    pub epoch: u64,
    /// Frames received.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// Frames it made itself.
    pub made: u64,
    /// Frames that wait.
    pub held: u64,
    /// Frames dropped.
    pub dropped: u64,
}

/// The flow table.
#[derive(Debug, Serialize, Deserialize)]
pub struct FlowStatus {
    /// IPv4 flows.
    pub ipv4: usize,
    /// IPv6 flows.
    pub ipv6: usize,
    /// The most of each family.
    pub max: usize,
    /// Created since start.
    pub created: u64,
    /// Ended since start.
    pub ended: u64,
}
