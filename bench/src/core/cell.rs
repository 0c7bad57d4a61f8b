//! What one measured row is about.

use clap::ValueEnum;
use ringlead_l4::tables::Mode;
use serde::{Serialize, Serializer};

/// Every mode of the packet path. A mode that is added there does not compile here until [`place`] knows it.
pub const MODES: [Mode; 4] = [Mode::Nat, Mode::Dsr, Mode::Tunnel, Mode::Snat];

/// A mode's place in [`MODES`].
#[must_use]
pub const fn place(mode: Mode) -> usize {
    match mode {
        Mode::Nat => 0,
        Mode::Dsr => 1,
        Mode::Tunnel => 2,
        Mode::Snat => 3,
    }
}

/// Whether the servers' packets pass through us in this mode.
#[must_use]
pub const fn replies(mode: Mode) -> bool {
    match mode {
        Mode::Nat | Mode::Snat => true,
        Mode::Dsr | Mode::Tunnel => false,
    }
}

/// The mode of this name.
///
/// # Errors
/// The names that there are.
pub fn mode_named(name: &str) -> Result<Mode, String> {
    let names = || MODES.map(Mode::name).join(", ");
    MODES.into_iter().find(|mode| mode.name() == name).ok_or_else(|| format!("no mode: {} exist", names()))
}

/// An address family.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Frames of 64 bytes.
    Ipv4,
    /// Frames of 84 bytes.
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// As options and results write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// Whether it is IPv6.
    #[must_use]
    pub const fn is_v6(self) -> bool {
        matches!(self, Self::Ipv6)
    }
}

/// Which flows the packets are of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Flows that are in the table.
    Existing,
    /// Each packet is the SYN of a flow that is not: the turn also chooses a server and inserts the flow.
    New,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Existing, Self::New];

    /// As options and results write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Existing => "existing",
            Self::New => "new",
        }
    }
}

/// What a row is to show the growth of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Axis {
    /// Flows and workers: the main table.
    Path,
    /// The number of services.
    Services,
    /// The number of servers.
    Servers,
    /// Whether packets and bytes of each flow are counted.
    Accounts,
}

/// One row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Cell {
    /// What it belongs to.
    #[serde(skip)]
    pub axis: Axis,
    /// How packets reach servers.
    #[serde(serialize_with = "mode_name")]
    pub mode: Mode,
    /// The packets' family.
    pub family: Family,
    /// Flows of this family in the table while it is measured; a new flow comes on top.
    pub flows: usize,
    /// Services that the flows are spread over.
    pub services: usize,
    /// Servers of each service's pool.
    pub servers: usize,
    /// Existing or new flows.
    pub kind: Kind,
    /// Workers at work at the same time, on a core each.
    pub workers: usize,
    /// Whether packets and bytes of each flow are counted.
    pub accounts: bool,
}

impl Cell {
    /// A name that is the same in every run, for comparisons.
    #[must_use]
    pub fn name(&self) -> String {
        let (mode, family, kind) = (self.mode.name(), self.family.name(), self.kind.name());
        match self.axis {
            Axis::Path => format!("path/{mode}/{family}/{}/{kind}/{}", self.flows, self.workers),
            Axis::Services => format!("services/{mode}/{family}/{}/{kind}", self.services),
            Axis::Servers => format!("servers/{mode}/{family}/{}/{kind}", self.servers),
            Axis::Accounts => format!("accounts/{mode}/{family}/{}/{kind}", usize::from(self.accounts)),
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn mode_name<S: Serializer>(mode: &Mode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(mode.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_in_the_list_at_its_place() {
        for mode in MODES {
            assert_eq!(MODES[place(mode)], mode);
            assert_eq!(mode_named(mode.name()), Ok(mode));
        }
        let refused = mode_named("bridge").unwrap_err();
        assert!(MODES.iter().all(|mode| refused.contains(mode.name())), "{refused}");
    }

    #[test]
    fn names_tell_cells_apart() {
        let base = Cell {
            axis: Axis::Path,
            mode: Mode::Nat,
            family: Family::Ipv4,
            flows: 1000,
            services: 1,
            servers: 16,
            kind: Kind::Existing,
            workers: 1,
            accounts: false,
        };
        let cells = [
            base.clone(),
            Cell { mode: Mode::Dsr, ..base.clone() },
            Cell { family: Family::Ipv6, ..base.clone() },
            Cell { flows: 1001, ..base.clone() },
            Cell { kind: Kind::New, ..base.clone() },
            Cell { workers: 2, ..base.clone() },
            Cell { axis: Axis::Services, ..base.clone() },
            Cell { axis: Axis::Servers, ..base.clone() },
        ];
        let names: std::collections::BTreeSet<String> = cells.iter().map(Cell::name).collect();
        assert_eq!(names.len(), cells.len(), "{names:?}");
        assert_eq!(base.name(), "path/nat/ipv4/1000/existing/1");
    }
}
