//! The buffers that the kernel receives into, and that are lent to readers.
//!
//! ```text
//!            supply                  kernel picks                lend
//!   free ────────────▶ in the ring ───────────────▶ arrived ───────────▶ lent
//!    ▲   (once a turn,  (`supplied`)                  │                   │
//!    │    up to `target`)                             │ recycle           │ take back
//!    └────────────────────────────────────────────────┴───────────────────┘
//! ```
//!
//! Free buffers are a stack, so that the buffer used last, which is hot, is used next. Memory for
//! `limit` buffers is mapped and not touched before its turn comes; only `target` of them are in
//! the ring at a time. The target doubles after a turn in which the kernel found the ring empty,
//! and shrinks back slowly while it does not: the ring is walked through in a circle, so a large
//! one is a cold one.
//!
//! Each buffer has pages of its own, one more than its size: it begins at a multiple of five cache
//! lines in its first page, or else the first lines of all buffers would fight for the same cache
//! sets.
//!
//! A *warm* buffer was used and holds memory. Warm buffers that were not needed for a while are
//! given back (`trim`), a few at a time, except for `least` and some more: first free ones from the
//! bottom of the stack, which become *cold* (the cold ones lie below all warm ones); then ones from
//! the ring. A buffer in the ring is the kernel's, and stays so until a completion names it. So
//! each is recalled by a request that receives one byte of our own into whichever buffer is the
//! next.
//!
//! Access: the free stack and the links belong to the worker's thread (`owner`). A loan that ends
//! on another thread puts its buffer into `foreign`, which the owner drains when it runs short.
//! After the driver's end there is no owner.
#![expect(unsafe_code, reason = "the kernel and loans reach the bytes by bare pointers")]

use std::cell::Cell;
use std::io;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fiveways_sys::lock::Mutex;
use fiveways_sys::memory::{Mapping, page_size};
use fiveways_sys::uring::BufferRing;

use crate::loan::{Lender, Loan};

/// The group of provided buffers; there is one.
pub(super) const GROUP: u16 = 0;

/// No buffer.
pub(super) const NONE: u16 = u16::MAX;

/// Turns without shortage after which a quarter of the buffers leaves the ring.
const STEADY: u16 = 256;

/// Cache lines by which each start is shifted against the one before, within a page: odd, so that
/// all sets are used.
const STAGGER: usize = 5 * 64;

/// Unused buffers that may stay warm for each one that is meant to be in the ring, as a fraction.
const SPARE: u32 = 4;

/// Buffers given back at once: some 200 µs, in which the worker does nothing else.
pub(super) const PIECE: u32 = 64;

/// The memory, and the free buffers. Outlives the driver while anything is lent.
pub(super) struct Pool {
    pages: Mapping,
    stride: usize,
    stagger_mask: usize,
    /// The thread that may use the cells, by [`here`]; 0 after the driver's end, which alone writes
    /// it.
    owner: AtomicUsize,
    /// The top of the free stack.
    free: Cell<u16>,
    /// Buffers in the free stack.
    free_count: Cell<u16>,
    /// Those of them, at its bottom, that hold no memory.
    cold: Cell<u16>,
    /// For each buffer the next one below it in the free stack.
    next: Box<[Cell<u16>]>,
    /// Buffers that came back on other threads.
    foreign: Mutex<Vec<u16>>,
    /// Whether `foreign` may hold something. Set with the lock held, cleared by the owner.
    has_foreign: AtomicBool,
}

// SAFETY: required: usable from any thread. The cells are used by the owner's thread alone (see
// `take_back` and `Buffers`, which is not Send); all else is synchronised or never changes.
unsafe impl Sync for Pool {}
// SAFETY: required: droppable on any thread. Nothing in it is tied to a thread when it is not in
// use.
unsafe impl Send for Pool {}

thread_local! {
    static HERE: u8 = const { 0 };
}

/// Returns a number that differs from those of all other living threads.
#[inline]
fn here() -> usize {
    HERE.with(|here| ptr::from_ref(here).addr())
}

impl Pool {
    #[inline]
    fn push(&self, id: u16) {
        self.next[usize::from(id)].set(self.free.replace(id));
        self.free_count.set(self.free_count.get() + 1);
    }

