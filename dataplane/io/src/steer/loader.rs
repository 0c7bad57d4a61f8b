//! [`Steering`]: the program loaded, pinned, on its ports, and fed.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd};
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::maps::{HashMap as KernelMap, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::Xdp;
use nix::fcntl::Flock;

use super::attach::{Held, Mode, SteerPort, attach};
use super::bpffs;
use super::counters::{Counters, Counts};
use super::error::SteerError;
use super::keys::{PORTS_MAX, QUEUES_MAX, compile};
use super::object::{self, map, tables, xdp};
use super::rules::Rules;
use super::sys;
use super::tables::{Changes, Step, Tables};

/// The steering program of one daemon. Dropped, or killed with its process, it leaves the program on the ports: service
/// traffic is then dropped, not reset, until the next daemon takes over. [`detach_all`](Self::detach_all) ends it.
pub struct Steering {
    dir: PathBuf,
    layout: PathBuf,
    tables: Tables,
    ports: KernelMap<MapData, u32, u32>,
    sockets: XskMap<MapData>,
    counters: PerCpuArray<MapData, Counts>,
    held: Vec<Held>,
    program: Ebpf,
    /// Held from the first change on.
    lock: Option<Flock<File>>,
}

/// The program in the kernel, on no port and without a right to change anything yet.
#[derive(Debug)]
pub struct Loaded(Steering);

impl Loaded {
    /// Loads the program beside a living daemon whose maps in `dir` are of this layout, so that taking over from it takes no
    /// longer than exchanging a program. Nothing is changed. `None` where there are no such maps.
    ///
    /// # Errors
    /// [`SteerError::Kernel`].
    pub fn beside(dir: &Path) -> Result<Option<Self>, SteerError> {
        let layout = bpffs::layout(dir);
        if !layout.exists() || bpffs::links(&layout)?.is_empty() {
            return Ok(None);
        }
        Steering::load(dir, &layout).map(|steering| Some(Self(steering)))
    }

    /// Whether the maps have room for `rules` beside what that daemon has in them: to be asked before it lets go.
    ///
    /// # Errors
    /// [`SteerError::Full`] or [`SteerError::Kernel`].
    pub fn fits(&mut self, rules: &Rules) -> Result<(), SteerError> {
        let fits = self.0.fits(rules);
        self.0.distrust(); // that daemon may change them yet
        fits
    }

    /// As [`Steering::open_with`], once that daemon has let go.
    ///
    /// # Errors
    /// As [`Steering::open_with`].
    pub fn open_with(self, ports: &[SteerPort], rules: &Rules) -> Result<Steering, SteerError> {
        check(ports)?;
        let lock = bpffs::lock(&self.0.dir)?;
        self.0.put_on(ports, rules, lock)
    }
}

/// How one port is steered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortMode {
    /// The device.
    pub device: String,
    /// Its index.
    pub ifindex: u32,
    /// How the program is attached.
    pub mode: Mode,
    /// Why it is generic although native was tried.
    pub fallback: Option<String>,
    /// Whether a dead daemon's program was exchanged without a gap.
    pub taken_over: bool,
}

