//! Joining: values, deadlines, and which task or thread may join which, and from where.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fiveways_runtime::{
    JoinHandle, Spawn, Wake, park, park_until, sleep_until, unparker, with_deadline, yield_now,
};

use crate::support::{OnDrop, in_time, on_every_model, runtime, until};

fn soon(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

#[test]
fn values_come_out_on_threads_in_neighbours_and_in_tasks_of_other_workers() {
    on_every_model(2, |runtime| {
        let handle = runtime.handle().clone();
        for worker in 0..2 {
            let task = Spawn::new().spawn_at(&handle, worker, || vec![1, 2, 3]);
            assert_eq!(task.expect("a stack").join().expect("no panic"), [1, 2, 3]);
        }
        let handle = runtime.handle().clone();
        let sum = runtime.block_on(move || {
            let tasks = (0..2).map(|worker| {
                let slow = move || {
                    sleep_until(soon(2));
                    worker + 1
                };
                Spawn::new().spawn_at(&handle, worker, slow).expect("a stack")
            });
            let tasks: Vec<_> = tasks.collect();
            tasks.into_iter().map(|task| task.join().expect("no panic")).sum::<usize>()
        });
        assert_eq!(sum, 3);
    });
}

#[test]
fn a_join_until_a_deadline_gives_the_handle_back_which_works_again_anywhere() {
    in_time(|| {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        let (tx, rx) = mpsc::channel();
        let task = Spawn::new().spawn(&handle, move || {
            tx.send(unparker()).expect("it is awaited");
            park();
            "at last"
        });
        let task = task.expect("a stack");
        let wake = rx.recv().expect("it parks");
        let mut task: JoinHandle<&str> = task.join_until(soon(2)).expect_err("not yet");
        for worker in [0, 1, 0] {
            let trying = Spawn::new().spawn_at(&handle, worker, move || task.join_until(soon(2)));
            let tried = trying.expect("a stack").join().expect("no panic");
            task = tried.expect_err("not yet");
        }
        assert!(!task.is_finished());
        wake.unpark();
        assert_eq!(task.join().expect("no panic"), "at last");
    });
}

#[test]
fn a_join_until_gives_the_value_of_what_has_ended_though_the_deadline_passed() {
    let runtime = runtime(1);
    let task = Spawn::new().spawn(runtime.handle(), || 4).expect("a stack");
    until("it ends", || task.is_finished());
    let joined = task.join_until(Instant::now()).expect("it has ended");
    assert_eq!(joined.expect("no panic"), 4);
}

#[test]
fn unparks_that_come_during_a_join_are_kept_for_the_next_park() {
    in_time(|| {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        for child_on in 0..2 {
            let (tx, rx) = mpsc::channel();
            let (go, gone) = mpsc::channel::<()>();
            let handle = handle.clone();
            let parent = Spawn::new().spawn_at(&handle.clone(), 0, move || {
                let child = Spawn::new().spawn_at(&handle, child_on, move || {
                    while gone.try_recv().is_err() {
                        sleep_until(soon(1));
                    }
                });
                tx.send(unparker()).expect("it is awaited");
                child.expect("a stack").join().expect("no panic");
                // Unparked while it joined: this must not wait.
                park_until(Some(soon(30_000)))
            });
            let parent = parent.expect("a stack");
            rx.recv().expect("it begins").unpark();
            // By now it has most likely seen the unpark and parked in the join again.
            runtime.block_on(|| sleep_until(soon(3)));
            go.send(()).expect("it waits");
            assert_eq!(parent.join().expect("no panic"), Wake::Unparked);
        }
    });
}

#[test]
fn unparks_that_come_during_a_join_are_kept_on_plain_threads_too() {
    in_time(|| {
        let runtime = runtime(1);
        let task = Spawn::new().spawn(runtime.handle(), || sleep_until(soon(20)));
        unparker().unpark();
        task.expect("a stack").join().expect("no panic");
        assert_eq!(park_until(Some(soon(30_000))), Wake::Unparked);
    });
}

#[test]
fn a_task_detached_by_dropping_its_handle_runs_to_its_end() {
    on_every_model(1, |runtime| {
        let (tx, rx) = mpsc::channel();
        let task = Spawn::new().spawn(runtime.handle(), move || {
            yield_now();
            tx.send(1).expect("it is awaited");
        });
        drop(task.expect("a stack"));
        assert_eq!(rx.recv(), Ok(1));
    });
}

#[test]
fn local_tasks_share_what_is_not_send() {
    runtime(1).block_on(|| {
        let count = Rc::new(Cell::new(0));
        let tasks: Vec<_> = (1..=10)
            .map(|add| {
                let count = Rc::clone(&count);
                let task = Spawn::new().spawn_local(move || {
                    yield_now();
                    count.set(count.get() + add);
                    Rc::clone(&count)
                });
                task.expect("a stack")
            })
            .collect();
        for task in tasks {
            drop(task.join().expect("no panic"));
        }
        assert_eq!(count.get(), 55);
        assert_eq!(Rc::strong_count(&count), 1);
    });
}

#[test]
fn a_local_value_is_dropped_on_its_worker_whoever_goes_last() {
    for joins in [false, true] {
        let runtime = runtime(1);
        let (tx, rx) = mpsc::channel();
        let worker = runtime.block_on(move || {
            let value = OnDrop(move || {
                tx.send(std::thread::current().id()).expect("it is awaited");
            });
            let not_send = Rc::new(value);
            let task = Spawn::new().spawn_local(move || not_send).expect("a stack");
            if joins {
                drop(task.join());
            } else {
                drop(task);
            }
            std::thread::current().id()
        });
        assert_eq!(rx.recv(), Ok(worker));
    }
}

#[test]
fn a_local_spawn_on_a_plain_thread_is_refused() {
    let refused = Spawn::new().spawn_local(|| ()).expect_err("there is no worker");
    assert_eq!(refused.kind(), std::io::ErrorKind::Unsupported);
}

#[test]
fn block_on_works_inside_a_task_of_the_same_and_of_another_runtime() {
    in_time(|| {
        on_every_model(1, |outer| {
            let outer_handle = outer.handle().clone();
            let inner = std::sync::Arc::new(runtime(1));
            let theirs = std::sync::Arc::clone(&inner);
            let value = outer.block_on(move || {
                let here = Spawn::new().spawn(&outer_handle, || 1).expect("a stack");
                let there = theirs.block_on(|| {
                    yield_now();
                    2
                });
                here.join().expect("no panic") + there
            });
            assert_eq!(value, 3);
        });
    });
}

#[test]
fn a_handle_whose_joiner_was_unwound_is_joined_by_the_next() {
    in_time(|| {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        runtime.block_on(move || {
            for worker in 0..2 {
                let slow = || {
                    sleep_until(soon(5));
                    8
                };
                let task = Spawn::new().spawn_at(&handle, worker, slow).expect("a stack");
                let slot = Cell::new(Some(task));
                let late = with_deadline(soon(1), || {
                    // Taken out only if it ends in time.
                    while !slot.take().is_some_and(|task| {
                        let done = task.is_finished();
                        slot.set(Some(task));
                        done
                    }) {
                        yield_now();
                    }
                });
                assert!(late.is_err() || slot.take().is_some());
                if let Some(task) = slot.take() {
                    assert_eq!(task.join().expect("no panic"), 8);
                }
            }
        });
    });
}
