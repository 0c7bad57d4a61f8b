//! What the kernel says of a network device, by ioctl: a process in a network namespace may well see its parent's /sys.
//!
//! JUSTIFICATION for the unsafe code: SIOCETHTOOL takes a pointer inside a union inside `ifreq`; no crate here wraps it.
#![allow(unsafe_code, reason = "ioctl with ifreq; see the module's justification")]

use std::ffi::c_char;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// A device as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Its number in this network namespace.
    pub ifindex: u32,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// Receive queues in use (`ethtool -l`: rx + combined); 1 where the driver does not say.
    pub rx_queues: u32,
    /// Name of the driver; empty where the device does not say.
    pub driver: String,
    /// Whether it is up.
    pub up: bool,
    /// Whether the device takes VLAN tags off received frames (`ethtool -k`: rxvlan): XDP never sees such a tag.
    pub strips_vlan: bool,
}

impl DeviceFacts {
    /// Whether frames that a local socket sent may arrive from it with a partial L4 checksum.
    #[must_use]
    pub fn partial_checksums(&self) -> bool {
        matches!(self.driver.as_str(), "veth" | "tun" | "virtio_net")
    }
}

/// Asks the kernel about device `name` in the caller's network namespace.
///
/// # Errors
/// `NotFound` (ENODEV) when there is no such device, `InvalidInput` for a name of 0 or more than 15 bytes.
pub fn device_facts(name: &str) -> io::Result<DeviceFacts> {
    let control = Control::open(name)?;
    let flags = control.flags()?;
    let driver = control.driver().or_else(unless_unsupported(String::new()))?;
    Ok(DeviceFacts {
        ifindex: control.ifindex()?,
        mac: control.mac()?,
        mtu: control.mtu()?,
        rx_queues: control.rx_queues().or_else(unless_unsupported(1))?.max(1),
        driver,
        up: flags & libc::IFF_UP != 0,
        strips_vlan: control.ethtool_flags().or_else(unless_unsupported(0))? & ETH_FLAG_RXVLAN != 0,
    })
}

/// What the device's line carries, in Mbit/s (10 000 for a veth); `None` where its driver does not say.
///
/// # Errors
/// Those of [`device_facts`].
pub fn link_mbps(name: &str) -> io::Result<Option<u32>> {
    let control = Control::open(name)?;
    control.ifindex()?;
    let mut settings = LinkSettings { cmd: ETHTOOL_GSET, ..LinkSettings::default() };
    control.ethtool(&mut settings).or_else(unless_unsupported(()))?;
    let mbps = u32::from(settings.speed_high) << 16 | u32::from(settings.speed);
    // All ones: unknown (SPEED_UNKNOWN).
    Ok(Some(mbps).filter(|mbps| !matches!(*mbps, 0 | 0xffff | u32::MAX)))
}

/// Takes `fallback` for an answer that the driver does not give.
fn unless_unsupported<T>(fallback: T) -> impl FnOnce(io::Error) -> io::Result<T> {
    move |error| match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOTTY) => Ok(fallback),
        _ => Err(error),
    }
}

const ETHTOOL_GSET: u32 = 0x01;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETH_FLAG_RXVLAN: u32 = 1 << 8;

/// `struct ethtool_drvinfo` of linux/ethtool.h.
#[repr(C)]
struct DriverInfo {
    cmd: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    cmd: u32,
    data: u32,
}

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    cmd: u32,
    max: [u32; 4],
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// `struct ethtool_cmd`.
#[repr(C)]
#[derive(Default)]
struct LinkSettings {
    cmd: u32,
    supported: u32,
    advertising: u32,
    speed: u16,
    port: [u8; 6],
    frames_max: [u32; 2],
    speed_high: u16,
    more: [u8; 2],
    link_partner: u32,
    reserved: [u32; 2],
}

/// A command structure of SIOCETHTOOL: `repr(C)`, as large as the kernel's, its first field the command.
///
/// # Safety
/// The kernel writes the whole structure of that command through a pointer to `Self`.
unsafe trait EthtoolCommand {}
// SAFETY: 196 bytes as in linux/ethtool.h, asserted below, and every bit pattern is a value of its fields.
unsafe impl EthtoolCommand for DriverInfo {}
// SAFETY: two words as in linux/ethtool.h.
unsafe impl EthtoolCommand for Value {}
// SAFETY: nine words as in linux/ethtool.h.
unsafe impl EthtoolCommand for Channels {}
// SAFETY: 44 bytes as in linux/ethtool.h, asserted below, and every bit pattern is a value of its fields.
unsafe impl EthtoolCommand for LinkSettings {}
const _: () =
    assert!(size_of::<DriverInfo>() == 196 && size_of::<Value>() == 8 && size_of::<Channels>() == 36);
