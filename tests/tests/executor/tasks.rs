//! Tasks and pools: a task that waits is suspended, and its worker goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fiveways::executor::{ReturnWhen, as_completed, wait};
use fiveways::runtime::Runtime;
use fiveways::task;

use crate::support::{Hold, in_time, pool};

fn runtime() -> Runtime {
    Runtime::builder().build().expect("a runtime")
}

/// S004-26, S000-10: all on one worker: were it blocked, nobody would let the work end.
#[test]
fn a_task_that_waits_lets_its_worker_go_on() {
    let _watchdog = in_time();
    runtime().block_on(|| {
        let pool = Arc::new(pool(1));
        let hold = Hold::of(&pool);
        let (future, theirs) = (hold.future.clone(), Arc::clone(&pool));
        let waiters = [
            task::spawn_local({
                let future = future.clone();
                move || future.result().expect("no panic")
            }),
            task::spawn_local({
                let future = future.clone();
                move || assert!(as_completed([future]).next().expect("one").is_done())
            }),
            task::spawn_local({
                let future = future.clone();
                move || assert_eq!(wait([future], ReturnWhen::AllCompleted, None).done.len(), 1)
            }),
            task::spawn_local(move || theirs.shutdown()),
        ];
        for _ in 0..10 {
            task::yield_now();
        }
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        hold.end();
        waiters.into_iter().for_each(|waiter| waiter.join().expect("no panic"));
    });
}

/// S004-26: the waiter goes, the work stays.
#[test]
fn a_cancelled_task_leaves_its_wait_and_the_work_goes_on() {
    let _watchdog = in_time();
    runtime().block_on(|| {
        let pool = pool(1);
        let hold = Hold::of(&pool);
        let future = hold.future.clone();
        let waiter = task::spawn_local(move || future.result());
        let limited = hold.future.clone();
        let limited = task::spawn_local(move || {
            task::timeout(Duration::from_millis(5), || limited.result()).is_err()
        });
        task::yield_now();
        waiter.cancel();
        assert!(waiter.join().expect_err("cancelled").is_cancelled());
        assert!(limited.join().expect("no panic"), "the scope's limit came");
        hold.end();
    });
}

/// C42, C43: nobody is forgotten, with threads and tasks of several workers waiting for the same.
#[test]
fn everybody_who_waits_is_woken() {
    let _watchdog = in_time();
    let runtime = Runtime::builder().workers(2).build().expect("a runtime");
    let pool = Arc::new(pool(2));
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let woken = Arc::new(AtomicUsize::new(0));
    for round in 0..300 {
        let pause = random.u64(..200);
        let work = move || std::thread::sleep(Duration::from_micros(pause));
        let future = pool.submit(work).expect("it is open");
        let cancels = random.u32(..4) == 0;
        let (ours, count) = (future.clone(), Arc::clone(&woken));
        let limit = Duration::from_micros(random.u64(..400));
        runtime.block_on(move || {
            let wait = |n: u32| {
                let (future, count) = (ours.clone(), Arc::clone(&count));
                task::spawn(move || {
                    let early = n.is_multiple_of(3) && future.result_timeout(limit).is_err();
                    // A cancelled one has ended, too.
                    let _ = future.result();
                    count.fetch_add(1, Ordering::SeqCst);
                    early
                })
            };
            let waiters: Vec<_> = (0..8).map(wait).collect();
            if cancels {
                ours.cancel();
            }
            waiters.into_iter().for_each(|waiter| {
                waiter.join().expect("no panic");
            });
        });
        assert_eq!(woken.load(Ordering::SeqCst), 8 * (round + 1), "seed {seed}");
    }
}
