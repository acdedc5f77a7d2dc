//! Futures: what they know and when.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fiveways::executor::{Future, FutureError};
use fiveways::runtime::Runtime;
use fiveways::sync::channel;
use fiveways::{Model, task};
use fiveways_tests::patience::LONG;

use crate::support::{Hold, gate, in_time, pool};

/// S004-25, C43: submitting is asynchronous, asking for the result is not.
#[test]
fn submit_returns_before_the_work_has_ended_and_result_after() {
    let _watchdog = in_time();
    let pool = pool(1);
    let (go, gone) = gate();
    let future = pool.submit(move || (gone.recv(), 5).1).expect("it is open");
    assert!(!future.is_done(), "it waits for us");
    go.send(()).expect("it waits");
    assert_eq!(future.result().expect("no panic"), 5);
    assert!(future.is_done() && !future.is_running() && !future.is_cancelled());
}

/// S004-26.
#[test]
fn a_late_result_is_an_error_first_and_comes_all_the_same() {
    let _watchdog = in_time();
    let pool = pool(1);
    let (go, gone) = gate();
    let future = pool.submit(move || (gone.recv(), 5).1).expect("it is open");
    let soon = Duration::from_millis(5);
    assert!(future.result_timeout(soon).expect_err("too early").is_timed_out());
    assert!(future.take_timeout(soon).expect_err("too early").is_timed_out());
    assert!(future.exception_timeout(soon).expect("too early").is_timed_out());
    assert!(future.result_timeout(Duration::ZERO).expect_err("too early").is_timed_out());
    go.send(()).expect("it waits");
    assert_eq!(future.result_timeout(Duration::MAX).expect("no panic"), 5);
    assert_eq!(future.result_timeout(Duration::ZERO).expect("it is there"), 5);
}

/// S004-26.
#[test]
fn the_result_is_copied_as_often_as_asked_and_moved_out_once() {
    let _watchdog = in_time();
    let pool = pool(1);
    let future = pool.submit(|| "text".to_owned()).expect("it is open");
    let other = future.clone();
    assert_eq!(future.result().expect("no panic"), "text");
    assert_eq!(other.result().expect("no panic"), "text");
    assert_eq!(other.take().expect("no panic"), "text");
    assert!(matches!(future.take(), Err(FutureError::Taken)));
    assert!(matches!(future.result(), Err(FutureError::Taken)));
    assert!(future.exception().is_none() && future.is_done());
}

/// A value whose copying may do anything; not `Sync`.
struct Busy(Cell<u32>, Box<dyn Fn() + Send>);

impl Clone for Busy {
    fn clone(&self) -> Busy {
        (self.1)();
        let copies = self.0.get();
        self.0.set(copies + 1);
        Busy(Cell::new(copies), Box::new(|| ()))
    }
}

/// Copying may wait, and others that ask wait for it without blocking the worker.
#[test]
fn a_copy_of_the_result_may_wait_for_a_neighbour() {
    let _watchdog = in_time();
    let pool = pool(1);
    let runtime = Runtime::builder().model(Model::Epoll).build().expect("a runtime");
    runtime.block_on(move || {
        let (go, gone) = channel::unbounded::<()>();
        let wait = move || gone.recv().expect("it is let go");
        let future = pool.submit(move || Busy(Cell::new(0), Box::new(wait))).expect("it is open");
        assert!(future.exception().is_none(), "it is there before anybody copies it");
        let copies = [(); 3].map(|()| {
            let future = future.clone();
            task::spawn(move || future.result().expect("no panic").0.get())
        });
        let taking = task::spawn(move || future.take().expect("no panic").0.get());
        for _ in 0..3 {
            // One waits in its copying, the others for their turn.
            task::yield_now();
            go.send(()).expect("it is awaited");
        }
        let copies = copies.map(|copy| copy.join().expect("no panic"));
        assert_eq!(copies, [0, 1, 2]);
        assert_eq!(taking.join().expect("no panic"), 3);
    });
}

