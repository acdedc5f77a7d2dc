//! A worker's supply of stacks: warm ones first, then new ones from slabs that grow.
#![expect(unsafe_code, reason = "hands out slots of slabs, each once")]

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::slab::{Owner, Slab, out_of_stacks};
use crate::slot_layout::SlotLayout;
use crate::stack::Stack;

/// Slots of the first slab; each further one has four times as many, up to [`SLOTS_MAX`].
const SLOTS_FIRST: usize = 16;
const SLOTS_MAX: usize = 1024;

/// No slab reserves more than this, unless a single stack does.
const SLAB_BYTES_MAX: usize = 1 << 30;

/// The number of the next pool, by which stacks find their own. Zero means no pool.
static OWNER_NEXT: AtomicU64 = AtomicU64::new(1);

/// How stacks are guarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guard {
    /// By marking the page (`MADV_GUARD_INSTALL`, Linux 6.13), or else by `mprotect`.
    #[default]
    Auto,
    /// By `mprotect`: visible in `/proc/PID/maps`, and limited by `vm.max_map_count`.
    Protect,
}

/// A pool of stacks of one size, for one thread at a time.
///
/// The stack given last is taken first: it is the warmest. Memory that stacks have touched stays
/// with them until [`trim`](StackPool::trim). Address space goes back when the pool and all its
/// stacks are gone, whichever thread drops the last.
///
/// # Examples
///
/// ```
/// use fiveways_coro::{DEFAULT_STACK_SIZE, StackPool};
///
/// # fn main() -> std::io::Result<()> {
/// let mut pool = StackPool::new(DEFAULT_STACK_SIZE);
/// let stack = pool.take()?;
/// assert_eq!(pool.live(), 1);
/// pool.give(stack);
/// assert_eq!((pool.live(), pool.pooled()), (0, 1));
/// # Ok(())
/// # }
/// ```
pub struct StackPool {
    owner: Owner,
    slot_layout: SlotLayout,
    guard: Guard,
    pooled: Vec<Stack>,
    /// The stacks at the bottom of `pooled` that hold no memory.
    cold: usize,
    /// The fewest there have been in `pooled` since the last [`StackPool::trim_unused`].
    fewest: usize,
    slabs: Vec<Arc<Slab>>,
    /// Slots cut from the last slab.
    cut: usize,
    /// Slots cut from all slabs.
    cut_total: usize,
    /// Slots of the next slab.
    slots_next: usize,
}

impl StackPool {
    /// Creates an empty pool of stacks with at least `stack_size` usable bytes (at least 16 KiB,
    /// rounded up to pages).
    pub fn new(stack_size: usize) -> StackPool {
        StackPool::with_guard(stack_size, Guard::Auto)
    }

    /// Creates an empty pool whose stacks are guarded in the given way.
    pub fn with_guard(stack_size: usize, guard: Guard) -> StackPool {
        StackPool {
            owner: Owner(OWNER_NEXT.fetch_add(1, Ordering::Relaxed)),
            slot_layout: SlotLayout::new(stack_size),
            guard,
            pooled: Vec::new(),
            cold: 0,
            fewest: 0,
            slabs: Vec::new(),
            cut: 0,
            cut_total: 0,
            slots_next: SLOTS_FIRST,
        }
    }

    /// Takes a stack: the one that was given back last, else a new one.
    ///
    /// # Errors
    ///
    /// Out of memory, address space or mappings; the message names the limits.
    #[inline]
    pub fn take(&mut self) -> io::Result<Stack> {
        match self.pooled.pop() {
            Some(stack) => {
                self.cold = self.cold.min(self.pooled.len());
                self.fewest = self.fewest.min(self.pooled.len());
                Ok(stack)
            }
            None => self.take_new(),
        }
    }

    /// Gives a stack back. A stack of another pool goes back to that pool.
    #[inline]
    pub fn give(&mut self, stack: Stack) {
        // The drop of another pool's stack returns it there.
        if stack.slab().owner() == self.owner {
            self.pooled.push(stack);
        }
    }

