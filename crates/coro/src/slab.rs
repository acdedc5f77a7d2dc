//! Slabs: one mapping each, cut into slots.
//!
//! A slab is shared by the stacks cut from it and by the pool that cuts them; the last of them
//! unmaps it, on any thread.
//!
//! A stack that is dropped instead of being given to its pool is *returned*: pushed on the slab's
//! list, which the pool empties when it has no stack left.
//!
//! ```text
//!   returned ─▶ name of slot 7 ─▶ … name of slot 2 ─▶ null
//!      pushed by any thread (compare and swap), taken as a whole by the pool (swap): no ABA
//! ```
#![expect(unsafe_code, reason = "the list of returned slots runs through their memory")]

use std::error::Error;
use std::fmt;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use fiveways_sys::memory::Mapping;

use crate::slab_registry;
use crate::slot_layout::SlotLayout;

/// The pool that a slab belongs to, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(pub(crate) u64);

/// The number of slots that have been cut from all mapped slabs of this process.
static CUT: AtomicUsize = AtomicUsize::new(0);

/// Slots in one mapping.
pub(crate) struct Slab {
    owner: Owner,
    memory: Mapping,
    slot_layout: SlotLayout,
    slots: usize,
    /// Slots that have been cut.
    cut: AtomicUsize,
    page: &'static slab_registry::Page,
    /// Whether guards are made by `mprotect`: requested, or the kernel has refused the cheaper
    /// kind.
    protects: AtomicBool,
    returned: AtomicPtr<Returned>,
    returned_len: AtomicUsize,
}

/// The node at the top of a returned slot.
struct Returned {
    next: *mut Returned,
}

impl Slab {
    /// Maps `slots` slots, none of them guarded yet.
    pub(crate) fn new(
        owner: Owner,
        slot_layout: SlotLayout,
        slots: usize,
        protects: bool,
    ) -> io::Result<Slab> {
        let len = slot_layout.slot.checked_mul(slots).ok_or(io::ErrorKind::OutOfMemory)?;
        let memory = Mapping::new(len)?;
        Ok(Slab {
            owner,
            page: slab_registry::show(memory.base().as_ptr() as usize, len, slot_layout),
            memory,
            slot_layout,
            slots,
            cut: AtomicUsize::new(0),
            protects: AtomicBool::new(protects),
            returned: AtomicPtr::default(),
            returned_len: AtomicUsize::new(0),
        })
    }

    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    pub(crate) fn slot_layout(&self) -> SlotLayout {
        self.slot_layout
    }

    /// Returns `true` if its guards are made by `mprotect`.
    pub(crate) fn protects(&self) -> bool {
        self.protects.load(Ordering::Relaxed)
    }

    /// Returns the number of returned slots that the pool has not taken yet.
    pub(crate) fn returned_len(&self) -> usize {
        self.returned_len.load(Ordering::Relaxed)
    }

