//! `Lock` is [`Mutex`], `RLock` is [`ReentrantMutex`].

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fiveways::sync::{Mutex, ReentrantMutex};

use crate::support::{LONG, SHORT, everywhere, joined, let_others_wait, other, others, until};

everywhere!(
    a_lock_is_free_at_first_and_after_each_use,
    a_lock_that_is_held_is_refused_to_others_at_once,
    all_who_wait_for_a_lock_have_it_in_the_end,
    a_panic_lets_go_of_the_lock,
    many_short_lived_users_leave_nothing_behind,
    a_timeout_ends_the_wait_for_a_lock_and_not_earlier,
    any_timeout_is_good_for_a_free_lock,
    a_lock_is_free_again_after_somebody_came_too_late,
    who_locks_again_waits_for_somebody_elses_release,
    a_guard_may_be_given_back_out_of_order,
    a_reentrant_lock_may_be_locked_again_by_its_owner,
    a_reentrant_lock_counts_for_its_owner_only,
    a_reentrant_lock_is_refused_to_others_at_once,
    all_who_wait_for_a_reentrant_lock_have_it_in_the_end,
    a_panic_lets_go_of_every_level_of_a_reentrant_lock,
    a_timeout_ends_the_wait_for_a_reentrant_lock_and_not_earlier,
);

fn a_lock_is_free_at_first_and_after_each_use() {
    let lock = Mutex::new(());
    for _ in 0..3 {
        drop(lock.lock().unwrap());
        drop(lock.try_lock().unwrap());
    }
    // One that is locked may go.
    let locked = Box::new(Mutex::new(()));
    std::mem::forget(locked.lock());
    drop(locked);
}

fn a_lock_that_is_held_is_refused_to_others_at_once() {
    let lock = Arc::new(Mutex::new(()));
    let held = lock.lock().unwrap();
    let theirs = Arc::clone(&lock);
    assert!(other(move || theirs.try_lock().is_err()).join());
    drop(held);
    assert!(other(move || lock.try_lock().is_ok()).join());
}

fn all_who_wait_for_a_lock_have_it_in_the_end() {
    let (lock, had) = (Arc::new(Mutex::new(0)), Arc::new(AtomicUsize::new(0)));
    let held = lock.lock().unwrap();
    let (theirs, seen) = (Arc::clone(&lock), Arc::clone(&had));
    let waiting = others(5, move |_| {
        *theirs.lock().unwrap() += 1;
        seen.fetch_add(1, Ordering::SeqCst);
    });
    let_others_wait();
    assert_eq!(had.load(Ordering::SeqCst), 0);
    drop(held);
    joined(waiting);
    assert_eq!(*lock.lock().unwrap(), 5);
}