    /// Gives the memory of pooled stacks back to the kernel, except for the `keep` that will be
    /// taken next. They stay in the pool and cost about 2 µs when they are used again: call this
    /// when idle.
    pub fn trim(&mut self, keep: usize) {
        let end = self.pooled.len().saturating_sub(keep);
        for stack in self.pooled.iter_mut().take(end).skip(self.cold) {
            // Refused only for locked memory, which is then meant to stay.
            let _ = stack.discard();
        }
        self.cold = self.cold.max(end);
    }

    /// Gives back the memory of the stacks that have not been taken since the last call: those at
    /// the bottom, except for `keep`. Called from time to time, it keeps the memory in use and
    /// frees that of a peak.
    pub fn trim_unused(&mut self, keep: usize) {
        self.trim(keep.max(self.pooled.len() - self.fewest.min(self.pooled.len())));
        self.fewest = self.pooled.len();
    }

    /// Returns how many pooled stacks hold memory.
    #[inline]
    pub fn warm(&self) -> usize {
        self.pooled.len() - self.cold
    }

    /// Returns how many stacks are in use: taken, and neither given back nor dropped.
    pub fn live(&self) -> usize {
        let returned: usize = self.slabs.iter().map(|slab| slab.returned_len()).sum();
        self.cut_total - self.pooled.len() - returned
    }

    /// Returns how many stacks wait to be taken.
    pub fn pooled(&self) -> usize {
        self.pooled.len()
    }

    /// Returns the usable bytes of a stack.
    pub fn stack_size(&self) -> usize {
        self.slot_layout.usable()
    }

    #[cold]
    fn take_new(&mut self) -> io::Result<Stack> {
        self.collect_returned();
        if let Some(stack) = self.pooled.pop() {
            return Ok(stack);
        }
        if self.slabs.last().is_none_or(|slab| slab.slots() == self.cut) {
            self.grow()?;
        }
        let slab = self.slabs.last().expect("there is one, or `grow` has failed");
        // SAFETY: required: the slot has no owner. Slots below `cut` have been handed out, those
        // from there on never.
        let stack = unsafe { Stack::cut(slab, self.cut) };
        let stack = stack.map_err(|error| out_of_stacks(self.slot_layout, error))?;
        self.cut += 1;
        self.cut_total += 1;
        Ok(stack)
    }

    /// Collects the stacks that were dropped, perhaps by other threads.
    fn collect_returned(&mut self) {
        for slab in &self.slabs {
            slab.take_returned(|stack_name| {
                // SAFETY: required: from this slab's `take_returned`, used once. It is this very
                // call.
                self.pooled.push(unsafe { Stack::returned(slab, stack_name) });
            });
        }
    }

    /// Maps the next slab, or a smaller one if memory is short.
    fn grow(&mut self) -> io::Result<()> {
        let last = self.slabs.last();
        let protects = self.guard == Guard::Protect || last.is_some_and(|slab| slab.protects());
        let mut slots = self.slots_next.min((SLAB_BYTES_MAX / self.slot_layout.slot).max(1));
        let slab = loop {
            match Slab::new(self.owner, self.slot_layout, slots, protects) {
                Ok(slab) => break slab,
                Err(error) if slots == 1 => {
                    return Err(out_of_stacks(self.slot_layout, error));
                }
                Err(_) => slots = slots.div_ceil(4),
            }
        };
        self.slots_next = (slots * 4).min(SLOTS_MAX);
        self.slabs.push(Arc::new(slab));
        self.cut = 0;
        Ok(())
    }
}

impl fmt::Debug for StackPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackPool")
            .field("stack_size", &self.stack_size())
            .field("live", &self.live())
            .field("pooled", &self.pooled())
            .field("slabs", &self.slabs.len())
            .finish()
    }
}
