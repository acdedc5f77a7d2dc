//! Work that waits for work. D50: in a full pool that is helped or told, never hung.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fiveways::executor::{Future, FutureError, ReturnWhen, ThreadPool, as_completed, wait};

use crate::support::{Hold, in_time, pool};

/// D50: one thread suffices.
#[test]
fn work_that_waits_for_work_of_its_own_full_pool_does_it_itself() {
    let _watchdog = in_time();
    let pool = Arc::new(pool(1));
    let own = Arc::clone(&pool);
    let outer = pool.submit(move || {
        let inner = own.submit(|| thread::current().id()).expect("it is open");
        (thread::current().id(), inner.result().expect("helped"))
    });
    let (outer, inner) = outer.expect("it is open").result().expect("no panic");
    assert_eq!(outer, inner);
}

/// D50: exactly the awaited work is done, nothing else that waits before it.
#[test]
fn helping_does_nothing_but_the_awaited_work() {
    let _watchdog = in_time();
    let pool = Arc::new(pool(1));
    let own = Arc::clone(&pool);
    let outer = pool.submit(move || {
        let other = own.submit(|| ()).expect("it is open");
        let awaited = own.submit(|| 5).expect("it is open");
        (awaited.result().expect("helped"), other.is_done(), other)
    });
    let (value, done_before, other) = outer.expect("it is open").take().expect("no panic");
    assert_eq!((value, done_before), (5, false));
    other.result().expect("done in its turn");
}

fn fathom(pool: &Arc<ThreadPool>, depth: u32) -> u32 {
    if depth == 0 {
        return 0;
    }
    let own = Arc::clone(pool);
    let below = pool.submit(move || fathom(&own, depth - 1)).expect("it is open");
    1 + below.result().expect("helped")
}

/// D50: deep nesting.
#[test]
fn nesting_may_be_much_deeper_than_the_pool_is_wide() {
    let _watchdog = in_time();
    for threads in [1, 2, 3] {
        let pool = Arc::new(pool(threads));
        assert_eq!(fathom(&pool, 300), 300);
        let own = Arc::clone(&pool);
        let inside = pool.submit(move || fathom(&own, 300)).expect("it is open");
        assert_eq!(inside.result().expect("no panic"), 300);
    }
}

