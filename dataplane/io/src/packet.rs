//! Whole frames sent beside the rings, by a packet socket (packet(7)): for what control sends now and then, never for traffic.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _, sendto, socket,
};

/// A socket that sends and never receives.
#[derive(Debug)]
pub struct FrameSender(OwnedFd);

impl FrameSender {
    /// Opens one.
    ///
    /// # Errors
    /// Without `CAP_NET_RAW` (EPERM), or descriptors.
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        // Without a protocol it receives nothing.
        Ok(Self(socket(AddressFamily::Packet, SockType::Raw, flags, None)?))
    }

    /// Sends a frame, its Ethernet header included, as it is by the device with this index.
    ///
    /// # Errors
    /// When there is no such device, it is down, its queue is full (ENOBUFS), or the frame is longer than its MTU allows.
    pub fn send(&self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        let ifindex = i32::try_from(ifindex).map_err(io::Error::other)?;
        sendto(self.0.as_raw_fd(), frame, &device(ifindex)?, MsgFlags::empty())?;
        Ok(())
    }
}

/// A device as an address. The kernel reads all else from the frame.
fn device(ifindex: i32) -> io::Result<LinkAddr> {
    let family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    let address = libc::sockaddr_ll {
        sll_family: family,
        sll_protocol: 0,
        sll_ifindex: ifindex,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // JUSTIFICATION: nix reads link addresses, but makes them only from the kernel's own form.
    // SAFETY: the pointer is to a whole `sockaddr_ll` of the family AF_PACKET, which outlives the call, and `length` is its size.
    let made = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) };
    made.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_keeps_its_index_and_no_other_is_sent_by() {
        assert_eq!(device(7).unwrap().ifindex(), 7);
        let sender = match FrameSender::open() {
            Ok(sender) => sender,
            Err(e) => {
                assert_eq!(e.raw_os_error(), Some(libc::EPERM), "{e}");
                eprintln!("SKIPPED sending by a device that is not there: it needs root");
                return;
            }
        };
        assert!(sender.send(u32::MAX, &[0; 60]).is_err(), "no device");
        assert_eq!(sender.send(0x7fff_ffff, &[0; 60]).unwrap_err().raw_os_error(), Some(libc::ENXIO));
    }
}