    #[inline]
    fn pop(&self) -> Option<u16> {
        let id = self.free.get();
        if id == NONE {
            return None;
        }
        self.free.set(self.next[usize::from(id)].get());
        self.free_count.set(self.free_count.get() - 1);
        self.cold.set(self.cold.get().min(self.free_count.get()));
        Some(id)
    }

    /// Returns the number of free buffers that hold memory.
    #[inline]
    fn warm(&self) -> u16 {
        self.free_count.get() - self.cold.get()
    }

    /// Gives back the memory of the `count` lowest of the warm free buffers.
    fn discard(&self, count: u16) {
        let keep = self.warm() - count;
        let mut id = self.free.get();
        for at in 0..keep + count {
            if at >= keep {
                let start = usize::from(id) * self.stride;
                // SAFETY: required: the content is not needed. The buffer is free: the kernel named
                // it in a completion since it was last in the ring, and its loan has ended. It
                // stays free meanwhile, for its owner's thread alone takes from the stack, and is
                // here. No other buffer has a byte in its pages. Refused only for locked memory,
                // which is then meant to stay.
                let _ = unsafe { self.pages.discard(start..start + self.stride) };
            }
            id = self.next[usize::from(id)].get();
        }
        self.cold.set(self.cold.get() + count);
    }

    /// Takes over the buffers that came back on other threads.
    #[cold]
    fn drain_foreign(&self) {
        if !self.has_foreign.load(Ordering::Relaxed) {
            return;
        }
        let mut foreign = self.foreign.lock();
        // ORDERING: relaxed, as every use is: the lock orders the buffers; the flag is a hint.
        self.has_foreign.store(false, Ordering::Relaxed);
        for id in foreign.drain(..) {
            self.push(id);
        }
    }
}

impl Lender for Pool {
    #[inline]
    fn take_back(&self, id: u16) {
        // ORDERING: relaxed: a thread that reads its own number is the owner, for only the owner
        // itself changes the field.
        if self.owner.load(Ordering::Relaxed) == here() {
            self.push(id);
            return;
        }
        let mut foreign = self.foreign.lock();
        foreign.push(id);
        self.has_foreign.store(true, Ordering::Relaxed);
    }
}

/// The worker's side of the buffers.
pub(super) struct Buffers {
    pool: Arc<Pool>,
    ring: BufferRing,
    size: u32,
    /// Buffers in the ring, according to the completions so far.
    supplied: u32,
    /// The number of buffers that are meant to be in the ring.
    target: u32,
    /// The initial and the lowest value of `target`.
    least: u32,
    /// Whether the kernel has found the ring empty since the target was last adapted.
    ran_out: bool,
    /// Supplies since the target last changed.
    steady: u16,
    /// The first buffer that was never used.
    fresh: u16,
    limit: u16,
    /// The lowest number of unused warm buffers after any turn since the last trimming began.
    fewest: u32,
    /// Warm buffers yet to be given back.
    excess: u32,
    /// Those of them that are being recalled from the kernel.
    recalled: u32,
}

impl Buffers {
    /// Maps memory for `limit` buffers of `size` bytes, of which `target` will be in the ring.
    pub(super) fn new(size: u32, target: u16, limit: u16) -> io::Result<Buffers> {
        let limit = limit.clamp(1, 1 << 15).next_power_of_two();
        let page = page_size();
        let stride = (size as usize).next_multiple_of(page) + page;
        let count = usize::from(limit);
        let pool = Pool {
            pages: Mapping::new(stride * count)?,
            stride,
            stagger_mask: page - 1,
            owner: AtomicUsize::new(here()),
            free: Cell::new(NONE),
            free_count: Cell::new(0),
            cold: Cell::new(0),
            next: vec![Cell::new(NONE); count].into_boxed_slice(),
            foreign: Mutex::new(Vec::with_capacity(count)),
            has_foreign: AtomicBool::new(false),
        };
        Ok(Buffers {
            pool: Arc::new(pool),
            ring: BufferRing::new(limit)?,
            size,
            supplied: 0,
            target: u32::from(target.clamp(1, limit)),
            least: u32::from(target.clamp(1, limit)),
            ran_out: false,
            steady: 0,
            fresh: 0,
            limit,
            fewest: 0,
            excess: 0,
            recalled: 0,
        })
    }

