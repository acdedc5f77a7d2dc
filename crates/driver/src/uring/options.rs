//! How a ring is to be made.

/// How the ring and its buffers are to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UringOptions {
    /// Requests that can be queued in one turn before the kernel is called early.
    pub entries: u32,
    /// Completions that fit before the kernel keeps them aside.
    pub completions: u32,
    /// Bytes of one provided buffer.
    pub buffer_size: u32,
    /// Provided buffers in the ring at first. Few stay hot; too few are a cliff, and then the
    /// number doubles by itself; the memory of more is given back when nobody needs it any more.
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
