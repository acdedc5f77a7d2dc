//! The threads of a pool: when they start, what they are called, what they survive.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fiveways::executor::{FutureError, Sizing, SubmitError, ThreadPool};

use crate::support::{Hold, in_time, pool};

/// S004-21: opening costs, so nothing is opened before there is need.
#[test]
fn threads_start_when_there_is_work_and_are_used_again() {
    let _watchdog = in_time();
    let pool = pool(100);
    assert_eq!(pool.threads(), 0);
    let first = Hold::of(&pool);
    assert_eq!(pool.threads(), 1);
    let second = Hold::of(&pool);
    assert_eq!(pool.threads(), 2);
    first.end();
    second.end();
    // One after the other. A thread that has ended a job may not be idle yet: then one more starts.
    for _ in 0..100 {
        pool.submit(|| ()).expect("it is open").result().expect("no panic");
    }
    assert!(pool.threads() < 50, "{} threads for one job at a time", pool.threads());
}

/// S004-22.
#[test]
fn threads_have_the_pools_name_and_a_number() {
    let _watchdog = in_time();
    let name = || thread::current().name().unwrap_or_default().to_owned();
    let ours = ThreadPool::builder().name("crunch").size(Sizing::Fixed(2)).build().expect("2");
    let first = ours.submit(name).expect("it is open").result();
    assert_eq!(first.expect("no panic"), "crunch-0");
    let other = pool(1).submit(name).expect("it is open").result().expect("no panic");
    let numbers: Vec<_> = other.strip_prefix("pool-").expect("pool-").split('-').collect();
    assert!(numbers.len() == 2 && numbers[1] == "0", "{other}");
}

/// S004-26: the panic comes out of `result`, and the thread goes on.
#[test]
fn a_panic_reaches_who_asks_and_not_the_thread() {
    let _watchdog = in_time();
    let pool = pool(1);
    let before = pool.submit(|| thread::current().id()).expect("it is open");
    let broken = pool.submit(|| std::panic::panic_any(7_u8)).expect("it is open");
    let Err(FutureError::Panicked(panic)) = broken.result() else { panic!("it panicked") };
    assert_eq!(panic.clone().into_payload().downcast_ref::<u8>(), Some(&7));
    assert_eq!(panic.into_payload().downcast_ref::<String>().expect("a text"), "(no message)");
    let after = pool.submit(|| thread::current().id()).expect("it is open");
    assert_eq!(before.result().expect("no panic"), after.result().expect("no panic"));
}

/// S004-22.
#[test]
fn each_thread_is_initialized_once_before_its_first_work() {
    let _watchdog = in_time();
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    let pool = ThreadPool::builder().size(Sizing::Fixed(2)).initializer(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let pool = pool.build().expect("2");
    let holds = [Hold::of(&pool), Hold::of(&pool)];
    assert_eq!(begun.load(Ordering::SeqCst), 2);
    holds.into_iter().for_each(Hold::end);
    pool.submit(|| ()).expect("it is open").result().expect("no panic");
    assert_eq!(begun.load(Ordering::SeqCst), 2);
}

/// S004-22: as CPython's broken pool.
#[test]
fn an_initializer_that_panics_breaks_the_pool_and_nobody_waits_for_ever() {
    let _watchdog = in_time();
    let (go, gone) = crate::support::gate();
    let gone = std::sync::Mutex::new(gone);
    let pool = ThreadPool::builder().size(Sizing::Fixed(1)).initializer(move || {
        let _ = gone.lock().expect("one thread").recv();
        panic!("not today");
    });
    let pool = pool.build().expect("1");
    let futures = [0, 1, 2].map(|n| pool.submit(move || n).expect("not broken yet"));
    drop(go);
    for future in futures {
        assert!(matches!(future.result(), Err(FutureError::BrokenPool)));
    }
    assert!(matches!(pool.submit(|| ()), Err(SubmitError::Broken)));
}

/// S004-27: a result whose drop panics is nobody's any more, and the thread goes on.
#[test]
fn a_result_that_panics_when_dropped_does_not_end_the_thread() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let _watchdog = in_time();
    let pool = pool(1);
    let hold = Hold::of(&pool);
    drop(pool.submit(|| Bomb).expect("it is open"));
    let captured = Bomb;
    let cancelled = pool.submit(move || drop(captured)).expect("it is open");
    assert!(cancelled.cancel());
    hold.end();
    assert_eq!(pool.submit(|| 5).expect("it is open").result().expect("no panic"), 5);
}
