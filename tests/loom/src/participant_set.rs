//! In the place of the runtime's memory of one side of a channel: there is none.

use crate::identity::Identity;

/// Nobody.
#[derive(Debug)]
pub struct ParticipantSet;

impl ParticipantSet {
    /// Nobody is known.
    pub fn living(&self) -> Option<Vec<Identity>> {
        None
    }
}
