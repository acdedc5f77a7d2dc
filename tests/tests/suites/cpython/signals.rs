//! `Event`, `Condition` ([`Condvar`]), `Semaphore`, `BoundedSemaphore` and `Barrier`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use fiveways::sync::{Barrier, BoundedSemaphore, Condvar, Event, Mutex, Semaphore};

use crate::support::{
    LONG, Other, SHORT, everywhere, joined, let_others_wait, other, others, until,
};

everywhere!(
    an_event_is_what_it_was_last_made,
    setting_an_event_wakes_all_and_lets_later_ones_through,
    a_wait_for_an_event_tells_whether_it_was_set_in_time,
    who_waits_for_an_event_is_through_although_it_is_cleared_at_once,
    a_condition_wakes_as_many_as_it_is_told_and_then_all,
    a_wait_for_a_condition_tells_whether_it_was_late,
    a_wait_for_a_predicate_ends_when_it_holds,
    a_wait_for_a_predicate_that_never_holds_is_late,
    a_condition_holds_its_lock_before_and_after_the_wait,
    permits_go_to_as_many_as_there_are,
    several_permits_can_be_given_back_at_once,
    permits_are_refused_when_there_are_none,
    of_many_who_try_as_many_succeed_as_there_are_permits,
    a_permit_is_given_back_however_its_scope_ends,
    a_semaphore_may_be_given_more_than_it_had,
    a_bounded_semaphore_may_not,
    a_barrier_is_passed_in_lockstep_time_and_again,
    one_of_each_round_of_a_barrier_is_the_leader,
    a_barrier_for_one_lets_everybody_through,
);

fn an_event_is_what_it_was_last_made() {
    let event = Event::new();
    assert!(!event.is_set());
    for set in [true, true, false, false, true] {
        if set {
            event.set()
        } else {
            event.clear()
        }
        assert_eq!(event.is_set(), set);
    }
}

fn setting_an_event_wakes_all_and_lets_later_ones_through() {
    let (event, through) = (Arc::new(Event::new()), Arc::new(AtomicUsize::new(0)));
    for _ in 0..2 {
        event.clear();
        let before = through.load(Ordering::SeqCst);
        let (theirs, seen) = (Arc::clone(&event), Arc::clone(&through));
        let waiting = others(5, move |_| {
            theirs.wait();
            // It stays set.
            theirs.wait();
            seen.fetch_add(1, Ordering::SeqCst);
        });
        let_others_wait();
        assert_eq!(through.load(Ordering::SeqCst), before);
        event.set();
        joined(waiting);
        assert_eq!(through.load(Ordering::SeqCst), before + 5);
    }
}

fn a_wait_for_an_event_tells_whether_it_was_set_in_time() {
    let event = Arc::new(Event::new());
    for set in [false, true] {
        let theirs = Arc::clone(&event);
        let waited = others(5, move |_| {
            let at_once = theirs.wait_timeout(std::time::Duration::ZERO);
            let begin = Instant::now();
            (at_once, theirs.wait_timeout(SHORT), begin.elapsed())
        });
        for (at_once, in_time, after) in joined(waited) {
            assert_eq!((at_once, in_time), (set, set));
            assert!(set || after >= SHORT, "{after:?}");
        }
        event.set();
    }
}

/// CPython's gh-57711.
fn who_waits_for_an_event_is_through_although_it_is_cleared_at_once() {
    let event = Arc::new(Event::new());
    let came = Arc::new(AtomicUsize::new(0));
    let (theirs, told) = (Arc::clone(&event), Arc::clone(&came));
    let waiting = others(5, move |_| {
        told.fetch_add(1, Ordering::SeqCst);
        theirs.wait_timeout(LONG)
    });
    until("all have come", || came.load(Ordering::SeqCst) == 5);
    // A waiter that checked the flag again after being woken would never get through.
    until("all are through", || {
        event.set();
        event.clear();
        waiting.iter().all(Other::is_finished)
    });
    assert_eq!(joined(waiting), [true; 5]);
}

/// Waits to be notified, under a lock that counts the waiting and the woken tasks.
struct Crowd {
    counts: Mutex<(usize, usize)>,
    told: Condvar,
}

impl Crowd {
    fn new() -> Arc<Crowd> {
        Arc::new(Crowd { counts: Mutex::new((0, 0)), told: Condvar::new() })
    }

