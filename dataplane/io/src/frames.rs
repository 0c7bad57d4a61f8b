//! One worker's packet memory: a region of equal chunks, each owned by exactly one holder at a time.

/// A chunk with a packet in it. Not `Clone`: whoever has it owns it, and gives it back with [`Frames::free`] or to a port.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a frame that is dropped is lost to its worker: free it or send it"]
pub struct Frame {
    /// Which chunk.
    pub(crate) index: u32,
    /// Where the packet starts in the chunk.
    pub(crate) offset: u16,
    /// How long it is.
    pub(crate) len: u16,
}

/// The packet memory of one worker. Skeleton: the fields and bodies are the driver author's.
#[derive(Debug)]
pub struct Frames {}

impl Frame {
    /// Length of the packet in bytes.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }
}
