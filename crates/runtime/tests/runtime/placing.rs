//! The placement of tasks, and which runtime a task is in.

use std::collections::HashSet;
use std::sync::{Arc, Barrier};
use std::thread;

use fiveways_driver::Model;
use fiveways_runtime::{Runtime, Spawn, counters, current, park, worker_index, yield_now};

use crate::support::{MODELS, builder, in_time, runtime, runtime_of, until};

#[test]
fn tasks_from_a_thread_are_spread_over_the_workers() {
    in_time(|| {
        let runtime = runtime(3);
        let tasks: Vec<_> = (0..300)
            .map(|_| Spawn::new().spawn(runtime.handle(), park).expect("a stack"))
            .collect();
        assert_eq!(runtime.handle().stats().tasks, [100, 100, 100]);
        assert_eq!(runtime.handle().workers(), 3);
        for task in &tasks {
            task.cancel();
        }
        for task in tasks {
            assert!(task.join().expect_err("it parked").is_cancelled());
        }
        until("all left", || runtime.handle().stats().tasks == [0, 0, 0]);
    });
}

#[test]
fn a_task_is_placed_where_it_is_asked_for_and_never_moves() {
    in_time(|| {
        let runtime = runtime(2);
        let handle = runtime.handle();
        let place = |worker| {
            let task = Spawn::new().spawn_at(handle, worker, || {
                let before = (thread::current().id(), worker_index());
                for _ in 0..100 {
                    yield_now();
                    assert_eq!((thread::current().id(), worker_index()), before);
                }
                before
            });
            task.map(|task| task.join().expect("no panic"))
        };
        let (first, second) = (place(0).expect("a worker"), place(1).expect("a worker"));
        assert_eq!(place(0).expect("a worker"), first);
        assert_ne!(first, second);
        let error = place(2).expect_err("no such worker");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    });
}

#[test]
fn tasks_of_a_task_stay_with_it_until_it_has_many_more_than_others() {
    in_time(|| {
        let runtime = runtime(2);
        let homes = runtime.block_on(|| {
            let tasks: Vec<_> = (0..200)
                .map(|_| {
                    let spawned = Spawn::new().spawn_in_task(|| {
                        yield_now();
                        worker_index()
                    });
                    spawned.unwrap_or_else(|_| panic!("in a task")).expect("a stack")
                })
                .collect();
            let own = worker_index();
            let joined = tasks.into_iter().map(|task| task.join().expect("no panic") == own);
            joined.collect::<Vec<_>>()
        });
        let first = homes.iter().take_while(|own| **own).count();
        assert!((10..=20).contains(&first), "{first} stayed at first");
        assert!(homes.iter().any(|own| !own), "the other worker got its share");
    });
}

#[test]
fn spawning_in_a_task_goes_to_its_own_runtime() {
    let (one, two) = (runtime(1), runtime(1));
    let of = |runtime: &Runtime| {
        runtime.block_on(|| {
            let handle = current();
            let task = Spawn::new().spawn(&handle, worker_index).expect("a stack");
            (task.join().expect("no panic"), worker_index())
        })
    };
    let ((a, in_one), (b, in_two)) = (of(&one), of(&two));
    assert_eq!((a, b), (in_one, in_two));
    assert_ne!(a, b);
}

#[test]
fn the_global_runtime_starts_once_and_has_a_worker_for_each_processor() {
    let same = |a: &Runtime, b: &Runtime| std::ptr::eq(a, b);
    let barrier = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || {
                barrier.wait();
                let global = Runtime::global();
                assert_eq!(current().workers(), global.handle().workers());
                global
            })
        })
        .collect();
    for thread in threads {
        assert!(same(thread.join().expect("no panic"), Runtime::global()));
    }
    let processors = thread::available_parallelism().expect("a number").get();
    assert_eq!(Runtime::global().handle().workers(), processors);
    assert_eq!(Runtime::global().block_on(|| 5), 5);
}

#[test]
fn every_worker_runs_the_model_that_was_asked_for() {
    for model in MODELS {
        let runtime = runtime_of(model, 2);
        assert_eq!(runtime.handle().model(), model);
        assert_eq!(runtime.handle().fell_back(), None);
        let models: HashSet<_> = (0..2)
            .map(|worker| {
                let ask = || current().model();
                let task = Spawn::new().spawn_at(runtime.handle(), worker, ask);
                task.expect("a stack").join().expect("no panic")
            })
            .collect();
        assert_eq!(models, HashSet::from([model]));
        assert!(runtime.block_on(counters).is_some_and(|counters| counters.turns > 0));
    }
    assert_ne!(runtime_of(Model::Auto, 1).handle().model(), Model::Auto);
    assert_eq!(counters(), None);
}

#[test]
fn a_model_without_coroutines_is_refused_by_name() {
    for model in [Model::Blocking, Model::Threads, Model::Pool] {
        let error = builder(model, 2).build().expect_err("it runs on threads");
        assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
        assert!(error.to_string().contains(model.name()), "{error}");
    }
}