    fn wait(&self) {
        let mut counts = self.counts.lock().unwrap();
        counts.0 += 1;
        counts = self.told.wait(counts).unwrap();
        counts.1 += 1;
    }

    fn has_come(&self, count: usize) -> bool {
        self.counts.lock().unwrap().0 == count
    }

    fn was_woken(&self, count: usize) -> bool {
        self.counts.lock().unwrap().1 == count
    }
}

fn a_condition_wakes_as_many_as_it_is_told_and_then_all() {
    let crowd = Crowd::new();
    // A second time on the same, as nothing may be left behind.
    for round in 0..2 {
        let (before, theirs) = (10 * round, Arc::clone(&crowd));
        let waiting = others(5, move |_| {
            theirs.wait();
            theirs.wait();
        });
        until("five wait", || crowd.has_come(before + 5));
        for _ in 0..3 {
            crowd.told.notify_one();
        }
        // The three wait again, behind the other two.
        until("three wait again", || crowd.has_come(before + 8));
        assert!(crowd.was_woken(before + 3));
        for _ in 0..2 {
            crowd.told.notify_one();
        }
        until("two more wait again", || crowd.has_come(before + 10));
        assert!(crowd.was_woken(before + 5));
        crowd.told.notify_all();
        joined(waiting);
        assert!(crowd.was_woken(before + 10));
        // Nobody is there: nothing is remembered.
        crowd.told.notify_all();
    }
}

fn a_wait_for_a_condition_tells_whether_it_was_late() {
    let pair = Arc::new((Mutex::new(()), Condvar::new()));
    let late = others(5, move |_| {
        let begin = Instant::now();
        let (guard, waited) = pair.1.wait_timeout(pair.0.lock().unwrap(), SHORT).unwrap();
        drop(guard);
        (waited.timed_out(), begin.elapsed())
    });
    for (late, after) in joined(late) {
        assert!(late && after >= SHORT, "{after:?}");
    }
}

fn a_wait_for_a_predicate_ends_when_it_holds() {
    let pair = Arc::new((Mutex::new(0), Condvar::new()));
    let theirs = Arc::clone(&pair);
    let waiting = other(move || {
        let state = theirs.1.wait_while(theirs.0.lock().unwrap(), |state| *state != 4);
        *state.unwrap()
    });
    for _ in 0..4 {
        *pair.0.lock().unwrap() += 1;
        pair.1.notify_one();
        let_others_wait();
    }
    assert_eq!(waiting.join(), 4);
}

fn a_wait_for_a_predicate_that_never_holds_is_late() {
    let pair = Arc::new((Mutex::new(0), Condvar::new()));
    let theirs = Arc::clone(&pair);
    let waiting = other(move || {
        let begin = Instant::now();
        let state = theirs.0.lock().unwrap();
        let state = theirs.1.wait_timeout_while(state, SHORT, |state| *state != 4);
        let (_state, waited) = state.unwrap();
        (waited.timed_out(), begin.elapsed())
    });
    for _ in 0..3 {
        *pair.0.lock().unwrap() += 1;
        pair.1.notify_one();
        let_others_wait();
    }
    let (late, after) = waiting.join();
    assert!(late && after >= SHORT, "{after:?}");
}

fn a_condition_holds_its_lock_before_and_after_the_wait() {
    let pair = Arc::new((Mutex::new(false), Condvar::new()));
    let theirs = Arc::clone(&pair);
    let waiting = other(move || {
        let mut told = theirs.0.lock().unwrap();
        while !*told {
            told = theirs.1.wait(told).unwrap();
        }
        theirs.0.try_lock().is_err()
    });
    let_others_wait();
    *pair.0.lock().unwrap() = true;
    pair.1.notify_one();
    assert!(waiting.join());
    assert!(pair.0.try_lock().is_ok());
}