    /// Returns the ring, to be registered.
    pub(super) fn ring(&self) -> &BufferRing {
        &self.ring
    }

    #[inline]
    fn start(&self, id: u16) -> *mut u8 {
        let id = usize::from(id);
        let offset = id * self.pool.stride + ((id * STAGGER) & self.pool.stagger_mask);
        // SAFETY: required: within the pages. There are as many strides as buffers, and each has
        // room for a buffer that begins in its first page.
        unsafe { self.pool.pages.base().as_ptr().add(offset) }
    }

    /// Puts free buffers into the ring, up to the target.
    #[inline]
    pub(super) fn supply(&mut self) {
        if self.supplied >= self.target {
            return;
        }
        let before = self.supplied;
        while self.supplied < self.target {
            let Some(id) = self.take_free() else { break };
            let start = self.start(id);
            // SAFETY: required: valid bytes that are not touched until a completion names the
            // buffer; no more than entries. It was free, and there are as many entries as buffers.
            unsafe { self.ring.add(start, self.size, id) };
            self.supplied += 1;
        }
        if self.supplied > before {
            self.ring.publish();
        }
    }

    #[inline]
    fn take_free(&mut self) -> Option<u16> {
        if let Some(id) = self.pool.pop() {
            return Some(id);
        }
        self.pool.drain_foreign();
        if let Some(id) = self.pool.pop() {
            return Some(id);
        }
        let fresh = self.fresh;
        if fresh == self.limit {
            return None;
        }
        self.fresh += 1;
        Some(fresh)
    }

    /// Returns the number of buffers that the kernel has or could be given, according to the
    /// completions.
    pub(super) fn available(&self) -> u32 {
        self.pool.drain_foreign();
        let fresh = u32::from(self.limit - self.fresh);
        self.supplied + u32::from(self.pool.free_count.get()) + fresh
    }

    /// Returns `true` if enough of them are available for more sockets to draw on.
    pub(super) fn is_plenty(&self) -> bool {
        self.available() > u32::from(self.limit / 4)
    }

    /// Records that the kernel found the ring empty.
    #[cold]
    pub(super) fn note_exhausted(&mut self) {
        self.ran_out = true;
    }

    /// Adapts the number of buffers in the ring after a turn; called once a turn.
    #[inline]
    pub(super) fn adapt(&mut self) {
        if self.ran_out {
            self.ran_out = false;
            self.steady = 0;
            self.target = (self.target * 2).min(u32::from(self.limit));
        } else if self.target > self.least {
            self.steady += 1;
            if self.steady == STEADY {
                self.steady = 0;
                self.target = (self.target - self.target.div_ceil(4)).max(self.least);
            }
        }
    }

    /// Records how many buffers a turn has left unused.
    #[inline]
    pub(super) fn note_unused(&mut self) {
        self.fewest = self.fewest.min(self.unused());
    }

    /// Returns the number of unused warm buffers.
    #[inline]
    fn unused(&self) -> u32 {
        self.supplied + u32::from(self.pool.warm())
    }

    /// Returns the number of warm buffers that are kept though unused.
    fn kept(&self) -> u32 {
        self.least + self.least / SPARE
    }

    /// Returns `true` if there are unused buffers with more memory than is to be kept.
    pub(super) fn has_excess(&self) -> bool {
        self.pool.drain_foreign();
        self.unused() > self.kept()
    }

    /// Gives back some memory that has not been used since the last trimming began. Returns how
    /// many buffers are to be recalled from the kernel; each recall ends by
    /// [`Buffers::recall_ended`].
    pub(super) fn trim(&mut self) -> u32 {
        self.pool.drain_foreign();
        if self.excess == 0 {
            self.excess = self.fewest.saturating_sub(self.kept());
            self.fewest = self.unused();
        }
        let warm = u32::from(self.pool.warm());
        let count = warm.min(self.excess).min(PIECE);
        self.pool.discard(count as u16);
        self.excess -= count;
        // The remaining excess is in the ring, or was used meanwhile.
        self.excess = self.excess.min(self.unused().saturating_sub(self.kept()));
        let in_ring = self.excess.saturating_sub(u32::from(self.pool.warm()));
        if in_ring == 0 || self.recalled > 0 {
            return 0;
        }
        self.target = self.supplied - in_ring;
        self.recalled = in_ring.min(PIECE);
        self.recalled
    }

