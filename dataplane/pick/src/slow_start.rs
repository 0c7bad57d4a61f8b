//! Slow start: a server that has just come up gets a growing part of its weight.

use std::time::Duration;

/// The weight of a server that came up `since_up` ago and gets its full `weight` after `ramp`.
///
/// It grows linearly from a tenth of the weight (rounded down, at least 1) to all of it; a weight of 0 stays 0, and a
/// ramp of zero is over at once. Never less later than earlier. For control, which rebuilds a chooser with it now and
/// then; not for Maglev, whose table must be the same on every node whenever each saw the server come up.
#[must_use]
pub fn slow_start(weight: u16, since_up: Duration, ramp: Duration) -> u16 {
    if since_up >= ramp || weight == 0 {
        return weight;
    }
    let least = (weight / 10).max(1);
    // Below the ramp here, so the quotient is below weight - least; 2^16 x 2^94 ns fits easily.
    let grown = u128::from(weight - least) * since_up.as_nanos() / ramp.as_nanos();
    u16::try_from(grown).map_or(weight, |grown| least + grown)
}
