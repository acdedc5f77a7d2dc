//! The tasks and threads that have used a channel or queue, for both of its sides.
//!
//! They are recorded only for channels and queues that are created while deadlocks are looked for:
//! all others pay for one look at a word that is null.

use std::fmt;

use crate::detection;
use crate::park::current::{current_watched, me};
use crate::participant_set::ParticipantSet;
use crate::reason::Holder;

/// What a participant does with the channel or queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends items, or could.
    Producer,
    /// Receives items, or could.
    Consumer,
}

/// Which kinds of handles a channel or queue has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// One for sending and one for receiving, as a channel's ends.
    Split,
    /// One kind for both, as a queue's.
    Shared,
}

/// The tasks and threads that have used a channel or queue; none are recorded if deadlocks were not
/// looked for when it was created.
pub struct Participants(Option<Box<Sets>>);

struct Sets {
    ends: Ends,
    producers: ParticipantSet,
    consumers: ParticipantSet,
}

impl Participants {
    /// Creates a record for a channel or queue, in which the caller is the first participant.
    #[inline]
    pub fn new(ends: Ends) -> Participants {
        Participants(detection::is_on().then(|| Participants::remembering(ends)))
    }

    #[cold]
    fn remembering(ends: Ends) -> Box<Sets> {
        let sets = Box::new(Sets {
            ends,
            producers: ParticipantSet::new(),
            consumers: ParticipantSet::new(),
        });
        sets.record(Role::Producer);
        sets.record(Role::Consumer);
        sets
    }

    /// Records that the caller uses the channel or queue in this role. To be called before the use.
    #[inline]
    pub fn record(&self, role: Role) {
        if let Some(sets) = &self.0 {
            sets.record(role);
        }
    }

    /// Returns the participants with this role, as those that can end a wait.
    #[inline]
    pub fn holder(&self, role: Role) -> Holder<'_> {
        self.0.as_ref().map_or(Holder::Anyone, |sets| Holder::Participants(sets.set(role)))
    }
}

impl Sets {
    fn set(&self, role: Role) -> &ParticipantSet {
        match (self.ends, role) {
            (Ends::Shared, _) | (_, Role::Producer) => &self.producers,
            (Ends::Split, Role::Consumer) => &self.consumers,
        }
    }

    #[inline(never)]
    fn record(&self, role: Role) {
        let set = self.set(role);
        if !set.knows(me()) {
            set.add(current_watched());
        }
    }
}

impl fmt::Debug for Participants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Participants").field("is_remembering", &self.0.is_some()).finish()
    }
}
