//! How each code comes about, and what to do: what `ringlead explain` adds to [`codes::ALL`](super::codes::ALL).

/// One sentence or two a code, in the codes' order.
pub(super) const ADVICE: &[(&str, &str)] = &[
    (
        "C000",
        "The path is wrong, the file's mode keeps ringlead out, it is above 32 MiB, or an editor saved another encoding. Check with `ls -l` and `file`, and save it as UTF-8.",
    ),
    (
        "C001",
        "Mostly a slip of the pen: the message names the nearest key. `ringlead config schema` has them all; nothing is accepted and then ignored.",
    ),
    ("C002", "The key is planned and this version does not have it. Take it out, or use a later version."),
    (
        "C003",
        "In TOML a key belongs to the last [table] header above it. Move the line below the header that the message names, or add that header.",
    ),
    (
        "C004",
        "A quote, bracket or comma is missing, or a table or key is there twice. The place is where reading stopped; look at the line before, too.",
    ),
    ("C005", "What has no default must be written. Add the line that the message shows."),
    ("C006", "For example 10 in quotes, or a string where a list is expected. Write it as the message says."),
    ("C007", "The message lists the words that the key knows, the nearest first."),
    (
        "C008",
        "For example a duration without a unit (\"2s\"), an address without a port (\"192.0.2.10:80\"), a host name, or a capital letter in a name. The help shows the form.",
    ),
    (
        "C009",
        "The message names the range. Numbers have no units; durations have: \"500ms\", \"2s\", \"1m\", \"1h\".",
    ),
    (
        "C010",
        "The bounds keep memory and reloads bounded. Split what is too large, or spread it over several nodes.",
    ),
    (
        "C011",
        "`include` is in the file that ringlead is given and nowhere else; its paths are beside that file. A path must be there, a pattern (`services/*.toml`) may match nothing; no file is included twice.",
    ),
    ("C012", "Files join their tables, they never overlay each other. Take one table out, or rename it."),
    ("C101", "A slip, or the pool was renamed or removed. Name a table [pool.NAME] that exists."),
    (
        "C102",
        "A slip, or the check was renamed or removed. Name a table [health.NAME] that exists, or take `health` out: then servers are always up.",
    ),
    (
        "C103",
        "A service could never be served. Add servers, or take out the pool and the services that use it.",
    ),
    ("C104", "Commands and status know a server by its name. Give one of the two another name."),
    (
        "C105",
        "Mostly a line that was copied. Change the address, or take one out; for a larger share raise `weight`.",
    ),
    (
        "C106",
        "A packet must belong to one service. Change an address, a port or the protocol, or put both under one service with a list in `listen`.",
    ),
    (
        "C107",
        "Only snat and tunnel carry one family to servers of the other. Write one service and one pool a family, or use such a mode.",
    ),
    ("C108", "Checks of one server would overlap. Lower `timeout` or raise `interval`."),
    ("C109", "Right on a machine with few cores. Else give `control-core` a core that is not in `cores`."),
    ("C110", "A core runs one worker. Take one of the two out."),
    ("C111", "A reset is a TCP segment. Use on-no-server = \"drop\" or \"icmp-unreachable\" with udp."),
    (
        "C112",
        "`hash` and `table-size` shape a Maglev table, which other algorithms do not have. Take them out, or use algorithm = \"maglev\".",
    ),
    ("C113", "Some servers would get no slot. Leave `table-size` out: the default is large enough."),
    (
        "C114",
        "For example 0.0.0.0, loopback, multicast, link-local or a reserved address. Use a unicast address that routers forward.",
    ),
    (
        "C115",
        "nat would take every connection that comes from its servers for a reply. Use snat, dsr or tunnel, or name the ports.",
    ),
    ("C116", "One steering program owns a device. Put it into one [port.NAME] with faces = \"both\"."),
    (
        "C117",
        "A pool's servers stand in for each other, so all are of one family, but for tunnels. Write one pool a family.",
    ),
    (
        "C118",
        "Mostly a slip in the place that should name it, or what is left of a removed service. Use it or take it out.",
    ),
    (
        "C119",
        "Packets need a way in and a way out. Set `faces` of a port to \"clients\", \"servers\" or \"both\".",
    ),
    (
        "C120",
        "With dsr and tunnel the packet reaches the server as the client sent it, so the server must listen on the service's port. Change its port, or use nat or snat.",
    ),
    (
        "C121",
        "The packet to the server would be the service's again. Give the server an address of its own; with dsr it has the service's address besides, on lo.",
    ),
    ("C122", "A queue has one owner. Take one of the two out, or use queues = \"auto\"."),
    (
        "C123",
        "Servers with port 0 have no port of their own that could be checked. Set `port` in the [health.NAME] table.",
    ),
    (
        "C124",
        "With few slots a server's share is coarse. Leave `table-size` out: the default has at least 100 a server.",
    ),
    ("C125", "Only mode (or hand-off) tunnel puts packets into others. Take `tunnel` out, or use that mode."),
    ("C126", "A slip, or the table was removed. gue and ipip are built in; others are tables [tunnel.NAME]."),
    ("C127", "IPIP has neither port nor variant. Take the key out, or use type = \"gue\"."),
    ("C128", "Other modes keep the client's address. Take `snat` out, or use mode = \"snat\"."),
    ("C129", "A slip, or there are several tables [snat.NAME] and the service names none. Name one."),
    ("C130", "Two owners would give the same port to two flows. Take one out; ranges include both ends."),
    (
        "C131",
        "Clients' packets and servers' replies could not be told apart. Keep source addresses for that alone: shrink the range, or move the service.",
    ),
    ("C132", "Servers answer to an address of their own family. Add one to the pool of source addresses."),
    ("C133", "Each worker has its share of the ports, 64 at the least. Widen `ports`, or use fewer cores."),
    (
        "C134",
        "Each flow of snat needs a source port, so the table can never fill. Add addresses to the [snat.NAME] table, widen `ports`, or lower `max-flows`.",
    ),
    (
        "C140",
        "Nodes see different numbers of flows and would choose differently. Take `slow-start` or `max-flows` out, or use another algorithm.",
    ),
    (
        "C141",
        "The pool that has just been found empty cannot help itself. Name another pool, or use `backup` servers.",
    ),
    ("C142", "Backups stand in for others. Take `backup` out of those that are to serve first."),
    ("C143", "A slip, or the table was removed. Name a table [persistence.NAME] that exists."),
    ("C144", "Take `mss-clamp` out of the udp service; datagrams that are too big are answered by ICMP."),
    (
        "C145",
        "A worker's ports share their packet memory and with it the mode. Use zero-copy = \"prefer\" on one of the two, or \"off\" on all.",
    ),
    ("C150", "Services of layer l7 choose no server per packet. Take the key out, or use layer = \"l4\"."),
    ("C151", "Take the key out, or use layer = \"l7\" (with `nodes`, for what several nodes need)."),
    ("C152", "Use protocol = \"tcp\", or layer = \"l4\" with a mode and a pool."),
    ("C153", "A listener has a port. List each port in `listen`."),
    (
        "C154",
        "Each node finds itself in the pool by its name. Set `name` in [node] to that of one of the pool's servers.",
    ),
    (
        "C155",
        "Whichever node a flow comes to must send it to the same one. Use algorithm = \"maglev\" in the nodes' pool, and no `hash`.",
    ),
    (
        "C156",
        "Packets for this node would come back to it for ever. Write another pool for the servers of layer l4.",
    ),
    (
        "C160",
        "Each type of check asks something else. Take the key out, or use a type that the message names.",
    ),
    (
        "C161",
        "Checks pass or fail; agents say what they want to be given to their server. Name checks of type agent with `agent`, all others with `health`; a pool may have both.",
    ),
    (
        "C162",
        "Only packets of the modes dsr and tunnel go another way than a direct check: where servers answer through this node, that says the same. Take `via` out, or give the pool to services of those modes only.",
    ),
    (
        "C163",
        "Servers answer to that address, so it must be one of this node, of the family in which clients come. Write probe-source = \"ADDRESS\" in the [health.NAME] table.",
    ),
    (
        "C164",
        "Without a health check every server is up and the threshold is never met: set `health`, or take `panic` out. With then = \"backup\" the pool needs servers with backup = true.",
    ),
    (
        "C165",
        "With dsr and tunnel only clients' packets are seen, and with hash = \"src\" (or \"src+dport\") or persistence all of one address go to one server: whoever forges it can take that server down. Take `passive` out of the check, or give the pool a check without it.",
    ),
    (
        "C170",
        "The service would get the scrapes, or the scraper the clients. Choose another port for `metrics`, or an address that no service listens on.",
    ),
    (
        "C171",
        "The service would get the reports, or whoever reads metrics would meet the door for reports. Choose another port for `report`, or an address that no service listens on.",
    ),
    (
        "C172",
        "Whoever sees a token on the wire can take servers out of service. Write a management address, or a loopback address with a proxy in front that speaks TLS.",
    ),
    (
        "C180",
        "The journal keeps every field apart. Take `format` out, and choose by journalctl's -o; or write to = \"stderr\" or a path.",
    ),
    (
        "C201",
        "A card spreads its traffic over all of its receive queues, and nobody reads those without a worker. Use queues = \"auto\", or give the device as many queues as are named: ethtool -L DEVICE combined N.",
    ),
    (
        "C202",
        "dsr writes the server's Ethernet address into the client's packet, which only reaches hosts on a port's own network. `ip route get ADDRESS` shows the router. Use mode = \"tunnel\" (or nat, snat), or put the server into a network of this node.",
    ),
    (
        "C203",
        "Such a client sees an answer from an address that it never asked, and drops it. Clients elsewhere are served. Use mode = \"snat\", by which answers come back through this node; where no client is in that network, set `faces` of its port to \"servers\".",
    ),
    (
        "C204",
        "Tunnels and translated families make packets longer. Raise the MTU towards the servers to what the message says, or have smaller segments: `mss-clamp` with nat and snat, `advmss` in servers' routes with dsr and tunnel. Until then each such packet is answered by ICMP with the MTU that fits, which firewalls may drop.",
    ),
    (
        "C205",
        "The tables are taken whole at start, or the kernel would end some process when they fill. Lower `max-flows` in [dataplane], or start it on a larger machine.",
    ),
    (
        "C206",
        "A slip, a card that the system names otherwise, or a device that comes later than ringlead. `ip -br link` lists what there is; bring a device up with ip link set DEVICE up.",
    ),
    (
        "C207",
        "A worker receives and sends by its own queues only, so every port has at least a queue for each worker, and a worker has at most 64. Change the device's queues (ethtool -L DEVICE combined N), `queues`, or `cores`.",
    ),
    (
        "C208",
        "The worker runs, but wherever the kernel likes, beside everything else: slower, with late packets. `lscpu -e` lists the cores; a container or unit may be kept off some (AllowedCPUs=).",
    ),
    (
        "C209",
        "There is no route to it, its route leaves by a device that is no port, or the address is this node's own. `ip route get ADDRESS` asks the kernel. ringlead notices by itself when that changes.",
    ),
    (
        "C210",
        "The kernel gives ports of net.ipv4.ip_local_port_range to this machine's own connections; a flow with the same address and port would get their packets. Use an address that nothing else uses (ringlead adds it), or `ports` outside of that range.",
    ),
    (
        "C211",
        "It is not there, is of another kind, has no certificate, or its mode keeps ringlead out. The message names the path and what the system said; see `ls -ld PATH`.",
    ),
    (
        "C212",
        "Another program listens there (`ss -ltnp` says which), or this node does not have the address. Choose another port or address.",
    ),
    (
        "C213",
        "With addresses = \"expect\" another program (keepalived, say) brings the address; without it nobody answers for the service here. Right on a standby node. Else add it, or use addresses = \"manage\".",
    ),
    (
        "C214",
        "A frame lies in one piece of packet memory, 4096 bytes with 256 before it for outer headers. Lower the device's MTU to 3826 or less: ip link set DEVICE mtu N.",
    ),
];
