//! `gevent.event`, `gevent.lock`. `AsyncResult` is [`OnceLock`] here where no pool sets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fiveways::sync::{BoundedSemaphore, Event, OnceLock, ReentrantMutex, Semaphore};

use crate::support::{
    LONG, SHORT, everywhere, heavy, joined, let_others_wait, other, others, until,
};

everywhere!(
    an_event_that_was_cleared_by_who_it_woke_is_not_set,
    a_wait_for_what_is_set_does_not_wait,
    a_result_reaches_all_who_wait_for_it,
    a_result_is_set_once_and_read_often,
    a_semaphore_that_nobody_releases_is_late,
    releases_wake_as_many_as_they_release,
    a_release_is_not_lost_when_who_waited_is_late,
    a_semaphore_can_be_acquired_in_a_destructor,
    what_one_acquires_another_can_release,
    heavy_two_that_duel_for_a_semaphore_both_come_through,
    heavy_two_that_duel_with_timeouts_both_come_through,
    heavy_two_that_duel_for_a_bounded_semaphore_both_come_through,
    heavy_two_that_duel_for_a_reentrant_lock_both_come_through,
    two_that_play_into_each_others_hands_let_a_third_have_its_turn,
);

/// gevent's issue 771.
fn an_event_that_was_cleared_by_who_it_woke_is_not_set() {
    let event = Arc::new(Event::new());
    let theirs = Arc::clone(&event);
    let waiting = other(move || {
        let again = Arc::clone(&theirs);
        let setting = other(move || again.set());
        theirs.wait();
        assert!(theirs.is_set());
        setting.join();
        theirs.clear();
        assert!(!theirs.wait_timeout(SHORT));
        theirs.is_set()
    });
    assert!(!waiting.join());
}

fn a_wait_for_what_is_set_does_not_wait() {
    let event = Event::new();
    event.set();
    event.wait();
    assert!(event.wait_timeout(std::time::Duration::ZERO));
    assert!(Semaphore::new(1).acquire_timeout(std::time::Duration::ZERO).is_some());
}

/// gevent's issue 1739: also from one thread to another, with nothing else to do there.
fn a_result_reaches_all_who_wait_for_it() {
    let result = Arc::new(OnceLock::new());
    let theirs = Arc::clone(&result);
    let waiting = others(4, move |_| *theirs.wait());
    let_others_wait();
    assert!(waiting.iter().all(|other| !other.is_finished()));
    let theirs = Arc::clone(&result);
    other(move || theirs.set("from afar")).join().unwrap();
    assert_eq!(joined(waiting), ["from afar"; 4]);
}

fn a_result_is_set_once_and_read_often() {
    let result = Arc::new(OnceLock::new());
    assert_eq!(result.get(), None);
    let theirs = Arc::clone(&result);
    let set = others(5, move |number| theirs.set(number).is_ok());
    let set: Vec<_> = joined(set).into_iter().enumerate().filter(|(_, set)| *set).collect();
    assert_eq!(set.len(), 1);
    assert_eq!((result.get(), result.wait()), (Some(&set[0].0), &set[0].0));
}

fn a_semaphore_that_nobody_releases_is_late() {
    assert!(Semaphore::new(0).acquire_timeout(SHORT).is_none());
    let held = BoundedSemaphore::new(1);
    let _permit = held.acquire();
    assert!(held.acquire_timeout(SHORT).is_none());
}

fn releases_wake_as_many_as_they_release() {
    let (rooms, through) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (theirs, count) = (Arc::clone(&rooms), Arc::clone(&through));
    let waiting = others(3, move |_| {
        theirs.acquire().forget();
        count.fetch_add(1, Ordering::SeqCst);
    });
    let_others_wait();
    for number in 1..=3 {
        rooms.release(1);
        until("one more is through", || through.load(Ordering::SeqCst) == number);
        let_others_wait();
        assert_eq!(through.load(Ordering::SeqCst), number);
    }
    joined(waiting);
}

fn a_release_is_not_lost_when_who_waited_is_late() {
    let rooms = Arc::new(Semaphore::new(0));
    let (first, second) = (Arc::clone(&rooms), Arc::clone(&rooms));
    let late = other(move || first.acquire_timeout(SHORT).is_none());
    let_others_wait();
    let waiting = other(move || second.acquire().forget());
    assert!(late.join());
    rooms.release(1);
    waiting.join();
    assert_eq!(rooms.available(), 0);
}

/// gevent's issue 704.
fn a_semaphore_can_be_acquired_in_a_destructor() {
    struct Visitor(Arc<Semaphore>);

    impl Drop for Visitor {
        fn drop(&mut self) {
            self.0.acquire().forget();
        }
    }

    let rooms = Arc::new(Semaphore::new(0));
    let visitor = Visitor(Arc::clone(&rooms));
    let leaving = other(move || drop(visitor));
    let_others_wait();
    assert!(!leaving.is_finished());
    rooms.release(1);
    leaving.join();
}

/// gevent's issue 1437.
fn what_one_acquires_another_can_release() {
    let rooms = Arc::new(Semaphore::new(1));
    rooms.acquire().forget();
    for _ in 0..3 {
        let theirs = Arc::clone(&rooms);
        let waiting = other(move || theirs.acquire_timeout(LONG).map(|permit| permit.forget()));
        let_others_wait();
        rooms.release(1);
        assert!(waiting.join().is_some());
    }
}

/// Two who do nothing but take and give back, `visit`: gevent's issue 1698.
fn duel(visit: impl Fn() -> bool + Clone + Send + 'static) {
    let rounds = heavy(10_000);
    let dueling = others(2, move |_| (0..rounds).filter(|_| visit()).count());
    assert_eq!(joined(dueling), [rounds; 2]);
}

fn heavy_two_that_duel_for_a_semaphore_both_come_through() {
    let rooms = Arc::new(Semaphore::new(1));
    duel(move || {
        drop(rooms.acquire());
        true
    });
}

fn heavy_two_that_duel_with_timeouts_both_come_through() {
    let rooms = Arc::new(Semaphore::new(1));
    duel(move || rooms.acquire_timeout(LONG).is_some());
}

fn heavy_two_that_duel_for_a_bounded_semaphore_both_come_through() {
    let rooms = Arc::new(BoundedSemaphore::new(1));
    duel(move || {
        rooms.acquire().forget();
        rooms.release(1).is_ok()
    });
}

fn heavy_two_that_duel_for_a_reentrant_lock_both_come_through() {
    let lock = Arc::new(ReentrantMutex::new(()));
    duel(move || {
        let (_outer, _inner) = (lock.lock(), lock.lock());
        lock.count() == 2
    });
}

/// gevent's issue 1487: an unfair lock goes to and fro between two, and the third waits for ever.
fn two_that_play_into_each_others_hands_let_a_third_have_its_turn() {
    let (rooms, quit) = (Arc::new(Semaphore::new(1)), Arc::new(AtomicBool::new(false)));
    let (theirs, stop) = (Arc::clone(&rooms), Arc::clone(&quit));
    let going = others(2, move |_| {
        while !stop.load(Ordering::SeqCst) {
            let permit = theirs.acquire();
            let_others_wait();
            drop(permit);
        }
    });
    let leaving = other(move || {
        let _permit = rooms.acquire();
        quit.store(true, Ordering::SeqCst);
    });
    leaving.join();
    joined(going);
}
