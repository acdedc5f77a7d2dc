//! What std's suite checks of `Mutex`.

everywhere! {
    smoke, lots_and_lots, try_lock_fails_while_held, into_inner_gives_the_data,
    into_inner_drops_the_data, into_inner_tells_of_poison, get_mut_gives_the_data,
    get_mut_tells_of_poison, a_panic_poisons, clear_poison_makes_it_good,
    a_panic_that_began_before_the_lock_poisons_nothing, arcs_can_be_nested,
    a_lock_can_be_taken_while_unwinding, unsized_data_can_be_locked, debug_shows_the_state,
    lock_timeout_ends_while_held, lock_timeout_locks_when_free, a_guard_can_be_kept_over_waits,
    locking_twice_panics_and_names_the_caller,
}

mod claims {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use fiveways::sync::{Condvar, Mutex, TryLockError};
    use fiveways::task;

    use crate::support::{LONG, SHORT, go};

    pub(super) fn smoke() {
        let mutex = Mutex::new(());
        drop(mutex.lock().unwrap());
        drop(mutex.lock().unwrap());
    }

    pub(super) fn lots_and_lots() {
        const ROUNDS: u32 = 1000;
        const THREADS: u32 = 3;
        let mutex = Arc::new(Mutex::new(0));
        let add = |mutex: Arc<Mutex<u32>>| {
            move || {
                for round in 0..ROUNDS {
                    let mut guard = mutex.lock().unwrap();
                    let before = *guard;
                    if round % 10 == 0 {
                        task::yield_now();
                    }
                    *guard = before + 1;
                }
            }
        };
        let threads: Vec<_> = (0..2 * THREADS).map(|_| go(add(Arc::clone(&mutex)))).collect();
        threads.into_iter().for_each(|one| one.join());
        assert_eq!(*mutex.lock().unwrap(), ROUNDS * THREADS * 2);
    }

    /// S000-12, S004-03.
    pub(super) fn try_lock_fails_while_held() {
        let mutex = Mutex::new(());
        let held = mutex.try_lock().unwrap();
        assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        assert!(mutex.try_lock().is_ok());
    }

    pub(super) fn into_inner_gives_the_data() {
        assert_eq!(Mutex::new(vec![7]).into_inner().unwrap(), [7]);
    }

