//! Pools: so many places and no more, and maps that use them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fiveways::task::{self, Pool};
use fiveways::time;

use crate::{FOREVER, Log, on_workers};

/// Counts who is inside, and the most there ever were.
#[derive(Default)]
struct Crowd {
    inside: AtomicUsize,
    most: AtomicUsize,
}

impl Crowd {
    fn visit(&self, pause: Duration) {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(inside, Ordering::SeqCst);
        time::sleep(pause);
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn a_pool_is_never_over_full_and_uses_its_places() {
    let claim = || {
        let (pool, crowd) = (Pool::new(3), Arc::new(Crowd::default()));
        for _ in 0..30 {
            let crowd = Arc::clone(&crowd);
            pool.spawn(move || crowd.visit(Duration::from_millis(2)));
            assert!(pool.len() <= 3);
        }
        pool.join().expect("none panics");
        assert_eq!(crowd.most.load(Ordering::SeqCst), 3);
        assert_eq!((pool.free_count(), pool.size(), pool.is_empty()), (3, 3, true));
    };
    on_workers(1, claim);
    on_workers(2, claim);
    claim();
}

#[test]
fn a_full_pool_refuses_to_spawn_at_once() {
    on_workers(1, || {
        let pool = Pool::new(1);
        let first = pool.try_spawn(|| time::sleep(FOREVER)).unwrap_or_else(|_| panic!("a place"));
        let refused = pool.try_spawn(|| 7).expect_err("no place");
        assert_eq!(refused(), 7);
        assert_eq!(pool.free_count(), 0);
        pool.cancel();
        assert!(first.join().expect_err("it is cancelled").is_cancelled());
        assert_eq!(pool.free_count(), 1);
        assert_eq!(pool.spawn_with_handle(|| 7).join().expect("it ends"), 7);
    });
}

#[test]
fn places_are_given_in_the_order_of_asking() {
    let lines = on_workers(1, || {
        let (pool, log) = (Pool::new(1), Log::default());
        let asking: Vec<_> = (0..10)
            .map(|number| {
                let (pool, log) = (pool.clone(), log.clone());
                task::spawn_local(move || {
                    let inner = log.clone();
                    pool.spawn(move || {
                        task::yield_now();
                        inner.say(number.to_string());
                    });
                })
            })
            .collect();
        task::join_all(asking);
        pool.join().expect("none panics");
        log.lines()
    });
    let expected: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    assert_eq!(lines, expected);
}

#[test]
fn who_is_cancelled_while_it_waits_for_a_place_takes_none() {
    on_workers(1, || {
        for moment in 0..3 {
            let pool = Pool::new(1);
            let holder = pool.spawn_with_handle(|| time::sleep(FOREVER));
            let ask = || {
                let pool = pool.clone();
                task::spawn_local(move || pool.spawn(|| ()))
            };
            let asks = [ask(), ask()];
            task::yield_now();
            match moment {
                // Cancelled while it waits; while the place is on its way to it; and after that.
                0 => asks[0].cancel(),
                1 => {
                    holder.cancel();
                    asks[0].cancel();
                }
                _ => {
                    holder.cancel();
                    task::yield_now();
                    asks[0].cancel();
                }
            }
            holder.cancel();
            let [first, second] = asks;
            let _ = first.join();
            second.join().expect("it gets the place");
            pool.join().expect("none panics");
            assert_eq!(pool.free_count(), 1);
        }
    });
}

#[test]
fn map_keeps_the_order_and_the_limit() {
    let claim = || {
        let (pool, crowd) = (Pool::new(4), Arc::new(Crowd::default()));
        let theirs = Arc::clone(&crowd);
        let results = pool.map(0..40_u64, move |x| {
            theirs.visit(Duration::from_millis(4 - x % 4));
            x * x
        });
        assert_eq!(results, (0..40).map(|x| x * x).collect::<Vec<_>>());
        assert_eq!(crowd.most.load(Ordering::SeqCst), 4);
        assert!(pool.map(0..0, |x: u32| x).is_empty());
    };
    on_workers(1, claim);
    on_workers(2, claim);
    claim();
}

#[test]
fn imap_works_ahead_by_the_size_of_the_pool() {
    on_workers(1, || {
        let (pool, begun) = (Pool::new(3), Arc::new(AtomicUsize::new(0)));
        let theirs = Arc::clone(&begun);
        let mut results = pool.imap(0.., move |x| {
            theirs.fetch_add(1, Ordering::Relaxed);
            x
        });
        task::yield_now();
        assert_eq!(begun.load(Ordering::Relaxed), 3);
        assert_eq!(results.next(), Some(0));
        assert_eq!(results.next(), Some(1));
        assert!(begun.load(Ordering::Relaxed) <= 5);
        drop(results);
        pool.join().expect("none panics");
    });
}

#[test]
fn imap_unordered_gives_first_what_is_done_first() {
    on_workers(1, || {
        let pool = Pool::new(3);
        let naps = [60, 40, 20, 1];
        let results = pool.imap_unordered(naps, |nap| {
            time::sleep(Duration::from_millis(nap));
            nap
        });
        assert_eq!(results.collect::<Vec<_>>(), [20, 1, 40, 60]);
        // Also when all are done before anybody asks.
        let results = pool.imap_unordered([30, 20, 1], |nap| {
            time::sleep(Duration::from_millis(nap));
            nap
        });
        pool.join().expect("none panics");
        assert_eq!(results.collect::<Vec<_>>(), [1, 20, 30]);
        let mut all: Vec<_> = pool.imap_unordered(0..1000, |x| x).collect();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
    });
}

#[test]
fn the_panic_of_an_item_reaches_the_caller() {
    on_workers(1, || {
        let pool = Pool::new(2);
        let work = |x: u32| {
            assert!(x % 3 != 1, "item {x}");
            x
        };
        let payload = catch_unwind(AssertUnwindSafe(|| pool.map(0..6, work)));
        let payload = payload.expect_err("two items panic");
        assert_eq!(payload.downcast_ref::<String>().map(String::as_str), Some("item 1"));
        // One may go on after a panic.
        let mut results = pool.imap(0..6, work);
        let mut seen = Vec::new();
        loop {
            match catch_unwind(AssertUnwindSafe(|| results.next())) {
                Ok(Some(value)) => seen.push(Some(value)),
                Ok(None) => break,
                Err(_) => seen.push(None),
            }
        }
        assert_eq!(seen, [Some(0), None, Some(2), Some(3), None, Some(5)]);
        let unordered = pool.imap_unordered(0..6, work);
        let failed = catch_unwind(AssertUnwindSafe(|| unordered.count()));
        assert!(failed.is_err());
        pool.join().expect("their panics have been told");
        assert_eq!(pool.free_count(), 2);
    });
}

#[test]
fn dropping_an_imap_cancels_what_is_in_work() {
    on_workers(1, || {
        let pool = Pool::new(2);
        let results = pool.imap(0..10, |_| time::sleep(FOREVER));
        task::yield_now();
        assert_eq!(pool.len(), 2);
        drop(results);
        pool.join().expect("none panics");
        let mut unordered = pool.imap_unordered(0..10, |x| {
            if x > 0 {
                time::sleep(FOREVER)
            }
        });
        assert_eq!(unordered.next(), Some(()));
        drop(unordered);
        pool.join().expect("none panics");
        // Also when the asking task is cancelled.
        let theirs = pool.clone();
        let asks = task::spawn_local(move || theirs.map(0..10, |_| time::sleep(FOREVER)));
        task::yield_now();
        task::yield_now();
        assert_eq!(pool.len(), 2);
        asks.cancel();
        assert!(asks.join().expect_err("it is cancelled").is_cancelled());
        pool.join().expect("none panics");
    });
}

#[test]
fn a_map_inside_a_full_pool_works_in_its_callers_place() {
    on_workers(1, || {
        let pool = Pool::new(2);
        let inner = pool.clone();
        let sums =
            pool.map(0..4_u64, move |x| inner.map(0..4_u64, move |y| x * y).iter().sum::<u64>());
        assert_eq!(sums, [0, 6, 12, 18]);
        let inner = pool.clone();
        let sums = pool
            .map(0..4_u64, move |x| inner.imap_unordered(0..4_u64, move |y| x * y).sum::<u64>());
        assert_eq!(sums, [0, 6, 12, 18]);
    });
}

#[test]
fn waiting_for_a_place_that_will_never_be_free_is_a_panic() {
    on_workers(1, || {
        let pool = Pool::new(2);
        let ask = || {
            let inner = pool.clone();
            pool.spawn_with_handle(move || inner.spawn(|| ()))
        };
        let outcomes = task::join_all([ask(), ask()]);
        let panicked = outcomes.iter().filter(|it| it.is_err()).count();
        assert_eq!(panicked, 1, "the last to ask finds that nobody could ever leave");
        pool.join().expect("the other got the place");
    });
}

#[test]
#[should_panic(expected = "a pool of size 0 can run nothing")]
fn a_pool_has_places() {
    let _ = Pool::new(0);
}
