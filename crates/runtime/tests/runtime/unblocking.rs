//! Running code that blocks its thread on another thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use fiveways_runtime::{Spawn, Wake, park_until, unblock, unparker, yield_now};

use crate::support::{in_time, on_every_model, runtime};

#[test]
fn a_blocked_thread_does_not_stop_the_worker() {
    on_every_model(1, |runtime| {
        let (go, gone) = mpsc::channel::<u32>();
        let blocked = Spawn::new().spawn(runtime.handle(), || {
            let worker = thread::current().id();
            unblock(move || (gone.recv(), thread::current().id() != worker))
        });
        runtime.block_on(yield_now);
        go.send(3).expect("it waits");
        let (value, elsewhere) = blocked.expect("a stack").join().expect("no panic");
        assert_eq!((value, elsewhere), (Ok(3), true));
    });
}

#[test]
fn a_panic_over_there_goes_on_here() {
    runtime(1).block_on(|| {
        let caught = catch_unwind(AssertUnwindSafe(|| unblock(|| panic!("over there"))));
        let payload: Box<dyn std::any::Any + Send> = match caught {
            Ok(()) => panic!("it panicked"),
            Err(payload) => payload,
        };
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"over there"));
    });
}

#[test]
fn on_a_plain_thread_it_runs_right_here() {
    let here = thread::current().id();
    assert_eq!(unblock(move || thread::current().id()), here);
}

#[test]
fn a_cancelled_task_does_not_wait_for_the_rest_of_it() {
    in_time(|| {
        let runtime = runtime(1);
        let (go, gone) = mpsc::channel::<()>();
        let (tx, rx) = mpsc::channel();
        let task = Spawn::new().spawn(runtime.handle(), move || {
            unblock(move || {
                tx.send(()).expect("it is awaited");
                gone.recv()
            })
        });
        let task = task.expect("a stack");
        rx.recv().expect("it begins");
        task.cancel();
        assert!(task.join().expect_err("unwound").is_cancelled());
        go.send(()).expect("it still waits");
    });
}

#[test]
fn unparks_that_come_meanwhile_are_kept() {
    in_time(|| {
        let runtime = runtime(1);
        let (tx, rx) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let task = Spawn::new().spawn(runtime.handle(), move || {
            let me = unparker();
            unblock(move || {
                tx.send(me).expect("it is awaited");
                gone.recv().expect("it is sent");
            });
            park_until(Some(Instant::now() + Duration::from_secs(30)))
        });
        rx.recv().expect("it begins").unpark();
        runtime.block_on(yield_now);
        go.send(()).expect("it waits");
        assert_eq!(task.expect("a stack").join().expect("no panic"), Wake::Unparked);
    });
}
