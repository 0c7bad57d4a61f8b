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

impl DecapError {
    /// What was done to which device, and the whole chain of causes.
    pub(crate) fn system(device: &str, doing: &str, error: &dyn Error) -> Self {
        Self::System(format!("{device}: {doing}: {}", causes(error)))
    }
}

/// An error with its causes: aya says "failed" at the top and the reason at the bottom.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
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
