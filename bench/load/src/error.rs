//! What goes wrong: with a request, by class; and with a run, so that it is refused.

use std::fmt;
use std::io;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorClass {
    /// Nobody listens there: a reset, or an ICMP port unreachable, answered the first packet.
    ConnectRefused,
    /// No answer to the connection request in time.
    ConnectTimeout,
    /// The network has no way there.
    ConnectUnreachable,
    /// Connected, but no whole answer in time; or no connection became free in time.
    Timeout,
    /// The connection was reset.
    Reset,
    /// The connection was closed before any answer.
    Closed,
    /// The answer ended early.
    ShortBody,
    /// The answer's bytes are not those that were expected.
    WrongBody,
    /// The answer has another HTTP status.
    WrongStatus,
    /// The answer is not HTTP.
    Malformed,
    /// The answer belongs to another request of this connection.
    WrongSequence,
    /// A datagram was not answered in time.
    Lost,
    /// This client has no source port left: more source addresses would help. Makes the run invalid.
    NoPorts,
    /// This client may open no more files. Makes the run invalid.
    NoFiles,
    /// Anything else.
    Other,
}

impl ErrorClass {
    /// Whether the client, not what it measures, is the cause.
    #[must_use]
    pub fn is_clients_own(self) -> bool {
        matches!(self, Self::NoPorts | Self::NoFiles)
    }

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ConnectRefused => "connect-refused",
            Self::ConnectTimeout => "connect-timeout",
            Self::ConnectUnreachable => "connect-unreachable",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::ShortBody => "short-body",
            Self::WrongBody => "wrong-body",
            Self::WrongStatus => "wrong-status",
            Self::Malformed => "malformed",
            Self::WrongSequence => "wrong-sequence",
            Self::Lost => "lost",
            Self::NoPorts => "no-ports",
            Self::NoFiles => "no-files",
            Self::Other => "other",
        }
    }

    /// The class of an error of the operating system, of a socket that was connected or tried to be.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ECONNREFUSED) => Self::ConnectRefused,
            Some(Errno::ETIMEDOUT) => Self::ConnectTimeout,
            Some(Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::ENETDOWN | Errno::EACCES) => {
                Self::ConnectUnreachable
            }
            Some(Errno::ECONNRESET | Errno::EPIPE | Errno::ECONNABORTED) => Self::Reset,
            Some(Errno::EADDRNOTAVAIL | Errno::EADDRINUSE) => Self::NoPorts,
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => Self::NoFiles,
            _ if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a run did not take place.
#[derive(Debug)]
pub enum LoadError {
    /// The spec makes no sense; what is wrong with it.
    Spec(String),
    /// The network namespace cannot be entered.
    Namespace(String, io::Error),
    /// A source address cannot be used.
    Source(std::net::IpAddr, io::Error),
    /// A thread, its runtime or its timer cannot be made.
    Thread(io::Error),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(what) => f.write_str(what),
            Self::Namespace(name, why) => write!(f, "network namespace {name}: {why}"),
            Self::Source(address, why) => write!(f, "source address {address}: {why}"),
            Self::Thread(why) => write!(f, "cannot start a thread of the load: {why}"),
        }
    }
}

impl std::error::Error for LoadError {}
