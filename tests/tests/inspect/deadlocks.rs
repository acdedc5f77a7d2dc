//! Deadlocks are found, all of them and no others.

use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use fiveways::inspect::{
    Deadlock, Detection, Identity, deadlocks_found, detect_deadlocks, incidents,
};
use fiveways::runtime::Runtime;
use fiveways::sync::{Barrier, Mutex};
use fiveways::task::{JoinError, JoinHandle};
use fiveways::{Model, task, time};
use fiveways_tests::patience::{LONG, Watchdog};

use crate::outside::Inspected;

/// What is counted here belongs to the process: one test at a time, and each says what is done.
static ALONE: StdMutex<()> = StdMutex::new(());

pub(crate) fn alone(detection: Detection) -> Alone {
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    detect_deadlocks(detection);
    let watchdog = Watchdog::new("a search for deadlocks".to_owned(), LONG);
    Alone { _guard: guard, _watchdog: watchdog }
}

/// Has deadlocks reported again when it is dropped. A deadlock that is not found is a hang, which
/// the watchdog ends.
pub(crate) struct Alone {
    _guard: MutexGuard<'static, ()>,
    _watchdog: Watchdog,
}

impl Drop for Alone {
    fn drop(&mut self) {
        detect_deadlocks(Detection::Report);
    }
}

pub(crate) fn runtime(workers: usize) -> Runtime {
    Runtime::builder().model(Model::Epoll).workers(workers).build().expect("a runtime")
}

/// Takes two locks one after the other, with a pause in between that lets the other side do so.
fn take_both(first: &Mutex<()>, second: &Mutex<()>, pause: &Barrier) {
    let _first = first.lock();
    pause.wait();
    let _second = second.lock();
}

/// Two tasks take two locks in opposite orders; gives how they ended.
fn cross() -> [Result<(), JoinError>; 2] {
    let (a, b) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
    let pause = Arc::new(Barrier::new(2));
    let (a2, b2, pause2) = (Arc::clone(&a), Arc::clone(&b), Arc::clone(&pause));
    let one = task::spawn(move || take_both(&a, &b, &pause));
    let other = task::spawn(move || take_both(&b2, &a2, &pause2));
    [one.join(), other.join()]
}

fn circle_of(error: JoinError) -> Vec<Identity> {
    let payload = error.into_panic();
    let deadlock = payload.downcast::<Deadlock>().expect("the panic of a deadlock");
    deadlock.members().collect()
}

/// C46, S004-01: with a pause between the two locks every run is a deadlock, and every one is
/// found; one side panics, its lock is let go, and the other side ends.
fn every_cross_is_found(workers: usize, runs: u64) {
    let _alone = alone(Detection::Panic);
    let before = deadlocks_found();
    runtime(workers).block_on(move || {
        for run in 0..runs {
            let [one, other] = cross();
            let failed: Vec<_> = [one, other].into_iter().filter_map(Result::err).collect();
            assert_eq!(failed.len(), 1, "run {run}");
            for error in failed {
                assert!(error.to_string().contains("deadlock"), "{error}");
                assert_eq!(circle_of(error).len(), 2, "run {run}");
            }
        }
    });
    assert_eq!(deadlocks_found() - before, runs);
}

#[test]
fn every_cross_of_two_locks_is_found_on_one_worker_heavy() {
    every_cross_is_found(1, 500);
}

#[test]
fn every_cross_of_two_locks_is_found_on_two_workers_heavy() {
    every_cross_is_found(2, 500);
}

/// C46: tasks that take locks in one order are never reported, however contended the locks are.
#[test]
fn ordered_locks_are_never_called_a_deadlock() {
    let _alone = alone(Detection::Panic);
    let before = deadlocks_found();
    runtime(2).block_on(|| {
        let locks: Arc<[Mutex<u64>]> = (0..3).map(|_| Mutex::new(0)).collect();
        let tasks: Vec<_> = (0..16)
            .map(|number| {
                let locks = Arc::clone(&locks);
                task::spawn(move || contend(&locks, number))
            })
            .collect();
        for task in tasks {
            task.join().expect("no deadlock");
        }
        assert_eq!(*locks[0].lock().expect("no panic"), 16 * 200);
    });
    assert_eq!(deadlocks_found(), before);
}

fn contend(locks: &[Mutex<u64>], number: usize) {
    for step in 0..200 {
        let mut first = locks[0].lock().expect("no panic");
        *first += 1;
        let _second = (step % 2 == 0).then(|| locks[1].lock().expect("no panic"));
        if (step + number).is_multiple_of(5) {
            task::yield_now();
        }
        let _third = locks[2].lock().expect("no panic");
    }
}

