//! Tasks that never wait do not keep others waiting for ever.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fiveways_runtime::{Spawn, sleep_until, with_deadline, yield_now};

use crate::support::{CANCELED, in_time, on_every_model, pair, runtime};

#[test]
fn tasks_that_yield_take_turns() {
    let runtime = runtime(1);
    let turns = runtime.block_on(|| {
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..3)
            .map(|number| {
                let order = Arc::clone(&order);
                let task = Spawn::new().spawn_local(move || {
                    for _ in 0..4 {
                        order.lock().expect("no panic").push(number);
                        yield_now();
                    }
                });
                task.expect("a stack")
            })
            .collect();
        for task in tasks {
            task.join().expect("no panic");
        }
        Arc::into_inner(order).expect("the last").into_inner().expect("no panic")
    });
    assert_eq!(turns, [0, 1, 2].repeat(4));
}

/// Writes as fast as possible until it is stopped.
fn flood(far: std::os::unix::net::UnixStream) -> (Arc<AtomicBool>, std::thread::JoinHandle<()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let stops = Arc::clone(&stop);
    let mut far = far;
    let thread = std::thread::spawn(move || {
        let chunk = [0; 16 * 1024];
        while !stops.load(Ordering::SeqCst) && far.write_all(&chunk).is_ok() {}
    });
    (stop, thread)
}

#[test]
fn a_task_whose_reads_never_wait_leaves_room_for_others_and_can_be_cancelled() {
    in_time(|| {
        on_every_model(1, |runtime| {
            let (near, far) = pair();
            let (stop, flooding) = flood(far);
            let read = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&read);
            // One byte at a time: slower than any writer.
            let reader = Spawn::new().spawn(runtime.handle(), move || {
                loop {
                    match near.recv(&mut [0]) {
                        Ok(got) => count.fetch_add(got, Ordering::SeqCst),
                        Err(error) => return error.raw_os_error(),
                    };
                }
            });
            let reader = reader.expect("a stack");
            crate::support::until("it reads", || read.load(Ordering::SeqCst) > 1000);
            runtime.block_on(|| sleep_until(Instant::now() + Duration::from_millis(1)));
            reader.cancel();
            assert_eq!(reader.join().expect("no panic"), Some(CANCELED));
            stop.store(true, Ordering::SeqCst);
            flooding.join().expect("no panic");
        });
    });
}

#[test]
fn a_time_limit_ends_reads_that_never_wait() {
    in_time(|| {
        on_every_model(1, |runtime| {
            let (near, far) = pair();
            let (stop, flooding) = flood(far);
            let kind = runtime.block_on(move || {
                let limit = Instant::now() + Duration::from_millis(5);
                with_deadline(limit, || {
                    loop {
                        if let Err(error) = near.recv(&mut [0]) {
                            return error.kind();
                        }
                    }
                })
            });
            assert_eq!(kind, Ok(std::io::ErrorKind::TimedOut));
            stop.store(true, Ordering::SeqCst);
            flooding.join().expect("no panic");
        });
    });
}

#[test]
fn a_time_limit_ends_a_loop_of_yields() {
    in_time(|| {
        let elapsed = runtime(1).block_on(|| {
            with_deadline(Instant::now() + Duration::from_millis(2), || {
                loop {
                    yield_now();
                }
            })
        });
        let elapsed: Result<(), _> = elapsed;
        assert!(elapsed.is_err());
    });
}
