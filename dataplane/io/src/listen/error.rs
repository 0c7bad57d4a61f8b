//! Why listeners cannot be had.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;

use crate::causes::causes;

/// What [`Listeners`](super::Listeners) refuses or fails at.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ListenError {
    /// No listeners, or more than the program knows.
    Count {
        /// Listeners asked for.
        listeners: usize,
        /// The most there may be.
        max: usize,
    },
    /// There is no such listener in the group.
    Unknown {
        /// The listener asked for.
        listener: usize,
        /// Listeners in the group.
        listeners: usize,
    },
    /// A socket was refused.
    Socket {
        /// Where it was to listen.
        address: SocketAddr,
        /// What was tried.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// The program, or one of its maps, was refused.
    Program {
        /// What was tried.
        what: &'static str,
        /// Why not, with all causes.
        why: String,
    },
}

impl ListenError {
    /// A refused socket.
    pub(super) fn socket(address: SocketAddr, what: &'static str, error: &dyn Error) -> Self {
        Self::Socket { address, what, why: causes(error) }
    }

    /// A refused program.
    pub(super) fn program(what: &'static str, error: &dyn Error) -> Self {
        Self::Program { what, why: causes(error) }
    }
}

impl Error for ListenError {}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { listeners, max } => write!(f, "{listeners} listeners: there may be 1 to {max}"),
            Self::Unknown { listener, listeners } => {
                write!(f, "no listener {listener} among {listeners}, counted from 0")
            }
            Self::Socket { address, what, why } => write!(f, "listener on {address}: {what}: {why}"),
            Self::Program { what, why } => write!(f, "listeners' program: {what}: {why}"),
        }
    }
}
