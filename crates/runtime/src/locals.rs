//! The storage of values that belong to a task, or to a thread.
//!
//! ```text
//!   task's control block ──▶ Locals   from its first value to its end
//!   thread-local storage ──▶ Locals   of a plain thread, and of what a worker runs between tasks
//!
//!   Locals: entries by key, ascending
//!     Set    the value
//!     Gone   its destructor has run (or runs) at the owner's end: the key stays empty
//! ```
//!
//! A value is shared, not lent: its user holds a reference count. A borrow could outlive the task,
//! because a generator that suspends while it uses a value may be resumed, and ended, by another
//! task. No user code runs while the entries are borrowed.

use std::any::Any;
use std::cell::RefCell;
use std::mem;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A value of a task or a thread.
pub type LocalValue = Rc<dyn Any>;

/// The key of a value that each task, or each thread, has its own of; unique in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalKey(NonZeroU64);

impl LocalKey {
    /// Reads the key kept in `place`; the first call creates one (0 stands for "none yet").
    #[inline]
    pub fn of(place: &AtomicU64) -> LocalKey {
        match NonZeroU64::new(place.load(Ordering::Relaxed)) {
            Some(key) => LocalKey(key),
            None => LocalKey::make(place),
        }
    }

    #[cold]
    fn make(place: &AtomicU64) -> LocalKey {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let new = NEXT.fetch_add(1, Ordering::Relaxed);
        let kept = place.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed);
        let key = kept.err().unwrap_or(new);
        LocalKey(NonZeroU64::new(key).expect("keys are counted from 1"))
    }
}

/// The state of a key.
#[derive(Clone, Debug)]
pub enum Local {
    /// No value yet.
    Unset,
    /// A value.
    Set(LocalValue),
    /// No value ever again: the owner is ending.
    Gone,
}

/// The values of one task or thread.
#[derive(Default)]
pub(crate) struct Locals {
    entries: RefCell<Vec<(LocalKey, Local)>>,
}

impl Locals {
    #[inline]
    pub(crate) fn value(&self, key: LocalKey) -> Local {
        let entries = self.entries.borrow();
        match entries.binary_search_by_key(&key, |entry| entry.0) {
            Ok(at) => entries[at].1.clone(),
            Err(_) => Local::Unset,
        }
    }

    pub(crate) fn set(
        &self,
        key: LocalKey,
        value: Option<LocalValue>,
    ) -> Result<Option<LocalValue>, Option<LocalValue>> {
        let mut entries = self.entries.borrow_mut();
        let at = match entries.binary_search_by_key(&key, |entry| entry.0) {
            Ok(at) => at,
            Err(at) => {
                entries.insert(at, (key, Local::Unset));
                at
            }
        };
        let entry = &mut entries[at].1;
        if matches!(entry, Local::Gone) {
            return Err(value);
        }
        match mem::replace(entry, value.map_or(Local::Unset, Local::Set)) {
            Local::Set(before) => Ok(Some(before)),
            _ => Ok(None),
        }
    }

    /// Takes the first remaining value, at the end of its owner.
    pub(crate) fn take_next(&self) -> Option<LocalValue> {
        let mut entries = self.entries.borrow_mut();
        let entry = entries.iter_mut().find(|entry| matches!(entry.1, Local::Set(_)))?;
        match mem::replace(&mut entry.1, Local::Gone) {
            Local::Set(value) => Some(value),
            _ => None,
        }
    }
}
