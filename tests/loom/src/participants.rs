//! In the place of the runtime's record of a channel's participants: none is recorded.

use crate::reason::Holder;

/// What a hand does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It gives items.
    Producer,
    /// It takes items.
    Consumer,
}

/// Which handles there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// A channel's ends.
    Split,
    /// A queue's.
    Shared,
}

/// Nobody.
#[derive(Debug)]
pub struct Participants;

impl Participants {
    /// Remembers nobody.
    pub fn new(_: Ends) -> Participants {
        Participants
    }

    /// Does nothing.
    pub fn record(&self, _: Role) {}

    /// Anyone.
    pub fn holder(&self, _: Role) -> Holder<'_> {
        Holder::Anyone
    }
}
