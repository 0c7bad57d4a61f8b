//! An error with all its causes as one line.

use std::error::Error;

/// The error's text, and that of each cause which the one before does not already end with.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut why = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if !why.ends_with(&text) {
            why = format!("{why}: {text}");
        }
        cause = next.source();
    }
    why
}