const _: () = assert!(size_of::<LinkSettings>() == 44);

/// A socket to ask through, and the device to ask about.
struct Control {
    socket: OwnedFd,
    name: [c_char; libc::IFNAMSIZ],
}

impl Control {
    fn open(name: &str) -> io::Result<Self> {
        if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.bytes().any(|byte| byte == 0) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("'{name}' is no device name")));
        }
        let mut bytes = [0; libc::IFNAMSIZ];
        for (to, from) in bytes.iter_mut().zip(name.bytes()) {
            *to = from.cast_signed();
        }
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { socket, name: bytes })
    }

    fn ifindex(&self) -> io::Result<u32> {
        let answer = self.ask(libc::SIOCGIFINDEX, self.request())?;
        // SAFETY: SIOCGIFINDEX fills this member.
        let index = unsafe { answer.ifr_ifru.ifru_ifindex };
        u32::try_from(index).map_err(io::Error::other)
    }

    fn mac(&self) -> io::Result<[u8; 6]> {
        let answer = self.ask(libc::SIOCGIFHWADDR, self.request())?;
        // SAFETY: SIOCGIFHWADDR fills this member.
        let address = unsafe { answer.ifr_ifru.ifru_hwaddr };
        let mut mac = [0; 6];
        for (to, from) in mac.iter_mut().zip(address.sa_data) {
            *to = from.cast_unsigned();
        }
        Ok(mac)
    }

    fn mtu(&self) -> io::Result<u32> {
        let answer = self.ask(libc::SIOCGIFMTU, self.request())?;
        // SAFETY: SIOCGIFMTU fills this member.
        let mtu = unsafe { answer.ifr_ifru.ifru_mtu };
        u32::try_from(mtu).map_err(io::Error::other)
    }

    fn flags(&self) -> io::Result<i32> {
        let answer = self.ask(libc::SIOCGIFFLAGS, self.request())?;
        // SAFETY: SIOCGIFFLAGS fills this member.
        Ok(i32::from(unsafe { answer.ifr_ifru.ifru_flags }))
    }

    fn driver(&self) -> io::Result<String> {
        let mut info = DriverInfo { cmd: ETHTOOL_GDRVINFO, driver: [0; 32], rest: [0; 160] };
        self.ethtool(&mut info)?;
        let name = info.driver.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    fn rx_queues(&self) -> io::Result<u32> {
        let mut channels = Channels { cmd: ETHTOOL_GCHANNELS, ..Channels::default() };
        self.ethtool(&mut channels)?;
        Ok(channels.rx.saturating_add(channels.combined))
    }

    fn ethtool_flags(&self) -> io::Result<u32> {
        let mut value = Value { cmd: ETHTOOL_GFLAGS, data: 0 };
        self.ethtool(&mut value)?;
        Ok(value.data)
    }

    fn ethtool<T: EthtoolCommand>(&self, command: &mut T) -> io::Result<()> {
        let mut request = self.request();
        request.ifr_ifru.ifru_data = std::ptr::from_mut(command).cast();
        self.ask(libc::SIOCETHTOOL, request).map(drop)
    }

    fn request(&self) -> libc::ifreq {
        // SAFETY: ifreq is plain C data, for which zero is a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_name = self.name;
        request
    }

    /// One ioctl; `request` carries the question there and the answer back.
    fn ask(&self, what: libc::Ioctl, mut request: libc::ifreq) -> io::Result<libc::ifreq> {
        // SAFETY: `request` is a whole ifreq with a terminated name; where it holds a pointer (SIOCETHTOOL), that is to a
        // live `EthtoolCommand`, exclusively borrowed by `ethtool` for the call.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), what, &raw mut request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(request) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known() {
        let facts = device_facts("lo").unwrap();
        assert_eq!((facts.ifindex, facts.mac, facts.rx_queues), (1, [0; 6], 1));
        assert!(facts.mtu >= 1500 && !facts.partial_checksums());
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        assert_eq!(device_facts("no-such-device").unwrap_err().raw_os_error(), Some(libc::ENODEV));
        for name in ["", "sixteen-bytes-xx", "nul\0"] {
            assert_eq!(device_facts(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }

    #[test]
    fn a_device_without_a_line_has_no_speed() {
        assert_eq!(link_mbps("lo").unwrap(), None);
        assert!(link_mbps("no-such-device").is_err());
    }

    #[test]
    fn partial_checksums_follow_the_driver() {
        let mut facts = device_facts("lo").unwrap();
        for (driver, partial) in [("veth", true), ("tun", true), ("virtio_net", true), ("ice", false)] {
            facts.driver = driver.to_owned();
            assert_eq!(facts.partial_checksums(), partial, "{driver}");
        }
    }
}
