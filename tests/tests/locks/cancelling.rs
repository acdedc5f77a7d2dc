//! A cancelled wait leaves nothing behind, and passes on what it was given.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fiveways::sync::{
    Barrier, Condvar, Event, LazyLock, Mutex, Once, OnceLock, RwLock, Semaphore, WaitGroup,
};
use fiveways::task::{self, JoinHandle};

use crate::support::{in_tasks, let_others_run};

fn assert_cancelled<T>(task: JoinHandle<T>) {
    let error = task.join().err().expect("it was cancelled");
    assert!(error.is_cancelled(), "{error}");
}

fn locks(mutex: &Arc<Mutex<u32>>) -> JoinHandle<()> {
    let mutex = Arc::clone(mutex);
    task::spawn_local(move || *mutex.lock().unwrap() += 1)
}

#[test]
fn a_task_cancelled_in_the_line_of_a_mutex_leaves_it() {
    in_tasks(1, || {
        let mutex = Arc::new(Mutex::new(0));
        let held = mutex.lock().unwrap();
        let (first, second) = (locks(&mutex), locks(&mutex));
        let_others_run();
        first.cancel();
        assert_cancelled(first);
        drop(held);
        second.join().unwrap();
        assert_eq!(*mutex.lock().unwrap(), 1, "and it is not poisoned");
    });
}

#[test]
fn a_task_cancelled_when_woken_for_a_mutex_wakes_the_next() {
    in_tasks(1, || {
        let mutex = Arc::new(Mutex::new(0));
        let held = mutex.lock().unwrap();
        let (first, second) = (locks(&mutex), locks(&mutex));
        let_others_run();
        drop(held);
        first.cancel();
        assert_cancelled(first);
        second.join().unwrap();
    });
}

#[test]
fn a_task_cancelled_when_handed_a_mutex_hands_it_on() {
    in_tasks(1, || {
        let mutex = Arc::new(Mutex::new(0));
        let held = mutex.lock().unwrap();
        let (first, second) = (locks(&mutex), locks(&mutex));
        let_others_run();
        drop(held);
        let barged = mutex.try_lock().expect("nobody has run");
        let_others_run();
        drop(barged);
        assert!(mutex.try_lock().is_err(), "it was handed over");
        first.cancel();
        assert_cancelled(first);
        second.join().unwrap();
        assert_eq!(*mutex.lock().unwrap(), 1);
    });
}

/// Unwound is unwound, whatever the reason.
#[test]
fn a_task_cancelled_while_it_holds_a_mutex_poisons_it() {
    in_tasks(1, || {
        let mutex = Arc::new(Mutex::new(0));
        let theirs = Arc::clone(&mutex);
        let holds = task::spawn_local(move || {
            let _guard = theirs.lock().unwrap();
            fiveways::time::sleep(Duration::from_secs(3600));
        });
        let_others_run();
        holds.cancel();
        assert_cancelled(holds);
        assert!(mutex.is_poisoned());
        mutex.clear_poison();
        let limited = task::timeout(Duration::from_millis(1), || {
            let _guard = mutex.lock().unwrap();
            fiveways::time::sleep(Duration::from_secs(3600));
        });
        assert!(limited.is_err() && mutex.is_poisoned());
    });
}

#[test]
fn a_time_limit_unwinds_a_wait_for_a_lock_and_leaves_it_good() {
    in_tasks(1, || {
        let mutex = Arc::new(Mutex::new(0));
        let theirs = Arc::clone(&mutex);
        let held = mutex.lock().unwrap();
        let waits = task::spawn_local(move || {
            task::timeout(Duration::from_millis(1), || drop(theirs.lock().unwrap())).is_err()
        });
        assert!(waits.join().unwrap());
        drop(held);
        assert!(mutex.lock().is_ok());
    });
}

#[test]
fn a_permit_given_to_a_cancelled_task_goes_to_the_next() {
    in_tasks(1, || {
        let rooms = Arc::new(Semaphore::new(0));
        let acquires = || {
            let rooms = Arc::clone(&rooms);
            task::spawn_local(move || rooms.acquire().forget())
        };
        let (first, second, third) = (acquires(), acquires(), acquires());
        let_others_run();
        third.cancel();
        assert_cancelled(third);
        rooms.release(1);
        first.cancel();
        assert_cancelled(first);
        second.join().unwrap();
        rooms.release(1);
        assert_eq!(rooms.available(), 1, "nobody is in line any more");
    });
}

#[test]
fn a_notification_given_to_a_cancelled_task_goes_to_the_next() {
    in_tasks(1, || {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let waits = || {
            let shared = Arc::clone(&shared);
            task::spawn_local(move || drop(shared.1.wait(shared.0.lock().unwrap())))
        };
        let (first, second, third) = (waits(), waits(), waits());
        let_others_run();
        shared.1.notify_one();
        first.cancel();
        assert_cancelled(first);
        second.join().unwrap();
        assert!(!third.is_finished());
        third.cancel();
        assert_cancelled(third);
        assert!(!shared.0.is_poisoned(), "who waits does not hold the mutex");
    });
}

