//! One question to rtnetlink: which XDP programs does a device carry, and in which mode?
//!
//! /sys/class/net would answer for another network namespace, so the kernel is asked directly (`RTM_GETLINK`).

use std::io;
use std::os::fd::AsRawFd as _;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
/// `struct nlmsghdr`, and `struct ifinfomsg` behind it.
const HEADER: usize = 16;
const LINK_HEADER: usize = 32;

/// Ids of the programs on one device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Programs {
    pub(super) native: Option<u32>,
    pub(super) generic: Option<u32>,
}

/// Asks for the programs of a device of this network namespace. `ENODEV` when there is no such device.
pub(super) fn programs(ifindex: u32) -> io::Result<Programs> {
    let fd =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    send(fd.as_raw_fd(), &request(ifindex), MsgFlags::empty())?;
    let mut answer = vec![0; 64 * 1024];
    let length = recv(fd.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    parse(&answer[..length])
}

fn request(ifindex: u32) -> [u8; LINK_HEADER] {
    let mut message = [0; LINK_HEADER];
    message[0..4].copy_from_slice(&32_u32.to_ne_bytes());
    message[4..6].copy_from_slice(&RTM_GETLINK.to_ne_bytes());
    message[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    message[20..24].copy_from_slice(&ifindex.to_ne_bytes());
    message
}

fn parse(answer: &[u8]) -> io::Result<Programs> {
    let short = || io::Error::new(io::ErrorKind::InvalidData, "rtnetlink answered with a truncated message");
    match u16_at(answer, 4).ok_or_else(short)? {
        RTM_NEWLINK => {}
        NLMSG_ERROR => {
            let error = u32_at(answer, HEADER).ok_or_else(short)?.cast_signed();
            return Err(io::Error::from_raw_os_error(error.saturating_neg()));
        }
        other => return Err(io::Error::other(format!("rtnetlink answered with message type {other}"))),
    }
    let attributes = answer.get(LINK_HEADER..).ok_or_else(short)?;
    let Some(xdp) = attribute(attributes, IFLA_XDP) else { return Ok(Programs::default()) };
    let program = |kind| attribute(xdp, kind).and_then(|value| u32_at(value, 0)).filter(|id| *id != 0);
    Ok(Programs { native: program(IFLA_XDP_DRV_PROG_ID), generic: program(IFLA_XDP_SKB_PROG_ID) })
}

/// The value of the first attribute of a kind.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(bytes, 0)?);
        // The upper two bits are flags (nested, byte order).
        let kind = u16_at(bytes, 2)? & 0x3fff;
        let value = bytes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().map(|b| u16::from_ne_bytes(*b))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|b| u32::from_ne_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_carries_no_program() {
        assert_eq!(programs(1).unwrap(), Programs::default());
    }

    #[test]
    fn a_device_that_does_not_exist_is_enodev() {
        assert_eq!(programs(0x7fff_0000).unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn truncated_answers_are_refused_or_empty() {
        assert!(parse(&[]).is_err());
        let mut answer = request(1);
        answer[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
        assert_eq!(parse(&answer).unwrap(), Programs::default());
        assert!(parse(&answer[..31]).is_err());
    }
}
