//! What the look-up says to the processor directly: prefetches, and sixteen comparisons at once.
// JUSTIFICATION: a burst's look-ups overlap their cache misses only if the lines are asked for before they are needed,
// and sixteen tags are compared in a quarter of the instructions that one by one takes; both together more than halve
// the cost of a look-up. Rust calls these intrinsics unsafe where the processor might lack them; x86-64 never does.
#![allow(unsafe_code, reason = "fenced here: intrinsics")]

use crate::slot::{Slot, WIDTH};
use crate::sync::{AtomicU64, Relaxed};

type Bucket = [AtomicU64; WIDTH];

/// Asks for the cache line of `target`; nothing on processors other than x86-64.
#[inline(always)]
#[allow(clippy::inline_always, reason = "one instruction")]
pub(crate) fn prefetch<T>(target: &T) {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the pointer comes from a live reference; a prefetch neither reads nor writes memory as the language
        // sees it, and cannot fault. SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(target).cast::<i8>()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom))))]
    let _ = target;
}

/// The slots of two buckets that have a tag, a bit each: the first bucket's lowest.
#[inline]
pub(crate) fn matches(first: &Bucket, second: &Bucket, tag: u16) -> u16 {
    // Each slot is loaded whole and on its own, as an atomic has to be; the order of what follows is the caller's.
    let tags = |bucket: &Bucket| std::array::from_fn(|i| Slot(bucket[i].load(Relaxed)).tag());
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    // SAFETY: SSE2 is part of x86-64.
    return unsafe { all_at_once(tags(first), tags(second), tag) };
    #[cfg(not(all(target_arch = "x86_64", not(loom))))]
    one_by_one(tags(first), tags(second), tag)
}

#[cfg(all(target_arch = "x86_64", not(loom)))]
#[inline]
#[target_feature(enable = "sse2")]
fn all_at_once(first: [u16; WIDTH], second: [u16; WIDTH], tag: u16) -> u16 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi16, _mm_movemask_epi8, _mm_packs_epi16, _mm_set_epi16, _mm_set1_epi16,
    };
    let wanted = _mm_set1_epi16(tag.cast_signed());
    let [first, second] = [first, second].map(|tags| {
        let [a, b, c, d, e, f, g, h] = tags.map(u16::cast_signed);
        _mm_cmpeq_epi16(_mm_set_epi16(h, g, f, e, d, c, b, a), wanted)
    });
    let mask = _mm_movemask_epi8(_mm_packs_epi16(first, second));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sixteen lanes, sixteen bits")]
    {
        mask as u16
    }
}

#[cfg(any(test, loom, not(target_arch = "x86_64")))]
fn one_by_one(first: [u16; WIDTH], second: [u16; WIDTH], tag: u16) -> u16 {
    let tags = first.into_iter().chain(second).enumerate();
    tags.fold(0, |found, (i, t)| found | u16::from(t == tag) << i)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::{AtomicU64, Bucket, Slot, matches, one_by_one};
    use crate::flow::Side;

    proptest! {
        #[test]
        fn all_at_once_finds_what_one_by_one_finds(
            tags in prop::array::uniform16(0_u16..4),
            high: bool,
            tag in 1_u16..4,
        ) {
            let shift = if high { 14 } else { 0 };
            let bucket = |at: usize| -> Bucket {
                std::array::from_fn(|i| match tags[at + i] {
                    0 => AtomicU64::new(0),
                    tag => AtomicU64::new(Slot::new(tag << shift, 0xffff, Side::Server, tag.into()).0),
                })
            };
            let found = matches(&bucket(0), &bucket(8), tag << shift);
            let [first, second] = [0, 8].map(|at| std::array::from_fn(|i| tags[at + i] << shift));
            prop_assert_eq!(found, one_by_one(first, second, tag << shift));
            for (i, t) in tags.iter().enumerate() {
                prop_assert_eq!(found >> i & 1 == 1, *t == tag);
            }
        }
    }
}
