//! Panics, and the operations that are allowed while one unwinds.
#![expect(unsafe_code, reason = "a driver is made to panic")]

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use fiveways_driver::Model;
use fiveways_runtime::{Spawn, current, in_task, park, unparker, yield_now};

use crate::support::{
    OnDrop, PATIENCE, Socket, in_a_child, in_time, is_child, on_every_model, pair, runtime,
    runtime_of,
};

#[test]
fn a_panic_ends_its_task_alone_and_reaches_the_joiner() {
    on_every_model(1, |runtime| {
        let failed =
            Spawn::new().spawn(runtime.handle(), || panic!("on purpose {}", std::process::id()));
        let failed: Result<(), _> = failed.expect("a stack").join();
        let error = failed.expect_err("it panicked");
        assert!(error.is_panic() && !error.is_cancelled());
        let expected = format!("on purpose {}", std::process::id());
        assert_eq!(error.to_string(), format!("the task panicked: {expected}"));
        assert_eq!(error.into_panic().downcast_ref::<String>(), Some(&expected));
        assert_eq!(runtime.block_on(|| 7), 7);
    });
}

#[test]
fn block_on_goes_on_panicking_in_the_caller() {
    let runtime = runtime(1);
    let caught = catch_unwind(AssertUnwindSafe(|| runtime.block_on(|| panic!("passed on"))));
    let payload: Box<dyn std::any::Any + Send> = match caught {
        Ok(()) => panic!("it panicked"),
        Err(payload) => payload,
    };
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"passed on"));
}

#[test]
fn a_panic_caught_inside_a_task_leaves_it_able_to_wait() {
    on_every_model(1, |runtime| {
        let (near, mut far) = pair();
        let task = Spawn::new().spawn(runtime.handle(), move || {
            assert!(catch_unwind(|| panic!("caught")).is_err());
            assert!(in_task());
            near.recv(&mut [0; 8]).expect("bytes")
        });
        far.write_all(b"late").expect("room");
        assert_eq!(task.expect("a stack").join().expect("no panic"), 4);
    });
}

#[test]
fn a_drop_that_reads_while_unwinding_blocks_its_thread_and_nobody_sees_the_panic() {
    on_every_model(1, |runtime| {
        let (near, mut far) = pair();
        let seen = Arc::new(AtomicBool::new(false));
        let got = Arc::new(AtomicUsize::new(0));
        let (count, stop) = (Arc::clone(&got), Arc::new(AtomicBool::new(false)));
        let reading = Arc::new(AtomicBool::new(false));
        let about = Arc::clone(&reading);
        let unwinding = Spawn::new().spawn(runtime.handle(), move || {
            let _guard = OnDrop(move || {
                assert!(thread::panicking() && !in_task());
                about.store(true, Ordering::SeqCst);
                count.store(near.recv(&mut [0; 8]).expect("bytes"), Ordering::SeqCst);
            });
            panic!("on purpose");
        });
        let (sees, stops) = (Arc::clone(&seen), Arc::clone(&stop));
        let neighbour = Spawn::new().spawn(runtime.handle(), move || {
            while !stops.load(Ordering::SeqCst) {
                sees.fetch_or(thread::panicking(), Ordering::SeqCst);
                yield_now();
            }
        });
        crate::support::until("it reads", || reading.load(Ordering::SeqCst));
        far.write_all(b"xyz").expect("room");
        assert!(unwinding.expect("a stack").join().expect_err("it panicked").is_panic());
        stop.store(true, Ordering::SeqCst);
        neighbour.expect("a stack").join().expect("no panic");
        assert_eq!(got.load(Ordering::SeqCst), 3);
        assert!(!seen.load(Ordering::SeqCst));
    });
}

#[test]
fn a_drop_that_parks_while_unwinding_is_unparked_as_a_thread() {
    in_time(|| {
        let runtime = runtime(1);
        let (tx, rx) = std::sync::mpsc::channel();
        let unwinding = Spawn::new().spawn(runtime.handle(), move || {
            let _guard = OnDrop(move || {
                tx.send(unparker()).expect("it is awaited");
                park();
            });
            panic!("on purpose");
        });
        rx.recv().expect("it parks").unpark();
        assert!(unwinding.expect("a stack").join().expect_err("it panicked").is_panic());
    });
}

#[test]
fn a_join_of_a_neighbour_while_unwinding_is_refused_instead_of_never_ending() {
    in_time(|| {
        let runtime = runtime(1);
        let (tx, rx) = std::sync::mpsc::channel();
        let unwinding = Spawn::new().spawn(runtime.handle(), move || {
            let child = Spawn::new().spawn_local(|| 5).expect("a stack");
            let mut child = Some(child);
            let _guard = OnDrop(move || {
                let joined = child.take().expect("dropped once").join();
                let error = joined.expect_err("its worker is busy unwinding");
                assert!(!error.is_panic() && !error.is_cancelled());
                tx.send(error.to_string()).expect("it is awaited");
            });
            panic!("on purpose");
        });
        assert!(unwinding.expect("a stack").join().expect_err("it panicked").is_panic());
        let message = rx.recv().expect("it was sent");
        assert!(message.contains("unwind"), "{message}");
    });
}

