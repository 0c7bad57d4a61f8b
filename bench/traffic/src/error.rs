//! Why there is no trial.

use std::fmt;
use std::io;

/// See the module. A trial that was made and went badly is no error: see [`Outcome`](crate::Outcome).
#[derive(Debug)]
pub enum TrafficError {
    /// The setup or the trial asks for what cannot work.
    Setup(String),
    /// A port could not be opened; the text says which and why.
    Port(String),
    /// The balancer's Ethernet address could not be found.
    NextHop(String),
    /// The capture cannot be read.
    Capture(String),
    /// The system said no.
    Io {
        /// What was being done.
        doing: String,
        /// The answer.
        source: io::Error,
    },
}

impl TrafficError {
    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Io { doing: doing.into(), source }
    }
}

impl fmt::Display for TrafficError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(why) | Self::Port(why) | Self::NextHop(why) | Self::Capture(why) => f.write_str(why),
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
        }
    }
}

impl std::error::Error for TrafficError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Setup(_) | Self::Port(_) | Self::NextHop(_) | Self::Capture(_) => None,
        }
    }
}
