//! Who owns each chunk, written down and asserted at each hand-over in debug builds; nothing at all in release.

/// The owner of one chunk. Receive and fill ring are one owner, transmit and completion ring another: the kernel moves
/// a chunk between the two of a pair without telling us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// On the free list.
    Free,
    /// A [`Frame`](crate::Frame) outside any port has it.
    Worker,
    /// A port's fill or receive ring.
    Rx,
    /// A port's transmit or completion ring.
    Tx,
}

/// One [`Owner`] a chunk.
#[derive(Debug)]
pub(crate) struct Owners {
    #[cfg(debug_assertions)]
    list: Vec<Owner>,
    #[cfg(debug_assertions)]
    worker: usize,
}

#[cfg(debug_assertions)]
impl Owners {
    /// All chunks free.
    pub(crate) fn new(count: usize) -> Self {
        Self { list: vec![Owner::Free; count], worker: 0 }
    }

    /// Hands chunk `index` from one owner to the next.
    ///
    /// # Panics
    /// When `from` does not own it: a double free, a frame sent twice, a frame of other packet memory.
    pub(crate) fn hand(&mut self, index: u32, from: Owner, to: Owner) {
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        let now = self.list.get(place).copied();
        assert!(now == Some(from), "chunk {index} goes from {from:?} to {to:?} but its owner is {now:?}");
        self.worker = self.worker + usize::from(to == Owner::Worker) - usize::from(from == Owner::Worker);
        if let Some(owner) = self.list.get_mut(place) {
            *owner = to;
        }
    }

    /// How many chunks are outside the free list and the ports.
    pub(crate) fn held(&self) -> Option<usize> {
        Some(self.worker)
    }
}

#[cfg(not(debug_assertions))]
#[allow(
    clippy::unused_self,
    clippy::needless_pass_by_ref_mut,
    reason = "the same shape as the debug version"
)]
impl Owners {
    #[inline]
    pub(crate) fn new(_count: usize) -> Self {
        Self {}
    }

    #[inline]
    pub(crate) fn hand(&mut self, _index: u32, _from: Owner, _to: Owner) {}

    #[inline]
    pub(crate) fn held(&self) -> Option<usize> {
        None
    }
}
