//! Opening a worker's sockets, zero-copy first where that is wanted.

use super::error::XdpError;
use super::port::{XdpPort, mode};
use super::ring::{Rings, os_error};
use super::{Fallback, XdpOptions, XdpReport, XdpSpec, ZeroCopy};
use crate::frames::{Frames, HEADROOM};
use crate::port::{BURST, Caps, Port};
use nix::poll::{PollTimeout, poll};
use std::io;
use std::num::NonZeroU32;
use xsk_rs::Umem;
use xsk_rs::config::{
    BindFlags, FrameSize, LibxdpFlags, QueueSize, SocketConfig, SocketConfigBuilder, UmemConfig,
    UmemConfigBuilder,
};

/// A former socket lets go of its queue asynchronously; this many tries, this far apart, make a second.
const BUSY_TRIES: u32 = 500;
const BUSY_WAIT_MS: u8 = 2;

/// `XDP_MAX_TX_SKB_BUDGET` (linux/if_xdp.h, since 6.17): how many frames one sendto(2) moves in copy mode.
const XDP_MAX_TX_SKB_BUDGET: i32 = 9;
/// What it is without the option.
const TX_BUDGET_DEFAULT: u32 = 32;
/// What we ask for.
const TX_BUDGET: u32 = 256;

/// Opens one socket a spec, all over one new Umem, with full fill rings: [`Prepared::new`] and [`Prepared::open`].
///
/// # Errors
/// See [`XdpError`]; nothing stays open.
pub fn open_worker(
    specs: &[XdpSpec],
    options: &XdpOptions,
) -> Result<(Frames, Vec<XdpPort>, XdpReport), XdpError> {
    Prepared::new(specs, options)?.open()
}

/// A worker's packet memory, known to the kernel, and the sockets that are to be opened over it. No queue is bound: others may
/// still hold them. Making the memory takes far longer than binding.
#[derive(Debug)]
pub struct Prepared {
    specs: Vec<XdpSpec>,
    options: XdpOptions,
    frames: Frames,
    on_huge_pages: bool,
}

impl Prepared {
    /// Makes the memory. Needs CAP_NET_RAW and CAP_IPC_LOCK or enough RLIMIT_MEMLOCK.
    ///
    /// # Errors
    /// [`XdpError::Options`] and [`XdpError::FrameTooLong`] for what cannot work, [`XdpError::Umem`].
    pub fn new(specs: &[XdpSpec], options: &XdpOptions) -> Result<Self, XdpError> {
        check(specs, options)?;
        let (frames, on_huge_pages) = umem(specs.len(), options)?;
        Ok(Self { specs: specs.to_vec(), options: options.clone(), frames, on_huge_pages })
    }

    /// Whether the memory is on pages of `vm.nr_hugepages`.
    #[must_use]
    pub fn is_on_huge_pages(&self) -> bool {
        self.on_huge_pages
    }

    /// Opens one socket a spec, all over the Umem, with full fill rings. Blocks for up to a second a socket while former sockets
    /// still hold their queues. The ports come in the order of the specs. The first socket holds its queue as long as the
    /// [`Frames`] live, so to open the same queues again, drop ports *and* frames before.
    ///
    /// # Errors
    /// See [`XdpError`]; nothing stays open.
    pub fn open(self) -> Result<(Frames, Vec<XdpPort>, XdpReport), XdpError> {
        let Self { specs, options, mut frames, .. } = self;
        let mut report = XdpReport::default();
        if options.zero_copy != ZeroCopy::Off {
            match open_all(frames, &specs, &options, true, &mut report) {
                Ok((frames, ports)) => return Ok((frames, ports, report)),
                Err(Refused { error: XdpError::Socket { device, queue, source }, unused })
                    if falls_back(&options, &source) =>
                {
                    let what = format!("zero-copy refused ({source}), the worker copies");
                    report.fallbacks = vec![Fallback { device, queue, what }];
                    frames = match unused {
                        Some(frames) => *frames,
                        None => umem(specs.len(), &options)?.0,
                    };
                }
                Err(Refused { error, .. }) => return Err(error),
            }
        }
        let (frames, ports) =
            open_all(frames, &specs, &options, false, &mut report).map_err(|refused| refused.error)?;
        Ok((frames, ports, report))
    }
}

/// Why sockets did not open.
struct Refused {
    error: XdpError,
    /// The memory, where no socket was bound over it: making it takes far longer than binding, and nobody forwards meanwhile.
    unused: Option<Box<Frames>>,
}

/// Only a driver's refusal is worth a second try: EBUSY, EPERM and ENODEV would come again.
fn falls_back(options: &XdpOptions, error: &io::Error) -> bool {
    let hopeless = matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EPERM | libc::ENODEV));
    options.zero_copy == ZeroCopy::Prefer && !hopeless
}

