//! Who has had a hand in a channel or queue, for both of its sides.
//!
//! Remembered only by those that are made while deadlocks are looked for: all others pay for the
//! look at one word that is null.

use std::fmt;

use crate::detection;
use crate::park::current::{me, me_till_my_end};
use crate::participant_set::Side;
use crate::reason::Holder;

/// What a hand does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// It gives items, or could.
    Gives,
    /// It takes items, or could.
    Takes,
}

/// Which handles there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handles {
    /// Those that give and those that take: a channel's ends.
    Apart,
    /// One kind for both: a queue's.
    Same,
}

/// Those who have had a hand in a channel or queue; nobody is remembered if deadlocks were not
/// looked for when it was made.
pub struct Hands(Option<Box<Sides>>);

struct Sides {
    handles: Handles,
    givers: Side,
    takers: Side,
}

impl Hands {
    /// Creates a record for a channel or queue, in which the caller is the first participant.
    #[inline]
    pub fn new(handles: Handles) -> Hands {
        Hands(detection::is_on().then(|| Hands::remembering(handles)))
    }

    #[cold]
    fn remembering(handles: Handles) -> Box<Sides> {
        let sides = Box::new(Sides { handles, givers: Side::new(), takers: Side::new() });
        sides.touch(Hand::Gives);
        sides.touch(Hand::Takes);
        sides
    }

    /// Notes that the caller has had a hand in it. To be called before what it does.
    ///
    /// Never suspends.
    #[inline]
    pub fn touch(&self, hand: Hand) {
        if let Some(sides) = &self.0 {
            sides.touch(hand);
        }
    }

    /// Who ends a wait for such a hand.
    #[inline]
    pub fn holder(&self, hand: Hand) -> Holder<'_> {
        self.0.as_ref().map_or(Holder::Anyone, |sides| Holder::Touched(sides.side(hand)))
    }
}

impl Sides {
    fn side(&self, hand: Hand) -> &Side {
        match (self.handles, hand) {
            (Handles::Same, _) | (_, Hand::Gives) => &self.givers,
            (Handles::Apart, Hand::Takes) => &self.takers,
        }
    }

    #[inline(never)]
    fn touch(&self, hand: Hand) {
        let side = self.side(hand);
        if !side.knows(me()) {
            side.add(me_till_my_end());
        }
    }
}

impl fmt::Debug for Hands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hands").field("is_remembering", &self.0.is_some()).finish()
    }
}
