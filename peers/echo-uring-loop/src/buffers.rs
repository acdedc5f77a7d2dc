//! The ring of buffers the kernel picks from for a receive.
//!
//! ```text
//! ring    [ addr len id | addr len id | … ]   LEN entries; the tail is in entry 0's spare field
//! arena   [ 64 KiB .320.][ 64 KiB .320.] …    starts staggered over the cache sets
//! ```
//!
//! A buffer belongs to the kernel from `publish` until a completion names it, then to the loop
//! until `recycle`.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// The group the receives name.
pub const GROUP: u16 = 0;

/// Buffers in the ring: fewer run out at thousands of connections, more leave the cache.
const LEN: u16 = 256;

const BUFFER_LEN: usize = 64 * 1024;

/// From the start of one buffer to the next; not a power of two, so that the hot first bytes of
/// the buffers do not fight for the same cache sets.
const STRIDE: usize = BUFFER_LEN + 320;

const PAGE_LEN: usize = 4096;

pub struct Buffers {
    ring: *mut BufRingEntry,
    arena: *mut u8,
    /// Entries written, published or not.
    tail: u16,
    published: u16,
}

impl Buffers {
    /// Allocates ring and buffers and hands all of them to the kernel. They live for ever.
    pub fn register(ring: &IoUring) -> io::Result<Self> {
        let entries = allocate(usize::from(LEN) * size_of::<BufRingEntry>()).cast();
        let arena = allocate(usize::from(LEN) * STRIDE);
        let submitter = ring.submitter();
        // SAFETY: `entries` is page-aligned, zeroed, `LEN` entries long and never freed.
        unsafe { submitter.register_buf_ring_with_flags(entries as u64, LEN, GROUP, 0)? };
        let mut buffers = Self { ring: entries, arena, tail: 0, published: 0 };
        (0..LEN).for_each(|buffer| buffers.recycle(buffer));
        buffers.publish();
        Ok(buffers)
    }

    /// The address of a buffer's byte `start`.
    pub fn bytes(&self, buffer: u16, start: u32) -> *mut u8 {
        let offset = usize::from(buffer) * STRIDE + start as usize;
        // SAFETY: `buffer` < LEN and `start` <= BUFFER_LEN, so the result is inside the arena.
        unsafe { self.arena.add(offset) }
    }

    /// Writes the buffer's entry; the kernel sees it after `publish`.
    pub fn recycle(&mut self, buffer: u16) {
        let address = self.bytes(buffer, 0) as u64;
        // SAFETY: the index is masked to the length of the ring.
        let entry = unsafe { self.ring.add(usize::from(self.tail & (LEN - 1))) };
        // SAFETY: the kernel does not touch entries beyond the published tail, and at most LEN
        // buffers exist, so this one is ours. The tail field of entry 0 is not written.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(BUFFER_LEN as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel what was recycled; tells whether there was anything.
    pub fn publish(&mut self) -> bool {
        if self.tail == self.published {
            return false;
        }
        // SAFETY: `ring` is the address of entry 0 of a registered ring.
        let tail = unsafe { BufRingEntry::tail(self.ring) };
        // SAFETY: the field is aligned for a u16, lives as long as the ring, and is shared with the
        // kernel, which reads it with an acquire load.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
        self.published = self.tail;
        true
    }
}

fn allocate(len: usize) -> *mut u8 {
    let layout = Layout::from_size_align(len, PAGE_LEN).expect("a constant, small size");
    // SAFETY: the layout is not empty.
    let memory = unsafe { alloc_zeroed(layout) };
    if memory.is_null() { handle_alloc_error(layout) } else { memory }
}
