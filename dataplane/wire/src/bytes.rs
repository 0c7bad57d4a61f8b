//! Bounds-checked reads and writes of fixed size, and nothing else.

/// The `N` bytes at `at`, or None where the slice ends before them.
#[inline]
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    // One comparison: nobody reads at the end of the address space.
    bytes.get(at..at.wrapping_add(N))?.first_chunk::<N>().copied()
}

/// The `N` bytes at `at`, to be changed in place.
#[inline]
pub(crate) fn array_mut<const N: usize>(bytes: &mut [u8], at: usize) -> Option<&mut [u8; N]> {
    bytes.get_mut(at..at.wrapping_add(N))?.first_chunk_mut::<N>()
}

/// The big-endian word at `at`.
#[inline]
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// Copies `new` over the bytes at `at`; nothing happens where the slice ends before them.
#[inline]
pub(crate) fn put<const N: usize>(bytes: &mut [u8], at: usize, new: [u8; N]) {
    if let Some(field) = array_mut(bytes, at) {
        *field = new;
    }
}
