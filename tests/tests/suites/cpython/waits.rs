//! `wait` and `as_completed`.
//!
//! Ours give handles, not a set: each handle that was given comes out, also several of one future.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fiveways::executor::{Future, ReturnWhen, Sizing, ThreadPool, WaitResult, as_completed, wait};
use fiveways::sync::Event;

use super::futures::States;
use crate::support::{LONG, SHORT, everywhere, heavy, let_others_wait, other};

everywhere!(
    all_handles_of_one_future_come_out,
    the_first_that_ends_ends_the_wait,
    all_that_have_ended_are_done_although_one_would_do,
    a_failure_ends_the_wait_for_the_first_failure,
    what_had_failed_before_ends_the_wait_at_once,
    a_wait_for_a_failure_without_one_is_for_all,
    all_are_waited_for_however_they_end,
    a_limit_ends_the_wait_with_what_is_done,
    a_limit_of_nothing_tells_what_is_so,
    heavy_no_end_of_many_is_missed,
    as_completed_gives_what_has_ended_and_then_what_ends,
    as_completed_is_late_and_can_be_asked_again,
    as_completed_keeps_nothing_of_what_it_has_given,
);

/// Which of the states are done, and which are not, by their names.
fn names<'a>(states: &'a States, waited: &WaitResult<u32>) -> (Vec<&'a str>, Vec<&'a str>) {
    let all = [
        ("queued", &states.queued),
        ("running", &states.running),
        ("cancelled", &states.cancelled),
        ("failed", &states.failed),
        ("valued", &states.valued),
    ];
    // Their words are all that tells them apart.
    let word = |future: &Future<u32>| format!("{future:?}");
    let name = |future: &Future<u32>| {
        let found = all.iter().find(|(_, known)| word(known) == word(future));
        found.map(|(name, _)| *name).unwrap()
    };
    let sorted = |futures: &[Future<u32>]| {
        let mut names: Vec<_> = futures.iter().map(name).collect();
        names.sort_unstable();
        names
    };
    (sorted(&waited.done), sorted(&waited.not_done))
}

fn all_handles_of_one_future_come_out() {
    let pool = ThreadPool::new(Sizing::Fixed(1)).unwrap();
    let future = pool.submit(|| 1).unwrap();
    let twice = [future.clone(), future.clone()];
    let waited = wait(twice, ReturnWhen::AllCompleted, None);
    assert_eq!((waited.done.len(), waited.not_done.len()), (2, 0));
    assert_eq!(as_completed(std::iter::repeat_n(future, 3)).count(), 3);
}

fn the_first_that_ends_ends_the_wait() {
    let states = States::new();
    let quick = ThreadPool::new(Sizing::Fixed(1)).unwrap();
    let first = quick.submit(|| 42).unwrap();
    let waited = wait([states.running.clone(), first], ReturnWhen::FirstCompleted, None);
    assert_eq!(names(&states, &waited), (vec!["valued"], vec!["running"]));
}

fn all_that_have_ended_are_done_although_one_would_do() {
    let states = States::new();
    let some = [states.cancelled.clone(), states.valued.clone(), states.running.clone()];
    let waited = wait(some, ReturnWhen::FirstCompleted, None);
    assert_eq!(names(&states, &waited), (vec!["cancelled", "valued"], vec!["running"]));
}

fn a_failure_ends_the_wait_for_the_first_failure() {
    let states = States::new();
    let other_pool = ThreadPool::new(Sizing::Fixed(1)).unwrap();
    let go = Arc::new(Event::new());
    let gone = Arc::clone(&go);
    let failing = other_pool.submit(move || {
        gone.wait();
        std::panic::resume_unwind(Box::new("doh"))
    });
    let some = [states.valued.clone(), failing.unwrap(), states.running.clone()];
    let waiting = other(move || wait(some, ReturnWhen::FirstException, None));
    let_others_wait();
    assert!(!waiting.is_finished());
    go.set();
    let waited = waiting.join();
    assert_eq!(names(&states, &waited), (vec!["failed", "valued"], vec!["running"]));
}

fn what_had_failed_before_ends_the_wait_at_once() {
    let states = States::new();
    let some = [&states.failed, &states.valued, &states.cancelled, &states.running];
    let waited = wait(some.map(Clone::clone), ReturnWhen::FirstException, None);
    let done = vec!["cancelled", "failed", "valued"];
    assert_eq!(names(&states, &waited), (done, vec!["running"]));
}

