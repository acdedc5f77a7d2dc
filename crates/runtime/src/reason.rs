//! What a wait is for: told in dumps, and followed in the search for deadlocks.

use std::panic::Location;
use std::sync::atomic::AtomicU64;

use crate::identity::Identity;

/// What a task or thread waits for; lies in the frame of the wait.
#[derive(Clone, Copy, Debug)]
pub struct Reason<'a> {
    /// In words: `mutex`, `receive from channel`, `join`.
    pub what: &'static str,
    /// The address of what is waited for; 0 where it has none.
    pub on: usize,
    /// Who can end the wait, where that is one.
    pub holder: Holder<'a>,
    /// Where the user's code waits.
    pub place: &'static Location<'static>,
}

/// Who can end a wait.
#[derive(Clone, Copy, Debug)]
pub enum Holder<'a> {
    /// Anybody.
    Anyone,
    /// This task or thread.
    One(Identity),
    /// Whose [`Identity`] is in the word now; its highest bit means nothing, 0 means nobody.
    In(&'a AtomicU64),
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
