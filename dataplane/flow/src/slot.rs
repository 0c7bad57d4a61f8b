//! Slots, where a key's hash says that its entry may be.

use crate::flow::Side;

/// Slots a bucket has: one cache line of them. Two under loom, which counts every atomic word.
pub(crate) const WIDTH: usize = if cfg!(loom) { 2 } else { 8 };

/// Bits of an entry's index.
pub(crate) const INDEX_BITS: u32 = 30;

/// A slot's word, `{tag 16, side 1, unused 1, index 30, generation 16}`, highest bits first; 0 = empty.
///
/// A tag is never 0, so that an empty slot has none. It stands on top, where a look-up cuts out eight at once with the
/// fewest instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot(pub(crate) u64);

impl Slot {
    pub(crate) const EMPTY: Self = Self(0);
    const INDEX: u32 = 16;
    const SERVER: u64 = 1 << 47;
    const TAG: u32 = 48;

    #[inline]
    pub(crate) const fn new(tag: u16, generation: u16, side: Side, index: u32) -> Self {
        let side = match side {
            Side::Client => 0,
            Side::Server => Self::SERVER,
        };
        Self((tag as u64) << Self::TAG | side | (index as u64) << Self::INDEX | generation as u64)
    }

    /// The tag of the key; 0 in an empty slot.
    #[inline]
    pub(crate) const fn tag(self) -> u16 {
        (self.0 >> Self::TAG) as u16
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "fields are cut out of the word")]
    pub(crate) const fn generation(self) -> u16 {
        self.0 as u16
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "fields are cut out of the word")]
    pub(crate) const fn index(self) -> u32 {
        (self.0 >> Self::INDEX) as u32 & ((1 << INDEX_BITS) - 1)
    }

    #[inline]
    pub(crate) const fn side(self) -> Side {
        if self.0 & Self::SERVER == 0 { Side::Client } else { Side::Server }
    }
}

/// Where a key may be: its two buckets and its tag.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spot {
    pub(crate) buckets: [u32; 2],
    pub(crate) tag: u16,
}

impl Spot {
    /// Of a hash, in a table of `buckets` buckets (at least 2).
    ///
    /// Each half of the hash chooses a bucket by multiplication, which uses its high bits most; the tag is made of
    /// both halves' low bits, so that it tells keys of one bucket apart.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "a hash is cut into parts")]
    pub(crate) const fn new(hash: u64, buckets: u32) -> Self {
        let first = (((hash & 0xffff_ffff) * buckets as u64) >> 32) as u32;
        let second = (((hash >> 32) * buckets as u64) >> 32) as u32;
        let next = if first + 1 == buckets { 0 } else { first + 1 };
        let second = if second == first { next } else { second };
        let tag = ((hash & 0xff) | (hash >> 24 & 0xff00)) as u16;
        Self { buckets: [first, second], tag: if tag == 0 { 1 } else { tag } }
    }
}

#[cfg(test)]
mod tests {
    use super::{Slot, Spot};
    use crate::flow::Side;

    #[test]
    fn fields_do_not_overlap() {
        for (tag, generation, index) in [(1, 0, 0), (u16::MAX, 0, 0), (1, u16::MAX, 0), (1, 0, (1 << 30) - 1)]
        {
            for side in [Side::Client, Side::Server] {
                let slot = Slot::new(tag, generation, side, index);
                assert_eq!((slot.generation(), slot.side(), slot.index()), (generation, side, index));
                assert_eq!(slot.tag(), tag);
            }
        }
        assert_eq!(Slot::EMPTY.tag(), 0);
    }

    #[test]
    fn the_two_buckets_differ_and_are_in_range() {
        for buckets in [2, 3, 1000] {
            for hash in [0, u64::MAX, 1 << 63, 0x8000_0000, 0x1234_5678_9abc_def0] {
                let [a, b] = Spot::new(hash, buckets).buckets;
                assert!(a != b && a < buckets && b < buckets);
                assert_ne!(Spot::new(hash, buckets).tag, 0);
            }
        }
    }
}
