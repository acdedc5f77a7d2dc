//! The slabs of this process, in a list that a signal handler can read.
//!
//! ```text
//!   LIST ─▶ page ─▶ page ─▶ …      pages are leaked, and used again when vacant
//!
//!   page:  vacant ──claim (claimed: false → true)──▶ being written ──version + 1──▶ shown
//!             ▲                                                                        │
//!             └──────────── claimed = false ◀── version + 1 ── slab is unmapped ───────┘
//!         version odd: not visible; even: slab, layout and length are valid
//! ```
//!
//! A reader that sees the same even version before and after has read one slab's numbers (a
//! seqlock). The slab of the stack that the reader itself runs on cannot change under it.

use std::iter;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use crate::slot_layout::SlotLayout;

/// A link of the list: set once, and read by an atomic load.
type Link = OnceLock<&'static Page>;

static LIST: Link = Link::new();

/// One slab's entry.
pub(crate) struct Page {
    next: Link,
    claimed: AtomicBool,
    /// Odd if the slab is not visible.
    version: AtomicUsize,
    start: AtomicUsize,
    len: AtomicUsize,
    slot: AtomicUsize,
    guard: AtomicUsize,
}

/// The slot that an address lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The slab's first address.
    pub(crate) slab: usize,
    /// The slot's number in the slab.
    pub(crate) index: usize,
    pub(crate) slot_layout: SlotLayout,
}

impl Place {
    /// The lowest address of the slot: its guard's.
    pub(crate) fn low(&self) -> usize {
        self.slab + self.index * self.slot_layout.slot
    }
}

/// Makes a slab visible to [`find`] until [`hide`].
pub(crate) fn show(start: usize, len: usize, slot_layout: SlotLayout) -> &'static Page {
    let page = vacant().unwrap_or_else(append);
    // ORDERING: with the fence in `look`: a reader that sees a number of ours also sees that the
    // version is odd.
    fence(Ordering::Release);
    page.start.store(start, Ordering::Relaxed);
    page.len.store(len, Ordering::Relaxed);
    page.slot.store(slot_layout.slot, Ordering::Relaxed);
    page.guard.store(slot_layout.guard, Ordering::Relaxed);
    page.version.fetch_add(1, Ordering::Release);
    page
}

/// Hides a slab that is about to be unmapped. Called once for each [`show`].
pub(crate) fn hide(page: &'static Page) {
    page.version.fetch_add(1, Ordering::Relaxed);
    page.claimed.store(false, Ordering::Release);
}

/// Finds the slot of an address; safe in a signal handler.
pub(crate) fn find(address: usize) -> Option<Place> {
    pages().find_map(|page| look(page, address))
}

fn look(page: &Page, address: usize) -> Option<Place> {
    let version = page.version.load(Ordering::Acquire);
    if version % 2 == 1 {
        return None;
    }
    let slab = page.start.load(Ordering::Relaxed);
    let len = page.len.load(Ordering::Relaxed);
    let slot = page.slot.load(Ordering::Relaxed);
    let guard = page.guard.load(Ordering::Relaxed);
    // ORDERING: with the fence in `show`.
    fence(Ordering::Acquire);
    let is_whole = page.version.load(Ordering::Relaxed) == version;
    let offset = address.checked_sub(slab).filter(|offset| is_whole && *offset < len)?;
    Some(Place { slab, index: offset / slot, slot_layout: SlotLayout { slot, guard } })
}

/// Takes a vacant page of the list.
fn vacant() -> Option<&'static Page> {
    pages().find(|page| {
        let claim = |from, to| {
            page.claimed.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed)
        };
        claim(false, true).is_ok()
    })
}

/// Adds a page at the end of the list, owned by the caller from the start.
fn append() -> &'static Page {
    let page: &'static Page = Box::leak(Box::new(Page {
        next: Link::new(),
        claimed: AtomicBool::new(true),
        version: AtomicUsize::new(1),
        start: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        slot: AtomicUsize::new(0),
        guard: AtomicUsize::new(0),
    }));
    let mut end = &LIST;
    while let Err(_taken) = end.set(page) {
        match end.get() {
            Some(other) => end = &other.next,
            None => continue,
        }
    }
    page
}

fn pages() -> impl Iterator<Item = &'static Page> {
    iter::successors(LIST.get().copied(), |page| page.next.get().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_while_its_slab_is_shown_and_pages_are_used_again() {
        let slot_layout = SlotLayout { slot: 5 * 4096, guard: 4096 };
        // Addresses that no mapping of this process can have.
        let start = usize::MAX - (1 << 30);
        let page = show(start, 3 * slot_layout.slot, slot_layout);
        let place = find(start + slot_layout.slot + 7).expect("shown");
        assert_eq!(place, Place { slab: start, index: 1, slot_layout });
        assert_eq!(place.low(), start + slot_layout.slot);
        assert_eq!(find(start - 1), None);
        assert_eq!(find(start + 3 * slot_layout.slot), None);
        hide(page);
        assert_eq!(find(start + slot_layout.slot + 7), None);
        let before = pages().count();
        hide(show(start, slot_layout.slot, slot_layout));
        assert_eq!(pages().count(), before);
    }
}
