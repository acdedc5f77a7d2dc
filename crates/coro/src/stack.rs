//! One stack: a slot of a slab, owned.
#![expect(unsafe_code, reason = "owns raw memory, and promises corosensei that it is a stack")]

use std::alloc::Layout;
use std::fmt;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use corosensei::stack::StackPointer;

use crate::slab::{Owner, Slab, out_of_stacks};
use crate::slot_layout::SlotLayout;
use crate::stack_name::StackName;

/// A stack for a coroutine, with a guard below it.
///
/// Comes from a [`StackPool`](crate::StackPool), to which it is best
/// [given](crate::StackPool::give) back. A stack that is dropped goes back too, a little more
/// slowly, if its pool still exists.
pub struct Stack {
    slab: Arc<Slab>,
    /// The address of the stack's name: the top of the part that may be used.
    stack_name: NonNull<u8>,
}

// SAFETY: required: usable from any thread. A stack is memory that its owner alone uses; its slab
// is shared by atomics.
unsafe impl Send for Stack {}

impl Stack {
    /// Maps a stack outside all pools, with at least `bytes` usable bytes.
    ///
    /// # Errors
    ///
    /// Out of memory, address space or mappings; the message names the limits.
    pub fn alone(bytes: usize) -> io::Result<Stack> {
        let slot_layout = SlotLayout::new(bytes);
        let slab = Slab::new(Owner(0), slot_layout, 1, false).map(Arc::new);
        // SAFETY: required: the slot has no owner. The slab is new.
        slab.and_then(|slab| unsafe { Stack::cut(&slab, 0) })
            .map_err(|error| out_of_stacks(slot_layout, error))
    }

    /// Cuts slot `index` out of a slab.
    ///
    /// # Safety
    ///
    /// The slot has no owner.
    pub(crate) unsafe fn cut(slab: &Arc<Slab>, index: usize) -> io::Result<Stack> {
        // SAFETY: required: the slot has no owner. The caller promises it.
        let stack_name = unsafe { slab.cut(index) }?;
        Ok(Stack { slab: Arc::clone(slab), stack_name })
    }

    /// Creates the stack of a slot that had been returned.
    ///
    /// # Safety
    ///
    /// `stack_name` comes from `take_returned` of this slab, and is used once.
    pub(crate) unsafe fn returned(slab: &Arc<Slab>, stack_name: NonNull<u8>) -> Stack {
        Stack { slab: Arc::clone(slab), stack_name }
    }

    /// Returns the number of bytes above the guard, a few of which at the top are the runtime's.
    pub fn size(&self) -> usize {
        self.slab.slot_layout().usable()
    }

    /// Returns how many bytes of the stack are in memory, counted from its top in whole pages: how
    /// deep it has been used since it was last trimmed.
    ///
    /// Pages that were swapped out do not count. Asks the kernel and touches nothing.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when the kernel is short of memory for the moment.
    pub fn touched_bytes(&self) -> io::Result<usize> {
        self.slab.touched(self.index())
    }

    pub(crate) fn stack_name(&self) -> &StackName {
        // SAFETY: required: a name is there, shared. Names are atomics, all bit patterns are valid,
        // and the memory is mapped while `slab` lives.
        unsafe { self.stack_name.cast().as_ref() }
    }

    /// Returns the slab it was cut from.
    pub(crate) fn slab(&self) -> &Arc<Slab> {
        &self.slab
    }

    /// Gives its memory back to the kernel; the guard stays.
    pub(crate) fn discard(&mut self) -> io::Result<()> {
        // SAFETY: required: we own the slot, and nothing in it is needed. We are borrowed
        // exclusively and no fiber lives on a stack that is not in one.
        unsafe { self.slab.discard(self.index()) }
    }

    /// Returns the place at the top for a value of `layout`, so that the byte at offset `aligned`
    /// in it begins a cache line (or more, if its alignment asks for more).
    ///
    /// The place may be below the stack if the stack is too small.
    pub(crate) fn place_at_top(&self, layout: Layout, aligned: usize) -> NonNull<u8> {
        const LINE: usize = 64;
        let mask = layout.align().max(LINE) - 1;
        let top = self.stack_name.addr().get();
        let line = (top - layout.size() + aligned) & !mask;
        let down = top - (line - aligned);
        debug_assert!(down < self.size(), "a head of {} bytes", layout.size());
        // SAFETY: required: inside the mapping. Heads are far smaller than the smallest stack.
        unsafe { self.stack_name.sub(down) }
    }

    /// Returns the part of the stack below `base`, for corosensei.
    pub(crate) fn below(&self, base: NonNull<u8>) -> Below {
        Below { base, slab: Arc::as_ptr(&self.slab) }
    }

    /// Returns the addresses from the guard's lowest to the top of what may be used; frames lie
    /// between.
    pub fn addresses(&self) -> Range<usize> {
        self.slab.low(self.index()).addr().get()..self.stack_name.addr().get()
    }

    fn index(&self) -> usize {
        self.slab.index_of(self.stack_name)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: required: we own the slot and give it up. Nothing uses it after this.
        unsafe { self.slab.put_back(self.stack_name) };
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let low = self.slab.low(self.index());
        f.debug_struct("Stack").field("low", &low).field("size", &self.size()).finish()
    }
}

/// The part of a stack that frames may use, for corosensei.
pub(crate) struct Below {
    base: NonNull<u8>,
    slab: *const Slab,
}

// SAFETY: required: a guard page at the limit, at least 4 KiB usable, aligned bounds. Slots are
// guarded when they are cut and have at least 16 KiB, of which `Fiber` keeps less than half for
// itself; bases are aligned to 16 and limits to pages. The `Stack` beside it in the head keeps the
// memory mapped.
unsafe impl corosensei::stack::Stack for Below {
    #[inline]
    fn base(&self) -> StackPointer {
        self.base.addr()
    }

    /// Computed by a division, so not on the path of every spawn: only a sanitizer asks for it.
    #[cold]
    fn limit(&self) -> StackPointer {
        // SAFETY: required: live. The `Stack` beside us in the head holds it.
        let slab = unsafe { &*self.slab };
        slab.low(slab.index_of(self.base)).addr()
    }
}
