//! Cancellation: where it surfaces, and that it always does.

use std::io::{ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fiveways_runtime::{
    Spawn, in_task, is_cancelled, park, park_until, sleep_until, with_deadline,
    without_interruption, yield_now,
};

use crate::support::{CANCELED, OnDrop, in_time, on_every_model, pair, runtime, until};

fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

#[test]
fn a_task_cancelled_before_it_begins_never_runs_and_drops_what_it_captured() {
    let runtime = runtime(1);
    let (ran, dropped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (runs, drops) = (Arc::clone(&ran), Arc::clone(&dropped));
    runtime.block_on(move || {
        let captured = OnDrop(move || drops.store(in_task(), Ordering::SeqCst));
        let task = Spawn::new().spawn_local(move || {
            let _captured = &captured;
            runs.store(true, Ordering::SeqCst);
        });
        let task = task.expect("a stack");
        task.cancel();
        assert!(task.join().expect_err("it was cancelled").is_cancelled());
    });
    assert!(!ran.load(Ordering::SeqCst));
    assert!(dropped.load(Ordering::SeqCst), "dropped, in the task");
}

#[test]
fn a_task_cancelled_while_parked_or_asleep_is_unwound_and_its_destructors_run() {
    on_every_model(1, |runtime| {
        let waits: [fn(); 4] = [
            park,
            || {
                let _ = park_until(Some(far_away()));
            },
            || sleep_until(far_away()),
            || loop {
                yield_now();
            },
        ];
        for wait in waits {
            let dropped = Arc::new(AtomicBool::new(false));
            let begun = Arc::new(AtomicBool::new(false));
            let (drops, begins) = (Arc::clone(&dropped), Arc::clone(&begun));
            let task = Spawn::new().spawn(runtime.handle(), move || {
                let _guard = OnDrop(|| drops.store(is_cancelled(), Ordering::SeqCst));
                begins.store(true, Ordering::SeqCst);
                wait();
            });
            let task = task.expect("a stack");
            until("it begins", || begun.load(Ordering::SeqCst));
            task.cancel();
            assert!(task.join().expect_err("it was cancelled").is_cancelled());
            assert!(dropped.load(Ordering::SeqCst));
        }
    });
}

#[test]
fn a_task_cancelled_in_an_operation_gets_an_error_and_then_more_of_them() {
    on_every_model(1, |runtime| {
        let (near, _far) = pair();
        let task = Spawn::new().spawn(runtime.handle(), move || {
            let first = near.recv(&mut [0]).expect_err("cancelled");
            let second = near.send(b"no longer").expect_err("cancelled before");
            (first.raw_os_error(), second.raw_os_error())
        });
        let task = task.expect("a stack");
        runtime.block_on(yield_now);
        task.cancel();
        let refused = task.join().expect("it went on to its end");
        assert_eq!(refused, (Some(CANCELED), Some(CANCELED)));
    });
}

#[test]
fn a_task_that_cancels_itself_is_refused_at_its_next_suspension() {
    let runtime = runtime(1);
    let (give, take) = std::sync::mpsc::channel::<fiveways_runtime::JoinHandle<()>>();
    let ended = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&ended);
    let task = Spawn::new().spawn(runtime.handle(), move || {
        let own = take.recv().expect("it was sent");
        own.cancel();
        assert!(is_cancelled());
        let _guard = OnDrop(|| ends.store(true, Ordering::SeqCst));
        park();
        unreachable!("unwound from the park");
    });
    give.send(task.expect("a stack")).expect("it is awaited");
    until("it ends", || ended.load(Ordering::SeqCst));
}

#[test]
fn a_task_that_ignores_a_hundred_refusals_is_unwound_at_the_next() {
    on_every_model(1, |runtime| {
        let (near, _far) = pair();
        let refusals = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&refusals);
        let task = Spawn::new().spawn(runtime.handle(), move || {
            loop {
                let error = near.recv(&mut [0]).expect_err("there is nothing");
                assert_eq!(error.raw_os_error(), Some(CANCELED));
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let task: fiveways_runtime::JoinHandle<()> = task.expect("a stack");
        runtime.block_on(yield_now);
        task.cancel();
        assert!(task.join().expect_err("it never returns").is_cancelled());
        assert_eq!(refusals.load(Ordering::SeqCst), 100);
    });
}

#[test]
fn a_task_that_catches_its_unwinding_is_unwound_again_at_the_next_suspension() {
    let runtime = runtime(1);
    let task = Spawn::new().spawn(runtime.handle(), || {
        let caught = catch_unwind(AssertUnwindSafe(park)).is_err();
        let again = catch_unwind(AssertUnwindSafe(park)).is_err();
        caught && again
    });
    let task = task.expect("a stack");
    runtime.block_on(yield_now);
    task.cancel();
    assert!(task.join().expect("it went on to its end"));
}

#[test]
fn a_result_that_was_there_before_the_cancellation_is_delivered() {
    on_every_model(1, |runtime| {
        for _ in 0..200 {
            let (near, mut far) = pair();
            let task = Spawn::new().spawn(runtime.handle(), move || {
                let mut buf = [0; 4];
                near.recv(&mut buf).map(|count| buf[..count].to_vec())
            });
            let task = task.expect("a stack");
            far.write_all(b"data").expect("room");
            task.cancel();
            match task.join() {
                Ok(Ok(bytes)) => assert_eq!(bytes, b"data"),
                Ok(Err(error)) => assert_eq!(error.raw_os_error(), Some(CANCELED)),
                Err(error) => assert!(error.is_cancelled(), "before it began: {error}"),
            }
        }
    });
}

#[test]
fn no_byte_is_lost_between_a_cancelled_read_and_the_next_reader() {
    on_every_model(2, |runtime| {
        for round in 0..300_u32 {
            let (near, mut far) = pair();
            let near = Arc::new(near);
            let theirs = Arc::clone(&near);
            let first = Spawn::new().spawn(runtime.handle(), move || {
                let mut buf = [0; 4];
                theirs.recv(&mut buf).map(|count| buf[..count].to_vec())
            });
            let first = first.expect("a stack");
            if round % 2 == 0 {
                std::thread::yield_now();
            }
            let writing = std::thread::spawn(move || far.write_all(b"data"));
            first.cancel();
            let got = first.join();
            let rest = if let Ok(Ok(bytes)) = got {
                bytes
            } else {
                let mut buf = [0; 4];
                let count = near.recv(&mut buf).expect("bytes, on this plain thread");
                buf[..count].to_vec()
            };
            assert_eq!(rest, b"data");
            writing.join().expect("no panic").expect("room");
        }
    });
}

#[test]
fn cancelling_races_with_deadlines_and_data_without_harm() {
    in_time(|| {
        on_every_model(2, |runtime| {
            for round in 0..300_u64 {
                let (near, mut far) = pair();
                let limit = Duration::from_micros(round % 150);
                let task = Spawn::new().spawn(runtime.handle(), move || {
                    near.recv_by(&mut [0; 4], Some(Instant::now() + limit))
                });
                let task = task.expect("a stack");
                let writing = std::thread::spawn(move || far.write_all(b"data"));
                if round % 3 == 0 {
                    task.cancel();
                }
                match task.join() {
                    Ok(Ok(count)) => assert_eq!(count, 4),
                    Ok(Err(error)) => assert!(
                        error.kind() == ErrorKind::TimedOut
                            || error.raw_os_error() == Some(CANCELED),
                        "{error}"
                    ),
                    Err(error) => assert!(error.is_cancelled(), "{error}"),
                }
                // This fails if the near end is gone already.
                let _ = writing.join().expect("no panic");
            }
        });
    });
}

#[test]
fn a_joiner_that_is_cancelled_leaves_the_joined_task_alone() {
    let runtime = runtime(1);
    let ended = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&ended);
    let inner = Spawn::new().spawn(runtime.handle(), move || {
        park();
        ends.store(true, Ordering::SeqCst);
    });
    let inner = inner.expect("a stack");
    let handle = runtime.handle().clone();
    let (tx, rx) = std::sync::mpsc::channel();
    let wake = Spawn::new().spawn(&handle, move || tx.send(fiveways_runtime::unparker()));
    wake.expect("a stack").join().expect("no panic").expect("it is awaited");
    let _ = rx.recv();
    let joiner = Spawn::new().spawn(&handle, move || inner.join());
    let joiner = joiner.expect("a stack");
    runtime.block_on(yield_now);
    joiner.cancel();
    assert!(joiner.join().expect_err("unwound from its join").is_cancelled());
    assert!(!ended.load(Ordering::SeqCst), "nobody unparked it");
}

#[test]
fn a_cancelled_task_is_refused_even_inside_a_time_limit() {
    let runtime = runtime(1);
    let task = Spawn::new().spawn(runtime.handle(), || with_deadline(far_away(), park));
    let task = task.expect("a stack");
    runtime.block_on(yield_now);
    task.cancel();
    assert!(task.join().expect_err("unwound through the scope").is_cancelled());
}

#[test]
fn cancelling_what_has_ended_and_cancelling_again_does_nothing() {
    let runtime = runtime(2);
    let task = Spawn::new().spawn(runtime.handle(), || 3).expect("a stack");
    until("it ends", || task.is_finished());
    task.cancel();
    task.cancel();
    // Its slot in the table may belong to a new task by now, which this must not reach.
    let next = Spawn::new().spawn(runtime.handle(), || sleep_until(Instant::now()));
    task.cancel();
    next.expect("a stack").join().expect("not cancelled");
    assert_eq!(task.join().expect("it had ended"), 3);
}

#[test]
fn what_must_not_be_interrupted_performs_its_operations_to_their_end() {
    on_every_model(1, |runtime| {
        let (ours, mut theirs) = pair();
        runtime.block_on(move || {
            let ended = Arc::new(AtomicBool::new(false));
            let ends = Arc::clone(&ended);
            let task = Spawn::new().spawn_local(move || {
                let mut bytes = [0; 2];
                without_interruption(|| {
                    assert_eq!(ours.recv(&mut bytes[..1]).expect("cancelled meanwhile"), 1);
                    assert_eq!(ours.recv(&mut bytes[1..]).expect("cancelled before"), 1);
                });
                ends.store(bytes == *b"ab", Ordering::SeqCst);
                assert_eq!(
                    ours.recv(&mut bytes).expect_err("refused").raw_os_error(),
                    Some(CANCELED)
                );
            });
            let task = task.expect("a stack");
            yield_now();
            task.cancel();
            yield_now();
            theirs.write_all(b"a").expect("room");
            sleep_until(Instant::now() + Duration::from_millis(2));
            theirs.write_all(b"b").expect("room");
            task.join().expect("it has ended by itself");
            assert!(ended.load(Ordering::SeqCst));
        });
    });
}