/// Copying may ask the same future: for another copy, for what it is; not for the value itself.
#[test]
fn a_copy_of_the_result_may_ask_the_same_future() {
    let _watchdog = in_time();
    let pool = pool(1);
    let place = Arc::new(OnceLock::<Future<Busy>>::new());
    let theirs = Arc::clone(&place);
    let depth = AtomicU32::new(0);
    let ask = move || {
        let future = theirs.get().expect("it is set");
        assert!(future.is_done() && future.exception().is_none());
        assert_eq!(format!("{future:?}"), "Future(done)");
        assert!(matches!(future.take(), Err(FutureError::WouldDeadlock)));
        if depth.fetch_add(1, Ordering::Relaxed) == 0 {
            let inner = future.result().expect("no panic");
            assert_eq!(inner.0.get(), 0);
        }
    };
    let future = pool.submit(move || Busy(Cell::new(0), Box::new(ask))).expect("it is open");
    place.set(future.clone()).expect("it is unset");
    assert_eq!(future.result().expect("no panic").0.get(), 1);
    assert!(future.take().is_ok());
}

/// S004-26: what is neither `Clone` nor `Sync` can be a result too.
#[test]
fn a_result_need_only_be_sendable() {
    let _watchdog = in_time();
    let pool = pool(1);
    let future = pool.submit(std::sync::mpsc::channel::<u8>).expect("it is open");
    let (tx, rx) = future.take().expect("no panic");
    tx.send(3).expect("the other end is here");
    assert_eq!(rx.recv(), Ok(3));
}

/// S004-26.
#[test]
fn exception_tells_why_there_is_no_value() {
    let _watchdog = in_time();
    let pool = pool(1);
    let well = pool.submit(|| 5).expect("it is open");
    assert!(well.exception().is_none());
    let ill = pool.submit(|| -> u32 { panic!("no {}", "way") }).expect("it is open");
    let error = ill.exception().expect("it panicked");
    assert!(error.is_panic());
    assert_eq!(error.to_string(), "the work panicked: no way");
    assert_eq!(ill.result().expect_err("it panicked").to_string(), error.to_string());
}

/// S004-26.
#[test]
fn only_what_has_not_begun_can_be_cancelled() {
    let _watchdog = in_time();
    let pool = pool(1);
    let hold = Hold::of(&pool);
    let queued = pool.submit(|| panic!("it never runs")).expect("it is open");
    assert!(hold.future.is_running() && !queued.is_running());
    assert!(!hold.future.cancel(), "it has begun");
    assert!(queued.cancel(), "it has not");
    assert!(queued.cancel() && queued.is_cancelled() && queued.is_done());
    assert!(queued.result().expect_err("cancelled").is_cancelled());
    assert!(queued.exception().expect("cancelled").is_cancelled());
    let future = hold.future.clone();
    hold.end();
    assert!(!future.cancel(), "it has ended");
    // The thread passes over what was cancelled.
    assert_eq!(pool.submit(|| 5).expect("it is open").result().expect("no panic"), 5);
}

/// S004-26: a cancel wakes the waiter, which gets the error.
#[test]
fn a_cancel_wakes_those_who_wait() {
    let _watchdog = in_time();
    let pool = pool(1);
    let hold = Hold::of(&pool);
    let queued = pool.submit(|| ()).expect("it is open");
    let waiting = queued.clone();
    let waiter = std::thread::spawn(move || waiting.result_timeout(LONG));
    assert!(queued.cancel());
    assert!(waiter.join().expect("no panic").expect_err("cancelled").is_cancelled());
    hold.end();
}

/// S004-26.
#[test]
fn futures_show_how_far_they_are() {
    let _watchdog = in_time();
    let pool = pool(1);
    let hold = Hold::of(&pool);
    let queued = pool.submit(|| ()).expect("it is open");
    assert_eq!(format!("{:?} {queued:?}", hold.future), "Future(running) Future(queued)");
    queued.cancel();
    assert_eq!(format!("{queued:?}"), "Future(cancelled before it began)");
    hold.end();
}
