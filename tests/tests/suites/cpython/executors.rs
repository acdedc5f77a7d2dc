//! `Executor` and `ThreadPoolExecutor`.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fiveways::executor::{BuildError, Future, Sizing, SubmitError, ThreadPool};
use fiveways::sync::{Event, Semaphore};

use crate::support::{everywhere, other, until};

everywhere!(
    what_is_submitted_is_done_and_its_value_comes_back,
    map_is_the_same_as_doing_it_here,
    a_panic_in_map_comes_in_its_place,
    a_late_map_gives_what_came_and_is_late_then,
    a_map_that_is_late_cancels_what_it_waited_for_and_the_rest,
    what_map_submits_is_done_without_being_asked_for,
    a_result_that_map_has_given_is_no_longer_maps,
    what_work_has_captured_is_dropped_when_it_is_done,
    a_pool_of_no_threads_is_refused,
    a_pool_has_no_more_threads_than_its_size,
    an_idle_thread_is_used_again,
    after_a_shutdown_nothing_is_taken,
    a_shutdown_does_what_was_submitted,
    a_shutdown_may_cancel_what_has_not_begun,
    a_shutdown_passes_over_what_was_cancelled,
    a_dropped_pool_has_done_all,
    a_shutdown_that_does_not_wait_lets_all_be_done,
    threads_are_named_after_the_pool,
    each_thread_is_initialised_before_its_work,
    a_pool_whose_initialiser_fails_is_broken,
);

fn pool(threads: usize) -> ThreadPool {
    ThreadPool::new(Sizing::Fixed(threads)).unwrap()
}

fn what_is_submitted_is_done_and_its_value_comes_back() {
    let pool = pool(2);
    assert_eq!(pool.submit(|| 2_u32.pow(8)).unwrap().result().unwrap(), 256);
    assert_eq!(pool.submit(|| "as moved".to_owned()).unwrap().take().unwrap(), "as moved");
}

fn map_is_the_same_as_doing_it_here() {
    let (pool, cube) = (pool(3), |x: u64| x.pow(3));
    let here: Vec<_> = (0..10).map(cube).collect();
    let there: Vec<_> = pool.map(0..10, cube).unwrap().map(Result::unwrap).collect();
    let chunked = pool.map_chunked(3, 0..10, cube).unwrap();
    assert_eq!((&there, chunked.map(Result::unwrap).collect()), (&here, here.clone()));
    assert_eq!(pool.map(0..0, cube).unwrap().count(), 0);
}

fn a_panic_in_map_comes_in_its_place() {
    let pool = pool(2);
    let fail = || std::panic::resume_unwind(Box::new("by 0"));
    let divide = move |by| 6_u32.checked_div(by).unwrap_or_else(fail);
    let ends: Vec<_> = pool.map([2, 3, 0, 6], divide).unwrap().collect();
    assert_eq!(ends[0].as_ref().unwrap(), &3);
    assert_eq!(ends[1].as_ref().unwrap(), &2);
    assert!(ends[2].as_ref().unwrap_err().is_panic());
    // CPython's iterator ends with the exception; ours goes on.
    assert_eq!(ends[3].as_ref().unwrap(), &1);
}

fn a_late_map_gives_what_came_and_is_late_then() {
    let (pool, go) = (pool(3), Arc::new(Event::new()));
    let gone = Arc::clone(&go);
    let wait_for = move |waits: bool| {
        if waits {
            gone.wait()
        }
    };
    let mut ends = pool.map([false, false, true], wait_for).unwrap();
    assert!(ends.next().unwrap().is_ok() && ends.next().unwrap().is_ok());
    let mut ends = ends.timeout(Duration::from_millis(5));
    assert!(ends.next().unwrap().unwrap_err().is_timed_out());
    go.set();
}

/// CPython's gh-95166.
fn a_map_that_is_late_cancels_what_it_waited_for_and_the_rest() {
    let (pool, go) = (pool(1), Arc::new(Event::new()));
    let gone = Arc::clone(&go);
    let first = pool.submit(move || gone.wait()).unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ran);
    let work = move |_| count.fetch_add(1, Ordering::SeqCst);
    let mut ends = pool.map(["second", "third"], work).unwrap().timeout(Duration::ZERO);
    assert!(ends.next().unwrap().unwrap_err().is_timed_out());
    drop(ends);
    go.set();
    first.result().unwrap();
    pool.shutdown();
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

/// CPython's issue 11777, with the difference that a dropped iterator cancels.
fn what_map_submits_is_done_without_being_asked_for() {
    let (pool, done) = (pool(2), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&done);
    let ends = pool.map(0..10, move |_| count.fetch_add(1, Ordering::SeqCst)).unwrap();
    pool.shutdown();
    assert_eq!(done.load(Ordering::SeqCst), 10);
    drop(ends);
}

fn a_result_that_map_has_given_is_no_longer_maps() {
    let pool = pool(2);
    for value in pool.map(0..10, |_| Arc::new(())).unwrap() {
        assert_eq!(Arc::strong_count(&value.unwrap()), 1);
    }
}

/// CPython's issue 16284.
fn what_work_has_captured_is_dropped_when_it_is_done() {
    let (pool, captured) = (pool(1), Arc::new(()));
    let theirs = Arc::clone(&captured);
    drop(pool.submit(move || drop(Arc::clone(&theirs))).unwrap());
    until("it is dropped", || Arc::strong_count(&captured) == 1);
}

fn a_pool_of_no_threads_is_refused() {
    assert_eq!(ThreadPool::new(Sizing::Fixed(0)).unwrap_err(), BuildError::ZeroSize);
}