/// D50: what is awaited by many is done once.
#[test]
fn work_is_done_once_whoever_comes_to_it() {
    let _watchdog = in_time();
    let pool = Arc::new(pool(3));
    for _ in 0..300 {
        let count = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&count);
        let shared = pool.submit(move || theirs.fetch_add(1, Ordering::SeqCst) + 1);
        let shared = shared.expect("it is open");
        let waiter = |shared: &Future<usize>| {
            let shared = shared.clone();
            pool.submit(move || shared.result().expect("no panic")).expect("it is open")
        };
        let waiters = [(); 4].map(|()| waiter(&shared));
        for waiter in waiters {
            assert_eq!(waiter.result().expect("no panic"), 1);
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}

/// A place for a future that its own work is to know.
type Late<T> = Arc<Mutex<Option<Future<T>>>>;

fn find<T>(late: &Late<T>) -> Future<T> {
    let end = Instant::now() + fiveways_tests::patience::LONG;
    while Instant::now() < end {
        if let Some(future) = late.lock().expect("no panic").clone() {
            return future;
        }
        thread::yield_now();
    }
    panic!("it never came");
}

/// D50: one that waits for itself.
#[test]
fn work_that_waits_for_itself_is_told() {
    let _watchdog = in_time();
    let pool = pool(2);
    let late: Late<bool> = Arc::default();
    let own = Arc::clone(&late);
    let work = move || matches!(find(&own).result(), Err(FutureError::WouldDeadlock));
    let future = pool.submit(work).expect("it is open");
    *late.lock().expect("no panic") = Some(future.clone());
    assert!(future.result().expect("no panic"));
}

/// D50: the last member to close a ring gets the error, and the others get their values.
#[test]
fn a_ring_of_waits_is_found_by_the_one_that_closes_it() {
    let _watchdog = in_time();
    for length in 2..6 {
        // Some work in one pool, some in another.
        let pools = [pool(length), pool(length)];
        let places: Vec<Late<usize>> = (0..length).map(|_| Arc::default()).collect();
        for at in 0..length {
            let next = Arc::clone(&places[(at + 1) % length]);
            let work = move || match find(&next).result() {
                Err(FutureError::WouldDeadlock) => 1,
                found => found.expect("no panic") + 1,
            };
            let future = pools[at % 2].submit(work).expect("it is open");
            *places[at].lock().expect("no panic") = Some(future);
        }
        let mut values: Vec<_> =
            places.iter().map(|place| find(place).result().expect("no panic")).collect();
        values.sort_unstable();
        // The one that gets the error returns 1, the one that waits for it 2, and so on.
        assert_eq!(values, (1..=length).collect::<Vec<_>>());
    }
}

/// D50: two pools of one thread each, all threads waiting for what lies in the other's queue.
#[test]
fn full_pools_that_wait_for_each_other_are_told() {
    let _watchdog = in_time();
    let (left, right) = (Arc::new(pool(1)), Arc::new(pool(1)));
    let (meet_left, meet_right) = (mpsc::channel::<()>(), mpsc::channel::<()>());
    let visit = |other: &Arc<ThreadPool>, tell: mpsc::Sender<()>, told: mpsc::Receiver<()>| {
        let other = Arc::clone(other);
        move || {
            tell.send(()).expect("the other comes");
            told.recv().expect("the other comes");
            let there = other.submit(|| 5).expect("it is open");
            matches!(there.result(), Err(FutureError::WouldDeadlock))
        }
    };
    let first = left.submit(visit(&right, meet_left.0, meet_right.1)).expect("it is open");
    let second = right.submit(visit(&left, meet_right.0, meet_left.1)).expect("it is open");
    let told = [first, second].map(|future| future.result().expect("no panic"));
    // One is told and ends; its thread then does what the other waits for.
    assert_eq!(told.iter().filter(|told| **told).count(), 1, "{told:?}");
}

/// D50: a waiter with a time limit is not given up on.
#[test]
fn a_wait_with_a_limit_in_a_full_pool_is_helped_too() {
    let _watchdog = in_time();
    let pool = Arc::new(pool(1));
    let own = Arc::clone(&pool);
    let outer = pool.submit(move || {
        let inner = own.submit(|| 5).expect("it is open");
        let began = Instant::now();
        (inner.result_timeout(Duration::from_secs(20)).expect("helped"), began.elapsed())
    });
    let (value, took) = outer.expect("it is open").result().expect("no panic");
    assert!(value == 5 && took < Duration::from_secs(10), "{took:?}");
}

/// D50: no false alarm: another thread is free, or will be.
#[test]
fn a_wait_that_can_end_is_no_deadlock() {
    let _watchdog = in_time();
    let pool = Arc::new(pool(2));
    let busy = Hold::of(&pool);
    let awaited = busy.future.clone();
    let waiter = pool.submit(move || awaited.result()).expect("it is open");
    let late = waiter.result_timeout(Duration::from_millis(20));
    assert!(late.expect_err("it waits").is_timed_out());
    busy.end();
    waiter.result().expect("no panic").expect("no deadlock");
}

/// D50: a time limit on the way breaks a ring, so it is none.
#[test]
fn a_ring_with_a_limit_in_it_is_no_deadlock() {
    let _watchdog = in_time();
    let pool = pool(2);
    let (first, second): (Late<bool>, Late<bool>) = Default::default();
    let other = Arc::clone(&second);
    let limited = pool.submit(move || {
        let limit = Duration::from_millis(100);
        // When the other waits already, it is told at once that nothing can come.
        let ended = find(&other).result_timeout(limit);
        matches!(ended, Err(FutureError::TimedOut | FutureError::WouldDeadlock))
    });
    *first.lock().expect("no panic") = Some(limited.expect("it is open"));
    let other = Arc::clone(&first);
    let patient = pool.submit(move || find(&other).result().expect("no deadlock"));
    *second.lock().expect("no panic") = Some(patient.expect("it is open"));
    assert!(find(&first).result().expect("no panic"), "it got no value");
    assert!(find(&second).result().expect("no panic"), "it got the value");
}

/// D50: waiting for several.
#[test]
fn waiting_for_many_in_a_full_pool_does_them_one_by_one() {
    let _watchdog = in_time();
    let pool = Arc::new(pool(1));
    let own = Arc::clone(&pool);
    let outer = pool.submit(move || {
        let submit = |n: u32| own.submit(move || n).expect("it is open");
        let waited = wait((0..10).map(submit), ReturnWhen::AllCompleted, None);
        let ended = as_completed((0..10).map(submit)).map(|future| future.result());
        let sum = ended.map(|value| value.expect("no panic")).sum::<u32>();
        let mapped = own.map(0..10, |n: u32| n).expect("it is open");
        (waited.done.len(), sum, mapped.map(|value| value.expect("no panic")).sum::<u32>())
    });
    assert_eq!(outer.expect("it is open").result().expect("no panic"), (10, 45, 45));
}

/// D50: those that can never end come out of `as_completed` as they are.
#[test]
fn what_can_never_end_comes_out_and_says_so() {
    let _watchdog = in_time();
    let pool = pool(1);
    let late: Late<bool> = Arc::default();
    let own = Arc::clone(&late);
    let work = move || {
        let mut ended = as_completed([find(&own), find(&own)]);
        let told = ended.next_timeout(Duration::from_secs(30));
        assert!(matches!(told, Err(FutureError::WouldDeadlock)));
        let waited = wait([find(&own)], ReturnWhen::AllCompleted, None);
        waited.not_done.len() == 1 && ended.all(|future| !future.is_done())
    };
    let future = pool.submit(work).expect("it is open");
    *late.lock().expect("no panic") = Some(future.clone());
    assert!(future.result().expect("no panic"));
}

/// A tree of work, each node of which waits for its children in some way.
fn grow(pools: &Arc<[ThreadPool]>, seed: u64, depth: u32) -> u64 {
    if depth == 0 {
        return 1;
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let children: Vec<Future<u64>> = (0..random.u64(1..4))
        .map(|child| {
            let pools = Arc::clone(pools);
            // Only downwards: pools whose full threads wait for each other may be told.
            let at = if random.u32(..4) == 0 { (depth as usize) % pools.len() } else { 0 };
            let work = {
                let pools = Arc::clone(&pools);
                move || grow(&pools, seed.wrapping_mul(31).wrapping_add(child), depth - 1)
            };
            pools[at].submit(work).expect("it is open")
        })
        .collect();
    let values = |futures: Vec<Future<u64>>| -> u64 {
        futures.iter().map(|future| future.result().expect("it can end")).sum()
    };
    1 + match random.u32(..3) {
        0 => values(children),
        1 => values(as_completed(children).collect()),
        _ => values(wait(children, ReturnWhen::AllCompleted, None).done),
    }
}

fn count(seed: u64, depth: u32) -> u64 {
    if depth == 0 {
        return 1;
    }
    let children = fastrand::Rng::with_seed(seed).u64(1..4);
    1 + (0..children)
        .map(|child| count(seed.wrapping_mul(31).wrapping_add(child), depth - 1))
        .sum::<u64>()
}

/// D50: trees of waits are never taken for rings and never hang, whatever the sizes.
#[test]
fn a_storm_of_nested_waits_comes_to_its_end() {
    let _watchdog = in_time();
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    for round in 0..30 {
        let seed = seed.wrapping_add(round);
        let pools: Arc<[ThreadPool]> = Arc::from([pool(1 + (round as usize) % 3)]);
        let theirs = Arc::clone(&pools);
        let root = pools[0].submit(move || grow(&theirs, seed, 6)).expect("it is open");
        assert_eq!(root.result().expect("no panic"), count(seed, 6), "seed {seed}");
    }
}

/// D50: a time limit is no reason to wait for it: the last that could do the work does it.
#[test]
fn work_with_time_limits_does_not_wait_for_them_in_a_full_pool() {
    let _watchdog = in_time();
    let pool = Arc::new(pool(2));
    let both = Arc::new(std::sync::Barrier::new(2));
    let started = Instant::now();
    let outer: Vec<_> = (0..2)
        .map(|number| {
            let (own, both) = (Arc::clone(&pool), Arc::clone(&both));
            let work = move || {
                both.wait();
                let inner = own.submit(move || number).expect("it is open");
                inner.result_timeout(Duration::from_secs(600))
            };
            pool.submit(work).expect("it is open")
        })
        .collect();
    for (number, outer) in outer.into_iter().enumerate() {
        assert_eq!(outer.take().expect("no panic").ok(), Some(number));
    }
    assert!(started.elapsed() < Duration::from_secs(60));
}
