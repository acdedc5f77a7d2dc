//! The ring of buffers from which the kernel picks one when bytes have arrived.
//!
//! ```text
//!   page-aligned memory, `entries` × 16 bytes, shared with the kernel:
//!   ┌────────────┬────────────┬─────┐   head: the kernel's, not visible
//!   │ addr len id│ addr len id│  …  │   tail: ours, in the last two bytes of the first entry
//!   └────────────┴────────────┴─────┘
//! ```
//!
//! Reference: io_uring_register_buf_ring(3).
#![expect(unsafe_code, reason = "writes what the kernel reads")]

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::memory::Mapping;

/// A ring of buffers.
#[derive(Debug)]
pub struct BufferRing {
    pages: Mapping,
    entries: u16,
    tail: u16,
}

impl BufferRing {
    /// Creates a ring for up to `entries` buffers, a power of two of at most 32,768.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory for it.
    pub fn new(entries: u16) -> io::Result<BufferRing> {
        debug_assert!(entries.is_power_of_two(), "the kernel masks with the number of entries");
        let pages = Mapping::new(usize::from(entries) * size_of::<BufRingEntry>())?;
        Ok(BufferRing { pages, entries, tail: 0 })
    }

    pub(super) fn address(&self) -> u64 {
        self.pages.base().addr().get() as u64
    }

    #[inline]
    fn first(&self) -> *mut BufRingEntry {
        self.pages.base().as_ptr().cast()
    }

    pub(super) fn entries(&self) -> u16 {
        self.entries
    }

    /// Adds a buffer; the kernel sees it after [`BufferRing::publish`].
    ///
    /// # Safety
    ///
    /// `start` must be valid for writes of `len` bytes, and no other code may touch them, from the
    /// publication until a completion names `id`. No more buffers than entries may be published at
    /// a time.
    #[inline]
    pub unsafe fn add(&mut self, start: *mut u8, len: u32, id: u16) {
        let at = usize::from(self.tail & (self.entries - 1));
        let first = self.first();
        // SAFETY: required: within the pages. The index is masked to the number of entries.
        let entry = unsafe { first.add(at) };
        // SAFETY: required: valid, aligned, ours to write. The kernel reads only what is published
        // and not yet used, and no more than all entries are out.
        let entry = unsafe { &mut *entry };
        entry.set_addr(start.addr() as u64);
        entry.set_len(len);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Publishes the added buffers to the kernel.
    #[inline]
    pub fn publish(&mut self) {
        let first = self.first();
        // SAFETY: required: the first entry of such a ring. It is, and its pages are mapped.
        let tail = unsafe { BufRingEntry::tail(first) }.cast_mut();
        // SAFETY: required: valid, aligned, and from now on only accessed atomically. The kernel's
        // side is; `add` writes the other fields of that entry.
        let tail = unsafe { AtomicU16::from_ptr(tail) };
        // ORDERING: pairs with the kernel's acquire load of the tail: entries before tail.
        tail.store(self.tail, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_what_was_added() {
        let mut ring = BufferRing::new(4).expect("pages");
        let mut bytes = [0_u8; 8];
        for id in 0..6 {
            // SAFETY: required: valid bytes, as long as the kernel has them. No kernel here.
            unsafe { ring.add(bytes.as_mut_ptr(), 8, id) };
        }
        ring.publish();
        let first = ring.first();
        // SAFETY: required: the first entry of such a ring.
        let tail = unsafe { BufRingEntry::tail(first) };
        // SAFETY: required: valid and aligned.
        assert_eq!(unsafe { *tail }, 6);
        // SAFETY: required: within the ring. It has four entries.
        let second = unsafe { first.add(1) };
        // SAFETY: required: valid and aligned. It is in the ring.
        let second = unsafe { &*second };
        assert_eq!((second.bid(), second.len()), (5, 8));
    }
}
