//! Ends of pools.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use fiveways::executor::{FutureError, ThreadPool};
use fiveways::time::sleep;

use crate::support::{Hold, gate, in_time, pool};

fn submit_naps(pool: &ThreadPool, count: usize) -> Arc<AtomicUsize> {
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..count {
        let done = Arc::clone(&done);
        let nap = move || {
            sleep(Duration::from_millis(2));
            done.fetch_add(1, Ordering::SeqCst);
        };
        pool.submit(nap).expect("it is open");
    }
    done
}

/// S000-10, S004-27, C44.
#[test]
fn shutdown_waits_for_all_that_was_submitted_and_takes_no_more() {
    let _watchdog = in_time();
    let pool = pool(4);
    let done = submit_naps(&pool, 100);
    pool.shutdown();
    assert_eq!((done.load(Ordering::SeqCst), pool.threads()), (100, 0));
    let refused = pool.submit(|| ()).expect_err("it is shut down");
    assert!(refused.is_shut_down());
    assert_eq!(refused.to_string(), "the pool has been shut down");
    pool.shutdown();
}

/// S004-27: also by being dropped.
#[test]
fn a_dropped_pool_has_done_everything() {
    let _watchdog = in_time();
    let pool = pool(3);
    let done = submit_naps(&pool, 50);
    drop(pool);
    assert_eq!(done.load(Ordering::SeqCst), 50);
}

/// S004-27: without waiting, the work is done all the same.
#[test]
fn shutdown_without_waiting_returns_at_once() {
    let _watchdog = in_time();
    let pool = pool(1);
    let hold = Hold::of(&pool);
    let queued = pool.submit(|| 5).expect("it is open");
    pool.close();
    assert!(pool.submit(|| ()).expect_err("it is shut down").is_shut_down());
    assert!(!queued.is_done());
    hold.end();
    assert_eq!(queued.result().expect("no panic"), 5);
}

/// S004-27: what is nobody's any more need not be done.
#[test]
fn what_has_not_begun_can_be_cancelled_all_at_once() {
    let _watchdog = in_time();
    let pool = pool(1);
    let hold = Hold::of(&pool);
    let queued = [0, 1, 2].map(|n| pool.submit(move || n).expect("it is open"));
    assert!(queued[1].cancel());
    assert_eq!(pool.cancel_queued(), 2);
    assert!(queued.iter().all(fiveways::executor::Future::is_cancelled));
    hold.end();
    assert_eq!(pool.cancel_queued(), 0);
}

/// S000-10, S004-27: bad use is told and does not hang.
#[test]
fn work_that_waits_for_the_end_of_its_own_pool_is_told() {
    let _watchdog = in_time();
    let pool = Arc::new(pool(1));
    let own = Arc::clone(&pool);
    let future = pool.submit(move || own.shutdown()).expect("it is open");
    let Err(FutureError::Panicked(panic)) = future.result() else { panic!("it must panic") };
    assert!(panic.message().contains("must not wait for the end of pool-"), "{panic:?}");
}

/// S004-27: work may own its pool.
#[test]
fn a_pool_dropped_by_its_own_work_does_not_wait_for_itself() {
    let _watchdog = in_time();
    let pool = Arc::new(pool(1));
    let (go, gone) = gate();
    let (tell, told) = mpsc::channel();
    let own = Arc::clone(&pool);
    let work = move || {
        gone.recv().expect("it is sent");
        tell.send(Arc::strong_count(&own)).expect("it is awaited");
        drop(own);
    };
    let future = pool.submit(work).expect("it is open");
    let queued = pool.submit(|| 5).expect("it is open");
    drop(pool);
    go.send(()).expect("it waits");
    assert_eq!(told.recv(), Ok(1), "the work has the last one");
    future.result().expect("no panic");
    assert_eq!(queued.result().expect("no panic"), 5);
}

/// S004-27: several may wait for the end.
#[test]
fn all_who_wait_for_the_end_see_it() {
    let _watchdog = in_time();
    let pool = pool(2);
    let done = submit_naps(&pool, 30);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                pool.shutdown();
                assert_eq!(done.load(Ordering::SeqCst), 30);
            });
        }
    });
}
