//! A task and its handle let go of what they share in any order, on any threads: the value is
//! dropped once, and every waiter is woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fiveways_runtime::{
    Completions, Handle, JoinHandle, Spawn, park, unparker, with_deadline, yield_now,
};

use crate::support::{in_time, runtime, until};

/// Counts the live values of its kind.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Counted {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn later(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

/// The use of a handle.
type Way = fn(JoinHandle<Counted>);

/// All ways to use a handle, each to its end.
const WAYS: [Way; 8] = [
    drop,
    |task| drop(task.join()),
    |task| drop(task.join_until(later(60))),
    |task| drop(task.join_until(Instant::now())),
    |task| {
        task.cancel();
        drop(task.join());
    },
    |task| {
        let mut ends = Completions::new();
        task.watch(&ends, 1);
        assert!(ends.wait(1, Some(later(60))), "its end is sent");
        assert!(task.is_finished());
    },
    |task| {
        let mut ends = Completions::new();
        task.watch(&ends, 2);
        drop(task.join());
        // On another worker the joiner may be faster than the notifying task.
        assert!(ends.wait(1, Some(later(60))), "its end is sent");
        assert_eq!(ends.pop(), Some(2));
    },
    |task| {
        let ends = Completions::new();
        task.watch(&ends, 3);
        task.unwatch(&ends);
    },
];

#[test]
fn the_value_is_dropped_once_whatever_is_done_with_the_handle_on_its_worker() {
    in_time(|| {
        let count = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&count);
        runtime(1).block_on(move || {
            for way in WAYS {
                for yields_before in 0..3 {
                    for yields_inside in 0..2 {
                        let value = Counted::new(&counts);
                        let task = Spawn::new().spawn_local(move || {
                            (0..yields_inside).for_each(|_| yield_now());
                            value
                        });
                        (0..yields_before).for_each(|_| yield_now());
                        way(task.expect("a stack"));
                        // Nothing else keeps the worker.
                        (0..4).for_each(|_| yield_now());
                        assert_eq!(counts.load(Ordering::Relaxed), 0);
                    }
                }
            }
        });
        assert_eq!(count.load(Ordering::Relaxed), 0);
    });
}

/// Spawns tasks on both workers and uses each handle at once.
fn storm(handle: &Handle, seed: u64, count: &Arc<AtomicUsize>) {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..2_000 {
        let value = Counted::new(count);
        let yields = random.usize(0..3);
        let body = move || {
            (0..yields).for_each(|_| yield_now());
            value
        };
        let task = Spawn::new().spawn_at(handle, random.usize(0..2), body).expect("a stack");
        (0..random.usize(0..3)).for_each(|_| yield_now());
        WAYS[random.usize(0..WAYS.len())](task);
    }
}

#[test]
fn the_value_is_dropped_once_wherever_and_whenever_the_handle_goes() {
    in_time(|| {
        let runtime = runtime(2);
        let count = Arc::new(AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for seed in 0..4 {
                let (runtime, count) = (&runtime, Arc::clone(&count));
                scope.spawn(move || {
                    let handle = runtime.handle().clone();
                    if seed % 2 == 0 {
                        return storm(&handle, seed, &count);
                    }
                    let inside = Spawn::new();
                    let on = handle.clone();
                    let task = inside.spawn_at(&on, 1, move || storm(&handle, seed, &count));
                    task.expect("a stack").join().expect("it does not panic");
                });
            }
        });
        until("every value is dropped", || count.load(Ordering::Relaxed) == 0);
    });
}

#[test]
fn a_local_joiner_that_gives_up_is_not_woken_by_the_end() {
    in_time(|| {
        runtime(1).block_on(|| {
            let (tx, rx) = mpsc::channel();
            let task = Spawn::new().spawn_local(move || {
                tx.send(unparker()).expect("it is awaited");
                park();
                7
            });
            let task = task.expect("a stack");
            // Unwound out of the join, by a limit that has passed: the handle goes with it.
            let late = with_deadline(Instant::now(), move || task.join().is_ok());
            assert!(late.is_err(), "the join does not end");
            let me = unparker();
            yield_now();
            let wake = rx.recv().expect("it has begun");
            wake.unpark();
            (0..3).for_each(|_| yield_now());
            // The end has left us no token: this park is ended by ours.
            let parked = Spawn::new().spawn_local(move || me.unpark()).expect("a stack");
            park();
            assert!(parked.is_finished(), "somebody else has ended the park");
        });
    });
}