/// Notified, but unwound before it had the mutex back.
#[test]
fn a_notification_is_passed_on_by_who_is_cancelled_while_it_locks_again() {
    in_tasks(1, || {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let waits = || {
            let shared = Arc::clone(&shared);
            task::spawn_local(move || drop(shared.1.wait(shared.0.lock().unwrap())))
        };
        let (first, second) = (waits(), waits());
        let_others_run();
        let held = shared.0.lock().unwrap();
        shared.1.notify_one();
        let_others_run();
        first.cancel();
        assert_cancelled(first);
        drop(held);
        second.join().unwrap();
    });
}

#[test]
fn a_cancelled_writer_lets_the_readers_behind_it_in() {
    in_tasks(1, || {
        let lock = Arc::new(RwLock::new(0));
        let held = lock.read().unwrap();
        let theirs = Arc::clone(&lock);
        let writes = task::spawn_local(move || *theirs.write().unwrap() += 1);
        let_others_run();
        let theirs = Arc::clone(&lock);
        let reads = task::spawn_local(move || *theirs.read().unwrap());
        let_others_run();
        assert!(!reads.is_finished());
        writes.cancel();
        assert_cancelled(writes);
        assert_eq!(reads.join().unwrap(), 0, "it reads while we do");
        drop(held);
        assert!(lock.try_write().is_ok());
    });
}

#[test]
fn a_cancelled_writer_that_was_served_hands_the_lock_on() {
    in_tasks(1, || {
        let lock = Arc::new(RwLock::new(0));
        let held = lock.read().unwrap();
        let writes = || {
            let lock = Arc::clone(&lock);
            task::spawn_local(move || *lock.write().unwrap() += 1)
        };
        let (first, second) = (writes(), writes());
        let_others_run();
        drop(held);
        first.cancel();
        assert_cancelled(first);
        second.join().unwrap();
        assert_eq!(*lock.try_read().unwrap(), 1);
    });
}

#[test]
fn a_task_cancelled_at_a_barrier_has_not_come() {
    in_tasks(1, || {
        let barrier = Arc::new(Barrier::new(2));
        let comes = || {
            let barrier = Arc::clone(&barrier);
            task::spawn_local(move || barrier.wait().is_leader())
        };
        let first = comes();
        let_others_run();
        first.cancel();
        assert_cancelled(first);
        let second = comes();
        let_others_run();
        assert!(!second.is_finished());
        assert!(barrier.wait().is_leader());
        assert!(!second.join().unwrap());
    });
}

#[test]
fn cancelled_waits_for_events_and_groups_leave_nothing_behind() {
    in_tasks(1, || {
        let event = Arc::new(Event::new());
        let group = Arc::new(WaitGroup::new());
        let member = group.add();
        let (theirs, their_group) = (Arc::clone(&event), Arc::clone(&group));
        let first = task::spawn_local(move || theirs.wait());
        let second = task::spawn_local(move || their_group.wait());
        let_others_run();
        first.cancel();
        second.cancel();
        assert_cancelled(first);
        assert_cancelled(second);
        event.set();
        member.done();
        event.wait();
        group.wait();
        assert_eq!(Arc::strong_count(&event), 1);
    });
}

/// What runs once must not be lost to all because its first user is cancelled.
#[test]
fn a_cancelled_initialiser_runs_to_its_end() {
    static LAZY: LazyLock<u32> = LazyLock::new(|| {
        fiveways::time::sleep(Duration::from_millis(5));
        7
    });
    in_tasks(1, || {
        let once = Arc::new(Once::new());
        let theirs = Arc::clone(&once);
        let runs = task::spawn_local(move || {
            theirs.call_once(|| fiveways::time::sleep(Duration::from_millis(5)));
            task::yield_now();
        });
        let forces = task::spawn_local(|| {
            let _ = task::timeout(Duration::from_millis(1), || *LAZY);
            task::yield_now();
        });
        let_others_run();
        runs.cancel();
        forces.cancel();
        assert_cancelled(runs);
        assert_cancelled(forces);
        assert!(once.is_completed());
        assert_eq!(*LAZY, 7);
    });
}

/// It is protected from limits without, not from those that it sets itself.
#[test]
fn an_initialiser_may_limit_its_own_time() {
    const LATE: Duration = Duration::from_secs(10);
    in_tasks(1, || {
        let started = Instant::now();
        let once = Once::new();
        let mut inner = None;
        let outer = task::timeout(Duration::from_millis(1), || {
            once.call_once(|| {
                let nap = || fiveways::time::sleep(LATE);
                inner = Some(task::timeout(Duration::from_millis(5), nap));
            });
            // The limit without is over by now, and counts again.
            task::yield_now();
        });
        assert!(inner.is_some_and(|inner| inner.is_err()) && outer.is_err());
        assert!(once.is_completed() && started.elapsed() < LATE);
    });
}

