//! The settings of a ring.

/// The settings of the ring and its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UringOptions {
    /// Requests that can be queued in one turn before the kernel is called early.
    pub entries: u32,
    /// Completions that fit before the kernel buffers further ones.
    pub completions: u32,
    /// Bytes of one provided buffer.
    pub buffer_size: u32,
    /// Provided buffers in the ring at first. Few stay hot; if they are too few, reads get much
    /// slower until the number has doubled by itself; the memory of more is given back when they
    /// are unused.
    pub buffers: u16,
    /// The most provided buffers, a power of two of at most 32,768: memory is reserved for them,
    /// and used only when they are.
    pub buffers_limit: u16,
}

impl Default for UringOptions {
    fn default() -> UringOptions {
        UringOptions {
            entries: 1024,
            completions: 8192,
            buffer_size: 64 * 1024,
            buffers: 128,
            buffers_limit: 4096,
        }
    }
}
