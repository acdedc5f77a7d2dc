//! Random numbers: the only module of the runtime, and of the crates above it, that draws them.
//!
//! Each thread has a sequence of its own (xorshift64: for fairness, not for secrets). On a worker
//! whose driver has a seed ([`Driver::seed`](fiveways_driver::Driver::seed)) it is the same in each
//! run.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    /// The last number; 0 if none was drawn.
    static LAST: Cell<u64> = const { Cell::new(0) };
}

/// Draws a number that is not 0; its upper half is the more random one.
#[inline]
pub fn random() -> u64 {
    let mut random = LAST.get();
    if random == 0 {
        random = RandomState::new().hash_one(0) | 1;
    }
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    LAST.set(random);
    random
}

/// Restarts the sequence of this thread, at a place that depends on the seed.
pub(crate) fn begin(seed: u64) {
    // The odd part of 2⁶⁴ over the golden ratio: seeds that follow each other begin far apart.
    LAST.set((seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)) | 1);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn first(count: usize) -> Vec<u64> {
        (0..count).map(|_| random()).collect()
    }

    #[test]
    fn a_seed_repeats_its_numbers_and_another_has_others() {
        let of = |seed| {
            begin(seed);
            first(100)
        };
        assert_eq!(of(7), of(7));
        let all: BTreeSet<u64> = [0, 2, 4, 6].into_iter().flat_map(of).collect();
        assert_eq!(all.len(), 400);
    }

    #[test]
    fn threads_without_a_seed_draw_different_numbers() {
        let of_thread = || std::thread::spawn(|| first(4)).join().expect("it does not panic");
        assert_ne!(of_thread(), of_thread());
    }
}
