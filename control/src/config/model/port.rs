//! `[port.NAME]`: a network interface.

/// `[port.NAME]`: a network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortConfig {
    /// NAME.
    pub name: String,
    /// `device`: the interface's name, 1 to 15 bytes.
    pub device: String,
    /// `queues`.
    pub queues: Queues,
    /// `zero-copy`.
    pub zero_copy: ZeroCopy,
    /// `attach`.
    pub attach: Attach,
    /// `rx-checksum`.
    pub rx_checksum: RxChecksum,
    /// `faces`.
    pub faces: Faces,
}

/// Which receive queues of a port the workers own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Queues {
    /// All that the device has.
    #[default]
    Auto,
    /// These: not empty, ascending, all different.
    List(Vec<u32>),
}

/// Whether the driver hands its own buffers over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ZeroCopy {
    /// If it can; else copies.
    #[default]
    Prefer,
    /// Refuse to start without.
    Require,
    /// Copies always.
    Off,
}

/// How the steering program is attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Attach {
    /// In the driver, or generically where the driver cannot.
    #[default]
    Auto,
    /// In the driver, or refuse to start.
    Native,
    /// Behind the driver, on socket buffers.
    Generic,
}

/// What to think of a received transport checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RxChecksum {
    /// [`FixPartial`](Self::FixPartial) on veth, tap and virtio, [`Trust`](Self::Trust) on others.
    #[default]
    Auto,
    /// It is whole.
    Trust,
    /// It may be the pseudo-header's sum alone, which local senders leave to the hardware: complete it.
    FixPartial,
}

/// Who is behind a port. Service addresses are put on ports that face clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Faces {
    /// Clients, or routers towards them.
    Clients,
    /// Servers.
    Servers,
    /// Both.
    #[default]
    Both,
}

impl Faces {
    /// Whether clients' packets arrive there.
    #[must_use]
    pub const fn clients(self) -> bool {
        matches!(self, Self::Clients | Self::Both)
    }

    /// Whether servers' packets arrive there.
    #[must_use]
    pub const fn servers(self) -> bool {
        matches!(self, Self::Servers | Self::Both)
    }
}
