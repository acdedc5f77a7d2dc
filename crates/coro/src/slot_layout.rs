//! The layout of a slot: the offsets of guard, frames and stack name. Arithmetic only.

use fiveways_sys::memory::page_size;

use crate::stack_name::StackName;

/// Stacks smaller than this are made this large: a formatted panic message needs about as much.
const USABLE_MIN: usize = 16 * 1024;

/// The least address space of a guard: a frame of C may step over a smaller one. Larger frames than
/// this are rare, and compilers can be told to probe them (`-fstack-clash-protection`).
const GUARD_MIN: usize = 64 * 1024;

/// Distances between the tops of stacks, in bytes. They spread the hot kilobyte of a suspended
/// stack over the 64 sets of a first-level cache, and are multiples of a line. With more colours a
/// waiting handler (1.5 KiB of frames) would touch a second page under the deepest of them: with
/// ten an idle connection took 4.8 KiB of stack on average, with seven it takes one page.
const COLOUR_STEP: usize = 320;
const COLOURS: usize = 7;

/// The sizes of a slab's slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotLayout {
    /// The distance between two slots.
    pub(crate) slot: usize,
    /// The guard at the low end.
    pub(crate) guard: usize,
}

impl SlotLayout {
    /// Returns the layout of slots with at least `usable` bytes above the guard.
    ///
    /// A slot has an odd number of pages: with an even one, the top pages of all stacks would meet
    /// in few sets of the translation cache.
    pub(crate) fn new(usable: usize) -> SlotLayout {
        let page = page_size();
        let usable = usable.clamp(USABLE_MIN, isize::MAX as usize / 2).next_multiple_of(page);
        let guard = GUARD_MIN.next_multiple_of(page);
        let is_even = ((guard + usable) / page).is_multiple_of(2);
        let guard = if is_even { guard + page } else { guard };
        SlotLayout { slot: guard + usable, guard }
    }

    /// Returns the bytes above the guard.
    pub(crate) fn usable(self) -> usize {
        self.slot - self.guard
    }

    /// Returns the offset, in its slab, of the name of slot `index`: the top of the part that the
    /// stack uses.
    pub(crate) fn stack_name(self, index: usize) -> usize {
        let colour = (index % COLOURS) * COLOUR_STEP;
        (index + 1) * self.slot - colour - size_of::<StackName>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_an_odd_number_of_pages_and_the_usable_bytes_asked_for() {
        for usable in [0, 1, 16 << 10, 20 << 10, 256 << 10, (256 << 10) + 1, 8 << 20] {
            let slot_layout = SlotLayout::new(usable);
            assert!(slot_layout.usable() >= usable.max(USABLE_MIN), "{usable}: {slot_layout:?}");
            assert_eq!((slot_layout.slot / page_size()) % 2, 1, "{usable}: {slot_layout:?}");
            assert!(slot_layout.usable() < usable.max(USABLE_MIN) + page_size());
            assert!(
                (64 << 10..(64 << 10) + 2 * page_size()).contains(&slot_layout.guard),
                "{slot_layout:?}"
            );
        }
    }

    #[test]
    fn names_are_staggered_and_aligned_to_cache_lines() {
        let slot_layout = SlotLayout::new(256 << 10);
        let depth = |index| (index + 1) * slot_layout.slot - slot_layout.stack_name(index);
        let mut depths: Vec<_> = (0..COLOURS).map(depth).collect();
        assert!(depths.iter().all(|depth| depth % 64 == 0 && *depth < page_size()));
        assert_eq!(depth(3), depth(3 + COLOURS));
        depths.dedup();
        assert_eq!(depths.len(), COLOURS);
    }
}
