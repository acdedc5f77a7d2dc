//! Bytes that stay where the kernel or the worker put them, lent to one reader.
//!
//! Loans make `BufRead` the fast path: the bytes stay in a buffer that is hot in the cache because
//! every connection of the worker uses it in turn. The bytes of a loan lie in one of three places:
//!
//! ```text
//!   Hot       the worker's receive buffer: an Arc that the driver fills again only when it is the
//!             sole owner; while anything is lent from it the driver takes another one
//!   Provided  one buffer of the ring's provided-buffer group; goes back to the group when the loan
//!             ends, on whichever thread that is
//!   Owned     bytes that had to move, with a stream that was handed over or duplicated
//! ```
//!
//! So the bytes stay valid for as long as the loan lives, wherever it goes: a loan may outlive a
//! suspension, the worker, and a move to another thread.
#![expect(unsafe_code, reason = "the lent bytes are reached by a bare pointer")]

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use fiveways_sys::memory::Mapping;

/// A buffer that loans may keep alive.
///
/// It is mapped, so that the memory of many buffers goes back to the kernel when their loans end:
/// an allocator keeps pieces of this size.
#[derive(Debug)]
pub(crate) enum HotBuffer {
    Mapped(Mapping),
    /// If nothing more can be mapped.
    Allocated(Box<[u8]>),
}

/// Takes lent buffers back; called once for each loan, on any thread.
pub trait Lender: Send + Sync {
    /// Takes buffer `id` back.
    fn take_back(&self, id: u16);
}

enum Home {
    // Held for its drop only: the bytes are reached through the loan's pointer.
    Hot { _buffer: Arc<HotBuffer> },
    Provided { lender: Arc<dyn Lender>, id: u16 },
    Owned { _bytes: Box<[u8]> },
}

/// Bytes lent to one reader, and how far they have been consumed.
pub struct Loan {
    start: *const u8,
    len: usize,
    home: Home,
}

// SAFETY: required: usable from any thread. The bytes belong to the loan alone until it is dropped
// (they are not written), and each place can be released on any thread.
unsafe impl Send for Loan {}
// SAFETY: required: `&Loan` usable from several threads. It only reads bytes that are not written.
unsafe impl Sync for Loan {}

impl std::fmt::Debug for Loan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Loan({} bytes)", self.len)
    }
}

impl Loan {
    /// Lends `len` bytes of a provided buffer.
    ///
    /// # Safety
    ///
    /// `start` must be valid for reads of `len` bytes, and the bytes must not be written, until
    /// `lender.take_back(id)` is called; `lender` must keep the memory alive.
    pub unsafe fn provided(start: *const u8, len: usize, lender: Arc<dyn Lender>, id: u16) -> Loan {
        Loan { start, len, home: Home::Provided { lender, id } }
    }

    /// Wraps bytes in a buffer of their own.
    pub fn owned(bytes: Vec<u8>) -> Loan {
        let bytes = bytes.into_boxed_slice();
        Loan { start: bytes.as_ptr(), len: bytes.len(), home: Home::Owned { _bytes: bytes } }
    }

    /// Returns the bytes not yet consumed.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: required: valid for `len` bytes, not written while borrowed. Their place keeps
        // them alive and unchanged until the loan is dropped.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }

    /// Returns the number of bytes that are left.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns `true` if no byte is left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Marks the next `count` bytes as consumed.
    ///
    /// # Panics
    ///
    /// If `count` is more than the number of bytes left.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len, "consumed {count} bytes of a loan of {}", self.len);
        // SAFETY: required: stays within the bytes or one past them. Checked above.
        self.start = unsafe { self.start.add(count) };
        self.len -= count;
    }
}

impl Drop for Loan {
    #[inline]
    fn drop(&mut self) {
        if let Home::Provided { lender, id } = &self.home {
            lender.take_back(*id);
        }
    }
}

/// The receive buffers of one worker: usually one, kept hot by being used all the time.
#[derive(Debug)]
pub struct HotBuffers {
    current: Arc<HotBuffer>,
    spare: Vec<Arc<HotBuffer>>,
    size: usize,
}

