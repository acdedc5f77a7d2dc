//! The tasks and threads that have used one side of a channel or queue: the senders, or the
//! receivers.
//!
//! ```text
//!   participants   12  7  0  0 …   tasks that made it, cloned a handle of this side, or used one
//!   overflowed     false           true: there was no free slot; then the set is unknown
//! ```
//!
//! A slot is taken by compare-and-swap, if it is empty or its participant has ended. A participant
//! adds only itself, so none is added twice.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::exits;
use crate::identity::Identity;

/// How many participants of one side are recorded.
const PARTICIPANTS_MAX: usize = 8;

/// The recorded participants of one side.
pub struct ParticipantSet {
    /// 0, or an identity; written by the participant itself.
    participants: [AtomicU64; PARTICIPANTS_MAX],
    /// false → true, when there was no free slot.
    overflowed: AtomicBool,
}

impl ParticipantSet {
    pub(crate) fn new() -> ParticipantSet {
        let participants = [const { AtomicU64::new(0) }; PARTICIPANTS_MAX];
        ParticipantSet { participants, overflowed: AtomicBool::new(false) }
    }

    /// Returns `true` if this participant is recorded.
    #[inline]
    pub(crate) fn knows(&self, who: Identity) -> bool {
        self.participants
            .iter()
            .any(|participant| participant.load(Ordering::Relaxed) == who.to_bits())
    }

    /// Adds a running participant that is not recorded. Called by the participant itself.
    pub(crate) fn add(&self, who: Identity) {
        let is_entered = self.participants.iter().any(|participant| {
            let was = participant.load(Ordering::Relaxed);
            let is_free = Identity::from_bits(was).is_none_or(|was| !exits::is_running(was));
            // ORDERING: none: readers look at it later, under the graph's lock.
            let (ok, not) = (Ordering::Relaxed, Ordering::Relaxed);
            is_free && participant.compare_exchange(was, who.to_bits(), ok, not).is_ok()
        });
        if !is_entered {
            self.overflowed.store(true, Ordering::Relaxed);
        }
    }

    /// Returns the participants that have not ended; `None` if not all are known.
    pub(crate) fn living(&self) -> Option<Vec<Identity>> {
        if self.overflowed.load(Ordering::Relaxed) {
            return None;
        }
        let all = self.participants.iter().filter_map(|participant| {
            Identity::from_bits(participant.load(Ordering::Relaxed))
                .filter(|who| exits::is_running(*who))
        });
        Some(all.collect())
    }
}

impl fmt::Debug for ParticipantSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParticipantSet").field("living", &self.living()).finish_non_exhaustive()
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
        let set = ParticipantSet::new();
        assert_eq!(set.living(), Some(Vec::new()));
        for count in 1..=8 {
            exits::watch(task(count));
            set.add(task(count));
        }
        exits::notify_exit(task(3));
        assert_eq!(set.living(), Some([1, 2, 4, 5, 6, 7, 8].map(task).into()));
        exits::watch(task(9));
        set.add(task(9));
        assert!(set.knows(task(9)) && !set.knows(task(3)));
        exits::watch(task(10));
        set.add(task(10));
        assert_eq!(set.living(), None);
    }
}
