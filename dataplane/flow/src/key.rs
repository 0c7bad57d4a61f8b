//! Tuples packed into words: two for IPv4, five for IPv6.

use std::fmt::Debug;
use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;
use ringlead_wire::Ip;

use crate::packed::Packed;
use crate::sync::{AtomicU64, Relaxed};
use crate::tuple::Tuple;

/// Words of the longest key.
pub(crate) const WORDS_MAX: usize = 5;

/// A packed tuple of one family.
pub(crate) trait Key: Copy + Debug {
    /// Words a key takes.
    const WORDS: usize;
    /// Words an entry takes: one or two cache lines.
    const ENTRY: usize;
    /// Whether it packs IPv4 tuples.
    const V4: bool;

    /// Packs a tuple of this family.
    fn pack(tuple: &Tuple) -> Self;
    /// The tuple again.
    fn unpack(self) -> Tuple;
    /// Of a packed tuple of this family.
    fn of(packed: &Packed) -> Self;
    /// All its words, the longest key's number of them.
    fn words(self) -> [u64; WORDS_MAX];
    /// Reads a key out of an entry, whatever it is at the time.
    fn load(from: &[AtomicU64]) -> Self;
    /// Writes a key into an entry.
    fn store(self, to: &[AtomicU64]);
    /// The source address and port.
    fn source(self) -> (Ip, u16);
    /// The destination address and port.
    fn destination(self) -> (Ip, u16);
    /// Whether two keys are equal, word by word without a branch.
    fn is(self, other: Self) -> bool;
    /// The keyed hash.
    fn hash(self, keys: &RandomState) -> u64;
}

/// `[src 32, dst 32]`, `[sport 16, dport 16, proto 8]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct V4(pub(crate) [u64; 2]);

impl Key for V4 {
    const WORDS: usize = 2;
    const ENTRY: usize = 8;
    const V4: bool = true;

    #[inline]
    fn pack(tuple: &Tuple) -> Self {
        let [src, dst] = [tuple.src, tuple.dst].map(|ip| u64::from(u32::from_be_bytes(ip.last4())));
        Self([src << 32 | dst, ends(tuple)])
    }

    #[inline]
    fn unpack(self) -> Tuple {
        with_ends(self.source().0, self.destination().0, self.0[1])
    }

    #[inline]
    fn of(packed: &Packed) -> Self {
        Self([packed.words[0], packed.words[1]])
    }

    #[inline]
    fn words(self) -> [u64; WORDS_MAX] {
        [self.0[0], self.0[1], 0, 0, 0]
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "fields are cut out of the words")]
    fn source(self) -> (Ip, u16) {
        (Ip::from_v4(((self.0[0] >> 32) as u32).to_be_bytes()), (self.0[1] >> 24) as u16)
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "fields are cut out of the words")]
    fn destination(self) -> (Ip, u16) {
        (Ip::from_v4((self.0[0] as u32).to_be_bytes()), (self.0[1] >> 8) as u16)
    }

    #[inline]
    fn load(from: &[AtomicU64]) -> Self {
        Self(load(from))
    }

    #[inline]
    fn store(self, to: &[AtomicU64]) {
        store(&self.0, to);
    }

    #[inline]
    fn is(self, other: Self) -> bool {
        same(&self.0, &other.0)
    }

    #[inline]
    fn hash(self, keys: &RandomState) -> u64 {
        hash(&self.0, keys)
    }
}

/// `[src 128]`, `[dst 128]`, `[sport 16, dport 16, proto 8]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct V6(pub(crate) [u64; 5]);

impl Key for V6 {
    const WORDS: usize = 5;
    const ENTRY: usize = 16;
    const V4: bool = false;

    #[inline]
    fn pack(tuple: &Tuple) -> Self {
        let [[s0, s1], [d0, d1]] = [tuple.src, tuple.dst].map(halves);
        Self([s0, s1, d0, d1, ends(tuple)])
    }

    #[inline]
    fn unpack(self) -> Tuple {
        with_ends(self.source().0, self.destination().0, self.0[4])
    }

    #[inline]
    fn of(packed: &Packed) -> Self {
        Self(packed.words)
    }

    #[inline]
    fn words(self) -> [u64; WORDS_MAX] {
        self.0
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "fields are cut out of the words")]
    fn source(self) -> (Ip, u16) {
        (whole(self.0[0], self.0[1]), (self.0[4] >> 24) as u16)
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "fields are cut out of the words")]
    fn destination(self) -> (Ip, u16) {
        (whole(self.0[2], self.0[3]), (self.0[4] >> 8) as u16)
    }

    #[inline]
    fn load(from: &[AtomicU64]) -> Self {
        Self(load(from))
    }

    #[inline]
    fn store(self, to: &[AtomicU64]) {
        store(&self.0, to);
    }

    #[inline]
    fn is(self, other: Self) -> bool {
        same(&self.0, &other.0)
    }

    #[inline]
    fn hash(self, keys: &RandomState) -> u64 {
        hash(&self.0, keys)
    }
}

#[inline]
fn load<const N: usize>(from: &[AtomicU64]) -> [u64; N] {
    std::array::from_fn(|i| from[i].load(Relaxed))
}

#[inline]
fn store<const N: usize>(words: &[u64; N], to: &[AtomicU64]) {
    for (word, to) in words.iter().zip(to) {
        to.store(*word, Relaxed);
    }
}

#[inline]
fn same<const N: usize>(one: &[u64; N], other: &[u64; N]) -> bool {
    one.iter().zip(other).fold(0, |odd, (a, b)| odd | (a ^ b)) == 0
}

#[inline]
fn hash<const N: usize>(words: &[u64; N], keys: &RandomState) -> u64 {
    let mut hasher = keys.build_hasher();
    for word in words {
        hasher.write_u64(*word);
    }
    hasher.finish()
}

#[inline]
const fn ends(tuple: &Tuple) -> u64 {
    (tuple.sport as u64) << 24 | (tuple.dport as u64) << 8 | tuple.proto as u64
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "fields are cut out of the word")]
const fn with_ends(src: Ip, dst: Ip, ends: u64) -> Tuple {
    Tuple { src, dst, sport: (ends >> 24) as u16, dport: (ends >> 8) as u16, proto: ends as u8 }
}

#[inline]
fn halves(ip: Ip) -> [u64; 2] {
    let all = u128::from_be_bytes(ip.octets());
    #[allow(clippy::cast_possible_truncation, reason = "the low half is wanted")]
    [(all >> 64) as u64, all as u64]
}

#[inline]
fn whole(high: u64, low: u64) -> Ip {
    Ip::from_v6((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::{Ip, Key, Tuple, V4, V6};

    proptest! {
        #[test]
        fn packing_loses_nothing(src: [u8; 16], dst: [u8; 16], sport: u16, dport: u16, proto: u8) {
            let v6 = Tuple { src: Ip::from_v6(src), dst: Ip::from_v6(dst), sport, dport, proto };
            prop_assert_eq!(V6::pack(&v6).unpack(), v6);
            let [src, dst] = [v6.src, v6.dst].map(|ip| Ip::from_v4(ip.last4()));
            let v4 = Tuple { src, dst, ..v6 };
            prop_assert_eq!(V4::pack(&v4).unpack(), v4);
        }
    }
}
