//! How the packets of a check get to its server: by the workers' own next hop, plain or in the service's tunnel.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use ringlead_l4::neighbours::NextHop;
use ringlead_l4::tables::Tunnel;

use super::ear::Sockets;
use super::segment::frame;

#[derive(Debug)]
pub(super) struct Way {
    pub(super) sockets: Arc<Sockets>,
    /// The port's index and Ethernet address.
    pub(super) port: (u32, [u8; 6]),
    pub(super) hop: NextHop,
    pub(super) tunnel: Option<Tunnel>,
    pub(super) server: IpAddr,
}

impl Way {
    /// Sends a packet from its IP header on.
    pub(super) fn send(&self, packet: &[u8]) -> io::Result<()> {
        let (ifindex, mac) = self.port;
        let made = frame(packet, &self.hop, mac, self.tunnel.as_ref(), self.server);
        // No tunnel carries what it does not fit.
        let made = made.ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))?;
        self.sockets.sender.send(ifindex, &made)
    }
}
