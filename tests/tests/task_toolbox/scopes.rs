//! Scopes: borrowing, and leaving only when all children have ended.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fiveways::generator::Generator;
use fiveways::{task, time};

use crate::{FOREVER, Log, Tell, on_workers};

/// Runs a claim in a task of one worker, in one of two, and on a plain thread.
fn everywhere(claim: fn()) {
    on_workers(1, claim);
    on_workers(2, claim);
    claim();
}

/// S001-28: the safe form of not joining: a scope waits for all its tasks.
#[test]
fn children_borrow_and_are_waited_for() {
    everywhere(|| {
        let mut counts = vec![0; 100];
        let total = AtomicUsize::new(0);
        let answer = task::scope(|s| {
            for (number, count) in counts.iter_mut().enumerate() {
                let total = &total;
                s.spawn(move || {
                    time::sleep(Duration::from_millis(number as u64 % 5));
                    *count = number;
                    total.fetch_add(number, Ordering::Relaxed);
                });
            }
            "the body's value"
        });
        assert_eq!(answer, "the body's value");
        assert_eq!(total.into_inner(), 4950);
        assert!(counts.iter().copied().eq(0..100));
    });
}

#[test]
fn children_give_values_that_borrow() {
    everywhere(|| {
        let text = String::from("one two three");
        let words = task::scope(|s| {
            let tasks: Vec<_> = text.split(' ').map(|word| s.spawn(move || &word[..2])).collect();
            tasks.into_iter().map(|it| it.join().expect("it ends")).collect::<Vec<_>>()
        });
        assert_eq!(words, ["on", "tw", "th"]);
    });
}

#[test]
fn children_may_spawn_in_their_scope() {
    everywhere(|| {
        let count = AtomicUsize::new(0);
        task::scope(|s| {
            let count = &count;
            for _ in 0..10 {
                s.spawn(move || {
                    for _ in 0..10 {
                        s.spawn(move || count.fetch_add(1, Ordering::Relaxed));
                    }
                });
            }
        });
        assert_eq!(count.into_inner(), 100);
    });
}

#[test]
fn local_children_need_not_be_send() {
    on_workers(1, || {
        let count = Cell::new(0);
        task::scope(|s| {
            for _ in 0..10 {
                s.spawn_local(|| {
                    task::yield_now();
                    count.set(count.get() + 1);
                });
            }
        });
        assert_eq!(count.get(), 10);
    });
}

#[test]
fn the_first_failure_cancels_the_rest_and_reaches_the_caller() {
    everywhere(|| {
        let log = Log::default();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            task::scope(|s| {
                for _ in 0..5 {
                    s.spawn(|| {
                        let _tell = Tell(log.clone(), "unwound");
                        log.say("begun");
                        time::sleep(FOREVER);
                        log.say("never");
                    });
                }
                while log.lines().len() < 5 {
                    time::sleep(Duration::from_millis(1));
                }
                s.spawn(|| panic!("as it must"));
            });
        }));
        let payload = outcome.expect_err("a child panics");
        assert_eq!(payload.downcast_ref(), Some(&"as it must"));
        let lines = log.lines();
        assert_eq!(lines.iter().filter(|line| *line == "unwound").count(), 5);
        assert!(!lines.contains(&"never".to_owned()));
    });
}

#[test]
fn a_failure_that_is_joined_still_ends_the_scope() {
    on_workers(1, || {
        let message = Cell::new(String::new());
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            task::scope(|s| {
                let error: Result<(), _> = s.spawn(|| panic!("as it must")).join();
                message.set(error.expect_err("it panics").to_string());
                // A task that comes too late is cancelled before it begins.
                let late: Result<(), _> = s.spawn(|| unreachable!("the scope has failed")).join();
                assert!(late.expect_err("it is cancelled").is_cancelled());
            });
        }));
        assert_eq!(outcome.expect_err("the scope fails").downcast_ref(), Some(&"as it must"));
        assert_eq!(message.take(), "the task panicked: as it must");
    });
}

