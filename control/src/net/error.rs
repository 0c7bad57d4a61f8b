//! What can go wrong when asking the kernel.

use std::fmt;
use std::io;
use std::net::IpAddr;

/// Why a request to the kernel failed. The text names what was being done.
#[derive(Debug)]
pub enum NetError {
    /// The kernel, or the socket, said no.
    Io {
        /// What was being done, as a participle ("adding 192.0.2.1 to interface 4").
        doing: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// No answer within 5 s, or the netlink socket is gone.
    NoAnswer {
        /// What was being done.
        doing: String,
    },
    /// The kernel's table changed during each of several attempts to dump it.
    Unsettled {
        /// What was being done.
        doing: String,
    },
    /// There is no way to send to this address.
    NoRoute {
        /// The destination.
        to: IpAddr,
        /// The kernel's reason.
        reason: String,
    },
    /// The address is one of this node's own, so nothing is sent to a neighbour.
    LocalAddress {
        /// The destination.
        to: IpAddr,
    },
}

impl NetError {
    pub(super) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Io { doing: doing.into(), source }
    }

    /// The kernel's errno, where it gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Io { source, .. } => source.raw_os_error(),
            Self::NoAnswer { .. }
            | Self::Unsettled { .. }
            | Self::NoRoute { .. }
            | Self::LocalAddress { .. } => None,
        }
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
            Self::NoAnswer { doing } => write!(f, "{doing}: the kernel did not answer"),
            Self::Unsettled { doing } => write!(f, "{doing}: the table keeps changing"),
            Self::NoRoute { to, reason } => write!(f, "no route to {to}: {reason}"),
            Self::LocalAddress { to } => write!(f, "{to} is an address of this node"),
        }
    }
}

impl std::error::Error for NetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::NoAnswer { .. }
            | Self::Unsettled { .. }
            | Self::NoRoute { .. }
            | Self::LocalAddress { .. } => None,
        }
    }
}
