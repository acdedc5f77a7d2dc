//! Semaphores, events, wait groups and reentrant mutexes; and the way out of a deadlock.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fiveways::sync::{
    Barrier, BoundedSemaphore, Event, Mutex, Once, ReentrantMutex, RwLock, Semaphore, WaitGroup,
};
use fiveways::task;
use fiveways_tests::patience::LONG;

use crate::support::{in_tasks, let_others_run};

const SHORT: Duration = Duration::from_millis(10);

/// S004-01: two locks taken in opposite orders, each held until the other task has its own.
#[test]
fn a_time_limit_is_the_way_out_of_a_deadlock() {
    let escaped = in_tasks(2, || {
        let locks = Arc::new((Mutex::new(()), Mutex::new(()), Barrier::new(2)));
        let theirs = Arc::clone(&locks);
        let other = task::spawn(move || {
            let _second = theirs.1.lock().unwrap();
            theirs.2.wait();
            theirs.0.lock_timeout(SHORT).is_err()
        });
        let first = locks.0.lock().unwrap();
        locks.2.wait();
        let second = locks.1.lock_timeout(LONG);
        let had = second.is_ok();
        drop((first, second));
        (had, other.join().unwrap())
    });
    assert_eq!(escaped, (true, true), "the one gave up, so the other had both");
}

/// S004-02: a lock is let go with its guard, also by a panic.
#[test]
fn guards_let_go_at_the_end_of_their_scope() {
    let mutex = Arc::new(Mutex::new(0));
    let theirs = Arc::clone(&mutex);
    let panics = thread::spawn(move || {
        let _guard = theirs.lock();
        panic!("as planned");
    });
    assert!(panics.join().is_err());
    assert!(mutex.lock_timeout(SHORT).is_err_and(|error| error.to_string().contains("poisoned")));
    mutex.clear_poison();
    {
        *mutex.lock().unwrap() += 1;
    }
    assert_eq!(*mutex.try_lock().unwrap(), 1);
}

/// S004-04, S004-05, C45: taken n times, it is let go with the n-th.
#[test]
fn a_reentrant_mutex_is_had_by_others_after_the_last_release() {
    const TIMES: usize = 5;
    let lock = Arc::new(ReentrantMutex::new(Cell::new(0)));
    let had_elsewhere = |lock: &Arc<ReentrantMutex<Cell<i32>>>| {
        let theirs = Arc::clone(lock);
        let other = move || (theirs.try_lock().is_some(), theirs.lock_timeout(SHORT).is_some());
        thread::spawn(other).join().expect("it does not panic")
    };
    let mut guards: Vec<_> = (0..TIMES).map(|_| lock.lock()).collect();
    assert!(lock.try_lock().is_some() && lock.lock_timeout(SHORT).is_some());
    for left in (1..=TIMES).rev() {
        assert_eq!(lock.count(), left);
        assert_eq!(had_elsewhere(&lock), (false, false));
        drop(guards.pop());
    }
    assert_eq!(lock.count(), 0);
    assert_eq!(had_elsewhere(&lock), (true, true));
}

/// D51: two tasks of one thread do not both get in.
#[test]
fn a_reentrant_mutex_belongs_to_the_task() {
    in_tasks(1, || {
        let lock = Arc::new(ReentrantMutex::new(Cell::new(0)));
        let (first, second) = (lock.lock(), lock.lock());
        let theirs = Arc::clone(&lock);
        let other = task::spawn_local(move || {
            assert!(theirs.try_lock().is_none(), "the neighbour got in");
            assert_eq!(theirs.count(), 0);
            theirs.lock().get()
        });
        let_others_run();
        first.set(1);
        drop(first);
        let_others_run();
        assert!(!other.is_finished());
        second.set(2);
        drop(second);
        assert_eq!(other.join().unwrap(), 2);
    });
}

