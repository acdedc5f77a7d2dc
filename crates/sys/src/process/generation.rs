//! Distinguishing a process from its forks.
//!
//! A fork copies memory, but no threads: the state that a program keeps of helper threads is wrong
//! in the copy, and a lock that another thread held at that moment is held for ever. So state that
//! belongs to threads is kept [`PerProcess`], which a fork finds empty, by a number that differs in
//! each process. The number lies in a page that the kernel clears when it forks, so reading it
//! costs a load, and no way to fork is missed.
//!
//! Reference: madvise(2) (`MADV_WIPEONFORK`, Linux 4.14).
#![expect(unsafe_code, reason = "a page that is never freed, and values behind a pointer")]

use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};

/// The place of the number: null, then the page or [`NO_PAGE`], for ever.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

/// Stands for a page that could not be mapped; then processes are distinguished by their ids.
static NO_PAGE: AtomicU64 = AtomicU64::new(0);

/// The number of this process among its ancestors, copied by a fork.
static LAST: AtomicU64 = AtomicU64::new(0);

/// Returns a number that differs from those of all processes that this one is a fork of.
#[inline]
pub fn generation() -> u64 {
    // ORDERING: pairs with the exchange in `map_page`.
    // SAFETY: required: null or valid for ever. Neither the page nor `NO_PAGE` is freed.
    match unsafe { PAGE.load(Ordering::Acquire).as_ref() } {
        Some(word) => read(word),
        None => read(map_page()),
    }
}

#[inline]
fn read(word: &AtomicU64) -> u64 {
    match word.load(Ordering::Relaxed) {
        0 => number_anew(word),
        number => number,
    }
}

#[cold]
fn number_anew(word: &AtomicU64) -> u64 {
    if ptr::eq(word, &NO_PAGE) {
        return u64::from(std::process::id());
    }
    let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    let written = word.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
    written.map_or_else(|there| there, |_| number)
}

#[cold]
fn map_page() -> &'static AtomicU64 {
    let page = wiped_page().unwrap_or(ptr::from_ref(&NO_PAGE).cast_mut());
    let order = (Ordering::AcqRel, Ordering::Acquire);
    // Of two pages that are mapped at the same time one is kept.
    let kept = PAGE.compare_exchange(ptr::null_mut(), page, order.0, order.1);
    let kept = kept.map_or_else(|there| there, |_| page);
    // SAFETY: required: valid for ever. As in `generation`, and it is not null.
    unsafe { &*kept }
}

fn wiped_page() -> Option<*mut AtomicU64> {
    let (length, access) = (crate::memory::page_size(), ProtFlags::READ | ProtFlags::WRITE);
    // SAFETY: required: a fixed address must not be in use. We give none: the kernel chooses.
    let page =
        unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), length, access, MapFlags::PRIVATE) };
    let page = page.ok()?;
    // SAFETY: required: the range is ours. It has just been mapped.
    let wiped = unsafe { rustix::mm::madvise(page, length, Advice::LinuxWipeOnFork) };
    wiped.ok().map(|()| page.cast())
}

/// A value that each process creates for itself: a fork finds none.
///
/// The value of the process that was forked is left in place: it may be locked, or hold threads
/// that the fork does not have.
#[derive(Debug)]
pub struct PerProcess<T> {
    /// Null, or the value of this process, or of one that it is a fork of.
    made: AtomicPtr<Made<T>>,
    owns: PhantomData<T>,
}

#[derive(Debug)]
struct Made<T> {
    generation: u64,
    value: T,
}

impl<T> PerProcess<T> {
    /// Creates an empty place.
    pub const fn new() -> PerProcess<T> {
        PerProcess { made: AtomicPtr::new(ptr::null_mut()), owns: PhantomData }
    }
}

impl<T> Default for PerProcess<T> {
    fn default() -> PerProcess<T> {
        PerProcess::new()
    }
}

impl<T: Send + Sync> PerProcess<T> {
    /// Returns the value of this process, created by `make` if there is none; of two that are
    /// created at the same time one is dropped.
    #[inline]
    pub fn get(&self, make: impl FnOnce() -> T) -> &T {
        // ORDERING: pairs with the exchange in `put`.
        let at = self.made.load(Ordering::Acquire);
        // SAFETY: required: null or valid while `self` is. It is freed by the drop alone.
        match unsafe { at.as_ref() } {
            Some(made) if made.generation == generation() => &made.value,
            _ => self.put(at, make()),
        }
    }

    #[cold]
    fn put(&self, before: *mut Made<T>, value: T) -> &T {
        let new = Box::into_raw(Box::new(Made { generation: generation(), value }));
        let order = (Ordering::AcqRel, Ordering::Acquire);
        let kept = match self.made.compare_exchange(before, new, order.0, order.1) {
            Ok(_) => new,
            Err(there) => {
                // SAFETY: required: from `into_raw`, and nobody else has it. It was not put there.
                drop(unsafe { Box::from_raw(new) });
                there
            }
        };
        // SAFETY: required: valid while `self` is. As in `get`; and it is of this process, whose
        // threads alone can have put it there.
        &unsafe { &*kept }.value
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        let made = *self.made.get_mut();
        // SAFETY: required: null or valid. It is freed here alone.
        if unsafe { made.as_ref() }.is_some_and(|made| made.generation == generation()) {
            // SAFETY: required: from `into_raw`, freed once. We have it exclusively.
            drop(unsafe { Box::from_raw(made) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    use crate::process::{Exit, Forked, Patience, fork, wait};

    static HERE: PerProcess<Mutex<u32>> = PerProcess::new();

    #[test]
    fn a_value_is_made_once_for_each_process_whatever_lock_is_held() {
        let mine = HERE.get(|| Mutex::new(7));
        assert!(ptr::eq(mine, HERE.get(|| unreachable!("it is there"))));
        let number = generation();
        let held = mine.lock().expect("nobody panics");
        // SAFETY: required: no other thread holds what the child needs. It makes a value on the
        // heap, which glibc keeps usable after a fork, and exits.
        match unsafe { fork() }.expect("a process") {
            Forked::Child => {
                let theirs = HERE.get(|| Mutex::new(8));
                // Ours is locked, and would hold it for ever.
                let is_new = theirs.try_lock().is_ok_and(|value| *value == 8);
                let right = generation() != number && is_new;
                // SAFETY: required: nothing. It ends this process at once.
                unsafe { libc::_exit(i32::from(!right)) }
            }
            Forked::Parent(child) => {
                let ended = wait(Some(child), Patience::Sleep).expect("our child");
                assert_eq!(ended, Some((child, Exit::Status(0))));
            }
        }
        assert_eq!((*held, generation()), (7, number));
    }

    #[test]
    fn all_threads_have_the_same_value() {
        let place = PerProcess::new();
        let at = |number: u8| ptr::from_ref(place.get(|| number)).addr();
        let all: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || at(n))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert!(all.iter().all(|one| *one == all[0]));
    }
}