#[test]
fn the_bodys_panic_waits_for_the_children() {
    everywhere(|| {
        let ended = AtomicUsize::new(0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            task::scope(|s| {
                for _ in 0..5 {
                    s.spawn(|| {
                        let counts = Counts(&ended);
                        // It does not end at once when it is asked to.
                        let _ = catch_unwind(|| time::sleep(FOREVER));
                        drop(counts);
                    });
                }
                time::sleep(Duration::from_millis(2));
                panic!("as it must");
            });
        }));
        assert_eq!(outcome.expect_err("it panics").downcast_ref(), Some(&"as it must"));
        // Those that had not begun never did.
        assert!(ended.load(Ordering::Relaxed) <= 5);
    });
}

struct Counts<'a>(&'a AtomicUsize);

impl Drop for Counts<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The parent is cancelled in the body, or while it waits for the children: both ways it goes on
/// unwinding only when the last child has ended.
#[test]
fn a_cancelled_parent_waits_for_its_children() {
    for in_body in [true, false] {
        on_workers(1, move || {
            let log = Log::default();
            let theirs = log.clone();
            let parent = task::spawn_local(move || {
                let _tell = Tell(theirs.clone(), "parent");
                let borrowed = String::from("borrowed");
                task::scope(|s| {
                    s.spawn_local(|| {
                        let _ = catch_unwind(|| time::sleep(FOREVER));
                        theirs.say(format!("child, {borrowed}"));
                    });
                    if in_body {
                        time::sleep(FOREVER);
                    }
                });
                theirs.say("never");
            });
            task::yield_now();
            task::yield_now();
            parent.cancel();
            assert!(parent.join().expect_err("it is cancelled").is_cancelled());
            assert_eq!(log.lines(), ["child, borrowed", "parent"]);
        });
    }
}

/// What the body gave is kept until the children have ended: its destructor may do anything.
#[test]
fn the_bodys_value_is_dropped_after_the_children() {
    struct Panics(Log);
    impl Drop for Panics {
        fn drop(&mut self) {
            self.0.say("value");
            if !std::thread::panicking() {
                panic!("as it must");
            }
        }
    }
    on_workers(1, || {
        let log = Log::default();
        let theirs = log.clone();
        let parent = task::spawn_local(move || {
            let _value = task::scope(|s| {
                s.spawn_local(|| {
                    let _ = catch_unwind(|| time::sleep(FOREVER));
                    theirs.say("child");
                });
                Panics(theirs.clone())
            });
        });
        task::yield_now();
        task::yield_now();
        parent.cancel();
        parent.join().expect_err("it is cancelled");
        assert_eq!(log.lines(), ["child", "value"]);
    });
}

