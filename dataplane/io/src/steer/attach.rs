//! The program on a port: taken over from a dead daemon's pinned link, or attached anew and pinned.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, Xdp, XdpMode};

use super::error::SteerError;
use super::{bpffs, netlink, sys};

/// How the program is to be attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Attach {
    /// Native, or generic where the driver cannot; a dead daemon's link is taken over in whichever mode it is.
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the stack, behind the driver. Super-frames (GRO, TSO on veth) get in and exceed the chunk.
    Generic,
}

/// How the program is attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the stack.
    Generic,
}

/// A port to steer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SteerPort {
    /// Its name, for messages.
    pub device: String,
    /// Its index in this network namespace.
    pub ifindex: u32,
    /// Its receive queues, at most 64.
    pub queues: u32,
    /// How to attach.
    pub attach: Attach,
}

/// The program on one port. Dropping it leaves the program where it is.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) port: SteerPort,
    pub(super) mode: Mode,
    /// Why it is not native under [`Attach::Auto`].
    pub(super) fallback: Option<String>,
    /// Whether a dead daemon's link was taken over.
    pub(super) taken_over: bool,
    pub(super) pin: PathBuf,
    /// Kept, so that the program can be detached without the right to remove the pin.
    pub(super) link: OwnedFd,
}

/// Takes over the port's pinned link of any layout, or attaches anew. `layout` is this version's directory below `dir`.
pub(super) fn attach(
    program: &mut Xdp,
    dir: &Path,
    layout: &Path,
    port: &SteerPort,
) -> Result<Held, SteerError> {
    let present = netlink::programs(port.ifindex).map_err(|e| match e.raw_os_error() {
        Some(libc::ENODEV) => SteerError::NoDevice { device: port.device.clone(), ifindex: port.ifindex },
        _ => failed(port, "ask for XDP programs", &e),
    })?;
    let wanted = bpffs::link_path(layout, port.ifindex);
    for old in candidates(dir, &wanted, port.ifindex)? {
        if let Some(mode) = usable(&old, port, present)? {
            take_over(program, &old, &wanted, port)?;
            return held(port, mode, None, true, wanted);
        }
    }
    let (mode, fallback) = attach_new(program, &wanted, port)?;
    held(port, mode, fallback, false, wanted)
}

fn held(
    port: &SteerPort,
    mode: Mode,
    fallback: Option<String>,
    taken_over: bool,
    pin: PathBuf,
) -> Result<Held, SteerError> {
    let link = sys::open_pin(&pin).map_err(|e| failed(port, "open the pinned link", &e))?;
    Ok(Held { port: port.clone(), mode, fallback, taken_over, pin, link })
}

/// Pins of the port's link, this layout's first.
fn candidates(dir: &Path, wanted: &Path, ifindex: u32) -> Result<Vec<PathBuf>, SteerError> {
    let mut pins = vec![wanted.to_path_buf()];
    pins.extend(
        bpffs::layouts(dir)?.iter().map(|layout| bpffs::link_path(layout, ifindex)).filter(|p| p != wanted),
    );
    pins.retain(|p| p.exists());
    Ok(pins)
}

/// The mode of a pinned link that can be taken over. A stale one is removed, as is one in a mode that is not wanted.
fn usable(pin: &Path, port: &SteerPort, present: netlink::Programs) -> Result<Option<Mode>, SteerError> {
    let fd = sys::open_pin(pin).map_err(|e| failed(port, "open the pinned link", &e))?;
    let info = sys::link_info(fd.as_fd()).map_err(|e| failed(port, "ask about the pinned link", &e))?;
    let Some(info) = info.filter(|i| i.ifindex == port.ifindex) else {
        // Its device is gone and another one has the name's number; its program went with the device.
        bpffs::unpin(pin)?;
        return Ok(None);
    };
    let mode = if present.native == Some(info.program) {
        Mode::Native
    } else if present.generic == Some(info.program) {
        Mode::Generic
    } else {
        return Err(SteerError::Elsewhere { device: port.device.clone(), pin: pin.into() });
    };
    if matches!((port.attach, mode), (Attach::Native, Mode::Generic) | (Attach::Generic, Mode::Native)) {
        bpffs::remove_link(pin)?;
        return Ok(None);
    }
    Ok(Some(mode))
}

/// Exchanges the program behind a link, between two frames, and pins the link for this layout.
fn take_over(program: &mut Xdp, old: &Path, wanted: &Path, port: &SteerPort) -> Result<(), SteerError> {
    let no =
        |e: &dyn std::error::Error| SteerError::kernel(format!("{}: take over the link", port.device), e);
    let link = FdLink::from(PinnedLink::from_pin(old).map_err(|e| no(&e))?);
    let id = program.attach_to_link(XdpLink::try_from(link).map_err(|e| no(&e))?).map_err(|e| no(&e))?;
    let link = FdLink::try_from(program.take_link(id).map_err(|e| no(&e))?).map_err(|e| no(&e))?;
    if old != wanted {
        link.pin(wanted).map_err(|e| no(&e))?;
        bpffs::unpin(old)?;
    }
    Ok(())
}

fn attach_new(program: &mut Xdp, pin: &Path, port: &SteerPort) -> Result<(Mode, Option<String>), SteerError> {
    if port.attach == Attach::Generic {
        attach_as(program, pin, port, Mode::Generic)?;
        return Ok((Mode::Generic, None));
    }
    match attach_as(program, pin, port, Mode::Native) {
        Ok(()) => Ok((Mode::Native, None)),
        Err(SteerError::Kernel { why, .. }) if port.attach == Attach::Auto => {
            attach_as(program, pin, port, Mode::Generic)?;
            Ok((Mode::Generic, Some(why)))
        }
        Err(e) => Err(e),
    }
}

fn attach_as(program: &mut Xdp, pin: &Path, port: &SteerPort, mode: Mode) -> Result<(), SteerError> {
    let (flags, name) = match mode {
        Mode::Native => (XdpMode::Driver, "native"),
        Mode::Generic => (XdpMode::Skb, "generic"),
    };
    let no =
        |e: &dyn std::error::Error| SteerError::kernel(format!("{}: attach in {name} mode", port.device), e);
    let id = program.attach_to_if_index(port.ifindex, flags).map_err(|e| match errno(&e) {
        Some(libc::EBUSY | libc::EEXIST) => foreign(port),
        Some(libc::ENODEV) => SteerError::NoDevice { device: port.device.clone(), ifindex: port.ifindex },
        _ => no(&e),
    })?;
    // A link through netlink, aya's way on old kernels, cannot be pinned: that is an error here, and it detaches itself.
    let link = FdLink::try_from(program.take_link(id).map_err(|e| no(&e))?).map_err(|e| no(&e))?;
    link.pin(pin).map_err(|e| no(&e))?;
    Ok(())
}

fn foreign(port: &SteerPort) -> SteerError {
    let present = netlink::programs(port.ifindex).unwrap_or_default();
    SteerError::Foreign {
        device: port.device.clone(),
        program: present.native.or(present.generic),
        generic: present.native.is_none() && present.generic.is_some(),
    }
}

/// The kernel's answer in one of aya's errors.
fn errno(error: &ProgramError) -> Option<i32> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = cause {
        if let Some(io) = e.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        cause = e.source();
    }
    None
}

fn failed(port: &SteerPort, what: &str, error: &io::Error) -> SteerError {
    SteerError::kernel(format!("{}: {what}", port.device), error)
}
