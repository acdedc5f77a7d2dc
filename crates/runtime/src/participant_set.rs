//! Who has had a hand in one side of a channel or queue: the givers, or the takers.
//!
//! ```text
//!   hands   12  7  0  0 …     who made it, cloned a handle of this side, or used one
//!   crowd   false             true: they were more than could be noted; then nobody is known
//! ```
//!
//! A place is taken by compare-and-swap, from nobody or from somebody who has ended, and nobody
//! enters himself twice: one writes for himself only.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::exits;
use crate::identity::Identity;

/// Who is remembered of one side.
const HANDS_MAX: usize = 8;

/// Those who have had a hand in one side.
pub struct Side {
    /// 0, or whose; written by those who touch it.
    hands: [AtomicU64; HANDS_MAX],
    /// false → true, when there was no place.
    is_crowd: AtomicBool,
}

impl Side {
    pub(crate) fn new() -> Side {
        let hands = [const { AtomicU64::new(0) }; HANDS_MAX];
        Side { hands, is_crowd: AtomicBool::new(false) }
    }

    /// Is this one noted?
    #[inline]
    pub(crate) fn knows(&self, who: Identity) -> bool {
        self.hands.iter().any(|hand| hand.load(Ordering::Relaxed) == who.to_bits())
    }

    /// Notes one that lives and is not noted. It does so itself.
    pub(crate) fn add(&self, who: Identity) {
        let is_entered = self.hands.iter().any(|hand| {
            let was = hand.load(Ordering::Relaxed);
            let is_free = Identity::from_bits(was).is_none_or(|was| !exits::is_living(was));
            // ORDERING: none: who looks at it does so under the graph's lock, later.
            let (ok, not) = (Ordering::Relaxed, Ordering::Relaxed);
            is_free && hand.compare_exchange(was, who.to_bits(), ok, not).is_ok()
        });
        if !is_entered {
            self.is_crowd.store(true, Ordering::Relaxed);
        }
    }

    /// Those that live; `None`: not all are known.
    pub(crate) fn living(&self) -> Option<Vec<Identity>> {
        if self.is_crowd.load(Ordering::Relaxed) {
            return None;
        }
        let all = self.hands.iter().filter_map(|hand| {
            Identity::from_bits(hand.load(Ordering::Relaxed)).filter(|who| exits::is_living(*who))
        });
        Some(all.collect())
    }
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Side").field("living", &self.living()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(count: u64) -> Identity {
        Identity::of_task((1 << 21) - 2, count)
    }

    #[test]
    fn those_who_have_ended_make_room_and_a_crowd_is_nobody() {
        let side = Side::new();
        assert_eq!(side.living(), Some(Vec::new()));
        for count in 1..=8 {
            exits::add(task(count));
            side.add(task(count));
        }
        exits::end(task(3));
        assert_eq!(side.living(), Some([1, 2, 4, 5, 6, 7, 8].map(task).into()));
        exits::add(task(9));
        side.add(task(9));
        assert!(side.knows(task(9)) && !side.knows(task(3)));
        exits::add(task(10));
        side.add(task(10));
        assert_eq!(side.living(), None);
    }
}
