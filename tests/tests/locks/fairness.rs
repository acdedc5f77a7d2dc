//! Waiters are served: exactly when, and however busy others are.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use fiveways::sync::{Mutex, RwLock, Semaphore};
use fiveways::task;
use fiveways_tests::patience::LONG;

use crate::support::{in_tasks, let_others_run};

/// A waiter may be overtaken once; the second time the lock is handed to it.
#[test]
fn a_waiter_is_woken_in_vain_once_at_most() {
    in_tasks(1, || {
        let mutex = Arc::new(Mutex::new(0));
        let held = mutex.lock().unwrap();
        let theirs = Arc::clone(&mutex);
        let waits = task::spawn_local(move || *theirs.lock().unwrap() += 1);
        let_others_run();
        drop(held);
        let barged = mutex.try_lock().expect("it was woken, but has not run");
        let_others_run();
        assert!(!waits.is_finished());
        drop(barged);
        assert!(mutex.try_lock().is_err(), "overtaken twice");
        waits.join().unwrap();
        assert_eq!(*mutex.lock().unwrap(), 1);
    });
}

/// Served in the order in which they came.
#[test]
fn waiters_are_served_in_turn() {
    in_tasks(1, || {
        let order = Rc::new(RefCell::new(Vec::new()));
        let (mutex, rooms) = (Arc::new(Mutex::new(())), Arc::new(Semaphore::new(0)));
        let held = mutex.lock().unwrap();
        let crew: Vec<_> = (0..10)
            .map(|number| {
                let (mutex, rooms) = (Arc::clone(&mutex), Arc::clone(&rooms));
                let order = Rc::clone(&order);
                task::spawn_local(move || {
                    rooms.acquire().forget();
                    let guard = mutex.lock().unwrap();
                    task::yield_now();
                    order.borrow_mut().push(number);
                    drop(guard);
                })
            })
            .collect();
        let_others_run();
        rooms.release(10);
        assert!(rooms.try_acquire().is_none(), "they are handed to those who wait");
        let_others_run();
        drop(held);
        crew.into_iter().for_each(|one| one.join().unwrap());
        assert_eq!(*order.borrow(), (0..10).collect::<Vec<_>>());
    });
}

/// A thread that takes the lock again and again does not keep others out.
#[test]
fn nobody_starves_beside_a_greedy_thread() {
    let mutex = Arc::new(Mutex::new(()));
    let over = Arc::new(AtomicBool::new(false));
    let greedy = {
        let (mutex, over) = (Arc::clone(&mutex), Arc::clone(&over));
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let _guard = mutex.lock().unwrap();
                (0..50).for_each(|_| std::hint::spin_loop());
            }
        })
    };
    let modest = Arc::clone(&mutex);
    let took = in_tasks(1, move || {
        let began = Instant::now();
        for _ in 0..1000 {
            drop(modest.lock().unwrap());
            task::yield_now();
        }
        began.elapsed()
    });
    over.store(true, Ordering::Relaxed);
    greedy.join().unwrap();
    assert!(took < LONG, "{took:?}");
}

/// Readers that come while a writer waits wait behind it; those before the next go together.
#[test]
fn readers_and_writers_are_served_in_turn() {
    in_tasks(1, || {
        let lock = Arc::new(RwLock::new(Vec::new()));
        let held = lock.read().unwrap();
        let write = |number| {
            let lock = Arc::clone(&lock);
            task::spawn_local(move || lock.write().unwrap().push(number))
        };
        let read = || {
            let lock = Arc::clone(&lock);
            task::spawn_local(move || {
                let guard = lock.read().unwrap();
                task::yield_now();
                assert!(lock.try_write().is_err());
                guard.len()
            })
        };
        let first = write(1);
        let_others_run();
        let readers = [read(), read()];
        let_others_run();
        let second = write(2);
        let_others_run();
        assert!(lock.try_read().is_err(), "a writer waits");
        assert!(readers.iter().all(|reader| !reader.is_finished()));
        drop(held);
        first.join().unwrap();
        assert_eq!(readers.map(|reader| reader.join().unwrap()), [1, 1]);
        second.join().unwrap();
        assert_eq!(*lock.read().unwrap(), [1, 2]);
    });
}