#[test]
fn a_cancelled_maker_of_a_once_lock_leaves_it_to_the_next() {
    in_tasks(1, || {
        let cell = Arc::new(OnceLock::new());
        let theirs = Arc::clone(&cell);
        let makes = task::spawn_local(move || {
            theirs.get_or_init(|| {
                fiveways::time::sleep(Duration::from_secs(3600));
                1
            });
        });
        let_others_run();
        let theirs = Arc::clone(&cell);
        let next = task::spawn_local(move || *theirs.get_or_init(|| 2));
        let_others_run();
        makes.cancel();
        assert_cancelled(makes);
        assert_eq!(next.join().unwrap(), 2);
    });
}

/// Locking in a destructor that runs because its task unwinds: the thread waits in its place.
#[test]
fn a_destructor_may_lock_while_its_task_unwinds() {
    struct Counts(Arc<Mutex<u32>>);
    impl Drop for Counts {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    let mutex = Arc::new(Mutex::new(0));
    let counts = Counts(Arc::clone(&mutex));
    let (held, release) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let (theirs, hold, wait) = (Arc::clone(&mutex), Arc::clone(&held), Arc::clone(&release));
    let holder = thread::spawn(move || {
        let mut guard = theirs.lock().unwrap();
        hold.set();
        wait.wait();
        *guard += 1;
    });
    held.wait();
    in_tasks(1, move || {
        let unwinds = task::spawn_local(move || {
            let _counts = counts;
            release.set();
            panic!("as planned");
        });
        assert!(unwinds.join().is_err_and(|error| error.is_panic()));
    });
    holder.join().unwrap();
    assert_eq!(*mutex.lock().unwrap(), 2);
}

/// Permits, the mutex and the gauge survive cancellations that come at any time, from another
/// thread.
#[test]
fn cancellations_at_any_time_lose_nothing() {
    const PERMITS: usize = 3;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..30 {
        let rooms = Arc::new(Semaphore::new(PERMITS));
        let mutex = Arc::new(Mutex::new(0_u32));
        let inside = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let pick = random.fork();
        let (their_rooms, their_mutex) = (Arc::clone(&rooms), Arc::clone(&mutex));
        in_tasks(2, move || {
            let visit = || {
                let (rooms, mutex) = (Arc::clone(&their_rooms), Arc::clone(&their_mutex));
                let (inside, stop) = (Arc::clone(&inside), Arc::clone(&stop));
                move || visits(&rooms, &mutex, &inside, &stop)
            };
            let tasks: Vec<_> = (0..40).map(|_| task::spawn(visit())).collect();
            let spared = Arc::new(OnceLock::new());
            let theirs = Arc::clone(&spared);
            let canceller = thread::spawn(move || {
                let spared = Mutex::new(cancel_some(pick, tasks));
                theirs.set(spared).expect("it is set once");
            });
            let spared = mem::take(&mut *spared.wait().lock().unwrap());
            canceller.join().expect("it does not panic");
            for task in spared {
                // The rest is told to come to an end.
                stop.store(true, Ordering::Relaxed);
                let ended = task.join();
                assert!(ended.is_ok_and(|fine| fine));
            }
        });
        assert_eq!(rooms.available(), PERMITS);
        assert!(mutex.try_lock().is_ok());
    }
}

/// Goes in and out until told to stop, or cancelled where it waits, holding nothing but a permit.
fn visits(rooms: &Semaphore, mutex: &Mutex<u32>, inside: &AtomicUsize, stop: &AtomicBool) -> bool {
    struct Leaves<'a>(&'a AtomicUsize);
    impl Drop for Leaves<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let mut fine = true;
    while !stop.load(Ordering::Relaxed) {
        let _permit = rooms.acquire();
        fine &= inside.fetch_add(1, Ordering::SeqCst) < 3;
        let _leaves = Leaves(inside);
        task::yield_now();
        *mutex.lock().unwrap() += 1;
    }
    fine
}

fn cancel_some(mut random: fastrand::Rng, tasks: Vec<JoinHandle<bool>>) -> Vec<JoinHandle<bool>> {
    let mut left = Vec::new();
    for task in tasks {
        (0..random.u32(..2000)).for_each(|_| std::hint::spin_loop());
        if random.u32(..4) == 0 {
            left.push(task);
        } else {
            task.cancel();
            let error = task.join().expect_err("it goes on for ever");
            assert!(error.is_cancelled(), "{error}");
        }
    }
    left
}
