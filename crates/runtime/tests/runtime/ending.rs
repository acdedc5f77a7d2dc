//! The end of a runtime, with tasks in every state.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fiveways_driver::Model;
use fiveways_runtime::{
    JoinError, Spawn, current, park, sleep_until, unblock, unparker, with_deadline, yield_now,
};

use crate::support::{OnDrop, in_time, on_every_model, pair, runtime, runtime_of, until};

fn hour() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

#[test]
fn a_runtime_ends_with_tasks_in_every_state_and_all_destructors_run() {
    in_time(|| {
        let live = Arc::new(AtomicUsize::new(0));
        on_every_model(2, |_| ());
        for model in crate::support::MODELS {
            let runtime = runtime_of(model, 2);
            let (reader, _far) = pair();
            let (full, _unread) = pair();
            let bodies: Vec<Box<dyn FnOnce() + Send>> = vec![
                Box::new(park),
                Box::new(|| sleep_until(hour())),
                Box::new(move || drop(reader.recv(&mut [0]))),
                Box::new(move || while full.send(&[0; 4096]).is_ok() {}),
                Box::new(|| {
                    loop {
                        yield_now();
                    }
                }),
                Box::new(|| {
                    let _ = with_deadline(hour(), park);
                }),
                Box::new(|| drop(Spawn::new().spawn_local(park).expect("a stack").join())),
                Box::new(|| unblock(|| std::thread::sleep(Duration::from_millis(1)))),
            ];
            let count = bodies.len();
            let begun = Arc::new(AtomicUsize::new(0));
            for (at, body) in bodies.into_iter().enumerate() {
                live.fetch_add(1, Ordering::SeqCst);
                let (left, begins) = (Arc::clone(&live), Arc::clone(&begun));
                let task = Spawn::new().spawn_at(runtime.handle(), at % 2, move || {
                    let _guard = OnDrop(|| {
                        left.fetch_sub(1, Ordering::SeqCst);
                    });
                    begins.fetch_add(1, Ordering::SeqCst);
                    body();
                });
                drop(task.expect("a stack"));
            }
            until("all begin", || begun.load(Ordering::SeqCst) == count);
            drop(runtime);
            assert_eq!(live.load(Ordering::SeqCst), 0, "on {model}");
        }
    });
}

#[test]
fn handles_outlive_their_runtime_and_say_so() {
    let runtime = runtime(1);
    let handle = runtime.handle().clone();
    let parked = Spawn::new().spawn(&handle, park).expect("a stack");
    let ended = Spawn::new().spawn(&handle, || 6).expect("a stack");
    let wake = runtime.block_on(unparker);
    until("it ends", || ended.is_finished());
    drop(runtime);
    wake.unpark();
    parked.cancel();
    assert!(parked.join().expect_err("it parked").is_cancelled());
    assert_eq!(ended.join().expect("it had ended"), 6);
    let error = Spawn::new().spawn(&handle, || ()).expect_err("nobody runs it");
    assert_eq!(error.to_string(), "the runtime has ended");
}

#[test]
fn a_destructor_may_spawn_and_join_while_the_runtime_ends() {
    in_time(|| {
        for workers in [1, 2, 3] {
            for _ in 0..30 {
                let runtime = runtime(workers);
                let spawned = Arc::new(AtomicUsize::new(0));
                for worker in 0..workers {
                    let spawned = Arc::clone(&spawned);
                    let task = Spawn::new().spawn_at(runtime.handle(), worker, move || {
                        let _guard = OnDrop(|| {
                            let child = Spawn::new().spawn_in_task(|| unreachable!("cancelled"));
                            let child = child.unwrap_or_else(|_| panic!("on a worker"));
                            // Never refused: or a destructor would panic while it unwinds.
                            let child: fiveways_runtime::JoinHandle<()> = child.expect("a stack");
                            drop(child);
                            spawned.fetch_add(1, Ordering::SeqCst);
                        });
                        park();
                    });
                    drop(task.expect("a stack"));
                }
                runtime.block_on(yield_now);
                drop(runtime);
                assert!(spawned.load(Ordering::SeqCst) <= workers);
            }
        }
    });
}

#[test]
fn tasks_sent_while_the_runtime_ends_are_refused_or_come_to_an_end() {
    in_time(|| {
        for round in 0..200 {
            let runtime = runtime(1 + round % 2);
            let handle = runtime.handle().clone();
            let sender = std::thread::spawn(move || {
                let mut ends = [0, 0, 0];
                loop {
                    match Spawn::new().spawn(&handle, || 1).map(fiveways_runtime::JoinHandle::join)
                    {
                        Ok(Ok(_)) => ends[0] += 1,
                        Ok(Err(error)) => {
                            assert!(JoinError::is_cancelled(&error), "{error}");
                            ends[1] += 1;
                        }
                        Err(_) => return ends,
                    }
                }
            });
            std::thread::yield_now();
            drop(runtime);
            sender.join().expect("no panic");
        }
    });
}

#[test]
fn a_runtime_dropped_by_one_of_its_own_tasks_ends() {
    in_time(|| {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        let (tx, rx) = std::sync::mpsc::channel::<()>();
        let task = Spawn::new().spawn(&handle, move || {
            let _tell = tx;
            drop(runtime);
            park();
        });
        drop(task.expect("a stack"));
        assert!(rx.recv().is_err(), "unwound from its park");
        until("it ends", || Spawn::new().spawn(&handle, || ()).is_err());
    });
}

#[test]
fn a_runtime_inside_a_task_of_another_ends_with_it() {
    in_time(|| {
        runtime(1).block_on(|| {
            let inner = runtime(1);
            let parked = Spawn::new().spawn(inner.handle(), park).expect("a stack");
            assert_eq!(inner.block_on(|| 3), 3);
            drop(inner);
            assert!(parked.join().expect_err("it parked").is_cancelled());
        });
    });
}

#[test]
fn a_worker_that_is_ending_still_lets_destructors_use_sockets_without_waiting() {
    on_every_model(1, |_| ());
    for model in crate::support::MODELS {
        let runtime = runtime_of(model, 1);
        let (near, mut far) = pair();
        let task = Spawn::new().spawn(runtime.handle(), move || {
            // Refused, and then closed: the peer sees the end.
            let _guard = OnDrop(|| assert!(near.send(b"bye").is_ok() || !std::thread::panicking()));
            park();
        });
        drop(task.expect("a stack"));
        runtime.block_on(yield_now);
        drop(runtime);
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut far, &mut rest).expect("the end");
        assert_eq!(rest, b"bye", "sent by the thread itself, for the task was unwinding");
        assert!(far.write_all(b"x").is_err());
    }
    assert!(!current().model().name().is_empty());
}

#[test]
fn a_runtime_dropped_in_a_task_of_another_does_not_hold_up_its_worker() {
    in_time(|| {
        let outer = runtime_of(Model::Epoll, 1);
        outer.block_on(|| {
            let inner = runtime_of(Model::Epoll, 1);
            let (said, heard) = std::sync::mpsc::channel();
            let (begins, begun) = std::sync::mpsc::channel();
            // It lets the inner one end only when another task of the dropper's worker has run.
            let task = Spawn::new().spawn(inner.handle(), move || {
                begins.send(()).expect("it listens");
                let _ = heard.recv();
            });
            drop(task);
            begun.recv().expect("it begins");
            let neighbour = Spawn::new().spawn_local(move || said.send(()));
            drop(inner);
            neighbour.expect("a stack").join().expect("no panic").expect("it listens");
        });
    });
}
