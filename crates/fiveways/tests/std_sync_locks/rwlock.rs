//! What std's suite checks of `RwLock`.

everywhere! {
    smoke, readers_share_and_writers_do_not, random_access_keeps_the_data_whole,
    a_panicking_writer_poisons, a_panicking_reader_does_not_poison, try_forms_tell_what_is_held,
    into_inner_and_get_mut, downgrade_lets_readers_in, time_limits_end, unsized_data_can_be_locked,
    a_writer_is_not_starved_by_readers, writing_twice_panics,
}

mod claims {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

    use fiveways::sync::{RwLock, RwLockWriteGuard, TryLockError};
    use fiveways::task;

    use crate::support::{LONG, SHORT, go};

    pub(super) fn smoke() {
        let lock = RwLock::new(());
        drop(lock.read().unwrap());
        drop(lock.write().unwrap());
        drop((lock.read().unwrap(), lock.read().unwrap()));
        drop(lock.write().unwrap());
    }

    /// The gauge is −1 while somebody writes, else the number of readers.
    pub(super) fn readers_share_and_writers_do_not() {
        let lock = Arc::new(RwLock::new(0));
        let gauge = Arc::new(AtomicI32::new(0));
        let writer = {
            let (lock, gauge) = (Arc::clone(&lock), Arc::clone(&gauge));
            go(move || {
                for _ in 0..50 {
                    let mut data = lock.write().unwrap();
                    assert_eq!(gauge.swap(-1, Ordering::SeqCst), 0);
                    let before = *data;
                    task::yield_now();
                    *data = before + 1;
                    assert_eq!(gauge.swap(0, Ordering::SeqCst), -1);
                }
            })
        };
        let readers = (0..5).map(|_| {
            let (lock, gauge) = (Arc::clone(&lock), Arc::clone(&gauge));
            go(move || {
                for _ in 0..50 {
                    let data = lock.read().unwrap();
                    assert!(gauge.fetch_add(1, Ordering::SeqCst) >= 0);
                    task::yield_now();
                    assert!(*data >= 0);
                    gauge.fetch_sub(1, Ordering::SeqCst);
                }
            })
        });
        readers.collect::<Vec<_>>().into_iter().for_each(|reader| reader.join());
        writer.join();
        assert_eq!(*lock.read().unwrap(), 50);
    }

    pub(super) fn random_access_keeps_the_data_whole() {
        let lock = Arc::new(RwLock::new((0_u64, 0_u64)));
        let threads = (0..8_u64).map(|seed| {
            let lock = Arc::clone(&lock);
            go(move || {
                let mut random = seed;
                for _ in 0..200 {
                    random = next_of(random);
                    if random >> 62 == 0 {
                        let mut data = lock.write().unwrap();
                        data.0 += 1;
                        if random >> 61 & 1 == 0 {
                            task::yield_now();
                        }
                        data.1 += 1;
                    } else {
                        let data = lock.read().unwrap();
                        assert_eq!(data.0, data.1);
                    }
                }
            })
        });
        threads.collect::<Vec<_>>().into_iter().for_each(|one| one.join());
    }

    /// Knuth's generator.
    fn next_of(random: u64) -> u64 {
        random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
    }

    fn poisoned() -> Arc<RwLock<i32>> {
        let lock = Arc::new(RwLock::new(1));
        let theirs = Arc::clone(&lock);
        let panics = go(move || {
            let _writes = theirs.write().unwrap();
            panic!("as planned");
        });
        assert!(panics.outcome().is_err());
        lock
    }

    pub(super) fn a_panicking_writer_poisons() {
        let lock = poisoned();
        assert!(lock.is_poisoned());
        assert_eq!(**lock.read().unwrap_err().get_ref(), 1);
        assert_eq!(**lock.write().unwrap_err().get_ref(), 1);
        assert!(matches!(lock.try_read(), Err(TryLockError::Poisoned(_))));
        lock.clear_poison();
        assert!(lock.write().is_ok());
    }