/// S004-06, C47: 100 threads and tasks, 5 permits.
#[test]
fn a_semaphore_admits_no_more_than_its_permits() {
    static ROOMS: Semaphore = Semaphore::new(5);
    static INSIDE: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let visit = || {
        for _ in 0..20 {
            let _permit = ROOMS.acquire();
            let inside = INSIDE.fetch_add(1, Ordering::SeqCst) + 1;
            MOST.fetch_max(inside, Ordering::SeqCst);
            task::yield_now();
            INSIDE.fetch_sub(1, Ordering::SeqCst);
        }
    };
    let threads: Vec<_> = (0..50).map(|_| thread::spawn(visit)).collect();
    in_tasks(2, move || {
        let tasks: Vec<_> = (0..50).map(|_| task::spawn(visit)).collect();
        tasks.into_iter().for_each(|task| task.join().unwrap());
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(MOST.load(Ordering::SeqCst), 5);
    assert_eq!(ROOMS.available(), 5);
}

/// S000-12.
#[test]
fn a_semaphore_has_try_and_timeout_forms() {
    let rooms = Semaphore::new(1);
    let permit = rooms.try_acquire().expect("it is free");
    assert!(rooms.try_acquire().is_none());
    assert!(rooms.acquire_timeout(SHORT).is_none());
    drop(permit);
    assert!(rooms.acquire_timeout(LONG).is_some());
    rooms.acquire().forget();
    assert_eq!(rooms.available(), 0);
    rooms.release(3);
    assert_eq!(rooms.available(), 3, "anybody may add permits");
}

/// S000-12: a permit goes with what it was acquired for, and keeps its semaphore meanwhile.
#[test]
fn an_owned_permit_is_given_back_wherever_it_ends() {
    let rooms = Arc::new(Semaphore::new(2));
    let first = rooms.acquire_owned();
    let second = rooms.try_acquire_owned().expect("it is free");
    assert!(rooms.try_acquire_owned().is_none());
    assert!(rooms.acquire_owned_timeout(SHORT).is_none());
    in_tasks(1, move || task::spawn(move || drop(first)).join().unwrap());
    assert_eq!(rooms.available(), 1);
    thread::spawn(move || second.forget()).join().unwrap();
    assert_eq!(rooms.available(), 1, "one was kept");
    let last = rooms.acquire_owned_timeout(LONG).expect("it is free");
    let weak = Arc::downgrade(&rooms);
    drop(rooms);
    assert!(weak.upgrade().is_some(), "the permit keeps the semaphore");
    drop(last);
    assert!(weak.upgrade().is_none(), "also a permit that was forgotten has let it go");
}

/// S000-12: what is released beside a permit fills its place.
#[test]
fn an_owned_permit_of_a_bounded_semaphore_never_adds_one_too_many() {
    let rooms = Arc::new(BoundedSemaphore::new(1));
    let permit = rooms.acquire_owned();
    assert!(rooms.try_acquire_owned().is_none());
    assert!(rooms.acquire_owned_timeout(SHORT).is_none());
    rooms.release(1).expect("in its place");
    drop(permit);
    assert_eq!(rooms.available(), 1, "its place had been filled");
    rooms.acquire_owned_timeout(LONG).expect("it is free").forget();
    assert_eq!(rooms.available(), 0);
    rooms.release(1).expect("it was forgotten");
    drop(rooms.try_acquire_owned().expect("it is free"));
    assert!(rooms.release(1).is_err());
}

/// S004-06, C47: a waiter for an owned permit is in the same queue.
#[test]
fn owned_permits_are_waited_for_and_passed_on() {
    in_tasks(1, || {
        let rooms = Arc::new(Semaphore::new(1));
        let held = rooms.acquire_owned();
        let acquires = || {
            let rooms = Arc::clone(&rooms);
            task::spawn_local(move || rooms.acquire_owned())
        };
        let (first, second) = (acquires(), acquires());
        let_others_run();
        assert!(!first.is_finished());
        drop(held);
        first.cancel();
        assert!(first.join().is_err_and(|error| error.is_cancelled()));
        let permit = second.join().unwrap();
        assert_eq!(rooms.available(), 0);
        drop(permit);
        assert_eq!(rooms.available(), 1);
    });
}

/// S004-06.
#[test]
fn a_bounded_semaphore_refuses_what_is_too_much() {
    let rooms = Arc::new(BoundedSemaphore::new(2));
    assert!(rooms.release(1).is_err());
    rooms.acquire().forget();
    let error = rooms.release(2).expect_err("only one is out");
    assert_eq!((error.permits, error.free, error.bound), (2, 1, 2));
    assert_eq!(rooms.available(), 1, "a refused release changes nothing");
    rooms.release(1).expect("one is out");
    in_tasks(1, move || {
        let (first, second) = (rooms.acquire(), rooms.acquire());
        let theirs = Arc::clone(&rooms);
        let waits = task::spawn_local(move || drop(theirs.acquire()));
        let_others_run();
        assert!(rooms.release(3).is_err(), "who waits does not raise the bound");
        drop(first);
        waits.join().unwrap();
        drop(second);
        assert_eq!(rooms.available(), 2);
    });
}

/// S000-11, S004-08, S004-10, S004-11, C77: nobody starts before `set`, all start after it.
#[test]
fn event_waiters_start_only_after_set() {
    let start = Arc::new(Event::new());
    let fired = Arc::new(AtomicBool::new(false));
    let arrived = WaitGroup::new();
    let run = |start: &Arc<Event>, fired: &Arc<AtomicBool>| {
        let (start, fired, here) = (Arc::clone(start), Arc::clone(fired), arrived.add());
        move || {
            here.done();
            start.wait();
            assert!(fired.load(Ordering::SeqCst), "it started before the signal");
        }
    };
    let threads: Vec<_> = (0..10).map(|_| thread::spawn(run(&start, &fired))).collect();
    let runs: Vec<_> = (0..10).map(|_| run(&start, &fired)).collect();
    let theirs = Arc::clone(&start);
    let tasks = thread::spawn(move || {
        in_tasks(2, move || {
            let tasks: Vec<_> = runs.into_iter().map(task::spawn).collect();
            tasks.into_iter().for_each(|task| task.join().unwrap());
            assert!(theirs.wait_timeout(Duration::ZERO), "it stays set");
        });
    });
    arrived.wait();
    assert!(!start.is_set());
    assert!(!start.wait_timeout(SHORT));
    fired.store(true, Ordering::SeqCst);
    start.set();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    tasks.join().unwrap();
    start.clear();
    assert!(!start.is_set());
    assert!(!start.wait_timeout(SHORT), "cleared, one waits again");
}

/// S004-11.
#[test]
fn who_waits_when_an_event_is_set_goes_on_even_if_it_is_cleared() {
    in_tasks(1, || {
        let event = Arc::new(Event::new());
        let theirs = Arc::clone(&event);
        let waits = task::spawn_local(move || theirs.wait());
        let_others_run();
        event.set();
        event.clear();
        waits.join().unwrap();
    });
}

#[test]
fn a_wait_group_waits_for_all_members_however_they_end() {
    let group = WaitGroup::new();
    group.wait();
    let done = Arc::new(AtomicUsize::new(0));
    let members: Vec<_> = (0..10)
        .map(|number| {
            let (member, done) = (group.add(), Arc::clone(&done));
            thread::spawn(move || {
                let _member = member;
                done.fetch_add(1, Ordering::SeqCst);
                assert!(number % 2 == 0, "as planned");
            })
        })
        .collect();
    group.wait();
    assert_eq!(done.load(Ordering::SeqCst), 10);
    members.into_iter().for_each(|member| drop(member.join()));
    let late = group.add();
    assert!(!group.wait_timeout(SHORT));
    late.clone().done();
    assert_eq!(group.len(), 1);
    late.done();
    assert!(group.wait_timeout(LONG));
}

#[test]
fn a_wait_group_waits_for_the_last_member() {
    in_tasks(1, || {
        let group = Arc::new(WaitGroup::new());
        let (first, second) = (group.add(), group.add());
        let theirs = Arc::clone(&group);
        let waits = task::spawn_local(move || theirs.wait());
        let_others_run();
        first.done();
        let_others_run();
        assert!(!waits.is_finished());
        second.done();
        waits.join().unwrap();
    });
}

/// A task parks and its worker goes on; a thread blocks; both wait for one lock.
#[test]
fn tasks_and_threads_wait_for_the_same_lock() {
    let mutex = Arc::new(Mutex::new(0_u32));
    let add = |mutex: &Arc<Mutex<u32>>| {
        let mutex = Arc::clone(mutex);
        move || {
            for _ in 0..500 {
                let mut guard = mutex.lock().unwrap();
                let before = *guard;
                task::yield_now();
                *guard = before + 1;
            }
        }
    };
    let threads: Vec<_> = (0..3).map(|_| thread::spawn(add(&mutex))).collect();
    let adds: Vec<_> = (0..3).map(|_| add(&mutex)).collect();
    in_tasks(1, move || {
        let tasks: Vec<_> = adds.into_iter().map(task::spawn_local).collect();
        let began = Instant::now();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        assert!(began.elapsed() < LONG);
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(*mutex.lock().unwrap(), 3000);
}

/// What a static needs.
#[test]
fn locks_are_made_at_compile_time() {
    static ONCE: Once = Once::new();
    static LOCK: RwLock<[u8; 2]> = RwLock::new([1, 2]);
    static ROOMS: BoundedSemaphore = BoundedSemaphore::new(1);
    static OWN: ReentrantMutex<u8> = ReentrantMutex::new(3);
    ONCE.call_once(|| {});
    let permit = ROOMS.acquire();
    assert_eq!(LOCK.read().unwrap()[1] + *OWN.lock(), 5);
    drop(permit);
}
