//! Why nothing is decapsulated.

use std::error::Error;
use std::fmt;

/// See the module.
#[derive(Debug)]
pub enum DecapError {
    /// What was asked for cannot work; the text says why.
    Asked(String),
    /// The device is not in this network namespace.
    NoDevice(String),
    /// The system refused the program, its maps or the device; the text says what was done and the answer.
    System(String),
}

impl fmt::Display for DecapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(why) | Self::System(why) => f.write_str(why),
            Self::NoDevice(device) => {
                write!(f, "there is no device named {device:?} in this network namespace")
            }
        }
    }
}

impl Error for DecapError {}
