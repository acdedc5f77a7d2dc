//! What std's suite checks of `Condvar`.

everywhere! {
    smoke, notify_one_wakes_one, notify_all_wakes_all, wait_while_looks_again,
    wait_timeout_ends, wait_timeout_is_woken, wait_timeout_while_ends,
    wait_timeout_while_is_woken, wait_timeout_while_looks_first, works_with_several_mutexes,
}

mod claims {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Instant;

    use fiveways::sync::{Condvar, Mutex};
    use fiveways::task;

    use crate::support::{LONG, SHORT, go};

    type Shared<T> = Arc<(Mutex<T>, Condvar)>;

    fn shared<T>(data: T) -> Shared<T> {
        Arc::new((Mutex::new(data), Condvar::new()))
    }

    pub(super) fn smoke() {
        let condvar = Condvar::new();
        condvar.notify_one();
        condvar.notify_all();
    }

    pub(super) fn notify_one_wakes_one() {
        let shared = shared(false);
        let theirs = Arc::clone(&shared);
        let guard = shared.0.lock().unwrap();
        let other = go(move || {
            *theirs.0.lock().unwrap() = true;
            theirs.1.notify_one();
        });
        let mut guard = guard;
        while !*guard {
            guard = shared.1.wait(guard).unwrap();
        }
        drop(guard);
        other.join();
    }

    pub(super) fn notify_all_wakes_all() {
        const THREADS: usize = 10;
        let shared = shared(0);
        let (tell, told) = channel();
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (shared, tell) = (Arc::clone(&shared), tell.clone());
                go(move || {
                    let mut count = shared.0.lock().unwrap();
                    *count += 1;
                    if *count == THREADS {
                        tell.send(()).unwrap();
                    }
                    let count = shared.1.wait_while(count, |count| *count != 0);
                    drop(count.unwrap());
                })
            })
            .collect();
        while told.try_recv().is_err() {
            task::yield_now();
        }
        *shared.0.lock().unwrap() = 0;
        shared.1.notify_all();
        threads.into_iter().for_each(|one| one.join());
    }

    pub(super) fn wait_while_looks_again() {
        let shared = shared(0);
        let theirs = Arc::clone(&shared);
        let other = go(move || {
            for _ in 0..10 {
                *theirs.0.lock().unwrap() += 1;
                theirs.1.notify_one();
                task::yield_now();
            }
        });
        let count = shared.0.lock().unwrap();
        let count = shared.1.wait_while(count, |count| *count < 10).unwrap();
        assert_eq!(*count, 10);
        drop(count);
        other.join();
    }

    pub(super) fn wait_timeout_ends() {
        let (mutex, condvar) = (Mutex::new(()), Condvar::new());
        let began = Instant::now();
        let mut guard = mutex.lock().unwrap();
        loop {
            let (again, result) = condvar.wait_timeout(guard, SHORT).unwrap();
            guard = again;
            if result.timed_out() {
                break;
            }
        }
        assert!(began.elapsed() >= SHORT);
        assert!(mutex.try_lock().is_err(), "we have the lock again");
        drop(guard);
    }

    pub(super) fn wait_timeout_is_woken() {
        let shared = shared(false);
        let theirs = Arc::clone(&shared);
        let mut guard = shared.0.lock().unwrap();
        let other = go(move || {
            *theirs.0.lock().unwrap() = true;
            theirs.1.notify_all();
        });
        while !*guard {
            let (again, result) = shared.1.wait_timeout(guard, LONG).unwrap();
            guard = again;
            assert!(!result.timed_out());
        }
        drop(guard);
        other.join();
    }

    pub(super) fn wait_timeout_while_ends() {
        let (mutex, condvar) = (Mutex::new(()), Condvar::new());
        let guard = mutex.lock().unwrap();
        let (_guard, result) = condvar.wait_timeout_while(guard, SHORT, |()| true).unwrap();
        assert!(result.timed_out());
    }

    pub(super) fn wait_timeout_while_is_woken() {
        let shared = shared(false);
        let theirs = Arc::clone(&shared);
        let guard = shared.0.lock().unwrap();
        let other = go(move || {
            *theirs.0.lock().unwrap() = true;
            theirs.1.notify_one();
        });
        let waited = shared.1.wait_timeout_while(guard, LONG, |ready| !*ready);
        let (guard, result) = waited.unwrap();
        assert!(*guard && !result.timed_out());
        drop(guard);
        other.join();
    }

    pub(super) fn wait_timeout_while_looks_first() {
        let (mutex, condvar) = (Mutex::new(()), Condvar::new());
        let guard = mutex.lock().unwrap();
        let (_guard, result) = condvar.wait_timeout_while(guard, LONG, |()| false).unwrap();
        assert!(!result.timed_out());
    }

    pub(super) fn works_with_several_mutexes() {
        let condvar = Condvar::new();
        let (one, two) = (Mutex::new(()), Mutex::new(()));
        drop(condvar.wait_timeout(one.lock().unwrap(), SHORT).unwrap());
        drop(condvar.wait_timeout(two.lock().unwrap(), SHORT).unwrap());
    }
}