#[test]
fn a_join_of_what_has_ended_already_works_while_unwinding() {
    in_time(|| {
        let runtime = runtime(1);
        let (tx, rx) = std::sync::mpsc::channel();
        let unwinding = Spawn::new().spawn(runtime.handle(), move || {
            let child = Spawn::new().spawn_local(|| 5).expect("a stack");
            while !child.is_finished() {
                yield_now();
            }
            let mut child = Some(child);
            let _guard = OnDrop(move || {
                let joined = child.take().expect("dropped once").join();
                tx.send(joined.expect("it has ended")).expect("it is awaited");
            });
            panic!("on purpose");
        });
        assert!(unwinding.expect("a stack").join().expect_err("it panicked").is_panic());
        assert_eq!(rx.recv(), Ok(5));
    });
}

#[test]
fn captures_too_large_for_a_stack_are_spawned_all_the_same() {
    in_time(|| {
        let runtime = runtime(2);
        let large = [7_u8; 140_000];
        assert_eq!(runtime.block_on(move || large.iter().filter(|&&b| b == 7).count()), 140_000);
        let handle = runtime.handle().clone();
        for worker in 0..2 {
            let small = Spawn::new().stack_size(16 * 1024);
            let medium = [1_u8; 4096];
            let task = small.spawn_at(&handle, worker, move || medium.len());
            assert_eq!(task.expect("a stack").join().expect("no panic"), 4096);
        }
        let roomy = Spawn::new().stack_size(4 << 20);
        let local = roomy.spawn(&handle, move || {
            let large = [7_u8; 140_000];
            Spawn::new().spawn_local(move || large[139_999]).expect("a stack").join().expect("ok")
        });
        assert_eq!(local.expect("a stack").join().expect("no panic"), 7);
    });
}

/// Panics when it is dropped.
struct Mine(&'static str);

impl Drop for Mine {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("dropped: {}", self.0);
        }
    }
}

#[test]
fn a_captured_value_that_panics_when_dropped_unrun_ends_its_task_alone() {
    in_time(|| {
        let runtime = runtime(1);
        runtime.block_on(|| {
            let mine = Mine("unrun");
            let task = Spawn::new().spawn_local(move || drop(mine)).expect("a stack");
            task.cancel();
            let error = task.join().expect_err("it never ran");
            assert!(error.is_panic() || error.is_cancelled());
        });
        assert_eq!(runtime.block_on(|| 1), 1);
    });
}

#[test]
fn a_value_that_nobody_joins_and_that_panics_when_dropped_ends_its_task_alone() {
    in_time(|| {
        let runtime = runtime(1);
        runtime.block_on(|| {
            drop(Spawn::new().spawn_local(|| Mine("value")).expect("a stack"));
            for _ in 0..3 {
                yield_now();
            }
        });
        assert_eq!(runtime.block_on(|| 1), 1);
    });
}

#[test]
fn a_stream_can_be_read_by_a_drop_while_unwinding() {
    in_time(|| {
        let runtime = runtime_of(Model::Uring, 1);
        let (near, mut far) = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| {
                let far = std::net::TcpStream::connect(listener.local_addr()?)?;
                Ok((Socket::new(listener.accept()?.0), far))
            })
            .expect("a connection");
        far.write_all(b"ahead").expect("room");
        let (tx, rx) = std::sync::mpsc::channel();
        let (got_first, first) = std::sync::mpsc::channel();
        let unwinding = Spawn::new().spawn(runtime.handle(), move || {
            let loan = near.fill().expect("bytes").expect("not the end");
            assert_eq!(loan.bytes(), b"ahead");
            drop(loan);
            got_first.send(()).expect("it is awaited");
            let _guard = OnDrop(move || {
                let mut buf = [0; 8];
                let count = near.recv(&mut buf).expect("bytes");
                tx.send(buf[..count].to_vec()).expect("it is awaited");
            });
            panic!("on purpose");
        });
        first.recv().expect("it came");
        far.write_all(b"more").expect("room");
        let got = rx.recv_timeout(PATIENCE).expect("it does not hang");
        assert!(b"more".starts_with(&got) && !got.is_empty(), "{got:?}");
        assert!(unwinding.expect("a stack").join().expect_err("it panicked").is_panic());
    });
}

#[test]
fn in_a_destructor_on_a_plain_thread_all_is_as_ever() {
    let started = Instant::now();
    let handle = runtime(1).block_on(current);
    assert!(Spawn::new().spawn(&handle, || ()).is_err(), "that runtime has ended");
    assert!(started.elapsed() < PATIENCE);
}

/// Memory that the kernel may have a pointer to must not be unwound over: the process ends, with a
/// message.
#[test]
fn a_panic_inside_a_driver_ends_the_process_with_a_message() {
    for model in [Model::Epoll, Model::Uring] {
        if !is_child() {
            let test = "unwinding::a_panic_inside_a_driver_ends_the_process_with_a_message";
            let output = in_a_child(test, &format!("export ON={model};"));
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success(), "{model}: {stderr}");
            assert!(stderr.contains("a worker has failed and cannot go on"), "{model}: {stderr}");
            assert!(!stderr.contains("unwound"), "{model}: {stderr}");
        } else if std::env::var("ON").is_ok_and(|on| on == model.to_string()) {
            let runtime = runtime_of(model, 1);
            let task = Spawn::new().spawn(runtime.handle(), || {
                let source = fiveways_driver::Source { fd: -1, generation: 1 };
                let op = fiveways_driver::Op::Readable { source };
                // SAFETY: required: what it points at stays. It points at nothing; the missing
                // descriptor makes the driver panic.
                let _ = unsafe { fiveways_runtime::perform(op, None) };
            });
            assert!(task.expect("a stack").join().is_ok(), "unwound");
        }
    }
}
