//! `gevent.Timeout`: [`task::timeout`], which ends a closure where it waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fiveways::queue::Queue;
use fiveways::sync::{Event, Mutex, Semaphore};
use fiveways::{task, time};

use crate::support::{LONG, SHORT, among_tasks, let_others_wait};

among_tasks!(
    a_timeout_ends_what_waits_and_not_earlier,
    a_timeout_may_be_used_again,
    a_timeout_that_is_over_does_not_come_later,
    what_is_done_in_time_has_its_value,
    what_never_waits_is_never_late,
    the_inner_of_two_comes_first_if_it_is_shorter,
    the_outer_of_two_ends_the_inner_as_well,
    an_inner_one_that_came_leaves_the_outer_be,
    every_wait_can_be_ended,
    an_endless_timeout_never_comes,
    a_timeout_is_its_own_tasks,
);

fn a_timeout_ends_what_waits_and_not_earlier() {
    let begin = Instant::now();
    assert!(task::timeout(SHORT, || time::sleep(LONG)).is_err());
    assert!((SHORT..LONG).contains(&begin.elapsed()));
}

fn a_timeout_may_be_used_again() {
    assert!((0..5).all(|_| task::timeout(SHORT / 5, || time::sleep(LONG)).is_err()));
}

fn a_timeout_that_is_over_does_not_come_later() {
    assert!(task::timeout(SHORT, || ()).is_ok());
    time::sleep(SHORT * 2);
    assert!(!task::is_cancelled());
}

fn what_is_done_in_time_has_its_value() {
    let value = task::timeout(LONG, || {
        time::sleep(Duration::from_millis(1));
        "value"
    });
    assert_eq!(value.ok(), Some("value"));
}

fn what_never_waits_is_never_late() {
    let value = task::timeout(Duration::ZERO, || {
        let end = Instant::now() + Duration::from_millis(1);
        while Instant::now() < end {}
        7
    });
    assert_eq!(value.ok(), Some(7));
}

fn the_inner_of_two_comes_first_if_it_is_shorter() {
    let outer = task::timeout(LONG, || {
        let inner = task::timeout(SHORT, || time::sleep(LONG));
        (inner.is_err(), 7)
    });
    assert_eq!(outer.ok(), Some((true, 7)));
}

fn the_outer_of_two_ends_the_inner_as_well() {
    let mut went_on = false;
    let outer = task::timeout(SHORT, || {
        let inner = task::timeout(LONG, || time::sleep(LONG));
        went_on = true;
        inner
    });
    assert!(outer.is_err() && !went_on);
}

fn an_inner_one_that_came_leaves_the_outer_be() {
    let begin = Instant::now();
    let outer = task::timeout(SHORT * 2, || {
        assert!(task::timeout(SHORT / 2, || time::sleep(LONG)).is_err());
        time::sleep(LONG);
    });
    assert!(outer.is_err() && begin.elapsed() >= SHORT * 2);
}

fn every_wait_can_be_ended() {
    let (event, rooms, queue) = (Event::new(), Semaphore::new(0), Queue::<()>::new());
    let lock = Arc::new(Mutex::new(()));
    let theirs = Arc::clone(&lock);
    let (held, free) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let (told, wait) = (Arc::clone(&held), Arc::clone(&free));
    let holding = task::spawn(move || {
        let _guard = theirs.lock();
        told.set();
        wait.wait();
    });
    held.wait();
    let brief = SHORT / 5;
    assert!(task::timeout(brief, || event.wait()).is_err());
    assert!(task::timeout(brief, || rooms.acquire().forget()).is_err());
    assert!(task::timeout(brief, || queue.get()).is_err());
    assert!(task::timeout(brief, || drop(lock.lock())).is_err());
    assert!(task::timeout(brief, || task::wait_any([&holding])).is_err());
    free.set();
    holding.join().unwrap();
    // Nothing of it is left in any line.
    rooms.release(1);
    assert_eq!(rooms.available(), 1);
    assert!(lock.try_lock().is_ok());
}

fn an_endless_timeout_never_comes() {
    assert_eq!(task::timeout(Duration::MAX, || 7).ok(), Some(7));
}

fn a_timeout_is_its_own_tasks() {
    let waiting = task::spawn(|| {
        time::sleep(SHORT * 3);
        7
    });
    assert!(task::timeout(SHORT, || time::sleep(LONG)).is_err());
    let_others_wait();
    assert_eq!(waiting.join().unwrap(), 7);
}

/// On a plain thread a timeout ends what blocks it in calls of ours.
#[test]
fn a_plain_thread_has_timeouts() {
    let late = std::thread::spawn(|| task::timeout(SHORT, || time::sleep(LONG)).is_err()).join();
    assert!(late.expect("no panic"));
}
