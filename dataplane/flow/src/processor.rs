//! What the look-up says to the processor directly: prefetches, and sixteen comparisons at once.
// JUSTIFICATION: a burst's look-ups overlap their cache misses only if the lines are asked for before they are needed,
// and sixteen tags are compared in a sixth of the instructions that one by one takes; both together more than halve
// the cost of a look-up. The comparison is assembly, because the language has no atomic load of more than one word, and
// a plain one may not race with the writers of a bucket.
#![allow(unsafe_code, reason = "fenced here: an intrinsic and 21 instructions")]

#[cfg(not(all(target_arch = "x86_64", not(loom), not(test))))]
use crate::slot::Slot;
use crate::slot::WIDTH;
use crate::sync::AtomicU64;
#[cfg(not(all(target_arch = "x86_64", not(loom))))]
use crate::sync::Relaxed;

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
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    return all_at_once(first, second, tag);
    #[cfg(not(all(target_arch = "x86_64", not(loom))))]
    {
        let tags = |bucket: &Bucket| std::array::from_fn(|i| Slot(bucket[i].load(Relaxed)).tag());
        one_by_one(tags(first), tags(second), tag)
    }
}

/// Two slots a load; the order of what follows is the caller's, as it is with relaxed loads.
#[cfg(all(target_arch = "x86_64", not(loom)))]
#[inline]
fn all_at_once(first: &Bucket, second: &Bucket, tag: u16) -> u16 {
    use std::arch::asm;
    debug_assert!([first, second].iter().all(|bucket| bucket.as_ptr().addr().is_multiple_of(64)));
    let mask: u32;
    // Other threads may change a slot meanwhile; x86-64 reads each aligned eight bytes of a vector load whole, so that every
    // slot is what one relaxed load would have found. A fence before it stays before it, because it may read any memory.
    // SAFETY: reads the 64 bytes of each bucket, which are borrowed and, as all of the table's mapping are, aligned to 64,
    // and writes registers only. SSE2 is part of x86-64.
    unsafe {
        asm!(
            // The upper half of each slot, four slots to a register; then its upper half, eight slots to a register.
            "movdqa {a}, [{first}]",
            "movdqa {b}, [{first} + 32]",
            "shufps {a}, [{first} + 16], 0xdd",
            "shufps {b}, [{first} + 48], 0xdd",
            "movdqa {c}, [{second}]",
            "movdqa {d}, [{second} + 32]",
            "shufps {c}, [{second} + 16], 0xdd",
            "shufps {d}, [{second} + 48], 0xdd",
            "psrad {a}, 16",
            "psrad {b}, 16",
            "psrad {c}, 16",
            "psrad {d}, 16",
            "packssdw {a}, {b}",
            "packssdw {c}, {d}",
            "movd {t}, {tag:e}",
            "pshuflw {t}, {t}, 0",
            "punpcklqdq {t}, {t}",
            "pcmpeqw {a}, {t}",
            "pcmpeqw {c}, {t}",
            "packsswb {a}, {c}",
            "pmovmskb {mask:e}, {a}",
            first = in(reg) first,
            second = in(reg) second,
            tag = in(reg) u32::from(tag),
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            t = out(xmm_reg) _,
            mask = lateout(reg) mask,
            options(nostack, readonly, preserves_flags),
        );
    }
    #[allow(clippy::cast_possible_truncation, reason = "sixteen lanes, sixteen bits")]
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

    /// Buckets where the table has them: at the start of a cache line.
    #[repr(align(64))]
    struct Line([Bucket; 2]);

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
            let line = Line([bucket(0), bucket(8)]);
            let found = matches(&line.0[0], &line.0[1], tag << shift);
            let [first, second] = [0, 8].map(|at| std::array::from_fn(|i| tags[at + i] << shift));
            prop_assert_eq!(found, one_by_one(first, second, tag << shift));
            for (i, t) in tags.iter().enumerate() {
                prop_assert_eq!(found >> i & 1 == 1, *t == tag);
            }
        }
    }
}
