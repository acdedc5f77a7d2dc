//! Deadlines of single waits, and of everything within a scope.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use fiveways_runtime::{Elapsed, Spawn, Wake, park, park_until, sleep_until, with_deadline};

use crate::support::{in_time, on_every_model, pair, runtime};

fn soon(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

#[test]
fn an_operation_ends_at_its_deadline_and_not_before() {
    on_every_model(1, |runtime| {
        runtime.block_on(|| {
            let (near, _far) = pair();
            let by = soon(10);
            let error = near.recv_by(&mut [0], Some(by)).expect_err("nothing came");
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(Instant::now() >= by);
        });
    });
}

#[test]
fn a_deadline_that_has_passed_still_gives_what_is_there() {
    use std::io::Write;
    on_every_model(1, |runtime| {
        runtime.block_on(|| {
            let (near, mut far) = pair();
            far.write_all(b"x").expect("room");
            assert_eq!(near.recv_by(&mut [0], Some(Instant::now())).ok(), Some(1));
        });
    });
}

#[test]
fn a_scope_ends_calls_with_errors_and_calls_without_by_unwinding() {
    on_every_model(1, |runtime| {
        runtime.block_on(|| {
            let (near, _far) = pair();
            let inside = with_deadline(soon(5), || {
                let first = near.recv(&mut [0]).expect_err("late").kind();
                let second = near.recv(&mut [0]).expect_err("later still").kind();
                (first, second)
            });
            assert_eq!(inside, Ok((ErrorKind::TimedOut, ErrorKind::TimedOut)));
            assert_eq!(with_deadline(soon(5), park), Err(Elapsed));
            assert_eq!(with_deadline(soon(5), || sleep_until(soon(60_000))), Err(Elapsed));
        });
    });
}

#[test]
fn a_scope_that_is_over_has_no_effect_any_more() {
    on_every_model(1, |runtime| {
        runtime.block_on(|| {
            assert_eq!(with_deadline(soon(2), park), Err(Elapsed));
            assert_eq!(with_deadline(soon(60_000), || 5), Ok(5));
            sleep_until(soon(5));
            assert_eq!(park_until(Some(soon(2))), Wake::TimedOut);
        });
    });
}

#[test]
fn the_outer_scope_ends_what_the_inner_one_would_let_go_on() {
    runtime(1).block_on(|| {
        let outer = with_deadline(soon(5), || {
            let inner = with_deadline(soon(60_000), park);
            unreachable!("the inner scope has not elapsed: {inner:?}");
        });
        let outer: Result<(), Elapsed> = outer;
        assert_eq!(outer, Err(Elapsed));
    });
}

#[test]
fn the_inner_scope_ends_alone() {
    runtime(1).block_on(|| {
        let outer = with_deadline(soon(60_000), || {
            let inner = with_deadline(soon(5), park);
            park_until(Some(soon(1)));
            inner
        });
        assert_eq!(outer, Ok(Err(Elapsed)));
    });
}

#[test]
fn scopes_with_the_same_deadline_end_at_the_outer_one() {
    runtime(1).block_on(|| {
        let at = soon(5);
        let mut reached = false;
        let outer = with_deadline(at, || {
            let _ = with_deadline(at, park);
            reached = true;
        });
        assert_eq!(outer, Err(Elapsed));
        assert!(!reached);
    });
}

#[test]
fn a_scope_that_was_caught_by_mistake_comes_again_at_the_next_suspension() {
    runtime(1).block_on(|| {
        let outer = with_deadline(soon(3), || {
            assert!(catch_unwind(AssertUnwindSafe(park)).is_err());
            park();
        });
        assert_eq!(outer, Err(Elapsed));
    });
}

#[test]
fn a_panic_passes_through_a_scope() {
    let runtime = runtime(1);
    let task = Spawn::new()
        .spawn(runtime.handle(), || with_deadline(soon(60_000), || panic!("on purpose")));
    let joined: Result<Result<(), Elapsed>, _> = task.expect("a stack").join();
    assert_eq!(joined.expect_err("it panicked").to_string(), "the task panicked: on purpose");
}

#[test]
fn a_value_that_comes_late_is_given_all_the_same() {
    runtime(1).block_on(|| {
        let at = soon(2);
        let value = with_deadline(at, || {
            while Instant::now() < at {
                std::hint::spin_loop();
            }
            9
        });
        assert_eq!(value, Ok(9));
    });
}

#[test]
fn a_join_within_a_scope_ends_with_it_and_the_task_goes_on() {
    in_time(|| {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        runtime.block_on(move || {
            for worker in 0..2 {
                let (tx, rx) = std::sync::mpsc::channel();
                let task = Spawn::new().spawn_at(&handle, worker, move || {
                    tx.send(fiveways_runtime::unparker()).expect("it is awaited");
                    park();
                });
                let task = task.expect("a stack");
                let late = with_deadline(soon(3), || task.join());
                assert!(late.is_err());
                rx.try_recv().expect("it has begun").unpark();
            }
        });
    });
}

#[test]
fn deadlines_too_far_away_to_matter_do_not_matter() {
    on_every_model(1, |runtime| {
        let far = Instant::now() + Duration::from_secs(600 * 365 * 86_400);
        let task = Spawn::new().spawn(runtime.handle(), move || park_until(Some(far)));
        let task = task.expect("a stack");
        let turns = || fiveways_runtime::counters().map_or(0, |counters| counters.turns);
        let turns = runtime.block_on(move || {
            let before = turns();
            sleep_until(soon(50));
            turns() - before
        });
        assert!(turns < 1_000, "{turns} turns in 50 ms with nothing to do");
        task.cancel();
        assert!(task.join().expect_err("it waited").is_cancelled());
    });
}

#[test]
fn a_scope_on_a_plain_thread_ends_its_waits_too() {
    in_time(|| {
        assert_eq!(with_deadline(soon(10_000), || 7), Ok(7));
        assert!(with_deadline(soon(1), park).is_err());
    });
}