fn a_pool_has_no_more_threads_than_its_size() {
    let (pool, go) = (pool(4), Arc::new(Semaphore::new(0)));
    let one = || {
        let go = Arc::clone(&go);
        pool.submit(move || go.acquire().forget()).unwrap()
    };
    let futures: Vec<_> = (0..60).map(|_| one()).collect();
    assert_eq!(pool.threads(), 4);
    go.release(60);
    futures.iter().for_each(|future| future.result().unwrap());
    assert_eq!(pool.threads(), 4);
}

fn an_idle_thread_is_used_again() {
    let pool = pool(8);
    let thread = || std::thread::current().id();
    let mut ids: Vec<_> = Vec::new();
    for _ in 0..3 {
        ids.push(pool.submit(thread).unwrap().result().unwrap());
        // It is idle a moment after its result is there.
        let idle = pool.submit(thread).unwrap();
        until("it is done", || idle.is_done());
    }
    assert!((1..=6).contains(&pool.threads()), "{} threads for {ids:?}", pool.threads());
}

fn after_a_shutdown_nothing_is_taken() {
    let pool = pool(1);
    pool.shutdown();
    assert!(pool.submit(|| ()).unwrap_err().is_shut_down());
    assert!(pool.map(0..2, |_| ()).unwrap_err().is_shut_down());
    // It may be told again.
    pool.close();
    pool.shutdown();
}

/// CPython's issues 12364 and 12456.
fn a_shutdown_does_what_was_submitted() {
    let pool = pool(2);
    let futures: Vec<_> = (0..50).map(|number| pool.submit(move || number).unwrap()).collect();
    pool.shutdown();
    assert!(futures.iter().all(Future::is_done));
    assert!(futures.iter().map(|future| future.result().unwrap()).eq(0..50));
}

fn a_shutdown_may_cancel_what_has_not_begun() {
    let (pool, go) = (pool(2), Arc::new(Event::new()));
    let one = || {
        let gone = Arc::clone(&go);
        pool.submit(move || gone.wait()).unwrap()
    };
    let futures: Vec<_> = (0..50).map(|_| one()).collect();
    until("two run", || futures.iter().filter(|future| future.is_running()).count() == 2);
    pool.close();
    assert_eq!(pool.cancel_queued(), 48);
    go.set();
    pool.shutdown();
    assert_eq!(futures.iter().filter(|future| future.is_cancelled()).count(), 48);
    assert_eq!(futures.iter().filter(|future| future.result().is_ok()).count(), 2);
}

/// CPython's gh-94440.
fn a_shutdown_passes_over_what_was_cancelled() {
    for _ in 0..20 {
        let pool = pool(1);
        pool.submit(|| ()).unwrap().result().unwrap();
        pool.submit(|| ()).unwrap().cancel();
        pool.shutdown();
    }
}

fn a_dropped_pool_has_done_all() {
    let pool = pool(5);
    let ends = pool.map(-5..5, i32::abs).unwrap();
    drop(pool);
    let ends: Vec<_> = ends.map(Result::unwrap).collect();
    assert_eq!(ends, [5, 4, 3, 2, 1, 0, 1, 2, 3, 4]);
}

fn a_shutdown_that_does_not_wait_lets_all_be_done() {
    let pool = pool(5);
    let ends = pool.map(-5..5, i32::abs).unwrap();
    pool.close();
    assert_eq!(ends.map(Result::unwrap).sum::<i32>(), 25);
    until("the threads have ended", || pool.threads() == 0);
}

fn threads_are_named_after_the_pool() {
    let name = |_| std::thread::current().name().unwrap_or_default().to_owned();
    let special = ThreadPool::builder().name("special").size(Sizing::Fixed(3)).build().unwrap();
    for name in special.map(0..9, name).unwrap() {
        let name = name.unwrap();
        let number = name.strip_prefix("special-").map(str::parse);
        assert!(matches!(number, Some(Ok(0..3))), "{name}");
    }
    let unnamed = pool(1).submit(move || name(0)).unwrap().result().unwrap();
    assert!(!unnamed.is_empty());
}

fn each_thread_is_initialised_before_its_work() {
    std::thread_local! {
        static STATUS: Cell<&'static str> = const { Cell::new("not") };
    }

    let builder = ThreadPool::builder().size(Sizing::Fixed(2));
    let pool = builder.initializer(|| STATUS.set("initialised")).build().unwrap();
    for status in pool.map(0..8, |_| STATUS.get()).unwrap() {
        assert_eq!(status.unwrap(), "initialised");
    }
    assert_eq!(STATUS.get(), "not");
}

fn a_pool_whose_initialiser_fails_is_broken() {
    let log = Arc::new(Mutex::new(0));
    let count = Arc::clone(&log);
    let fail = move || {
        *count.lock().unwrap() += 1;
        std::panic::resume_unwind(Box::new("error in initialiser"));
    };
    let builder = ThreadPool::builder().size(Sizing::Fixed(2));
    let pool = Arc::new(builder.initializer(fail).build().unwrap());
    // It may be broken before the submit, or after.
    if let Ok(future) = pool.submit(|| ()) {
        assert!(future.result().is_err());
    }
    let theirs = Arc::clone(&pool);
    until("submits are refused", || matches!(theirs.submit(|| ()), Err(SubmitError::Broken)));
    assert!(*log.lock().unwrap() > 0);
    let theirs = Arc::clone(&pool);
    assert!(other(move || theirs.submit(|| ()).is_err()).join());
}