/// Ten who want two permits each, of seven of which one is away.
fn seven_permits(release: impl Fn(&Semaphore, usize)) {
    let (rooms, had) = (Arc::new(Semaphore::new(7)), Arc::new(AtomicUsize::new(0)));
    rooms.acquire().forget();
    let (theirs, count) = (Arc::clone(&rooms), Arc::clone(&had));
    let guests = others(10, move |_| {
        for _ in 0..2 {
            theirs.acquire().forget();
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut expected = 6;
    for given in [7, 6] {
        until("all permits are had", || had.load(Ordering::SeqCst) == expected);
        let_others_wait();
        assert_eq!(had.load(Ordering::SeqCst), expected);
        assert!(rooms.try_acquire().is_none());
        release(&rooms, given);
        expected += given;
    }
    until("all permits are had", || had.load(Ordering::SeqCst) == 19);
    assert!(rooms.try_acquire().is_none());
    rooms.release(1);
    joined(guests);
    assert_eq!((had.load(Ordering::SeqCst), rooms.available()), (20, 0));
}

fn permits_go_to_as_many_as_there_are() {
    seven_permits(|rooms, count| (0..count).for_each(|_| rooms.release(1)));
}

fn several_permits_can_be_given_back_at_once() {
    seven_permits(Semaphore::release);
}

fn permits_are_refused_when_there_are_none() {
    let rooms = Semaphore::new(2);
    let (one, two) = (rooms.try_acquire(), rooms.acquire_timeout(SHORT));
    assert!(one.is_some() && two.is_some());
    assert!(rooms.try_acquire().is_none());
    let begin = Instant::now();
    assert!(rooms.acquire_timeout(SHORT).is_none());
    assert!(begin.elapsed() >= SHORT);
    drop(one);
    assert!(rooms.acquire_timeout(SHORT).is_some());
    // One of none may go.
    drop(Semaphore::new(0));
}

fn of_many_who_try_as_many_succeed_as_there_are_permits() {
    let rooms = Arc::new(Semaphore::new(3));
    let theirs = Arc::clone(&rooms);
    let tried = others(5, move |_| {
        let once = || theirs.try_acquire().map(|permit| permit.forget()).is_some();
        usize::from(once()) + usize::from(once())
    });
    assert_eq!(joined(tried).into_iter().sum::<usize>(), 3);
}

fn a_permit_is_given_back_however_its_scope_ends() {
    let rooms = Arc::new(Semaphore::new(2));
    let theirs = Arc::clone(&rooms);
    let panicked = other(move || {
        let (_one, _two) = (theirs.acquire(), theirs.acquire());
        assert!(theirs.try_acquire().is_none());
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(panicked.outcome().is_err());
    assert_eq!(rooms.available(), 2);
}

fn a_semaphore_may_be_given_more_than_it_had() {
    let rooms = Semaphore::new(1);
    rooms.release(1);
    let both = [rooms.acquire(), rooms.acquire()];
    assert_eq!(rooms.available(), 0);
    drop(both);
    assert_eq!(rooms.available(), 2);
}

fn a_bounded_semaphore_may_not() {
    let rooms = BoundedSemaphore::new(1);
    assert!(rooms.release(1).is_err());
    rooms.acquire().forget();
    assert!(rooms.release(2).is_err());
    assert!(rooms.release(1).is_ok());
    assert!(rooms.release(1).is_err());
    assert_eq!(rooms.available(), 1);
    assert!(rooms.acquire_timeout(SHORT).is_some());
}

fn a_barrier_is_passed_in_lockstep_time_and_again() {
    const PARTIES: usize = 5;
    let barrier = Arc::new(Barrier::new(PARTIES));
    let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let racing = others(PARTIES, move |_| {
        for round in 0..10 {
            counts[0].fetch_add(1, Ordering::SeqCst);
            assert_eq!(counts[1].load(Ordering::SeqCst), round * PARTIES);
            barrier.wait();
            counts[1].fetch_add(1, Ordering::SeqCst);
            assert_eq!(counts[0].load(Ordering::SeqCst), (round + 1) * PARTIES);
            barrier.wait();
        }
    });
    joined(racing);
}

fn one_of_each_round_of_a_barrier_is_the_leader() {
    let barrier = Arc::new(Barrier::new(5));
    let leads = others(5, move |_| (0..8).filter(|_| barrier.wait().is_leader()).count());
    assert_eq!(joined(leads).into_iter().sum::<usize>(), 8);
}

fn a_barrier_for_one_lets_everybody_through() {
    let barrier = Barrier::new(1);
    assert!((0..3).all(|_| barrier.wait().is_leader()));
}