/// Opens all sockets in one mode, over a Umem that has had none: the first socket fixes the Umem's mode.
fn open_all(
    mut frames: Frames,
    specs: &[XdpSpec],
    options: &XdpOptions,
    zero_copy: bool,
    report: &mut XdpReport,
) -> Result<(Frames, Vec<XdpPort>), Refused> {
    let config = socket_config(options, zero_copy).map_err(|error| Refused { error, unused: None })?;
    let mut ports = Vec::with_capacity(specs.len());
    for spec in specs {
        let rings = match patiently(|| Rings::open(config, &frames, &spec.device, spec.queue)) {
            Ok(rings) => rings,
            Err(source) => {
                let error = XdpError::Socket { device: spec.device.clone(), queue: spec.queue, source };
                return Err(Refused { error, unused: ports.is_empty().then(|| Box::new(frames)) });
            }
        };
        ports.push(port(spec, options, zero_copy, rings, report));
    }
    // In turns, so that short memory is shared.
    for _ in 0..options.fill_ring.div_ceil(512) {
        ports.iter_mut().for_each(|port| port.refill(&mut frames));
    }
    report.zero_copy = zero_copy;
    report.frames = frames.count();
    Ok((frames, ports))
}

fn port(
    spec: &XdpSpec,
    options: &XdpOptions,
    zero_copy: bool,
    rings: Rings,
    report: &mut XdpReport,
) -> XdpPort {
    let mut note = |what: String| {
        report.fallbacks.push(Fallback { device: spec.device.clone(), queue: spec.queue, what });
    };
    let wanted = TX_BUDGET.min(options.tx_ring);
    let set =
        rings.set_option(libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, i32::try_from(wanted).unwrap_or(i32::MAX));
    let budget = if set.is_ok() { wanted } else { TX_BUDGET_DEFAULT };
    // Older kernels do not know it, and zero-copy does not use it: a second call a turn makes up for that.
    let mut busy_poll = false;
    if let Some(wanted) = options.busy_poll {
        match busy_polling(&rings, wanted) {
            Ok(()) => busy_poll = true,
            Err(error) => note(format!("busy polling refused ({error}), interrupts wake the worker")),
        }
    }
    let caps = Caps {
        device: spec.device.clone(),
        queue: spec.queue,
        mac: spec.mac,
        frame_max: spec.frame_max,
        partial_checksums: spec.partial_checksums,
        mode: mode(None, zero_copy),
    };
    XdpPort::new(rings, caps, zero_copy, busy_poll, budget)
}

fn busy_polling(rings: &Rings, wanted: super::BusyPoll) -> io::Result<()> {
    let number = |value: u32| i32::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    rings.set_option(libc::SOL_SOCKET, libc::SO_PREFER_BUSY_POLL, 1)?;
    rings.set_option(libc::SOL_SOCKET, libc::SO_BUSY_POLL, number(wanted.usecs)?)?;
    rings.set_option(libc::SOL_SOCKET, libc::SO_BUSY_POLL_BUDGET, number(wanted.budget)?)
}

/// Repeats `open` while the queue is busy, for a second.
fn patiently(mut open: impl FnMut() -> io::Result<Rings>) -> io::Result<Rings> {
    let mut tries = 1;
    loop {
        match open() {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && tries < BUSY_TRIES => {
                tries += 1;
                // An interrupted wait only makes the second shorter.
                let _ = poll(&mut [], PollTimeout::from(BUSY_WAIT_MS));
            }
            result => return result,
        }
    }
}

/// A huge page, in bytes.
const HUGE: usize = 2 << 20;

/// New packet memory, and whether it is on reserved huge pages.
fn umem(sockets: usize, options: &XdpOptions) -> Result<(Frames, bool), XdpError> {
    let count = NonZeroU32::new(frame_count(sockets, options)).ok_or_else(|| refuse("no frames"))?;
    // On huge pages where enough of them are reserved (vm.nr_hugepages); the memory must be a whole number of them.
    let (config, bytes) = (umem_config(options)?, count.get() as usize * options.chunk_size);
    let on_huge_pages = bytes.is_multiple_of(HUGE).then(|| Umem::new(config, count, true).ok()).flatten();
    let huge = on_huge_pages.is_some();
    let made = on_huge_pages.map_or_else(|| Umem::new(config, count, false), Ok);
    let (umem, descs) = made.map_err(|error| {
        XdpError::Umem(
            os_error(&error)
                .map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error),
        )
    })?;
    let frames = Frames::of_umem(umem, descs, options.chunk_size).map_err(XdpError::Umem)?;
    Ok((frames, huge))
}

/// How many frames the Umem gets.
fn frame_count(sockets: usize, options: &XdpOptions) -> u32 {
    if options.frames > 0 {
        return options.frames;
    }
    let each = options.fill_ring + options.rx_ring + options.tx_ring;
    u32::try_from(sockets).unwrap_or(u32::MAX).saturating_mul(each)
}

fn umem_config(options: &XdpOptions) -> Result<UmemConfig, XdpError> {
    let chunk = u32::try_from(options.chunk_size).map_err(|error| refuse(&error.to_string()))?;
    UmemConfigBuilder::new()
        .frame_size(FrameSize::new(chunk).map_err(|error| refuse(&error.to_string()))?)
        .fill_queue_size(ring("fill", options.fill_ring)?)
        .comp_queue_size(ring("completion", options.completion_ring)?)
        .frame_headroom(0)
        .build()
        .map_err(|error| refuse(&error.to_string()))
}