#[test]
fn a_time_limit_ends_a_scope() {
    on_workers(1, || {
        let ended = AtomicUsize::new(0);
        let late = task::timeout(Duration::from_millis(20), || {
            task::scope(|s| {
                for _ in 0..3 {
                    s.spawn(|| {
                        let _counts = Counts(&ended);
                        time::sleep(FOREVER);
                    });
                }
            });
        });
        assert!(late.is_err());
        assert_eq!(ended.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn a_child_can_be_cancelled_alone() {
    everywhere(|| {
        let kept = task::scope(|s| {
            let one = s.spawn(|| time::sleep(FOREVER));
            let other = s.spawn(|| 5);
            one.cancel();
            assert!(one.join().expect_err("it is cancelled").is_cancelled());
            other.join().expect("it goes on")
        });
        assert_eq!(kept, 5);
        task::scope(|s| {
            let _sleeps: Vec<_> = (0..5).map(|_| s.spawn(|| time::sleep(FOREVER))).collect();
            s.cancel();
        });
    });
}

/// In a destructor that unwinds no task of the worker can run: then children run at once.
#[test]
fn a_scope_in_a_destructor_that_unwinds_runs_its_children_at_once() {
    struct Scoped(Arc<AtomicUsize>);
    impl Drop for Scoped {
        fn drop(&mut self) {
            let sum = task::scope(|s| {
                let three = s.spawn(|| 3);
                s.spawn(|| self.0.fetch_add(4, Ordering::Relaxed));
                three.join().expect("it has run")
            });
            self.0.fetch_add(sum, Ordering::Relaxed);
        }
    }
    everywhere(|| {
        let sum = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&sum);
        let panics = task::spawn(move || {
            let _scoped = Scoped(theirs);
            panic!("as it must");
        });
        assert!(panics.join().expect_err("it panics").is_panic());
        assert_eq!(sum.load(Ordering::Relaxed), 7);
    });
    let sum = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&sum);
    let outcome = catch_unwind(AssertUnwindSafe(move || {
        let _scoped = Scoped(theirs);
        panic!("as it must");
    }));
    assert!(outcome.is_err());
    assert_eq!(sum.load(Ordering::Relaxed), 7);
}

/// A panic among those does not cancel the task they run in.
#[test]
fn a_child_that_panics_at_once_harms_only_its_scope() {
    struct Scoped(Log);
    impl Drop for Scoped {
        fn drop(&mut self) {
            let failed = catch_unwind(AssertUnwindSafe(|| {
                task::scope(|s| {
                    let error: Result<(), _> = s.spawn(|| panic!("inner")).join();
                    assert!(error.expect_err("it panics").is_panic());
                    let late: Result<(), _> =
                        s.spawn(|| unreachable!("the scope has failed")).join();
                    assert!(late.expect_err("too late").is_cancelled());
                });
            }));
            let payload = failed.expect_err("the scope fails");
            assert_eq!(payload.downcast_ref(), Some(&"inner"));
            assert!(!task::is_cancelled());
            self.0.say("dropped");
        }
    }
    on_workers(1, || {
        let log = Log::default();
        let scoped = Scoped(log.clone());
        let panics = task::spawn(move || {
            let _scoped = scoped;
            panic!("outer");
        });
        let error = panics.join().expect_err("it panics");
        assert_eq!(error.into_panic().downcast_ref(), Some(&"outer"));
        assert_eq!(log.lines(), ["dropped"]);
    });
}

/// A generator that is dropped inside a scope waits for the scope's children.
#[test]
fn a_scope_inside_a_dropped_generator_is_left_in_order() {
    on_workers(1, || {
        let log = Log::default();
        let theirs = log.clone();
        let mut generator = Generator::<(), ()>::new(move |me| {
            let borrowed = Tell(theirs.clone(), "borrowed");
            task::scope(|s| {
                s.spawn_local(|| {
                    let _child = Tell(borrowed.0.clone(), "child");
                    time::sleep(FOREVER);
                });
                task::yield_now();
                me.yield_(());
            });
        });
        generator.next();
        drop(generator);
        assert_eq!(log.lines(), ["child", "borrowed"]);
    });
}

/// Scopes in scopes, on two workers, with failures at random places; the seed is fixed.
#[test]
fn nested_scopes_with_failures_never_leave_a_child_heavy() {
    fn tree(depth: u32, seed: u64, alive: &AtomicUsize) {
        alive.fetch_add(1, Ordering::SeqCst);
        let _leaves = Leaves(alive);
        let mut random = fastrand::Rng::with_seed(seed);
        assert!(random.u32(0..40) != 0, "as it must");
        if depth == 0 {
            return time::sleep(Duration::from_micros(random.u64(0..300)));
        }
        task::scope(|s| {
            for _ in 0..3 {
                let seed = random.u64(..);
                s.spawn(move || tree(depth - 1, seed, alive));
            }
            if random.bool() {
                task::yield_now();
            }
        });
    }
    on_workers(2, || {
        let mut failed = 0;
        for seed in 0..200 {
            let alive = AtomicUsize::new(0);
            failed += u32::from(catch_unwind(|| tree(3, seed, &alive)).is_err());
            assert_eq!(alive.into_inner(), 0, "seed {seed}");
        }
        assert!(failed > 20 && failed < 200, "{failed} have failed");
    });
}

struct Leaves<'a>(&'a AtomicUsize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
