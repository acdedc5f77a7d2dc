//! In the place of the runtime's memory of who had a hand in a channel: nobody is remembered.

use crate::reason::Holder;

/// What a hand does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// It gives items.
    Gives,
    /// It takes items.
    Takes,
}

/// Which handles there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handles {
    /// A channel's ends.
    Apart,
    /// A queue's.
    Same,
}

/// Nobody.
#[derive(Debug)]
pub struct Hands;

impl Hands {
    /// Remembers nobody.
    pub fn new(_: Handles) -> Hands {
        Hands
    }

    /// Does nothing.
    pub fn touch(&self, _: Hand) {}

    /// Anyone.
    pub fn holder(&self, _: Hand) -> Holder<'_> {
        Holder::Anyone
    }
}
