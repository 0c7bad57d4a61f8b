//! Keys: an address prefix and a salt, and the set that they belong to.

use ringlead_wire::Ip;
use siphasher::sip::SipHasher13;

use super::{StickyError, StickySpec};

/// Who is asked about; good for the table that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StickyKey {
    pub(super) high: u64,
    pub(super) low: u64,
    pub(super) salt: u32,
    pub(super) set: usize,
}

/// Makes a table's keys.
pub(super) struct Keys {
    mask_v4: u128,
    mask_v6: u128,
    sip: SipHasher13,
    sets: u64,
}

impl Keys {
    pub(super) fn new(spec: &StickySpec, sets: usize) -> Result<Self, StickyError> {
        if !(1..=32).contains(&spec.prefix_v4) {
            return Err(StickyError::PrefixV4(spec.prefix_v4));
        }
        if !(1..=128).contains(&spec.prefix_v6) {
            return Err(StickyError::PrefixV6(spec.prefix_v6));
        }
        Ok(Self {
            // An IPv4 address is the end of `::ffff:a.b.c.d`.
            mask_v4: mask(96 + spec.prefix_v4),
            mask_v6: mask(spec.prefix_v6),
            sip: SipHasher13::new_with_key(&spec.seed),
            sets: u64::try_from(sets).unwrap_or(u64::MAX),
        })
    }

    #[inline]
    pub(super) fn key(&self, source: Ip, salt: u32) -> StickyKey {
        let mask = if source.is_v4() { self.mask_v4 } else { self.mask_v6 };
        let address = u128::from_be_bytes(source.octets()) & mask;
        let (high, low) = (upper_half(address), lower_half(address));
        let mut bytes = [0; 20];
        bytes[..16].copy_from_slice(&address.to_be_bytes());
        bytes[16..].copy_from_slice(&salt.to_be_bytes());
        let scaled = (u128::from(self.sip.hash(&bytes)) * u128::from(self.sets)) >> 64;
        StickyKey { high, low, salt, set: usize::try_from(scaled).unwrap_or(0) }
    }
}

/// The address of a key's two halves.
pub(super) fn address_of(high: u64, low: u64) -> Ip {
    Ip::from_v6(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
}

/// The leading bits of an address that count, 1..=128 of them.
fn mask(bits: u8) -> u128 {
    u128::MAX << (128 - u32::from(bits))
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the shift leaves 64 bits")]
const fn upper_half(address: u128) -> u64 {
    (address >> 64) as u64
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
const fn lower_half(address: u128) -> u64 {
    address as u64
}
