//! `gevent.threadpool`: [`ThreadPool`], seen from tasks that go on meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fiveways::executor::{Future, Sizing, ThreadPool, as_completed, unblock};
use fiveways::sync::Event;
use fiveways::task;

use crate::support::{SHORT, everywhere, joined, let_others_wait, others, until};

everywhere!(
    work_is_begun_in_the_order_of_its_coming_by_as_many_as_there_are,
    a_late_result_is_late_and_the_work_goes_on,
    values_come_in_their_order_or_as_they_are_done,
    work_may_submit_work_and_wait_for_it,
    a_pool_can_be_used_from_anywhere,
    what_was_returned_is_dropped_with_the_last_handle,
    others_go_on_while_one_waits_for_a_thread,
);

fn pool(threads: usize) -> ThreadPool {
    ThreadPool::new(Sizing::Fixed(threads)).unwrap()
}

fn work_is_begun_in_the_order_of_its_coming_by_as_many_as_there_are() {
    let (pool, begun, go) = (pool(2), Arc::new(AtomicUsize::new(0)), Arc::new(Event::new()));
    let one = || {
        let (count, gone) = (Arc::clone(&begun), Arc::clone(&go));
        let work = move || {
            let number = count.fetch_add(1, Ordering::SeqCst);
            gone.wait();
            number
        };
        pool.submit(work).unwrap()
    };
    let futures: Vec<_> = (0..4).map(|_| one()).collect();
    until("two have begun", || begun.load(Ordering::SeqCst) == 2);
    let_others_wait();
    assert_eq!(begun.load(Ordering::SeqCst), 2);
    assert!(futures[..2].iter().all(Future::is_running));
    go.set();
    let mut numbers: Vec<_> = futures.iter().map(|future| future.result().unwrap()).collect();
    assert!(numbers[..2].iter().all(|number| *number < 2));
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3]);
}

fn a_late_result_is_late_and_the_work_goes_on() {
    let (pool, go) = (pool(1), Arc::new(Event::new()));
    let gone = Arc::clone(&go);
    let late = pool.submit(move || gone.wait()).unwrap();
    assert!(late.result_timeout(SHORT).unwrap_err().is_timed_out());
    go.set();
    late.result().unwrap();
}

fn values_come_in_their_order_or_as_they_are_done() {
    for threads in [1, 2, 3, 10] {
        let pool = pool(threads);
        for count in [0, 10, 100] {
            let squares = pool.map(0..count, |x| x * x).unwrap();
            assert!(squares.map(Result::unwrap).eq((0..count).map(|x| x * x)));
            let futures = (0..count).map(|x| pool.submit(move || x * x).unwrap());
            let mut done: Vec<_> = as_completed(futures).map(|end| end.result().unwrap()).collect();
            done.sort_unstable();
            assert!(done.into_iter().eq((0..count).map(|x| x * x)));
        }
    }
}

fn work_may_submit_work_and_wait_for_it() {
    for threads in [1, 2] {
        let pool = Arc::new(pool(threads));
        let theirs = Arc::clone(&pool);
        let outer = pool.submit(move || {
            let inner = theirs.submit(|| "inner").unwrap();
            inner.result().unwrap()
        });
        assert_eq!(outer.unwrap().result().unwrap(), "inner");
    }
}

fn a_pool_can_be_used_from_anywhere() {
    let pool = Arc::new(pool(2));
    let theirs = Arc::clone(&pool);
    let sums = others(6, move |number| {
        let values = theirs.map(0..10, move |x| x * number).unwrap();
        values.map(Result::unwrap).sum::<usize>()
    });
    assert_eq!(joined(sums), [0, 45, 90, 135, 180, 225]);
}

fn what_was_returned_is_dropped_with_the_last_handle() {
    let (pool, value) = (pool(1), Arc::new(()));
    let theirs = Arc::clone(&value);
    let future = pool.submit(move || theirs).unwrap();
    until("it is done", || future.is_done());
    let copy = future.clone();
    drop(future);
    assert_eq!(Arc::strong_count(&value), 2);
    drop(copy);
    until("it is dropped", || Arc::strong_count(&value) == 1);
}

/// The one worker's other tasks run while a thread is held, until they let it go.
fn others_go_on_while_one_waits_for_a_thread() {
    let go = Arc::new(std::sync::Barrier::new(2));
    let theirs = Arc::clone(&go);
    let waiting = task::spawn(move || unblock(move || theirs.wait().is_leader()));
    let (pool, steps) = (pool(1), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&steps);
    let going = task::spawn(move || {
        for _ in 0..10 {
            task::yield_now();
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    going.join().unwrap();
    assert!(!waiting.is_finished());
    let met = pool.submit(move || go.wait().is_leader()).unwrap();
    assert!(met.result().unwrap() ^ waiting.join().unwrap());
    assert_eq!(steps.load(Ordering::SeqCst), 10);
}