/// A wait that has a deadline ends by itself: S004-01's way out is no deadlock.
#[test]
fn a_wait_with_a_deadline_is_no_part_of_a_circle() {
    let _alone = alone(Detection::Panic);
    let before = deadlocks_found();
    runtime(1).block_on(|| {
        let (a, b) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
        let pause = Arc::new(Barrier::new(2));
        let (a2, b2, pause2) = (Arc::clone(&a), Arc::clone(&b), Arc::clone(&pause));
        let limited = task::spawn(move || {
            let _b = b2.lock();
            pause2.wait();
            task::timeout(Duration::from_millis(20), || drop(a2.lock())).is_err()
        });
        take_both(&a, &b, &pause);
        assert!(limited.join().expect("no panic"), "its time was over");
    });
    assert_eq!(deadlocks_found(), before);
}

/// A task that joins itself waits for ever.
#[test]
fn a_task_that_joins_itself_is_found() {
    let _alone = alone(Detection::Panic);
    let before = deadlocks_found();
    runtime(1).block_on(move || {
        let own = Arc::new(StdMutex::new(None::<JoinHandle<()>>));
        let theirs = Arc::clone(&own);
        let task = task::spawn(move || {
            task::spawn(|| ()).join().expect("another can be joined");
            let me = loop {
                task::yield_now();
                if let Some(me) = theirs.lock().expect("no panic").take() {
                    break me;
                }
            };
            drop(me.join());
        });
        *own.lock().expect("no panic") = Some(task);
        while deadlocks_found() == before {
            time::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(deadlocks_found() - before, 1);
}

/// Two tasks that join each other wait for ever.
#[test]
fn tasks_that_join_each_other_are_found() {
    let _alone = alone(Detection::Panic);
    let before = deadlocks_found();
    type Slot = Arc<StdMutex<Option<JoinHandle<()>>>>;
    fn take(slot: &Slot) -> JoinHandle<()> {
        loop {
            task::yield_now();
            if let Some(handle) = slot.lock().expect("no panic").take() {
                return handle;
            }
        }
    }
    runtime(2).block_on(move || {
        let (one, other) = (Slot::default(), Slot::default());
        let (to_one, to_other) = (Arc::clone(&one), Arc::clone(&other));
        let first = task::spawn(move || drop(take(&to_one).join()));
        let second = task::spawn(move || drop(take(&to_other).join()));
        *one.lock().expect("no panic") = Some(second);
        *other.lock().expect("no panic") = Some(first);
        while deadlocks_found() == before {
            time::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(deadlocks_found() - before, 1);
}

/// Plain threads are found as tasks are.
#[test]
fn a_circle_of_a_task_and_a_plain_thread_is_found() {
    let _alone = alone(Detection::Panic);
    let before = deadlocks_found();
    let runtime = runtime(1);
    let (a, b) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
    let pause = Arc::new(Barrier::new(2));
    let (a2, b2, pause2) = (Arc::clone(&a), Arc::clone(&b), Arc::clone(&pause));
    let task = task::Builder::new().name("crossing");
    let task = runtime.block_on(move || task.spawn(move || take_both(&b2, &a2, &pause2)));
    let thread = std::thread::spawn(move || take_both(&a, &b, &pause));
    let ends = (thread.join().is_err(), task.expect("a stack").join().is_err());
    assert!(ends.0 != ends.1, "one of them panics: {ends:?}");
    assert_eq!(deadlocks_found() - before, 1);
    assert_eq!(incidents(), 0);
}

/// S004-01: the report names the tasks, the places and both backtraces.
#[test]
fn a_report_tells_who_waits_where_for_whom() {
    let mut program = Inspected::start("cross", &[("FIVEWAYS_DEADLOCK", "report")]);
    let text = program.stderr_until("cross_second");
    let text = text + &program.stderr_until("cross_first");
    for part in ["deadlock: each of these waits for the next", "'first'", "'second'"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(text.contains("waits for mutex of task "), "{text}");
    assert!(text.matches("fiveways-inspected.rs").count() >= 4, "{text}");
}

/// All tasks asleep and nothing to wake them: told once; not of a server, nor of a sleeper.
#[test]
fn a_program_whose_tasks_are_all_asleep_is_told_of() {
    let mut program = Inspected::start("stuck", &[("FIVEWAYS_DEADLOCK", "report")]);
    let text = program.stderr_until("'main'");
    assert!(text.contains("all tasks are asleep: deadlock!\n"), "{text}");
}

#[test]
fn a_server_that_nobody_asks_is_not_told_of() {
    let mut program = Inspected::start("idle", &[("FIVEWAYS_DEADLOCK", "report")]);
    // It ends by itself after a few seconds of idling.
    assert_eq!(program.stderr_to_the_end(), "");
}

/// A waiter with a deadline can wake others: tasks of another runtime, and plain threads.
#[test]
fn tasks_that_somebody_will_wake_in_time_are_not_told_of() {
    let mut program = Inspected::start("helped", &[("FIVEWAYS_DEADLOCK", "report")]);
    assert_eq!(program.stderr_to_the_end(), "");
}