/// Buffers kept for reuse beyond the current one.
const SPARES: usize = 8;

impl HotBuffers {
    /// Creates buffers of `size` bytes.
    pub fn new(size: usize) -> HotBuffers {
        HotBuffers { current: HotBuffer::new(size), spare: Vec::with_capacity(SPARES), size }
    }

    /// Returns a buffer of which nothing is lent, to receive into.
    #[inline]
    pub fn writable(&mut self) -> &mut [u8] {
        if !is_sole(&self.current) {
            self.swap();
        }
        let buffer = Arc::as_ptr(&self.current).cast_mut();
        // SAFETY: required: no other code reads or writes the buffer. We hold the only reference
        // (checked or just created), and `&mut self` keeps it from being lent meanwhile.
        let buffer = unsafe { &mut *buffer };
        buffer.bytes_mut()
    }

    /// Lends the first `len` bytes of the buffer that [`HotBuffers::writable`] returned last.
    #[inline]
    pub fn lend(&self, len: usize) -> Loan {
        let home = Home::Hot { _buffer: Arc::clone(&self.current) };
        Loan { start: self.current.start(), len, home }
    }

    /// Puts a lent-out buffer aside and takes one that is free.
    #[cold]
    fn swap(&mut self) {
        let free = self.spare.iter().position(is_sole);
        let next = match free {
            Some(at) => self.spare.swap_remove(at),
            None => HotBuffer::new(self.size),
        };
        let lent = std::mem::replace(&mut self.current, next);
        if self.spare.len() < SPARES {
            self.spare.push(lent);
        }
    }
}

impl HotBuffer {
    fn new(size: usize) -> Arc<HotBuffer> {
        Arc::new(match Mapping::new(size) {
            Ok(mapping) => HotBuffer::Mapped(mapping),
            Err(_) => HotBuffer::Allocated(vec![0; size].into_boxed_slice()),
        })
    }

    #[inline]
    fn start(&self) -> *const u8 {
        match self {
            HotBuffer::Mapped(mapping) => mapping.base().as_ptr(),
            HotBuffer::Allocated(bytes) => bytes.as_ptr(),
        }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            HotBuffer::Mapped(mapping) => {
                let (start, len) = (mapping.base().as_ptr(), mapping.len());
                // SAFETY: required: valid, initialised, not accessed otherwise while borrowed. The
                // mapping is of so many bytes and began as zeroes; `&mut self` is the only way to
                // write.
                unsafe { std::slice::from_raw_parts_mut(start, len) }
            }
            HotBuffer::Allocated(bytes) => bytes,
        }
    }
}

/// Returns `true` if we hold the only reference to the buffer. Then it stays so: no weak references
/// exist.
#[inline]
fn is_sole(buffer: &Arc<HotBuffer>) -> bool {
    let sole = Arc::strong_count(buffer) == 1;
    // ORDERING: pairs with the release decrement in the drop of the last other reference: its
    // reads of the bytes come before our writes.
    fence(Ordering::Acquire);
    sole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lent_buffer_is_not_written_again_while_the_loan_lives() {
        let mut hot = HotBuffers::new(16);
        hot.writable()[..3].copy_from_slice(b"abc");
        let loan = hot.lend(3);
        hot.writable()[..3].copy_from_slice(b"xyz");
        assert_eq!(loan.bytes(), b"abc");
    }

    #[test]
    fn a_buffer_comes_back_after_its_loan() {
        let mut hot = HotBuffers::new(16);
        let first = hot.writable().as_ptr();
        drop(hot.lend(4));
        assert_eq!(hot.writable().as_ptr(), first);
    }

    #[test]
    fn consuming_moves_the_window() {
        let mut loan = Loan::owned(b"hello".to_vec());
        loan.consume(2);
        assert_eq!(loan.bytes(), b"llo");
        loan.consume(3);
        assert!(loan.is_empty());
    }
}
