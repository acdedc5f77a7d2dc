//! The claims of CPython 3.13.0's `test_concurrent_futures` for pools of processes, each made from
//! a plain thread and from a task.
//!
//! Those for pools of threads are in `suites`. Left out: pickling, start methods, references.

use std::collections::BTreeSet;
use std::time::Duration;

use fiveways::executor::{Future, FutureError, ReturnWhen, as_completed, wait};
use fiveways::{runtime, task};
use fiveways_tests::patience::{LONG, eventually};

use crate::functions::{fail, nap, pid, pool, square};
use crate::processes::children;
use crate::support::{Hung, value};

/// Makes a claim here and in a task.
fn both(claim: fn()) {
    assert!(!task::in_task());
    claim();
    let runtime = runtime::Runtime::builder().workers(1).build();
    runtime.expect("a runtime").block_on(claim);
}

pub(crate) fn map_is_the_same_as_doing_it_here() {
    both(|| {
        let pool = pool(2);
        let there = pool.map(0..10, square::call).expect("it is open");
        let there: Vec<_> = there.map(|square| square.expect("no panic")).collect();
        assert_eq!(there, (0..10).map(square).collect::<Vec<_>>());
    });
}

pub(crate) fn a_panic_in_map_comes_in_its_place() {
    both(|| {
        let pool = pool(1);
        let words = ["7", "no", "9"];
        let mut ends = pool.map(words, |word: &str| fail::call(word.to_owned())).expect("open");
        for word in words {
            let error = ends.next().expect("three").expect_err("it panics");
            assert_eq!(error.to_string(), format!("the work panicked: {word}"));
        }
        assert!(ends.next().is_none());
    });
}

/// CPython's gh-95166.
pub(crate) fn a_late_map_cancels_what_it_waited_for_and_the_rest() {
    both(|| {
        let pool = pool(1);
        let hung = Hung::begin(&pool);
        let mut ends = pool.map(0..3, square::call).expect("it is open").timeout(Duration::ZERO);
        assert!(ends.next().expect("three").expect_err("it hangs").is_timed_out());
        drop(ends);
        assert_eq!(pool.cancel_queued(), 0, "nothing is left to cancel");
        hung.kill();
        assert!(hung.future.result().is_err());
    });
}

pub(crate) fn states_answer_the_questions_for_them() {
    both(|| {
        let pool = pool(1);
        let valued = pool.submit(square::call(2)).expect("it is open");
        assert_eq!(valued.result().expect("no panic"), 4);
        let hung = Hung::begin(&pool);
        let [queued, cancelled] = [3, 4].map(|x| pool.submit(square::call(x)).expect("open"));
        assert!(cancelled.cancel() && !hung.future.cancel() && !valued.cancel());
        assert!(hung.future.is_running() && !queued.is_running() && !queued.is_done());
        assert!([&valued, &cancelled].into_iter().all(Future::is_done));
        let of = |future: &Future<u64>| future.result_timeout(Duration::ZERO);
        assert!(of(&queued).expect_err("it waits").is_timed_out());
        assert!(of(&cancelled).expect_err("it is").is_cancelled());
        hung.kill();
        assert!(matches!(hung.future.exception(), Some(FutureError::BrokenWorker { .. })));
        assert_eq!(queued.result_timeout(LONG).expect("by the next process"), 9);
    });
}

pub(crate) fn waits_end_at_the_first_the_first_failure_and_the_last() {
    both(|| {
        let pool = pool(2);
        let quick = pool.submit(square::call(2)).expect("it is open");
        let broken = pool.submit(fail::call("over".to_owned())).expect("it is open");
        let all = || [quick.clone(), broken.clone()];
        let first = wait(all(), ReturnWhen::FirstCompleted, None);
        assert!(!first.done.is_empty() && first.done.iter().all(Future::is_done));
        let failed = wait(all(), ReturnWhen::FirstException, None);
        assert!(failed.done.iter().filter_map(Future::exception).any(|error| error.is_panic()));
        let every = wait(all(), ReturnWhen::AllCompleted, Some(LONG));
        assert_eq!((every.done.len(), every.not_done.len()), (2, 0));
        assert_eq!(as_completed(all()).filter(Future::is_done).count(), 2);
    });
}

pub(crate) fn as_completed_may_be_late() {
    both(|| {
        let pool = pool(1);
        let valued = pool.submit(pid::call()).expect("it is open");
        valued.result().expect("no panic");
        let hung = Hung::begin(&pool);
        let late = pool.submit(pid::call()).expect("it is open");
        let mut ended = as_completed([late, valued]);
        let first = ended.next_timeout(Duration::ZERO).expect("in time").expect("two");
        assert!(first.is_done());
        let error = ended.next_timeout(Duration::from_millis(5)).expect_err("it waits");
        assert!(error.is_timed_out());
        hung.kill();
        let last = ended.next_timeout(LONG).expect("in time").expect("two");
        assert!(last.is_done() && ended.next().is_none());
    });
}

pub(crate) fn an_idle_process_is_used_again() {
    both(|| {
        let pool = pool(4);
        let pids: BTreeSet<_> = (0..4).map(|_| value(pool.submit(pid::call()))).collect();
        assert!(pids.len() < 4 && pool.processes().len() < 4, "{pids:?}");
    });
}

pub(crate) fn a_shutdown_takes_no_more_and_does_what_it_has() {
    both(|| {
        let pool = pool(2);
        let naps = [Duration::from_millis(1); 10];
        let naps = naps.map(|length| pool.submit(nap::call(length)).expect("it is open"));
        pool.shutdown();
        assert!(naps.iter().all(|nap| nap.is_done() && nap.result().is_ok()));
        assert!(pool.submit(pid::call()).expect_err("it is shut down").is_shut_down());
        assert!(pool.processes().is_empty());
    });
}

/// CPython's gh-94440.
pub(crate) fn a_shutdown_passes_over_what_was_cancelled() {
    both(|| {
        let pool = pool(1);
        value(pool.submit(pid::call()));
        pool.submit(pid::call()).expect("it is open").cancel();
        pool.shutdown();
    });
}

pub(crate) fn a_shutdown_that_does_not_wait_lets_all_be_done() {
    both(|| {
        let pool = pool(2);
        let squares = pool.map(0..10, square::call).expect("it is open");
        let pids: BTreeSet<_> = pool.processes().into_iter().collect();
        pool.close();
        assert!(squares.map(|square| square.expect("no panic")).eq((0..10).map(square)));
        eventually("its processes are gone", || pids.is_disjoint(&children()));
    });
}
