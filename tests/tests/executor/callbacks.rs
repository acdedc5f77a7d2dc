//! Callbacks of futures.

use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

use crate::support::{Hold, Log, gate, in_time, note, noted, pool};

/// S004-28, C42: called by the thread that did the work, as soon as there is a result.
#[test]
fn a_callback_is_called_by_the_thread_that_worked_with_the_result_there() {
    let _watchdog = in_time();
    let pool = pool(1);
    let (go, gone) = gate();
    let work = move || (gone.recv(), thread::current().id()).1;
    let future = pool.submit(work).expect("it is open");
    let log: Log<_> = Arc::default();
    let theirs = Arc::clone(&log);
    future.add_done_callback(move |future| {
        // S004-29: it gets the future, and asking it does not wait.
        assert!(future.is_done());
        note(&theirs, (thread::current().id(), future.result().expect("no panic")));
    });
    assert!(noted(&log).is_empty(), "there is no result yet");
    go.send(()).expect("it waits");
    drop(pool);
    let worker = future.result().expect("no panic");
    assert_eq!(noted(&log), [(worker, worker)]);
}

/// S004-28, C42.
#[test]
fn a_callback_of_what_has_ended_is_called_at_once_and_here() {
    let _watchdog = in_time();
    let pool = pool(1);
    let future = pool.submit(|| 5).expect("it is open");
    future.result().expect("no panic");
    let log: Log<_> = Arc::default();
    let theirs = Arc::clone(&log);
    future.add_done_callback(move |future| {
        note(&theirs, (thread::current().id(), future.result().expect("no panic")));
    });
    assert_eq!(noted(&log), [(thread::current().id(), 5)]);
}

/// S004-28, C42.
#[test]
fn callbacks_are_called_once_each_in_the_order_in_which_they_came() {
    let _watchdog = in_time();
    let pool = pool(1);
    let hold = Hold::of(&pool);
    let log: Log<u32> = Arc::default();
    for number in 0..100 {
        let theirs = Arc::clone(&log);
        hold.future.add_done_callback(move |_| note(&theirs, number));
    }
    hold.end();
    drop(pool);
    assert_eq!(noted(&log), (0..100).collect::<Vec<_>>());
}

/// S004-28, S004-29: cancelling and panicking are endings too.
#[test]
fn callbacks_are_called_however_it_ended() {
    let _watchdog = in_time();
    let pool = pool(1);
    let hold = Hold::of(&pool);
    let log: Log<String> = Arc::default();
    let write = |log: &Log<String>| {
        let log = Arc::clone(log);
        move |future: &fiveways::executor::Future<()>| {
            note(&log, future.exception().expect("no value").to_string());
        }
    };
    let queued = pool.submit(|| ()).expect("it is open");
    queued.add_done_callback(write(&log));
    let broken = pool.submit(|| panic!("over")).expect("it is open");
    broken.add_done_callback(write(&log));
    assert!(queued.cancel());
    hold.end();
    drop(pool);
    assert_eq!(noted(&log), ["cancelled before it began", "the work panicked: over"]);
}

/// S004-29, D50: the panic stays in the callback. (That it is told aloud is tested with processes.)
#[test]
fn a_panic_in_a_callback_hurts_neither_the_thread_nor_other_callbacks() {
    let _watchdog = in_time();
    let pool = pool(1);
    let hold = Hold::of(&pool);
    let log: Log<u32> = Arc::default();
    hold.future.add_done_callback(|_| panic!("a callback's own fault"));
    let theirs = Arc::clone(&log);
    hold.future.add_done_callback(move |_| note(&theirs, 1));
    let future = hold.future.clone();
    hold.end();
    future.add_done_callback(|_| panic!("a callback's own fault, and here"));
    assert_eq!(pool.submit(|| 5).expect("it is open").result().expect("no panic"), 5);
    assert_eq!(noted(&log), [1]);
}

/// C42: none is lost and none is called twice when adding races with the end.
#[test]
fn a_callback_that_comes_with_the_end_is_called_once() {
    let _watchdog = in_time();
    let pool = pool(2);
    for round in 0..2000_u32 {
        let count = Arc::new(Mutex::new(0));
        let future = pool.submit(move || round).expect("it is open");
        for _ in 0..3 {
            let count = Arc::clone(&count);
            future.add_done_callback(move |_| *count.lock().expect("no panic") += 1);
        }
        future.result().expect("no panic");
        // The thread calls those that came before the end; waiting for it is waiting for them.
        fiveways_tests::patience::eventually("three callbacks", || {
            *count.lock().expect("no panic") == 3
        });
    }
    drop(pool);
}

/// S004-29: a callback may use the pool, even wait for it.
#[test]
fn a_callback_may_submit_and_wait() {
    let _watchdog = in_time();
    let pool = Arc::new(pool(1));
    let hold = Hold::of(&pool);
    let log: Log<u32> = Arc::default();
    let (theirs, again) = (Arc::clone(&log), Arc::clone(&pool));
    hold.future.add_done_callback(move |_| {
        let next = again.submit(|| 5).expect("it is open");
        note(&theirs, next.result().expect("helped here"));
    });
    hold.end();
    fiveways_tests::patience::eventually("the callback ends", || noted(&log) == [5]);
}