    /// Guards slot `index` and returns the address of its stack name.
    ///
    /// # Safety
    ///
    /// The slot has no owner.
    pub(crate) unsafe fn cut(&self, index: usize) -> io::Result<NonNull<u8>> {
        let low = index * self.slot_layout.slot;
        let guard = low..low + self.slot_layout.guard;
        if !self.protects() {
            // SAFETY: required: the range is not in use. The slot has no owner, and stacks end
            // above it.
            match unsafe { self.memory.guard(guard.clone()) } {
                Ok(()) => return Ok(self.count_cut(index)),
                // Older than Linux 6.13, or locked memory: found out by trying.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.protects.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        // SAFETY: required: the range is not in use. The slot has no owner, and stacks end above
        // it.
        unsafe { self.memory.protect(guard) }?;
        Ok(self.count_cut(index))
    }

    fn count_cut(&self, index: usize) -> NonNull<u8> {
        self.cut.fetch_add(1, Ordering::Relaxed);
        CUT.fetch_add(1, Ordering::Relaxed);
        self.stack_name(index)
    }

    /// Returns the number of the slot that an address of this slab lies in.
    pub(crate) fn index_of(&self, address: NonNull<u8>) -> usize {
        (address.addr().get() - self.memory.base().addr().get()) / self.slot_layout.slot
    }

    /// Returns the lowest address of slot `index`: its guard's.
    pub(crate) fn low(&self, index: usize) -> NonNull<u8> {
        self.at(index * self.slot_layout.slot)
    }

    /// Gives the memory of slot `index` back to the kernel.
    ///
    /// # Safety
    ///
    /// The caller owns the slot and nothing in it is needed.
    pub(crate) unsafe fn discard(&self, index: usize) -> io::Result<()> {
        let low = index * self.slot_layout.slot;
        // SAFETY: required: the content may be lost. The caller promises it.
        unsafe { self.memory.discard(low + self.slot_layout.guard..low + self.slot_layout.slot) }
    }

    /// Returns the number of bytes from the lowest page of slot `index` that is in memory to the
    /// slot's end.
    pub(crate) fn touched(&self, index: usize) -> io::Result<usize> {
        let low = index * self.slot_layout.slot;
        let end = low + self.slot_layout.slot;
        let lowest = self.memory.lowest_resident(low + self.slot_layout.guard..end)?;
        Ok(lowest.map_or(0, |lowest| end - lowest))
    }

    /// Puts a slot on the list of the returned ones; `stack_name` is the address from
    /// [`Slab::cut`].
    ///
    /// # Safety
    ///
    /// The caller owns the slot and gives it up.
    pub(crate) unsafe fn put_back(&self, stack_name: NonNull<u8>) {
        let node = stack_name.cast::<Returned>();
        // First, so that the taker never counts below zero.
        self.returned_len.fetch_add(1, Ordering::Relaxed);
        let mut first = self.returned.load(Ordering::Relaxed);
        loop {
            // SAFETY: required: ours, writable, aligned. The caller owns the slot; names are
            // aligned to cache lines.
            unsafe { node.write(Returned { next: first }) };
            // ORDERING: Release: the taker's Acquire sees the node, and all that the last owner of
            // the stack did.
            match self.returned.compare_exchange_weak(
                first,
                node.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(other) => first = other,
            }
        }
    }

    /// Takes all returned slots, by the addresses of their names; the caller owns them then.
    pub(crate) fn take_returned(&self, mut keep: impl FnMut(NonNull<u8>)) {
        let mut node = self.returned.swap(ptr::null_mut(), Ordering::Acquire);
        while let Some(stack_name) = NonNull::new(node) {
            // SAFETY: required: a node that `put_back` wrote. It was on the list, which is now
            // ours.
            node = unsafe { stack_name.read() }.next;
            self.returned_len.fetch_sub(1, Ordering::Relaxed);
            keep(stack_name.cast());
        }
    }

    fn stack_name(&self, index: usize) -> NonNull<u8> {
        self.at(self.slot_layout.stack_name(index))
    }

    fn at(&self, offset: usize) -> NonNull<u8> {
        debug_assert!(offset < self.memory.len(), "{offset} leaves the slab");
        // SAFETY: required: inside the mapping. Offsets come from the layout and a slot's number.
        unsafe { self.memory.base().add(offset) }
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // Before the unmapping: the addresses may be another mapping's the next moment.
        slab_registry::hide(self.page);
        CUT.fetch_sub(*self.cut.get_mut(), Ordering::Relaxed);
    }
}

/// Creates the error for a stack for which the kernel has no memory.
pub(crate) fn out_of_stacks(slot_layout: SlotLayout, source: io::Error) -> io::Error {
    let (size, others) = (slot_layout.usable(), CUT.load(Ordering::Relaxed));
    io::Error::new(io::ErrorKind::OutOfMemory, OutOfStacks { others, size, source })
}

#[derive(Debug)]
struct OutOfStacks {
    /// In use, or kept for the next.
    others: usize,
    size: usize,
    source: io::Error,
}

impl fmt::Display for OutOfStacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no memory for a stack of {} KiB beside {} others: see vm.max_map_count, \
             vm.overcommit_memory and `ulimit -v`",
            self.size / 1024,
            self.others
        )
    }
}

impl Error for OutOfStacks {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slab_is_found_by_address_until_it_is_dropped() {
        let slot_layout = SlotLayout::new(0);
        let slab = Slab::new(Owner(0), slot_layout, 3, false).expect("mapped");
        // SAFETY: required: nobody owns the slot. The slab is new.
        let stack_name = unsafe { slab.cut(1) }.expect("guarded");
        let place = slab_registry::find(stack_name.addr().get()).expect("shown");
        assert_eq!((place.index, place.slot_layout), (1, slot_layout));
        assert_eq!(place.low(), slab.low(1).addr().get());
        drop(slab);
        assert_eq!(slab_registry::find(stack_name.addr().get()), None);
    }
}