fn a_wait_for_a_failure_without_one_is_for_all() {
    let states = States::new();
    let some = [&states.valued, &states.cancelled, &states.queued].map(Clone::clone);
    let waiting = other(move || wait(some, ReturnWhen::FirstException, None));
    let_others_wait();
    assert!(!waiting.is_finished());
    states.go();
    let waited = waiting.join();
    assert_eq!((waited.done.len(), waited.not_done.len()), (3, 0));
}

fn all_are_waited_for_however_they_end() {
    let states = States::new();
    let all = [&states.queued, &states.running, &states.cancelled, &states.failed, &states.valued];
    let all = all.map(Clone::clone);
    let waiting = other(move || wait(all, ReturnWhen::AllCompleted, None));
    let_others_wait();
    assert!(!waiting.is_finished());
    states.go();
    let waited = waiting.join();
    assert!(waited.done.iter().all(Future::is_done) && waited.not_done.is_empty());
    assert_eq!(waited.done.len(), 5);
}

fn a_limit_ends_the_wait_with_what_is_done() {
    let states = States::new();
    let some = [&states.cancelled, &states.failed, &states.valued, &states.running];
    let begin = Instant::now();
    let waited = wait(some.map(Clone::clone), ReturnWhen::AllCompleted, Some(SHORT));
    assert!(begin.elapsed() >= SHORT);
    let done = vec!["cancelled", "failed", "valued"];
    assert_eq!(names(&states, &waited), (done, vec!["running"]));
}

fn a_limit_of_nothing_tells_what_is_so() {
    let states = States::new();
    let some = || [&states.valued, &states.running].map(Clone::clone);
    for until in [ReturnWhen::AllCompleted, ReturnWhen::FirstException, ReturnWhen::FirstCompleted]
    {
        let waited = wait(some(), until, Some(Duration::ZERO));
        assert_eq!(names(&states, &waited), (vec!["valued"], vec!["running"]));
    }
}

/// CPython's issue 14406.
fn heavy_no_end_of_many_is_missed() {
    let pool = ThreadPool::new(Sizing::Fixed(8)).unwrap();
    for _ in 0..heavy(200) {
        let go = Arc::new(Event::new());
        let one = || {
            let gone = Arc::clone(&go);
            pool.submit(move || gone.wait()).unwrap()
        };
        let futures: Vec<_> = (0..100).map(|_| one()).collect();
        go.set();
        let waited = wait(futures, ReturnWhen::AllCompleted, Some(LONG));
        assert_eq!((waited.done.len(), waited.not_done.len()), (100, 0));
    }
}

fn as_completed_gives_what_has_ended_and_then_what_ends() {
    let states = States::new();
    let all = [&states.queued, &states.running, &states.cancelled, &states.failed, &states.valued];
    let mut ended = as_completed(all.map(Clone::clone));
    assert!((0..3).all(|_| ended.next().unwrap().is_done()));
    states.go();
    // The one thread has done one after the other.
    assert_eq!(ended.next().unwrap().result().unwrap(), 43);
    assert_eq!(ended.next().unwrap().result().unwrap(), 44);
    assert!(ended.next().is_none());
}

fn as_completed_is_late_and_can_be_asked_again() {
    let states = States::new();
    for limit in [Duration::ZERO, SHORT] {
        let all = [&states.running, &states.cancelled, &states.failed, &states.valued];
        let mut ended = as_completed(all.map(Clone::clone));
        let in_time = std::iter::from_fn(|| ended.next_timeout(limit).ok()).take(3);
        assert!(in_time.flatten().all(|future| future.is_done()));
        assert!(ended.next_timeout(limit).unwrap_err().is_timed_out());
        assert_eq!(ended.size_hint(), (1, Some(1)));
    }
}

fn as_completed_keeps_nothing_of_what_it_has_given() {
    let pool = ThreadPool::new(Sizing::Fixed(2)).unwrap();
    let value = Arc::new(());
    let one = || {
        let value = Arc::clone(&value);
        pool.submit(move || value).unwrap()
    };
    let futures: Vec<_> = (0..10).map(|_| one()).collect();
    // A thread lets go of what it has done a moment after others may see it.
    pool.shutdown();
    let mut ended = as_completed(futures);
    for left in (0..10).rev() {
        drop(ended.next().unwrap());
        assert_eq!(Arc::strong_count(&value), left + 1);
    }
}
