//! What a wait is for: told in dumps, and followed in the search for deadlocks.

use std::fmt;
use std::panic::Location;
use std::sync::atomic::AtomicU64;

use crate::identity::Identity;
use crate::participant_set::ParticipantSet;

/// What a task or thread waits for; lies in the frame of the wait.
#[derive(Clone, Copy, Debug)]
pub struct Reason<'a> {
    /// In words: `mutex`, `receive from channel`, `join`.
    pub what: &'static str,
    /// The address of what is waited for; 0 where it has none.
    pub on: usize,
    /// Who can end the wait, as far as that is known.
    pub holder: Holder<'a>,
    /// Where the user's code waits.
    pub place: &'static Location<'static>,
}

/// Who can end a wait.
#[derive(Clone, Copy)]
pub enum Holder<'a> {
    /// Anybody.
    Anyone,
    /// This task or thread.
    One(Identity),
    /// Whose [`Identity`] is in the word now; its highest bit means nothing, 0 means nobody.
    In(&'a AtomicU64),
    /// Any of these, and nobody else. Who waits for them does so by
    /// [`wait_in_graph`](fn@crate::wait_in_graph).
    AnyOf(&'a dyn Enders),
    /// Any of those who have had a hand in it; and whoever has got a handle and not used it yet.
    Participants(&'a ParticipantSet),
}

/// Those who could end a wait, where that may be several.
pub trait Enders: Sync {
    /// Calls `each` with everyone who could, now. False: it has ended, or others could, too.
    ///
    /// Called by anybody, at any time, under a lock: it must neither wait nor drop what users gave.
    fn enders(&self, each: &mut dyn FnMut(Identity)) -> bool;
}

impl<'a> Reason<'a> {
    /// Makes a reason that anybody can end.
    #[inline]
    #[track_caller]
    pub fn new<T: ?Sized>(what: &'static str, on: &T) -> Reason<'a> {
        let on = std::ptr::from_ref(on).cast::<()>().addr();
        Reason { what, on, holder: Holder::Anyone, place: Location::caller() }
    }

    /// Says who can end it.
    #[inline]
    pub fn held(self, holder: Holder<'a>) -> Reason<'a> {
        Reason { holder, ..self }
    }
}

impl Holder<'_> {
    /// Who can end the wait now, where that is known to be one.
    pub(crate) fn one(&self) -> Option<Identity> {
        match self {
            Holder::One(one) => Some(*one),
            Holder::In(word) => {
                Identity::from_bits(word.load(std::sync::atomic::Ordering::Relaxed))
            }
            Holder::Anyone | Holder::AnyOf(_) | Holder::Participants(_) => None,
        }
    }

    /// Who could end the wait now, where they are known; several at most.
    pub(crate) fn several(&self) -> Option<Vec<Identity>> {
        match self {
            Holder::AnyOf(enders) => {
                let mut all = Vec::new();
                enders.enders(&mut |one| all.push(one)).then_some(all)
            }
            Holder::Participants(set) => set.living(),
            Holder::Anyone | Holder::One(_) | Holder::In(_) => None,
        }
    }
}

impl fmt::Debug for Holder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Anyone => f.write_str("Anyone"),
            Holder::One(_) | Holder::In(_) => f.debug_tuple("One").field(&self.one()).finish(),
            Holder::AnyOf(_) => f.debug_tuple("AnyOf").field(&self.several()).finish(),
            Holder::Participants(_) => {
                f.debug_tuple("Participants").field(&self.several()).finish()
            }
        }
    }
}