fn socket_config(options: &XdpOptions, zero_copy: bool) -> Result<SocketConfig, XdpError> {
    let copying = if zero_copy { BindFlags::XDP_ZEROCOPY } else { BindFlags::XDP_COPY };
    Ok(SocketConfigBuilder::new()
        .rx_queue_size(ring("receive", options.rx_ring)?)
        .tx_queue_size(ring("transmit", options.tx_ring)?)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(copying | BindFlags::XDP_USE_NEED_WAKEUP)
        .build())
}

/// A ring's size, within bounds.
fn ring(which: &str, size: u32) -> Result<QueueSize, XdpError> {
    let sized = QueueSize::new(size).ok().filter(|_| (64..=32_768).contains(&size));
    sized.ok_or_else(|| {
        refuse(&format!("{which} ring of {size} frames: want a power of two from 64 to 32768"))
    })
}

/// Refuses what cannot work before anything is opened.
fn check(specs: &[XdpSpec], options: &XdpOptions) -> Result<(), XdpError> {
    if specs.is_empty() {
        return Err(refuse("a worker needs at least one port"));
    }
    if !matches!(options.chunk_size, 2048 | 4096) {
        return Err(refuse(&format!("chunks of {} bytes: want 2048 or 4096", options.chunk_size)));
    }
    umem_config(options)?;
    socket_config(options, false)?;
    let room = options.chunk_size - HEADROOM;
    for (at, spec) in specs.iter().enumerate() {
        if spec.frame_max > room {
            return Err(XdpError::FrameTooLong {
                device: spec.device.clone(),
                frame_max: spec.frame_max,
                room,
            });
        }
        let twice =
            specs.iter().take(at).any(|other| (&other.device, other.queue) == (&spec.device, spec.queue));
        if twice {
            return Err(refuse(&format!("{} queue {} is named twice", spec.device, spec.queue)));
        }
    }
    #[allow(clippy::cast_possible_truncation, reason = "64")]
    let each = u64::from(options.fill_ring) + BURST as u64;
    let least = each * specs.len() as u64;
    let count = frame_count(specs.len(), options);
    if u64::from(count) < least || count > 1 << 24 {
        return Err(refuse(&format!("{count} frames: {} ports want {least} to 16777216", specs.len())));
    }
    Ok(())
}

fn refuse(what: &str) -> XdpError {
    XdpError::Options(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(queue: u32) -> XdpSpec {
        XdpSpec { device: "none0".into(), queue, mac: [2; 6], frame_max: 1514, partial_checksums: false }
    }

    fn refusal(specs: &[XdpSpec], options: &XdpOptions) -> String {
        check(specs, options).map_or_else(|error| error.to_string(), |()| "accepted".to_owned())
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_number() {
        let good = XdpOptions::default();
        assert_eq!(refusal(&[spec(0), spec(1)], &good), "accepted");
        assert!(refusal(&[], &good).contains("at least one port"));
        assert!(refusal(&[spec(0), spec(0)], &good).contains("none0 queue 0 is named twice"));
        let long = XdpSpec { frame_max: 9014, ..spec(0) };
        assert!(refusal(&[long], &good).contains("lower the MTU to 1778"));
        let odd = XdpOptions { tx_ring: 100, ..good.clone() };
        assert!(refusal(&[spec(0)], &odd).contains("transmit ring of 100"));
        let huge = XdpOptions { fill_ring: 65_536, ..good.clone() };
        assert!(refusal(&[spec(0)], &huge).contains("fill ring of 65536"));
        let chunk = XdpOptions { chunk_size: 8192, ..good.clone() };
        assert!(refusal(&[spec(0)], &chunk).contains("chunks of 8192"));
        let few = XdpOptions { frames: 4223, ..good };
        assert!(refusal(&[spec(0), spec(1)], &few).contains("2 ports want 4224"));
    }

    #[test]
    fn only_a_drivers_refusal_falls_back_to_copying() {
        let prefer = XdpOptions::default();
        let require = XdpOptions { zero_copy: ZeroCopy::Require, ..XdpOptions::default() };
        let error = io::Error::from_raw_os_error;
        assert!(falls_back(&prefer, &error(libc::EOPNOTSUPP)));
        assert!(!falls_back(&prefer, &error(libc::EBUSY)));
        assert!(!falls_back(&require, &error(libc::EOPNOTSUPP)));
    }

    #[test]
    fn a_missing_device_is_named() {
        let error = open_worker(&[spec(3)], &XdpOptions::default()).unwrap_err().to_string();
        assert!(error.contains("none0 queue 3") || error.contains("packet memory"), "{error}");
    }

    #[test]
    fn ports_can_move_to_their_worker() {
        fn moves<T: Send>() {}
        moves::<Frames>();
        moves::<XdpPort>();
    }
}