fn a_panic_lets_go_of_the_lock() {
    let lock = Arc::new(Mutex::new(1));
    let theirs = Arc::clone(&lock);
    let panicked = other(move || {
        let _held = theirs.lock().unwrap();
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(panicked.outcome().is_err());
    // It can be had, and says what has happened: that is std's way.
    let theirs = Arc::clone(&lock);
    let value = other(move || *theirs.lock().unwrap_err().into_inner());
    assert_eq!(value.join(), 1);
}

fn many_short_lived_users_leave_nothing_behind() {
    let lock = Arc::new(Mutex::new(0));
    for _ in 0..3 {
        let theirs = Arc::clone(&lock);
        joined(others(15, move |_| *theirs.lock().unwrap() += 1));
    }
    assert_eq!(Arc::strong_count(&lock), 1);
    assert_eq!(Arc::into_inner(lock).unwrap().into_inner().unwrap(), 45);
}

fn a_timeout_ends_the_wait_for_a_lock_and_not_earlier() {
    let lock = Arc::new(Mutex::new(()));
    let _held = lock.lock().unwrap();
    let theirs = Arc::clone(&lock);
    let late = other(move || {
        let begin = Instant::now();
        (theirs.lock_timeout(SHORT).is_err(), begin.elapsed())
    });
    let (late, after) = late.join();
    assert!(late && (SHORT..LONG).contains(&after), "{after:?}");
}

fn any_timeout_is_good_for_a_free_lock() {
    let (lock, again) = (Mutex::new(()), ReentrantMutex::new(()));
    for timeout in [Duration::ZERO, LONG, Duration::MAX] {
        assert!(lock.lock_timeout(timeout).is_ok());
        assert!(again.lock_timeout(timeout).is_some());
    }
}

fn a_lock_is_free_again_after_somebody_came_too_late() {
    let lock = Arc::new(Mutex::new(()));
    let held = lock.lock().unwrap();
    let theirs = Arc::clone(&lock);
    assert!(other(move || theirs.lock_timeout(SHORT).is_err()).join());
    drop(held);
    assert!(lock.try_lock().is_ok());
}

fn who_locks_again_waits_for_somebody_elses_release() {
    // A lock that one takes and another gives back is a semaphore here.
    let (lock, phase) =
        (Arc::new(fiveways::sync::Semaphore::new(1)), Arc::new(AtomicUsize::new(0)));
    let (theirs, told) = (Arc::clone(&lock), Arc::clone(&phase));
    let twice = other(move || {
        for _ in 0..2 {
            theirs.acquire().forget();
            told.fetch_add(1, Ordering::SeqCst);
        }
    });
    until("it has it once", || phase.load(Ordering::SeqCst) == 1);
    let_others_wait();
    assert_eq!(phase.load(Ordering::SeqCst), 1);
    lock.release(1);
    twice.join();
    assert_eq!(lock.available(), 0);
}

fn a_guard_may_be_given_back_out_of_order() {
    let (first, second) = (Mutex::new(()), Mutex::new(()));
    let (one, two) = (first.lock().unwrap(), second.lock().unwrap());
    drop(one);
    assert!(first.try_lock().is_ok() && second.try_lock().is_err());
    drop(two);
    assert!(second.try_lock().is_ok());
}

fn a_reentrant_lock_may_be_locked_again_by_its_owner() {
    let lock = Arc::new(ReentrantMutex::new(Cell::new(0)));
    let once = lock.lock();
    let twice = lock.lock();
    drop(twice);
    let again = lock.try_lock().unwrap();
    // Not in the order of locking.
    drop(once);
    let theirs = Arc::clone(&lock);
    assert!(other(move || theirs.try_lock().is_none()).join());
    drop(again);
    assert!(other(move || lock.try_lock().is_some()).join());
}

fn a_reentrant_lock_counts_for_its_owner_only() {
    let lock = Arc::new(ReentrantMutex::new(()));
    assert_eq!(lock.count(), 0);
    let levels = [lock.lock(), lock.lock(), lock.lock()];
    assert_eq!(lock.count(), 3);
    let theirs = Arc::clone(&lock);
    assert_eq!(other(move || theirs.count()).join(), 0);
    for (left, level) in [2, 1, 0].into_iter().zip(levels) {
        drop(level);
        assert_eq!(lock.count(), left);
    }
}

fn a_reentrant_lock_is_refused_to_others_at_once() {
    let lock = Arc::new(ReentrantMutex::new(()));
    let held = lock.lock();
    let theirs = Arc::clone(&lock);
    let refused = others(3, move |_| theirs.try_lock().is_none());
    assert_eq!(joined(refused), [true; 3]);
    drop(held);
}

fn all_who_wait_for_a_reentrant_lock_have_it_in_the_end() {
    let lock = Arc::new(ReentrantMutex::new(Cell::new(0)));
    let held = lock.lock();
    let theirs = Arc::clone(&lock);
    let waiting = others(5, move |_| {
        let (outer, inner) = (theirs.lock(), theirs.lock());
        inner.set(outer.get() + 1);
    });
    let_others_wait();
    assert_eq!(held.get(), 0);
    drop(held);
    joined(waiting);
    assert_eq!(lock.lock().get(), 5);
}

fn a_panic_lets_go_of_every_level_of_a_reentrant_lock() {
    let lock = Arc::new(ReentrantMutex::new(()));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _levels = [lock.lock(), lock.lock()];
        std::panic::resume_unwind(Box::new("on purpose"));
    }));
    assert!(panicked.is_err());
    assert_eq!(lock.count(), 0);
    assert!(other(move || lock.try_lock().is_some()).join());
}

fn a_timeout_ends_the_wait_for_a_reentrant_lock_and_not_earlier() {
    let lock = Arc::new(ReentrantMutex::new(()));
    let held = lock.lock();
    let theirs = Arc::clone(&lock);
    let late = other(move || {
        let begin = Instant::now();
        (theirs.lock_timeout(SHORT).is_none(), begin.elapsed())
    });
    let (late, after) = late.join();
    assert!(late && (SHORT..LONG).contains(&after), "{after:?}");
    drop(held);
    assert!(lock.try_lock().is_some());
}