    pub(super) fn into_inner_drops_the_data() {
        struct Drops(Arc<AtomicUsize>);
        impl Drop for Drops {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let drops = Arc::new(AtomicUsize::new(0));
        let inner = Mutex::new(Drops(Arc::clone(&drops))).into_inner().unwrap();
        assert_eq!(drops.load(Ordering::SeqCst), 0);
        drop(inner);
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    }

    fn poisoned() -> Arc<Mutex<i32>> {
        let mutex = Arc::new(Mutex::new(5));
        let theirs = Arc::clone(&mutex);
        let panics = go(move || {
            let _guard = theirs.lock().unwrap();
            panic!("as planned");
        });
        assert!(panics.outcome().is_err());
        mutex
    }

    pub(super) fn into_inner_tells_of_poison() {
        let mutex = Arc::into_inner(poisoned()).expect("the others have ended");
        assert_eq!(mutex.into_inner().unwrap_err().into_inner(), 5);
    }

    pub(super) fn get_mut_gives_the_data() {
        let mut mutex = Mutex::new(1);
        *mutex.get_mut().unwrap() = 2;
        assert_eq!(mutex.into_inner().unwrap(), 2);
    }

    pub(super) fn get_mut_tells_of_poison() {
        let mut mutex = Arc::into_inner(poisoned()).expect("the others have ended");
        assert_eq!(*mutex.get_mut().unwrap_err().into_inner(), 5);
    }

    pub(super) fn a_panic_poisons() {
        let mutex = poisoned();
        assert!(mutex.is_poisoned());
        assert_eq!(**mutex.lock().unwrap_err().get_ref(), 5);
        assert!(matches!(mutex.try_lock(), Err(TryLockError::Poisoned(_))));
        assert!(matches!(mutex.lock_timeout(LONG), Err(TryLockError::Poisoned(_))));
        let pair = (mutex, Condvar::new());
        let guard = pair.0.lock().unwrap_err().into_inner();
        assert!(pair.1.wait_timeout(guard, SHORT).is_err(), "waiting tells of poison too");
    }

    pub(super) fn clear_poison_makes_it_good() {
        let mutex = poisoned();
        mutex.clear_poison();
        assert!(!mutex.is_poisoned());
        assert!(mutex.lock().is_ok());
    }

    pub(super) fn a_panic_that_began_before_the_lock_poisons_nothing() {
        struct Locks(Arc<Mutex<i32>>);
        impl Drop for Locks {
            fn drop(&mut self) {
                *self.0.lock().unwrap() += 1;
            }
        }
        let mutex = Arc::new(Mutex::new(0));
        let locks = Locks(Arc::clone(&mutex));
        let panics = go(move || {
            let _locks = locks;
            panic!("as planned");
        });
        assert!(panics.outcome().is_err());
        assert_eq!(*mutex.lock().unwrap(), 1);
    }

    pub(super) fn arcs_can_be_nested() {
        let inner = Arc::new(Mutex::new(1));
        let outer = Arc::new(Mutex::new(inner));
        let one = go(move || {
            let outer = outer.lock().unwrap();
            let inner = outer.lock().unwrap();
            assert_eq!(*inner, 1);
        });
        one.join();
    }

    pub(super) fn a_lock_can_be_taken_while_unwinding() {
        a_panic_that_began_before_the_lock_poisons_nothing();
    }

    pub(super) fn unsized_data_can_be_locked() {
        let mutex: &Mutex<[i32]> = &Mutex::new([1, 2, 3]);
        mutex.lock().unwrap()[1] = 9;
        assert_eq!(&*mutex.lock().unwrap(), &[1, 9, 3]);
    }

    pub(super) fn debug_shows_the_state() {
        let mutex = Mutex::new(3);
        assert_eq!(format!("{mutex:?}"), "Mutex { data: 3, poisoned: false, .. }");
        let held = mutex.lock().unwrap();
        assert_eq!(format!("{mutex:?}"), "Mutex { data: <locked>, poisoned: false, .. }");
        assert_eq!(format!("{held:?} {held}"), "3 3");
    }

    /// S000-12.
    pub(super) fn lock_timeout_ends_while_held() {
        let mutex = Arc::new(Mutex::new(()));
        let theirs = Arc::clone(&mutex);
        let held = mutex.lock().unwrap();
        let waits = go(move || {
            let began = Instant::now();
            let refused = matches!(theirs.lock_timeout(SHORT), Err(TryLockError::WouldBlock));
            (refused, began.elapsed())
        });
        let (refused, took) = waits.join();
        assert!(refused);
        assert!((SHORT..LONG).contains(&took), "{took:?}");
        drop(held);
        assert!(mutex.try_lock().is_ok(), "who has given up has left");
    }

    pub(super) fn lock_timeout_locks_when_free() {
        let mutex = Arc::new(Mutex::new(()));
        let theirs = Arc::clone(&mutex);
        let held = mutex.lock().unwrap();
        let waits = go(move || theirs.lock_timeout(LONG).is_ok());
        task::yield_now();
        drop(held);
        assert!(waits.join());
        assert!(mutex.lock_timeout(Duration::ZERO).is_ok());
        assert!(mutex.lock_timeout(Duration::MAX).is_ok());
    }

    /// Two tasks of one worker exclude each other.
    pub(super) fn a_guard_can_be_kept_over_waits() {
        let inside = Arc::new(Mutex::new(0));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let inside = Arc::clone(&inside);
                go(move || {
                    let mut guard = inside.lock().unwrap();
                    assert_eq!(*guard, 0, "somebody else is inside");
                    *guard = 1;
                    (0..5).for_each(|_| task::yield_now());
                    *guard = 0;
                })
            })
            .collect();
        threads.into_iter().for_each(|one| one.join());
    }

    pub(super) fn locking_twice_panics_and_names_the_caller() {
        let mutex = Arc::new(Mutex::new(()));
        let theirs = Arc::clone(&mutex);
        let locks_twice = go(move || {
            let _first = theirs.lock().unwrap();
            let _second = theirs.lock();
        });
        let payload = locks_twice.outcome().expect_err("it would wait for itself");
        let message = payload.downcast_ref::<String>().expect("a message");
        assert!(message.starts_with("the mutex is held by the caller, "), "{message}");
        assert!(mutex.is_poisoned());
    }
}
