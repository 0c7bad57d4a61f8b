//! Maglev tables (Eisenbud et al., NSDI 2016, section 3.4), weighted and independent of the members' order.

use std::fmt;

/// Table sizes to choose from, all prime: a stride below a prime visits every slot.
pub const SIZES: [u32; 10] = [127, 251, 509, 1_021, 2_039, 4_093, 8_191, 16_381, 32_749, 65_537];

/// The most members a table can tell apart; further ones get no slot.
pub const MEMBERS_MAX: usize = 65_535;

/// The smallest of [`SIZES`] that is at least 100 x `servers`, or the largest.
///
/// At 100 slots a server no server's share is off by more than about one percent of itself.
#[must_use]
pub fn default_size(servers: usize) -> u32 {
    let wanted = u32::try_from(servers.saturating_mul(100)).unwrap_or(u32::MAX);
    listed(wanted)
}

/// One server that may take flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// Who it is, on every node and after every restart: [`FrontHash::server`](crate::FrontHash::server).
    /// Two members with one identity are told apart by their order only.
    pub identity: u64,
    /// Its share, in proportion to the others' weights; 0 = no slot.
    pub weight: u16,
}

/// An immutable table from a hash to a member.
#[derive(Clone, PartialEq, Eq)]
pub struct Maglev {
    slots: Box<[u16]>,
}

impl Maglev {
    /// Builds the table. The same set of members gives the same table in any order, but for the indices.
    ///
    /// `size` is one of [`SIZES`]; any other is raised to the next of them, or lowered to the largest, because a
    /// size that is not prime cannot be filled.
    #[must_use]
    pub fn build(members: &[Member], size: u32) -> Self {
        let size = listed(size);
        let mut turns = turns(members, size);
        if turns.is_empty() {
            return Self { slots: Box::default() };
        }
        let weight_max = turns.iter().map(|t| t.weight).max().unwrap_or(1);
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        let mut slots = vec![FREE; length];
        let mut left = length;
        // A round gives every member credit for its weight, and a member takes a slot for each `weight_max` of
        // credit: the heaviest one a round, one of half its weight every second round.
        while left > 0 {
            for turn in &mut turns {
                turn.credit += turn.weight;
                if turn.credit < weight_max {
                    continue;
                }
                turn.credit -= weight_max;
                let slot = turn.next_free(&slots, size);
                slots[slot] = turn.member;
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        Self { slots: slots.into_boxed_slice() }
    }

    /// The index in `members` of the member that serves this hash; `None` when no member has weight.
    #[inline]
    #[must_use]
    pub fn pick(&self, hash: u64) -> Option<usize> {
        self.slots.get(self.slot(hash)).map(|&m| usize::from(m))
    }

    /// Another member for a flow whose first choices cannot take it: attempt 0 is [`pick`](Self::pick), attempt
    /// *n* looks up SplitMix64 of `hash` + *n*. It may name a member that was tried before.
    #[inline]
    #[must_use]
    pub fn pick_again(&self, hash: u64, attempt: u32) -> Option<usize> {
        match attempt {
            0 => self.pick(hash),
            n => self.pick(mix(hash.wrapping_add(u64::from(n)))),
        }
    }

    /// The slot of a hash: [`slot_of`] it.
    #[inline]
    #[must_use]
    pub fn slot(&self, hash: u64) -> usize {
        slot_of(hash, self.slots.len())
    }

    /// Each slot's member, as an index; empty when no member has weight.
    #[must_use]
    pub fn slots(&self) -> &[u16] {
        &self.slots
    }
}

impl fmt::Debug for Maglev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Maglev({} slots)", self.slots.len())
    }
}

/// The slot of a hash in a table of `size` slots: its upper 32 bits times the size, divided by 2^32.
#[inline]
#[must_use]
pub fn slot_of(hash: u64, size: usize) -> usize {
    let scaled = (u128::from(hash >> 32) * size as u128) >> 32;
    usize::try_from(scaled).unwrap_or(0)
}

/// A slot that nobody has taken yet; [`MEMBERS_MAX`] keeps it free of meaning.
const FREE: u16 = u16::MAX;

/// A member while the table is being filled.
struct Turn {
    member: u16,
    weight: u32,
    credit: u32,
    /// The slot it wants next.
    want: u32,
    /// The distance from one wanted slot to the next, 1..size.
    stride: u32,
}

impl Turn {
    /// The next slot of this member's permutation that is free. There must be one.
    fn next_free(&mut self, slots: &[u16], size: u32) -> usize {
        loop {
            let slot = usize::try_from(self.want).unwrap_or(0);
            self.want += self.stride;
            if self.want >= size {
                self.want -= size;
            }
            if slots[slot] == FREE {
                return slot;
            }
        }
    }
}

/// The members that have weight, in the order of their identities.
fn turns(members: &[Member], size: u32) -> Vec<Turn> {
    let mut order: Vec<(u64, u16, u16)> = (0..FREE)
        .zip(members)
        .filter(|(_, m)| m.weight > 0)
        .map(|(index, m)| (m.identity, index, m.weight))
        .collect();
    order.sort_unstable();
    order
        .into_iter()
        .map(|(identity, member, weight)| Turn {
            member,
            weight: u32::from(weight),
            credit: 0,
            want: remainder(mix(identity), size),
            stride: 1 + remainder(mix(identity ^ STRIDE), size - 1),
        })
        .collect()
}

/// Makes the stride's hash independent of the offset's.
const STRIDE: u64 = 0x7374_7269_6465_2121;

/// SplitMix64's increment.
pub(crate) const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014) after its increment.
#[inline]
pub(crate) const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(GAMMA);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn remainder(x: u64, by: u32) -> u32 {
    u32::try_from(x % u64::from(by)).unwrap_or(0)
}

/// The smallest listed size that is at least `wanted`, or the largest.
fn listed(wanted: u32) -> u32 {
    SIZES.into_iter().find(|&s| s >= wanted).unwrap_or(SIZES[SIZES.len() - 1])
}
