//! The notification socket: multicast groups -> a bounded channel of events, overruns told as [`NetEvent::Resync`].

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, setsockopt, socket, sockopt,
};
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::{NetEvent, event};

/// Events waiting for the receiver. When they are this many, the kernel's buffer fills next, then Resync.
const EVENTS_MAX: usize = 1024;
/// Kernel buffer in bytes; about a thousand notifications.
const KERNEL_BUFFER: usize = 1 << 20;
/// Datagrams read before the events so far are handed over.
const BURST_MAX: usize = 256;
/// A link message of a card with many virtual functions is the longest; the kernel itself stays below 64 KiB.
const DATAGRAM_MAX: usize = 64 * 1024;
const HEADER_LEN: usize = 16;

const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    // Policy rules: which table of routes an address is looked up in.
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// Subscribe now; read in a task until the receiver is dropped.
///
/// # Errors
/// When the socket cannot be made or bound.
pub(super) fn start() -> io::Result<mpsc::Receiver<NetEvent>> {
    #[allow(
        deprecated,
        reason = "its successor is unsafe because a type may change its descriptor; an OwnedFd does not"
    )]
    let socket = AsyncFd::new(open()?)?;
    let (sender, receiver) = mpsc::channel(EVENTS_MAX);
    tokio::spawn(run(socket, sender));
    Ok(receiver)
}

fn open() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    // The forced variant needs NET_ADMIN; without it the system's limit has to do, and Resync comes earlier.
    if setsockopt(&fd, sockopt::RcvBufForce, &KERNEL_BUFFER).is_err() {
        setsockopt(&fd, sockopt::RcvBuf, &KERNEL_BUFFER)?;
    }
    let groups = GROUPS.iter().fold(0, |mask, group| mask | 1_u32 << (*group as u32 - 1));
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
}

async fn run(socket: AsyncFd<OwnedFd>, sender: mpsc::Sender<NetEvent>) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        let batch = tokio::select! {
            () = sender.closed() => return,
            batch = read_burst(&socket, &mut buffer) => batch,
        };
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!(%error, "reading netlink notifications failed; network changes go unseen");
                return;
            }
        };
        for event in batch.into_events() {
            if sender.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// Wait, then read what is there, at most [`BURST_MAX`] datagrams.
async fn read_burst(socket: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> io::Result<Batch> {
    let mut batch = Batch::default();
    let mut guard = socket.readable().await?;
    for _ in 0..BURST_MAX {
        match recvfrom::<NetlinkAddr>(socket.get_ref().as_raw_fd(), buffer) {
            Ok((len, from)) => {
                // Only the kernel has port 0; nobody else's word counts.
                let from_kernel = from.is_none_or(|from| from.pid() == 0);
                if from_kernel {
                    batch.read(buffer.get(..len).unwrap_or_default());
                }
            }
            Err(Errno::EAGAIN) => {
                guard.clear_ready();
                break;
            }
            Err(Errno::ENOBUFS) => batch.overrun(),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(batch)
}

/// The events of one burst: neighbours and links in order, the rest folded into one each.
#[derive(Default)]
struct Batch {
    events: Vec<NetEvent>,
    addresses: bool,
    routes: bool,
    resync: bool,
}

impl Batch {
    /// Read every message of a datagram. One that cannot be read counts as lost.
    fn read(&mut self, mut bytes: &[u8]) {
        while bytes.len() >= HEADER_LEN {
            let Some((message, rest)) = split_message(bytes) else { return self.overrun() };
            bytes = rest;
            match NetlinkMessage::<RouteNetlinkMessage>::deserialize(message).map(|m| m.payload) {
                Ok(NetlinkPayload::InnerMessage(inner)) => self.add(event::decode(&inner)),
                Ok(NetlinkPayload::Overrun(_)) => self.overrun(),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "unreadable netlink notification");
                    self.overrun();
                }
            }
        }
    }

    fn add(&mut self, event: Option<NetEvent>) {
        match event {
            None => {}
            Some(NetEvent::Addresses) => self.addresses = true,
            Some(NetEvent::Routes) => self.routes = true,
            Some(NetEvent::Resync) => self.overrun(),
            Some(
                event @ (NetEvent::Neighbour { .. } | NetEvent::Link { .. } | NetEvent::LinkRemoved { .. }),
            ) => self.events.push(event),
        }
    }

    fn overrun(&mut self) {
        self.resync = true;
    }

    fn into_events(mut self) -> Vec<NetEvent> {
        if self.resync {
            // A dump made after this tells everything that the burst told.
            return vec![NetEvent::Resync];
        }
        if self.addresses {
            self.events.push(NetEvent::Addresses);
        }
        if self.routes {
            self.events.push(NetEvent::Routes);
        }
        self.events
    }
}

/// The first message, and what follows it (messages start on four-byte borders).
fn split_message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = u32::from_ne_bytes(*bytes.first_chunk()?);
    let len = usize::try_from(len).ok().filter(|len| *len >= HEADER_LEN)?;
    let message = bytes.get(..len)?;
    Some((message, bytes.get(len.next_multiple_of(4)..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtnetlink::packet_route::address::AddressMessage;
    use rtnetlink::packet_route::link::LinkMessage;

    fn bytes(message: RouteNetlinkMessage) -> Vec<u8> {
        let mut message = NetlinkMessage::from(message);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    fn new_address() -> Vec<u8> {
        let mut m = AddressMessage::default();
        m.header.family = rtnetlink::packet_route::AddressFamily::Inet;
        bytes(RouteNetlinkMessage::NewAddress(m))
    }

    #[test]
    fn several_messages_in_a_datagram_are_all_read_and_folded() {
        let mut datagram = new_address();
        datagram.extend(bytes(RouteNetlinkMessage::DelLink(LinkMessage::default())));
        datagram.extend(new_address());
        let mut batch = Batch::default();
        batch.read(&datagram);
        assert_eq!(batch.into_events(), [NetEvent::LinkRemoved { ifindex: 0 }, NetEvent::Addresses]);
    }

    #[test]
    fn the_next_message_starts_on_a_four_byte_border() {
        let mut bytes = vec![0; 24];
        bytes[..4].copy_from_slice(&17_u32.to_ne_bytes());
        let (message, rest) = split_message(&bytes).unwrap();
        assert_eq!((message.len(), rest.len()), (17, 4));
        // The last one need not be padded.
        assert_eq!(split_message(&bytes[..17]).unwrap().1.len(), 0);
    }

    #[test]
    fn a_truncated_datagram_is_a_loss() {
        let datagram = new_address();
        let mut batch = Batch::default();
        batch.read(&datagram[..datagram.len() - 1]);
        assert_eq!(batch.into_events(), [NetEvent::Resync]);
    }

    #[test]
    fn a_length_shorter_than_its_header_does_not_loop() {
        let mut batch = Batch::default();
        batch.read(&[0; 64]);
        assert_eq!(batch.into_events(), [NetEvent::Resync]);
    }

    #[test]
    fn an_overrun_supersedes_what_the_burst_told() {
        let mut batch = Batch::default();
        batch.read(&new_address());
        batch.overrun();
        assert_eq!(batch.into_events(), [NetEvent::Resync]);
    }
}
