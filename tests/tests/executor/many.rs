//! Many futures at once: `map`, `as_completed`, `wait`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fiveways::executor::{Call, Executor, ReturnWhen, as_completed, remote, wait};
use fiveways::time::sleep;

use crate::support::{Hold, in_time, pool};

remote! {
    /// Twice as much.
    fn double(x: u32) -> u32 {
        x * 2
    }

    fn refuse(why: String) -> () {
        panic!("{why}")
    }
}

/// S004-22, S004-25.
#[test]
fn results_of_map_come_in_the_order_of_the_items() {
    let _watchdog = in_time();
    let pool = pool(4);
    let slow_first = |n: u64| {
        sleep(Duration::from_millis(20 - n));
        n * n
    };
    let results = pool.map(0..20, slow_first).expect("it is open");
    assert_eq!(results.len(), 20);
    let results: Vec<_> = results.map(|result| result.expect("no panic")).collect();
    assert_eq!(results, (0..20).map(|n| n * n).collect::<Vec<_>>());
}

/// S004-22.
#[test]
fn chunks_change_nothing_but_who_does_what() {
    let _watchdog = in_time();
    let pool = pool(3);
    for chunk in [1, 7, 100, 1000] {
        let results = pool.map_chunked(chunk, 0..100, |n| n + 1).expect("it is open");
        let results: Vec<_> = results.map(|result| result.expect("no panic")).collect();
        assert_eq!(results, (1..=100).collect::<Vec<_>>());
    }
    let broken = pool.map_chunked(2, 0..6, |n| assert!(n != 3)).expect("it is open");
    let ends: Vec<_> = broken.map(|result| result.is_ok()).collect();
    assert_eq!(ends, [true, true, false, true, true]);
}

/// S004-22, S004-26.
#[test]
fn map_has_a_time_limit_for_all_and_cancels_what_is_left_when_dropped() {
    let _watchdog = in_time();
    let pool = pool(1);
    let hold = Hold::of(&pool);
    let ran = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ran);
    let work = move |_| count.fetch_add(1, Ordering::SeqCst);
    let mut results = pool.map(0..10, work).expect("it is open").timeout(Duration::from_millis(5));
    assert!(results.next().expect("ten items").expect_err("too early").is_timed_out());
    drop(results);
    hold.end();
    drop(pool);
    // Neither the one that was asked for nor the others.
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

/// S004-22: one code for all pools.
#[test]
fn a_pool_of_threads_takes_calls_as_one_of_processes_does() {
    let _watchdog = in_time();
    fn doubled(pool: &impl Executor<Call<u32>, Output = u32>) -> Vec<u32> {
        let doubled = pool.map(1..=3, double::call).expect("it is open");
        doubled.map(|result| result.expect("no panic")).collect()
    }
    let pool = pool(2);
    assert_eq!(doubled(&pool), [2, 4, 6]);
    assert_eq!(double(4), 8);
    let refused = Executor::submit(&pool, refuse::call("no".to_owned())).expect("it is open");
    assert_eq!(refused.result().expect_err("it panics").to_string(), "the work panicked: no");
}

/// S004-26.
#[test]
fn futures_come_out_as_they_end() {
    let _watchdog = in_time();
    let pool = pool(4);
    let holds = [(); 3].map(|()| Hold::of(&pool));
    let early = pool.submit(|| ()).expect("it is open");
    early.result().expect("no panic");
    let futures = holds.iter().map(|hold| hold.future.clone()).chain([early.clone()]);
    let mut ended = as_completed(futures);
    let soon = Duration::from_millis(2);
    assert_eq!(ended.size_hint(), (4, Some(4)));
    let first = ended.next().expect("four");
    assert!(first.is_done());
    assert!(ended.next_timeout(soon).expect_err("they hold").is_timed_out());
    let [a, b, c] = holds;
    let order = [b, c, a];
    for hold in order {
        let expected = format!("{:?}", hold.future.is_done());
        assert_eq!(expected, "false");
        hold.end();
        let next = ended.next_timeout(Duration::from_secs(30)).expect("in time").expect("there");
        assert!(next.is_done());
    }
    assert!(ended.next().is_none());
    assert!(ended.next_timeout(soon).expect("no wait").is_none());
}

/// S004-26.
#[test]
fn wait_returns_at_the_first_at_the_first_failure_or_at_the_end() {
    let _watchdog = in_time();
    let pool = pool(3);
    let hold = Hold::of(&pool);
    let quick = pool.submit(|| ()).expect("it is open");
    let broken = pool.submit(|| panic!("over")).expect("it is open");
    let all = || [hold.future.clone(), quick.clone(), broken.clone()];
    let first = wait(all(), ReturnWhen::FirstCompleted, None);
    assert!(!first.done.is_empty() && first.done.iter().all(fiveways::executor::Future::is_done));
    assert!(first.not_done.iter().any(fiveways::executor::Future::is_running));
    let failed = wait(all(), ReturnWhen::FirstException, None);
    let mut errors = failed.done.iter().filter_map(fiveways::executor::Future::exception);
    assert!(errors.any(|error| error.is_panic()));
    let some = wait(all(), ReturnWhen::AllCompleted, Some(Duration::from_millis(20)));
    assert!(some.not_done.len() == 1 && some.not_done[0].is_running());
    hold.end();
    let every = wait([quick, broken], ReturnWhen::AllCompleted, None);
    assert_eq!((every.done.len(), every.not_done.len()), (2, 0));
    let none = wait(Vec::<fiveways::executor::Future<()>>::new(), ReturnWhen::AllCompleted, None);
    assert!(none.done.is_empty() && none.not_done.is_empty());
}

/// S004-26: as CPython's FIRST_EXCEPTION, which passes over what was cancelled.
#[test]
fn being_cancelled_is_not_a_failure() {
    let _watchdog = in_time();
    let pool = pool(1);
    let hold = Hold::of(&pool);
    let queued = [(), ()].map(|()| pool.submit(|| ()).expect("it is open"));
    assert!(queued.iter().all(fiveways::executor::Future::cancel));
    let futures = queued.into_iter().chain([hold.future.clone()]);
    let waited = wait(futures, ReturnWhen::FirstException, Some(Duration::from_millis(5)));
    assert_eq!((waited.done.len(), waited.not_done.len()), (2, 1));
    hold.end();
}