impl Steering {
    /// Loads the program and puts it on the ports; [`open_with`](Self::open_with) without rules.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub fn open(dir: &Path, ports: &[SteerPort]) -> Result<Self, SteerError> {
        Self::open_with(dir, ports, &Rules::default())
    }

    /// Loads the program, inserts `rules` into its maps, and only then puts it on the ports.
    ///
    /// `dir` is the pin directory, one a daemon, on a BPF file system (the system's is mounted if it is not). A dead daemon's
    /// links and maps there are taken over without detaching; those of ports no longer listed and of other layouts are removed.
    ///
    /// # Errors
    /// Every [`SteerError`] but `UnknownQueue`. What this call attached is then detached again; what it took over stays.
    pub fn open_with(dir: &Path, ports: &[SteerPort], rules: &Rules) -> Result<Self, SteerError> {
        check(ports)?;
        let layout = bpffs::prepare(dir)?;
        let lock = bpffs::lock(dir)?;
        let loaded = Self::load(dir, &layout);
        let result = loaded.and_then(|steering| steering.put_on(ports, rules, lock));
        // A refused start leaves nothing that was not there before.
        if result.is_err() && bpffs::links(&layout).is_ok_and(|links| links.is_empty()) {
            bpffs::remove_layout(&layout, &mut Vec::new())?;
            bpffs::remove_empty(dir)?;
        }
        result
    }

    /// Makes the kernel's maps those of `rules`: what is missing is inserted, everything else removed.
    ///
    /// # Errors
    /// [`SteerError::Full`], which changes nothing, or [`SteerError::Kernel`].
    pub fn reconcile(&mut self, rules: &Rules) -> Result<Changes, SteerError> {
        self.tables.change(&compile(rules), Step::Both)
    }

    /// Whether the kernel's maps have room for `rules` beside what they hold: [`grow`](Self::grow) without the change.
    ///
    /// # Errors
    /// As [`reconcile`](Self::reconcile).
    pub fn fits(&mut self, rules: &Rules) -> Result<(), SteerError> {
        self.tables.fits(&compile(rules))
    }

    /// Only inserts: the first half of a change, before addresses are added.
    ///
    /// # Errors
    /// As [`reconcile`](Self::reconcile).
    pub fn grow(&mut self, rules: &Rules) -> Result<Changes, SteerError> {
        self.tables.change(&compile(rules), Step::Insert)
    }

    /// Only removes: the second half of a change, after addresses are removed.
    ///
    /// # Errors
    /// [`SteerError::Kernel`].
    pub fn shrink(&mut self, rules: &Rules) -> Result<Changes, SteerError> {
        self.tables.change(&compile(rules), Step::Remove)
    }

    /// Has the next change read the kernel's maps again, whatever this process knows of them: nobody else is to change them,
    /// but root can.
    pub fn distrust(&mut self) {
        self.tables.distrust();
    }

    /// Gives a queue's frames to an AF_XDP socket bound to it. The entry vanishes when the socket closes.
    ///
    /// # Errors
    /// [`SteerError::UnknownQueue`] or [`SteerError::Kernel`].
    pub fn set_socket(&mut self, ifindex: u32, queue: u32, socket: impl AsRawFd) -> Result<(), SteerError> {
        let unknown = SteerError::UnknownQueue { ifindex, queue };
        let Some(held) = self.held.iter().find(|h| h.port.ifindex == ifindex && queue < h.port.queues) else {
            return Err(unknown);
        };
        let no = |e: &MapError| {
            SteerError::kernel(format!("{}: set the socket of queue {queue}", held.port.device), e)
        };
        let base = self.ports.get(&ifindex, 0).map_err(|e| no(&e))?;
        self.sockets.set(base + queue, socket, 0).map_err(|e| no(&e))
    }

    /// Takes every socket out: all that is ours is dropped from now on.
    ///
    /// # Errors
    /// [`SteerError::Kernel`].
    pub fn clear_sockets(&mut self) -> Result<(), SteerError> {
        for slot in 0..self.sockets.len() {
            match self.sockets.unset(slot) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => {}
                Err(e) => return Err(SteerError::kernel("clear the steering sockets", &e)),
            }
        }
        Ok(())
    }

    /// How each port is steered, in the order given to [`open`](Self::open).
    #[must_use]
    pub fn modes(&self) -> Vec<PortMode> {
        let mode = |h: &Held| PortMode {
            device: h.port.device.clone(),
            ifindex: h.port.ifindex,
            mode: h.mode,
            fallback: h.fallback.clone(),
            taken_over: h.taken_over,
        };
        self.held.iter().map(mode).collect()
    }

    /// What the program counted.
    ///
    /// # Errors
    /// [`SteerError::Kernel`].
    pub fn counters(&self) -> Result<Counters, SteerError> {
        let cores =
            self.counters.get(&0, 0).map_err(|e| SteerError::kernel("read the steering counters", &e))?;
        Ok(Counters::sum(&cores))
    }

    /// Takes the program off all ports and removes all pins: the last step of an orderly end.
    ///
    /// # Errors
    /// [`SteerError::Kernel`]; the program is off the ports even where a pin could not be removed.
    pub fn detach_all(self) -> Result<(), SteerError> {
        for held in &self.held {
            sys::link_detach(held.link.as_fd())
                .map_err(|e| SteerError::kernel(format!("{}: detach the program", held.port.device), &e))?;
        }
        bpffs::remove_layout(&self.layout, &mut Vec::new())?;
        bpffs::remove_empty(&self.dir)
    }

    /// The program itself, to run it over crafted frames.
    ///
    /// # Errors
    /// [`SteerError::Kernel`] when the object has no such program, which cannot be.
    pub fn program(&mut self) -> Result<&mut Xdp, SteerError> {
        xdp(&mut self.program)
    }

    /// With the program, and in the maps `rules`, which it has before it is on the ports.
    fn put_on(mut self, ports: &[SteerPort], rules: &Rules, lock: Flock<File>) -> Result<Self, SteerError> {
        self.lock = Some(lock);
        self.grow(rules)?;
        self.set_ports(ports)?;
        self.attach(ports)?;
        self.remove_others()?;
        Ok(self)
    }

    fn load(dir: &Path, layout: &Path) -> Result<Self, SteerError> {
        let mut program = object::load(layout)?;
        Ok(Self {
            dir: dir.into(),
            layout: layout.into(),
            tables: tables(&mut program)?,
            ports: map(&mut program, "ports")?,
            sockets: map(&mut program, "sockets")?,
            counters: map(&mut program, "counters")?,
            held: Vec::new(),
            program,
            lock: None,
        })
    }

    /// Gives every port its slots among the sockets. A port that had some keeps them: the old program still uses them.
    fn set_ports(&mut self, ports: &[SteerPort]) -> Result<(), SteerError> {
        let no = |e: &MapError| SteerError::kernel("set the steering ports", e);
        let mut present: Vec<(u32, u32)> = self.ports.iter().collect::<Result<_, _>>().map_err(|e| no(&e))?;
        for (gone, _) in present.extract_if(.., |(ifindex, _)| ports.iter().all(|p| p.ifindex != *ifindex)) {
            self.ports.remove(&gone).map_err(|e| no(&e))?;
        }
        for port in ports
            .iter()
            .filter(|p| present.iter().all(|(ifindex, _)| *ifindex != p.ifindex))
            .collect::<Vec<_>>()
        {
            let used = |base: &u32| present.iter().any(|(_, b)| b == base);
            let base = (0..).step_by(QUEUES_MAX as usize).find(|base| !used(base)).unwrap_or_default();
            self.ports.insert(port.ifindex, base, 0).map_err(|e| no(&e))?;
            present.push((port.ifindex, base));
        }
        Ok(())
    }

    fn attach(&mut self, ports: &[SteerPort]) -> Result<(), SteerError> {
        for port in ports {
            match attach(xdp(&mut self.program)?, &self.dir, &self.layout, port) {
                Ok(held) => self.held.push(held),
                Err(e) => {
                    for fresh in self.held.iter().filter(|h| !h.taken_over) {
                        bpffs::remove_link(&fresh.pin)?;
                    }
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    /// Links of ports no longer ours, and what other layouts left.
    fn remove_others(&self) -> Result<(), SteerError> {
        for link in bpffs::links(&self.layout)? {
            if self.held.iter().all(|h| h.pin != link) {
                let removed = bpffs::remove_link(&link)?;
                tracing::info!("removed {removed}");
            }
        }
        for layout in bpffs::layouts(&self.dir)?.iter().filter(|l| **l != self.layout) {
            let mut removed = Vec::new();
            bpffs::remove_layout(layout, &mut removed)?;
            tracing::info!("removed an older layout: {}", removed.join(", "));
        }
        Ok(())
    }
}

impl fmt::Debug for Steering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steering")
            .field("layout", &self.layout)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

fn check(ports: &[SteerPort]) -> Result<(), SteerError> {
    if ports.len() > PORTS_MAX {
        return Err(SteerError::TooManyPorts { ports: ports.len(), max: PORTS_MAX });
    }
    match ports.iter().find(|p| p.queues > QUEUES_MAX) {
        Some(p) => {
            Err(SteerError::TooManyQueues { device: p.device.clone(), queues: p.queues, max: QUEUES_MAX })
        }
        None => Ok(()),
    }
}