    /// Returns `true` if there is more to be given back.
    pub(super) fn is_trimming(&self) -> bool {
        self.excess > 0
    }

    /// Records the end of a request that recalled a buffer, with the buffer that it brought.
    /// Returns `true` if it was the last of them.
    pub(super) fn recall_ended(&mut self, id: Option<u16>) -> bool {
        match id {
            Some(id) => {
                self.arrived();
                self.recycle(id);
            }
            None => self.stop_trimming(),
        }
        self.recalled -= 1;
        self.recalled == 0
    }

    /// Ends the trimming early.
    pub(super) fn stop_trimming(&mut self) {
        self.excess = 0;
    }

    /// Records that `count` buffers were not recalled after all.
    pub(super) fn not_recalled(&mut self, count: u32) {
        self.recalled -= count;
        self.stop_trimming();
    }

    /// Records that the kernel has used a buffer: `id` is ours now.
    #[inline]
    pub(super) fn arrived(&mut self) {
        self.supplied -= 1;
    }

    /// Makes a buffer that arrived free again.
    #[inline]
    pub(super) fn recycle(&self, id: u16) {
        self.pool.push(id);
    }

    /// Lends the `len` bytes that arrived in a buffer.
    #[inline]
    pub(super) fn lend(&self, id: u16, len: usize) -> Loan {
        assert!(len <= self.size as usize, "{len} bytes in a buffer of {}", self.size);
        let start = self.start(id).cast_const();
        let lender: Arc<dyn Lender> = Arc::clone(&self.pool) as Arc<dyn Lender>;
        // SAFETY: required: valid and not written until taken back, kept alive by the lender. The
        // buffer arrived, so the kernel has released it, and it is not free before it is taken
        // back.
        unsafe { Loan::provided(start, len, lender, id) }
    }

