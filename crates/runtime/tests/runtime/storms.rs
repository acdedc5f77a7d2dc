//! Many tasks from many threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use fiveways_driver::Model;
use fiveways_runtime::{Handle, Spawn, yield_now};

use crate::support::{in_time, on_every_model, runtime_of};

/// Spawns from many threads at once; joins every other task and detaches the others.
fn storm(handle: &Handle, threads: usize, tasks: usize) {
    let ran = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let ran = &ran;
            scope.spawn(move || {
                let mut joined = Vec::with_capacity(tasks / 2 + 1);
                for number in 0..tasks {
                    let ran = Arc::clone(ran);
                    let task = Spawn::new().spawn(handle, move || {
                        if number % 16 == 0 {
                            yield_now();
                        }
                        ran.fetch_add(1, Ordering::Relaxed);
                        (thread, number)
                    });
                    let task = task.expect("a stack");
                    if number % 2 == 0 {
                        joined.push((number, task));
                    }
                }
                for (number, task) in joined {
                    assert_eq!(task.join().expect("no panic"), (thread, number));
                }
            });
        }
    });
    crate::support::until("all ran", || ran.load(Ordering::Relaxed) == threads * tasks);
    crate::support::until("all left", || handle.stats().tasks.iter().sum::<usize>() == 0);
}

#[test]
fn heavy_a_storm_of_spawns_from_64_threads_loses_no_task() {
    for model in [Model::Epoll, Model::Uring] {
        in_time(move || {
            let started = Instant::now();
            let runtime = runtime_of(model, 2);
            storm(runtime.handle(), 64, 10_000);
            eprintln!("640,000 tasks on {model} in {:?}", started.elapsed());
        });
    }
}

#[test]
fn tasks_that_are_sent_in_a_storm_begin_a_few_at_a_time() {
    in_time(|| {
        let runtime = runtime_of(Model::Epoll, 1);
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let busy = Spawn::new().spawn(runtime.handle(), move || gone.recv().is_ok());
        let (begun, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let spawn = |_| {
            let (begun, most) = (Arc::clone(&begun), Arc::clone(&most));
            let task = Spawn::new().spawn(runtime.handle(), move || {
                most.fetch_max(begun.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
                yield_now();
                begun.fetch_sub(1, Ordering::Relaxed);
            });
            task.expect("the worker lives")
        };
        let tasks: Vec<_> = (0..50_000).map(spawn).collect();
        go.send(()).expect("it waits");
        assert!(busy.expect("a stack").join().expect("no panic"));
        for task in tasks {
            task.join().expect("no panic");
        }
        // Each that has begun has a stack.
        assert!(most.load(Ordering::Relaxed) < 1_000, "{most:?} at once");
    });
}

#[test]
fn a_small_storm_loses_no_task_on_any_model() {
    in_time(|| on_every_model(2, |runtime| storm(runtime.handle(), 8, 500)));
}

#[test]
fn a_tree_of_tasks_that_join_their_children_comes_to_its_end() {
    fn count(depth: u32) -> u64 {
        if depth == 0 {
            return 1;
        }
        let spawn = || {
            let spawned = Spawn::new().spawn_in_task(move || count(depth - 1));
            spawned.unwrap_or_else(|_| panic!("in a task")).expect("a stack")
        };
        let (left, right) = (spawn(), spawn());
        left.join().expect("no panic") + right.join().expect("no panic")
    }
    in_time(|| {
        on_every_model(2, |runtime| assert_eq!(runtime.block_on(|| count(11)), 2_048));
    });
}

/// Touches 64 KiB of its stack.
#[inline(never)]
fn dig() {
    std::hint::black_box([1_u8; 64 * 1024]);
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number")
}

#[test]
fn the_stacks_of_a_peak_are_given_back_when_nobody_uses_them() {
    in_time(|| {
        let runtime = runtime_of(Model::Epoll, 1);
        let peak = runtime.block_on(|| {
            let crowd = (0..1000).map(|_| {
                let task = || {
                    dig();
                    yield_now();
                };
                Spawn::new().spawn_local(task).expect("a stack")
            });
            let crowd: Vec<_> = crowd.collect();
            crowd.into_iter().for_each(|task| task.join().expect("no panic"));
            resident_kib()
        });
        // 64 of the thousand may stay.
        let given_back = || resident_kib() + 900 * 64 < peak;
        crate::support::until("they are given back", || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            given_back()
        });
    });
}
