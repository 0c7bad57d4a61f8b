//! How a test sends frames and hears datagrams.

use super::frames::{Family, SERVICE_PORT, service};
use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// How long an answer that must come may take: only a failing test waits as long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends whole frames out of a device.
pub struct Wire(Socket);

impl Wire {
    /// In the calling thread's namespace.
    pub fn open(device: &str) -> Self {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None).unwrap();
        let index = nix::net::if_::if_nametoindex(device).unwrap();
        let mut storage = SockAddrStorage::zeroed();
        // SAFETY: sockaddr_ll is one of the types that a sockaddr_storage is for, and all its bit patterns are values.
        let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
        address.sll_ifindex = i32::try_from(index).unwrap();
        let length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap();
        // SAFETY: a sockaddr_ll of this length was just put there, the rest is zero.
        let address = unsafe { SockAddr::new(storage, length) };
        socket.bind(&address).unwrap();
        Self(socket)
    }

    pub fn send(&self, frame: &[u8]) {
        assert_eq!(self.0.send(frame).unwrap(), frame.len());
    }
}

/// What a service's socket heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heard {
    pub payload: Vec<u8>,
    pub from: SocketAddr,
    /// TOS or traffic class.
    pub service: u8,
}

/// The service's UDP socket.
pub struct Service(UdpSocket);

impl Service {
    /// In the calling thread's namespace, on the address of the service.
    pub fn open(family: Family) -> Self {
        let domain = if family == Family::V4 { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        match family {
            Family::V4 => socket.set_recv_tos_v4(true).unwrap(),
            Family::V6 => socket.set_recv_tclass_v6(true).unwrap(),
        }
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.bind(&SocketAddr::new(service(family), SERVICE_PORT).into()).unwrap();
        Self(socket.into())
    }

    /// The next datagram.
    pub fn hear(&self) -> Heard {
        self.receive().expect("no datagram came")
    }

    /// Answers what was heard.
    pub fn answer(&self, heard: &Heard, payload: &[u8]) {
        self.0.send_to(payload, heard.from).unwrap();
    }

    fn receive(&self) -> Option<Heard> {
        let mut payload = vec![0; 2048];
        let mut space = cmsg_space!(i32, i32);
        let mut slices = [IoSliceMut::new(&mut payload)];
        let received =
            recvmsg::<SockaddrStorage>(self.0.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty())
                .ok()?;
        let service = received.cmsgs().unwrap().find_map(|message| {
            if let ControlMessageOwned::Ipv4Tos(tos) = message {
                return Some(tos);
            }
            let ControlMessageOwned::Ipv6TClass(class) = message else { return None };
            Some(u8::try_from(class).unwrap())
        });
        let from = socket_address(&received.address.unwrap());
        let (length, service) = (received.bytes, service.expect("the TOS of a datagram"));
        payload.truncate(length);
        Some(Heard { payload, from, service })
    }
}

fn socket_address(address: &SockaddrStorage) -> SocketAddr {
    if let Some(v4) = address.as_sockaddr_in() {
        return (v4.ip(), v4.port()).into();
    }
    let v6 = address.as_sockaddr_in6().unwrap();
    (v6.ip(), v6.port()).into()
}

/// A client's UDP socket in the calling thread's namespace.
pub fn client(address: IpAddr, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((address, port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// The next datagram's payload and source.
pub fn heard_by(client: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut payload = vec![0; 2048];
    let (length, from) = client.recv_from(&mut payload).expect("no answer came");
    payload.truncate(length);
    (payload, from)
}