    /// Keeps all memory mapped for ever, because the kernel may still write to it.
    pub(super) fn leak(&mut self) {
        std::mem::forget(Arc::clone(&self.pool));
        let empty = BufferRing::new(1);
        if let Ok(empty) = empty {
            std::mem::forget(std::mem::replace(&mut self.ring, empty));
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // From here on loans end as if on another thread: this thread's number may be used again.
        self.pool.owner.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Acts as the kernel: `id` arrives with `len` bytes of `byte`.
    fn arrive(buffers: &mut Buffers, id: u16, byte: u8, len: usize) {
        // SAFETY: required: valid for `len` bytes. Buffers are larger.
        unsafe { buffers.start(id).write_bytes(byte, len) };
        buffers.arrived();
    }

    #[test]
    fn a_loan_that_ends_anywhere_gives_its_buffer_back() {
        let mut buffers = Buffers::new(4096, 2, 4).expect("memory");
        buffers.supply();
        arrive(&mut buffers, 0, b'a', 3);
        arrive(&mut buffers, 1, b'b', 2);
        let (here, there) = (buffers.lend(0, 3), buffers.lend(1, 2));
        assert_eq!((here.bytes(), there.bytes()), (&b"aaa"[..], &b"bb"[..]));
        drop(here);
        assert_eq!(buffers.pool.pop(), Some(0));
        std::thread::spawn(move || drop(there)).join().expect("no panic");
        assert_eq!(buffers.pool.pop(), None);
        buffers.fresh = buffers.limit;
        assert_eq!(buffers.available(), 1);
        assert_eq!(buffers.take_free(), Some(1));
        assert_eq!(buffers.take_free(), None);
    }

    #[test]
    fn a_loan_outlives_the_driver() {
        let mut buffers = Buffers::new(4096, 1, 1).expect("memory");
        buffers.supply();
        arrive(&mut buffers, 0, b'x', 4096);
        let loan = buffers.lend(0, 4096);
        let pool = Arc::downgrade(&buffers.pool);
        drop(buffers);
        assert!(loan.bytes().iter().all(|byte| *byte == b'x'));
        drop(loan);
        assert!(pool.upgrade().is_none(), "the memory is released with the last loan");
    }

    #[test]
    fn the_buffer_used_last_is_supplied_next() {
        let mut buffers = Buffers::new(4096, 2, 8).expect("memory");
        buffers.supply();
        assert_eq!(buffers.fresh, 2);
        arrive(&mut buffers, 0, 0, 1);
        buffers.recycle(0);
        buffers.supply();
        assert_eq!((buffers.fresh, buffers.supplied), (2, 2));
    }

    #[test]
    fn an_empty_ring_makes_more_buffers_join_once_a_turn_up_to_the_limit() {
        let mut buffers = Buffers::new(4096, 2, 8).expect("memory");
        for expected in [2, 4, 8, 8] {
            buffers.adapt();
            buffers.supply();
            assert_eq!(buffers.supplied, expected);
            buffers.note_exhausted();
            buffers.note_exhausted();
        }
    }

    /// Returns how much memory the buffers hold.
    fn resident(buffers: &Buffers) -> usize {
        let pool = &buffers.pool;
        let holds = |id: &usize| {
            let start = id * pool.stride;
            pool.pages.lowest_resident(start..start + pool.stride).expect("known").is_some()
        };
        (0..usize::from(buffers.limit)).filter(holds).count()
    }

    #[test]
    fn what_a_peak_needed_is_given_back_and_what_is_lent_stays_as_it_is() {
        let mut buffers = Buffers::new(4096, 4, 32).expect("memory");
        buffers.target = 32;
        buffers.supply();
        for id in 0..20 {
            arrive(&mut buffers, id, b'a' + id as u8, 4096);
        }
        let mut loans: Vec<_> = (0..20).map(|id| buffers.lend(id, 4096)).collect();
        let last = loans.pop().expect("20 of them");
        buffers.note_unused();
        assert!(!buffers.is_trimming());
        drop(loans);
        assert!(buffers.has_excess());
        // The trimming begins to watch now: until then the buffers were needed.
        assert_eq!((buffers.trim(), resident(&buffers)), (0, 20));
        buffers.note_unused();
        // 31 are unused, of which 5 are kept. The 19 free ones go at once, 7 are in the ring.
        assert_eq!((buffers.trim(), resident(&buffers)), (7, 1));
        assert!(buffers.is_trimming());
        for id in 20..27 {
            // SAFETY: required: valid for a byte. Buffers are larger.
            unsafe { buffers.start(id).write(0) };
            assert_eq!(buffers.recall_ended(Some(id)), id == 26);
        }
        assert_eq!(resident(&buffers), 8);
        assert_eq!((buffers.trim(), resident(&buffers)), (0, 1));
        assert!(!buffers.is_trimming() && !buffers.has_excess());
        assert!(last.bytes().iter().all(|byte| *byte == b't'));
        drop(last);
        // The warm one is used first, and the cold ones are as good as before.
        buffers.target = 32;
        buffers.supply();
        assert_eq!((buffers.supplied, buffers.pool.cold.get(), buffers.pool.warm()), (32, 0, 0));
    }

    #[test]
    fn buffers_that_are_in_use_now_and_then_stay_warm() {
        let mut buffers = Buffers::new(4096, 4, 32).expect("memory");
        buffers.target = 32;
        for _ in 0..3 {
            buffers.supply();
            for id in 0..30 {
                arrive(&mut buffers, id, 1, 1);
            }
            buffers.note_unused();
            (0..30).for_each(|id| buffers.recycle(id));
            assert_eq!((buffers.trim(), resident(&buffers)), (0, 30));
            buffers.supply();
        }
    }

    #[test]
    fn buffers_that_are_not_wanted_leave_the_ring_again() {
        let mut buffers = Buffers::new(4096, 2, 8).expect("memory");
        buffers.target = 8;
        for _ in 0..STEADY * 8 {
            buffers.adapt();
        }
        assert_eq!(buffers.target, 2);
    }
}
