//! Frame sizes, as RFC 2544 counts them: with the four bytes of the FCS, which no program sees.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Bytes of the Ethernet checksum, part of a frame's size and of no buffer.
pub const FCS: usize = 4;
/// The smallest frame.
pub const SIZE_MIN: usize = 64;
/// The largest frame: what fits a 2048-byte chunk behind its headroom, FCS added.
pub const SIZE_MAX: usize = 1796;

/// The sizes of the frames of a trial, taken in turn.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Sizes {
    cycle: Vec<usize>,
    imix: bool,
}

/// IMIX: seven frames of 64 bytes, four of 594, one of 1518, interleaved so that no two long ones follow each other.
const IMIX: [usize; 12] = [64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 64, 594];

impl Sizes {
    /// The simple IMIX, 7:4:1 of 64, 594 and 1518 bytes: 361.8 bytes in the mean.
    #[must_use]
    pub fn imix() -> Self {
        Self { cycle: IMIX.to_vec(), imix: true }
    }

    /// One size for all.
    ///
    /// # Errors
    /// When it is not from [`SIZE_MIN`] to [`SIZE_MAX`].
    pub fn one(size: usize) -> Result<Self, String> {
        Self::list(vec![size])
    }

    /// These in turn.
    ///
    /// # Errors
    /// When there is none, more than 64, or one is not from [`SIZE_MIN`] to [`SIZE_MAX`].
    pub fn list(cycle: Vec<usize>) -> Result<Self, String> {
        if cycle.is_empty() || cycle.len() > 64 {
            return Err(format!("{} sizes: want 1 to 64", cycle.len()));
        }
        match cycle.iter().find(|size| !(SIZE_MIN..=SIZE_MAX).contains(*size)) {
            Some(size) => {
                Err(format!("a frame of {size} bytes: want {SIZE_MIN} to {SIZE_MAX}, FCS included"))
            }
            None => Ok(Self { cycle, imix: false }),
        }
    }

    /// The sizes in their order, FCS included; what follows the last is the first.
    #[must_use]
    pub fn cycle(&self) -> &[usize] {
        &self.cycle
    }

    /// The longest, FCS included.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.cycle.iter().copied().max().unwrap_or(SIZE_MIN)
    }

    /// The mean size in bytes, FCS included, when no frame is shorter than `least`.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "at most 64 sizes of at most 1796")]
    pub fn mean(&self, least: usize) -> f64 {
        let sum: usize = self.cycle.iter().map(|size| (*size).max(least)).sum();
        sum as f64 / self.cycle.len() as f64
    }
}

impl FromStr for Sizes {
    type Err = String;

    /// `64`, `64,512,1518` or `imix`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("imix") {
            return Ok(Self::imix());
        }
        let size = |part: &str| {
            part.trim().parse::<usize>().map_err(|_| format!("'{part}' is no frame size: 64, 64,512 or imix"))
        };
        Self::list(text.split(',').map(size).collect::<Result<_, _>>()?)
    }
}

impl TryFrom<String> for Sizes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Sizes> for String {
    fn from(sizes: Sizes) -> Self {
        sizes.to_string()
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.imix {
            return f.write_str("imix");
        }
        let sizes: Vec<String> = self.cycle.iter().map(usize::to_string).collect();
        f.write_str(&sizes.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imix_is_seven_to_four_to_one() {
        let imix = Sizes::imix();
        let count = |size| imix.cycle().iter().filter(|s| **s == size).count();
        assert_eq!((count(64), count(594), count(1518), imix.cycle().len()), (7, 4, 1, 12));
        assert!((imix.mean(64) - 361.833).abs() < 0.001);
        let twice = [imix.cycle(), imix.cycle()].concat();
        assert!(twice.windows(2).all(|pair| pair.contains(&64)), "two long frames in a row");
    }

    #[test]
    fn sizes_are_read_and_bad_ones_refused() {
        for text in ["64", "64,512,1518", "imix"] {
            assert_eq!(text.parse::<Sizes>().unwrap().to_string(), text);
        }
        for text in ["", "63", "1797", "64,", "big"] {
            assert!(text.parse::<Sizes>().is_err(), "{text}");
        }
        assert!((Sizes::one(64).unwrap().mean(84) - 84.0).abs() < f64::EPSILON);
    }
}
