//! Every code that a message about the configuration can carry. Codes are never given a second meaning.

/// Makes the constants and [`ALL`] from one list.
macro_rules! codes {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        $(#[doc = $text] pub const $name: &str = $code;)*

        /// All codes with what they mean, in order.
        pub const ALL: &[(&str, &str)] = &[$(($code, $text)),*];
    };
}

codes! {
    UNREADABLE = "C000", "The file cannot be read, is too large or is not UTF-8.";
    UNKNOWN_KEY = "C001", "No version knows this key or table.";
    LATER = "C002", "This key, table or value is not in this version.";
    MISPLACED = "C003", "This key belongs to another table.";
    SYNTAX = "C004", "The text is not TOML.";
    MISSING = "C005", "A key or table that must be there is not.";
    TYPE = "C006", "The value has the wrong TOML type.";
    CHOICE = "C007", "The value is none of those that the key knows.";
    FORMAT = "C008", "The text of the value cannot be read: a name, address, duration, path or key.";
    RANGE = "C009", "The number is outside its range.";
    TOO_MANY = "C010", "There are more of them than this version can serve.";
    INCLUDE = "C011", "A file cannot be included.";
    TWICE = "C012", "Two files have one table.";
    UNKNOWN_POOL = "C101", "A service names a pool that does not exist.";
    UNKNOWN_CHECK = "C102", "A pool names a health check that does not exist.";
    POOL_EMPTY = "C103", "A pool has no server.";
    SERVER_NAME_TWICE = "C104", "Two servers of a pool have one name.";
    SERVER_ADDRESS_TWICE = "C105", "Two servers of a pool have one address.";
    LISTEN_TWICE = "C106", "Two services share an address, port and protocol, or one lists a port beside port 0, which has it.";
    FAMILY_SERVICE = "C107", "A service listens on one IP family and its pool's servers have the other.";
    TIMEOUT_OVER_INTERVAL = "C108", "A health check may take longer than the time to the next one.";
    CORE_SHARED = "C109", "A worker's core is the control core too: bursts wait while control works (warning).";
    CORE_TWICE = "C110", "A core is listed twice.";
    RESET_UDP = "C111", "UDP has no reset.";
    NOT_MAGLEV = "C112", "Only the algorithm maglev has this option.";
    TABLE_TOO_SMALL = "C113", "A Maglev table has fewer slots than the pool has servers.";
    ADDRESS_UNUSABLE = "C114", "No host can have this address, or no packet to it can be forwarded.";
    ANY_PORT = "C115", "Port 0 (any) cannot be used with nat, which knows replies by the server's port.";
    DEVICE_TWICE = "C116", "Two ports have one device.";
    FAMILY_POOL = "C117", "A pool mixes IPv4 and IPv6 servers.";
    UNUSED = "C118", "Nothing uses this pool, health check, tunnel, persistence table or pool of source addresses (warning).";
    NO_PORT_FACES = "C119", "No port faces clients, or none faces servers.";
    DSR_PORT = "C120", "Direct server return cannot translate ports.";
    SERVER_IS_SERVICE = "C121", "A server has a service's address: packets would come straight back.";
    QUEUE_TWICE = "C122", "A queue is listed twice.";
    CHECK_PORT = "C123", "A health check of servers with port 0 needs a port of its own.";
    TABLE_UNEVEN = "C124", "A Maglev table has fewer than 100 slots a server: shares are uneven (warning).";
    NOT_TUNNEL = "C125", "Only the mode tunnel has this option.";
    UNKNOWN_TUNNEL = "C126", "A service names a tunnel that does not exist.";
    NOT_GUE = "C127", "Only tunnels of type gue have this option.";
    NOT_SNAT = "C128", "Only the mode snat has this option.";
    UNKNOWN_SNAT = "C129", "A service names a pool of source addresses that does not exist, or leaves open which of several.";
    SNAT_ADDRESS_TWICE = "C130", "A source address is listed twice: a port of it has one owner.";
    SNAT_IS_SERVICE = "C131", "A service listens on a source address: clients' packets and servers' replies would be mixed up.";
    SNAT_FAMILY = "C132", "A pool of source addresses has none of the servers' IP family.";
    SNAT_PORTS = "C133", "A range of source ports is too small for the number of workers, each of which has a share.";
    SNAT_SMALL = "C134", "The pools of source addresses have ports for fewer flows than max-flows (warning).";
    MAGLEV_ALIKE = "C140", "Maglev chooses alike on every node, so nothing may count that each node sees for itself.";
    SORRY_ITSELF = "C141", "A service's sorry pool is its own pool, which has just been found to have no server.";
    BACKUPS_ONLY = "C142", "A pool has only backup servers, and nobody whose backups they could be.";
    UNKNOWN_PERSISTENCE = "C143", "A service names a persistence table that does not exist.";
    MSS_UDP = "C144", "UDP has no maximum segment size to clamp.";
    ZERO_COPY_MIXED = "C145", "One port requires zero-copy and another turns it off.";
    NOT_L4 = "C150", "Only services of layer l4 have this option.";
    NOT_L7 = "C151", "Only services of layer l7 have this option, or only those with several nodes.";
    L7_UDP = "C152", "Services of layer l7 accept connections: UDP has none.";
    L7_ANY_PORT = "C153", "A service of layer l7 listens on a port, not on every one (0).";
    NOT_A_NODE = "C154", "None of the nodes of a service is this node, by [node] name.";
    NODES_ALIKE = "C155", "Nodes must choose alike among themselves: by maglev, and of each flow by its 5-tuple.";
    NODES_POOL = "C156", "A pool of nodes cannot serve layer l4: this node is one of its servers.";
    CHECK_KEY = "C160", "Checks of this type do not have this option.";
    CHECK_ROLE = "C161", "A pool's `health` names an agent, or its `agent` another type of check.";
    PATH_MODE = "C162", "A check by the service's path is of a pool whose servers do not answer clients themselves.";
    PATH_SOURCE = "C163", "A check by the service's path has no address to ask from of the service's IP family.";
    PANIC_IDLE = "C164", "A pool's panic has nothing to go by, or nobody to turn to.";
    PASSIVE_BY_SOURCE = "C165", "Clients' connections count as a witness where one forged address can look like one server's fault (warning).";
    METRICS_ON_SERVICE = "C170", "The metrics are to be served where a service listens.";
    REPORTS_ELSEWHERE = "C171", "Reports are to be taken where a service listens, or where metrics are served.";
    REPORTS_OPEN = "C172", "Reports, and the tokens that they need, are taken unencrypted on every address of the node (warning).";
    JOURNAL_FORMAT = "C180", "A log to the journal has no format to choose.";
    QUEUE_UNOWNED = "C201", "A receive queue of a port's device has no worker: its traffic would be lost.";
    NOT_ADJACENT = "C202", "A server of a dsr service is behind a router, which dsr cannot pass (warning).";
    BESIDE_CLIENTS = "C203", "A server of a nat service is in the network of clients, whom it answers past this node (warning).";
    NARROW = "C204", "Clients' full-sized packets do not fit on the way to servers (warning).";
    MEMORY = "C205", "The flow tables for `max-flows` take more memory than this machine has.";
    DEVICE = "C206", "A port's device is not on this machine, or is down.";
    QUEUE_COUNT = "C207", "A port's device has fewer receive queues than `queues` names or than there are workers, or more than they can have.";
    CORE_MISSING = "C208", "This machine has no such core, or gives it to nobody here: its worker runs on any (warning).";
    UNREACHABLE = "C209", "A server cannot be reached from this machine: it gets no flows (warning).";
    PORTS_SHARED = "C210", "This machine's own sockets use ports of a source address.";
    FILE = "C211", "A file or folder that the configuration names cannot be used.";
    LISTEN_BUSY = "C212", "The place for metrics or reports cannot be listened on.";
    ADDRESS_ABSENT = "C213", "A service expects its address on this node, which does not have it (warning).";
    FRAMES_LONG = "C214", "A port's device sends longer frames than the packet memory has room for.";
}

/// What a code means; `None` when there is no such code.
#[must_use]
pub fn explain(code: &str) -> Option<&'static str> {
    ALL.iter().find(|(c, _)| *c == code).map(|(_, text)| *text)
}

/// How a code comes about and what to do; `None` when there is no such code.
#[must_use]
pub fn advice(code: &str) -> Option<&'static str> {
    super::advice::ADVICE.iter().find(|(c, _)| *c == code).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_advice() {
        let known: Vec<_> = ALL.iter().map(|(code, _)| *code).collect();
        let advised: Vec<_> = super::super::advice::ADVICE.iter().map(|(code, _)| *code).collect();
        assert_eq!(advised, known);
    }

    #[test]
    fn codes_are_unique_and_in_order() {
        assert!(ALL.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(explain(DSR_PORT), Some("Direct server return cannot translate ports."));
        assert_eq!(explain("C999"), None);
    }
}
