//! VLAN identifiers.

use std::fmt;
use std::num::NonZeroU16;

/// The identifier of a VLAN that frames can be sent into: 1 to 4094 (IEEE 802.1Q-2022 §9.6: 0 is no VLAN, 4095 reserved).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Vid(NonZeroU16);

impl Vid {
    /// The largest one.
    pub const MAX: u16 = 4094;

    /// `None` when `vid` is 0 or above [`Vid::MAX`].
    #[must_use]
    pub const fn new(vid: u16) -> Option<Self> {
        match NonZeroU16::new(vid) {
            Some(number) if vid <= Self::MAX => Some(Self(number)),
            _ => None,
        }
    }

    /// The number, which is also the tag's control information with priority 0.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Vid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::Vid;

    #[test]
    fn identifiers_are_those_of_802_1q() {
        assert_eq!(
            [0, 1, 20, 4094, 4095, u16::MAX].map(|vid| Vid::new(vid).map(Vid::get)),
            [None, Some(1), Some(20), Some(4094), None, None]
        );
    }
}
