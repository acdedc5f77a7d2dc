//! Parking: tokens, hand-overs, and that no wake-up is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use fiveways_driver::Model;
use fiveways_runtime::{
    Completions, Reason, Runtime, Spawn, Unparker, Wake, in_task, park, park_until, sleep_until,
    unparker,
};

use crate::support::{in_time, on_every_model, runtime, runtime_of};

fn soon(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

#[test]
fn an_unpark_before_the_park_makes_it_return_and_tokens_do_not_add_up() {
    on_every_model(1, |runtime| {
        runtime.block_on(|| {
            let me = unparker();
            me.unpark();
            me.unpark();
            assert_eq!(park_until(Some(soon(60_000))), Wake::Unparked);
            assert_eq!(park_until(Some(soon(1))), Wake::TimedOut);
        });
    });
}

#[test]
fn an_unpark_does_not_end_a_sleep_and_is_kept_for_the_next_park() {
    runtime(1).block_on(|| {
        unparker().unpark();
        let at = soon(5);
        sleep_until(at);
        assert!(Instant::now() >= at);
        assert_eq!(park_until(Some(soon(60_000))), Wake::Unparked);
    });
}

#[test]
fn an_unpark_after_the_end_of_the_task_reaches_nobody() {
    let runtime = runtime(1);
    let old = runtime.block_on(unparker);
    let next = Spawn::new().spawn(runtime.handle(), move || {
        old.unpark();
        park_until(Some(soon(5)))
    });
    assert_eq!(next.expect("a stack").join().expect("no panic"), Wake::TimedOut);
    let late = runtime.block_on(unparker);
    drop(runtime);
    late.unpark();
}

#[test]
fn a_plain_thread_parks_like_a_task() {
    assert!(!in_task());
    unparker().unpark();
    park();
    assert_eq!(park_until(Some(soon(1))), Wake::TimedOut);
    let me = unparker();
    let thread = thread::spawn(move || me.unpark());
    park();
    thread.join().expect("no panic");
}

/// One side of a ball game: returns the ball whenever it is its turn.
fn play(ball: &AtomicU64, mine: u64, other: &Unparker, hits: u64) {
    let mut hit = 0;
    while hit < hits {
        if ball.load(Ordering::Acquire) % 2 == mine {
            ball.fetch_add(1, Ordering::Release);
            other.unpark();
            hit += 1;
        } else {
            park();
        }
    }
}

/// Plays a ball to and fro between a task and another task, or a plain thread.
fn hand_overs(runtime: &Runtime, against_thread: bool, hits: u64) {
    let ball = Arc::new(AtomicU64::new(0));
    let (tell_a, told_a) = mpsc::channel::<Unparker>();
    let (tell_b, told_b) = mpsc::channel::<Unparker>();
    let ours = Arc::clone(&ball);
    let first = move || {
        tell_a.send(unparker()).expect("it is awaited");
        let other = told_b.recv().expect("it is sent");
        play(&ours, 0, &other, hits);
    };
    let theirs = Arc::clone(&ball);
    let second = move || {
        tell_b.send(unparker()).expect("it is awaited");
        let other = told_a.recv().expect("it is sent");
        play(&theirs, 1, &other, hits);
    };
    let first = Spawn::new().spawn_at(runtime.handle(), 0, first).expect("a stack");
    if against_thread {
        thread::spawn(second).join().expect("no panic");
    } else {
        let task = Spawn::new().spawn_at(runtime.handle(), 1, second);
        task.expect("a stack").join().expect("no panic");
    }
    first.join().expect("no panic");
    assert_eq!(ball.load(Ordering::SeqCst), 2 * hits);
}

#[test]
fn no_wake_up_is_lost_in_a_million_hand_overs_between_two_workers() {
    for model in [Model::Epoll, Model::Uring] {
        in_time(move || hand_overs(&runtime_of(model, 2), false, 250_000));
    }
}

#[test]
fn no_wake_up_is_lost_in_a_million_hand_overs_between_a_task_and_a_thread() {
    for model in [Model::Epoll, Model::Uring] {
        in_time(move || hand_overs(&runtime_of(model, 1), true, 250_000));
    }
}

#[test]
fn no_wake_up_is_lost_on_any_model() {
    in_time(|| {
        on_every_model(2, |runtime| {
            hand_overs(runtime, false, 5_000);
            hand_overs(runtime, true, 5_000);
        });
    });
}

#[test]
fn parks_with_deadlines_and_unparks_that_race_end_one_way_or_the_other() {
    in_time(|| {
        on_every_model(1, |runtime| {
            for round in 0..200_u64 {
                let (tx, rx) = mpsc::channel();
                let task = Spawn::new().spawn(runtime.handle(), move || {
                    tx.send(unparker()).expect("it is awaited");
                    let by = Instant::now() + Duration::from_micros(round % 100);
                    let first = park_until(Some(by));
                    // An unpark that came too late for the first park ends the second.
                    if first == Wake::TimedOut {
                        park();
                    }
                    first
                });
                rx.recv().expect("it begins").unpark();
                task.expect("a stack").join().expect("no panic");
            }
        });
    });
}

/// Waits for an end while another unpark of the caller comes, and returns how the caller's next
/// park ends.
fn wait_and_park(as_task: bool) -> Wake {
    assert_eq!(in_task(), as_task);
    let ends = Completions::new();
    let (tx, rx) = mpsc::channel();
    let (me, observer) = (unparker(), ends.observer(7));
    let other = thread::spawn(move || {
        rx.recv().expect("it is sent");
        me.unpark();
        // Time to see it: unparks do not add up.
        for _ in 0..1000 {
            thread::yield_now();
        }
        observer.notify();
    });
    tx.send(()).expect("it listens");
    assert!(ends.wait_for(&Reason::new("test", &ends), 1, None));
    assert_eq!(ends.pop(), Some(7));
    other.join().expect("no panic");
    park_until(Some(soon(500)))
}

#[test]
fn a_wait_for_ends_keeps_the_unparks_that_were_meant_for_others() {
    let runtime = runtime(1);
    // If the waiter was too late to see the first of the two unparks, both were one.
    let in_tasks = (0..50).any(|_| runtime.block_on(|| wait_and_park(true)) == Wake::Unparked);
    let on_threads = (0..50).any(|_| {
        let waiting = thread::spawn(|| wait_and_park(false));
        waiting.join().expect("no panic") == Wake::Unparked
    });
    assert!(in_tasks && on_threads, "in tasks {in_tasks}, on threads {on_threads}");
}