    pub(super) fn a_panicking_reader_does_not_poison() {
        let lock = Arc::new(RwLock::new(1));
        let theirs = Arc::clone(&lock);
        let panics = go(move || {
            let _reads = theirs.read().unwrap();
            panic!("as planned");
        });
        assert!(panics.outcome().is_err());
        assert!(!lock.is_poisoned());
        assert_eq!(*lock.write().unwrap(), 1);
    }

    pub(super) fn try_forms_tell_what_is_held() {
        let lock = RwLock::new(0);
        let reads = lock.read().unwrap();
        assert!(lock.try_read().is_ok());
        assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
        drop(reads);
        let writes = lock.write().unwrap();
        assert!(matches!(lock.try_read(), Err(TryLockError::WouldBlock)));
        assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
        assert_eq!(format!("{lock:?}"), "RwLock { data: <locked>, poisoned: false, .. }");
        drop(writes);
        assert_eq!(format!("{lock:?}"), "RwLock { data: 0, poisoned: false, .. }");
    }

    pub(super) fn into_inner_and_get_mut() {
        let mut lock = RwLock::new(1);
        *lock.get_mut().unwrap() += 1;
        assert_eq!(lock.into_inner().unwrap(), 2);
        let mut lock = Arc::into_inner(poisoned()).expect("the others have ended");
        assert!(lock.get_mut().is_err());
        assert_eq!(lock.into_inner().unwrap_err().into_inner(), 1);
    }

    pub(super) fn downgrade_lets_readers_in() {
        let lock = Arc::new(RwLock::new(1));
        let mut writes = lock.write().unwrap();
        let theirs = Arc::clone(&lock);
        let reader = go(move || *theirs.read().unwrap());
        task::yield_now();
        *writes = 2;
        let reads = RwLockWriteGuard::downgrade(writes);
        assert_eq!(reader.join(), 2, "it reads while we do");
        assert!(lock.try_write().is_err());
        drop(reads);
        assert!(lock.try_write().is_ok());
    }

    pub(super) fn time_limits_end() {
        let lock = Arc::new(RwLock::new(()));
        let reads = lock.read().unwrap();
        let theirs = Arc::clone(&lock);
        assert!(go(move || theirs.write_timeout(SHORT).is_err()).join());
        assert!(lock.try_read().is_ok(), "the writer has left, and nobody waits behind it");
        drop(reads);
        let writes = lock.write().unwrap();
        let theirs = Arc::clone(&lock);
        assert!(go(move || theirs.read_timeout(SHORT).is_err()).join());
        drop(writes);
        assert!(lock.read_timeout(LONG).is_ok());
        assert!(lock.write_timeout(LONG).is_ok());
    }

    pub(super) fn unsized_data_can_be_locked() {
        let lock: &RwLock<[i32]> = &RwLock::new([1, 2, 3]);
        lock.write().unwrap()[0] = 4;
        assert_eq!(&*lock.read().unwrap(), &[4, 2, 3]);
    }

    /// There is always a reader, and yet the writer comes.
    pub(super) fn a_writer_is_not_starved_by_readers() {
        let lock = Arc::new(RwLock::new(()));
        let written = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (lock, written) = (Arc::clone(&lock), Arc::clone(&written));
                go(move || {
                    while !written.load(Ordering::SeqCst) {
                        let _reads = lock.read().unwrap();
                        (0..3).for_each(|_| task::yield_now());
                    }
                })
            })
            .collect();
        for _ in 0..20 {
            drop(lock.write().unwrap());
        }
        written.store(true, Ordering::SeqCst);
        readers.into_iter().for_each(|reader| reader.join());
    }

    pub(super) fn writing_twice_panics() {
        let lock = Arc::new(RwLock::new(()));
        let theirs = Arc::clone(&lock);
        let writes_twice = go(move || {
            let _first = theirs.write().unwrap();
            let _second = theirs.write();
        });
        assert!(writes_twice.outcome().is_err());
        let reads_too = go(move || {
            lock.clear_poison();
            let _first = lock.write().unwrap();
            let _second = lock.read();
        });
        assert!(reads_too.outcome().is_err());
    }
}
