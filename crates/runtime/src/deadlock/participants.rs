//! Who has had a hand in a channel or queue, for both of its sides.
//!
//! Remembered only by those that are made while deadlocks are looked for: all others pay for the
//! look at one word that is null.

use std::fmt;

use crate::detection;
use crate::park::current::{current_watched, me};
use crate::participant_set::ParticipantSet;
use crate::reason::Holder;

/// What a hand does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It gives items, or could.
    Producer,
    /// It takes items, or could.
    Consumer,
}

/// Which handles there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Those that give and those that take: a channel's ends.
    Split,
    /// One kind for both: a queue's.
    Shared,
}

/// Those who have had a hand in a channel or queue; nobody is remembered if deadlocks were not
/// looked for when it was made.
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

    /// Notes that the caller has had a hand in it. To be called before what it does.
    ///
    /// Never suspends.
    #[inline]
    pub fn record(&self, role: Role) {
        if let Some(sets) = &self.0 {
            sets.record(role);
        }
    }

    /// Who ends a wait for such a hand.
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
