//! The reason of a wait: shown in dumps, and followed in the search for deadlocks.

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
    /// The tasks and threads that can end the wait, as far as they are known.
    pub holder: Holder<'a>,
    /// Where the user's code waits.
    pub place: &'static Location<'static>,
}

/// The tasks and threads that can end a wait.
#[derive(Clone, Copy)]
pub enum Holder<'a> {
    /// Any task or thread.
    Anyone,
    /// This task or thread only.
    One(Identity),
    /// The task or thread whose [`Identity`] is in the word now; the highest bit is ignored, 0
    /// means none.
    In(&'a AtomicU64),
    /// Any of these, and no others. Such a wait is made by
    /// [`wait_in_graph`](fn@crate::wait_in_graph).
    AnyOf(&'a dyn Enders),
    /// Any recorded participant; and any task or thread that has received a handle and not used it
    /// yet.
    Participants(&'a ParticipantSet),
}

/// A list of the tasks and threads that could end a wait.
pub trait Enders: Sync {
    /// Calls `each` with every task or thread that could end the wait now. Returns `false` if the
    /// wait has ended, or if others could end it, too.
    ///
    /// Called from any thread, at any time, under a lock: it must neither wait nor drop user
    /// values.
    fn enders(&self, each: &mut dyn FnMut(Identity)) -> bool;
}

impl<'a> Reason<'a> {
    /// Creates a reason of a wait that any task or thread can end.
    #[inline]
    #[track_caller]
    pub fn new<T: ?Sized>(what: &'static str, on: &T) -> Reason<'a> {
        let on = std::ptr::from_ref(on).cast::<()>().addr();
        Reason { what, on, holder: Holder::Anyone, place: Location::caller() }
    }

    /// Sets the tasks and threads that can end the wait.
    #[inline]
    pub fn held(self, holder: Holder<'a>) -> Reason<'a> {
        Reason { holder, ..self }
    }
}

impl Holder<'_> {
    /// Returns the one task or thread that can end the wait now, if exactly one is known.
    pub(crate) fn one(&self) -> Option<Identity> {
        match self {
            Holder::One(one) => Some(*one),
            Holder::In(word) => {
                Identity::from_bits(word.load(std::sync::atomic::Ordering::Relaxed))
            }
            Holder::Anyone | Holder::AnyOf(_) | Holder::Participants(_) => None,
        }
    }

    /// Returns the tasks and threads that could end the wait now, if they are known to be several.
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
