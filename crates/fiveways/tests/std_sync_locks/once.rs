//! What std's suite checks of `Once`.

everywhere! {
    it_runs_once, all_wait_for_it, a_panic_poisons, a_poisoned_once_can_be_forced,
    who_waits_learns_of_the_panic, wait_waits, calling_it_from_within_panics,
}

mod claims {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use fiveways::sync::Once;
    use fiveways::task;

    use crate::support::go;

    pub(super) fn it_runs_once() {
        let once = Once::new();
        let mut runs = 0;
        once.call_once(|| runs += 1);
        once.call_once(|| runs += 1);
        once.call_once_force(|_| runs += 1);
        assert_eq!(runs, 1);
        assert!(once.is_completed());
    }

    pub(super) fn all_wait_for_it() {
        let once = Arc::new(Once::new());
        let runs = Arc::new(AtomicUsize::new(0));
        let threads = (0..10).map(|_| {
            let (once, runs) = (Arc::clone(&once), Arc::clone(&runs));
            go(move || {
                once.call_once(|| {
                    (0..5).for_each(|_| task::yield_now());
                    runs.fetch_add(1, Ordering::Relaxed);
                });
                assert_eq!(runs.load(Ordering::Relaxed), 1, "it has run when the call returns");
            })
        });
        threads.collect::<Vec<_>>().into_iter().for_each(|one| one.join());
    }

    fn poisoned() -> Once {
        let once = Once::new();
        let panics = catch_unwind(AssertUnwindSafe(|| once.call_once(|| panic!("as planned"))));
        assert!(panics.is_err());
        once
    }

    pub(super) fn a_panic_poisons() {
        let once = poisoned();
        assert!(!once.is_completed());
        assert!(catch_unwind(AssertUnwindSafe(|| once.call_once(|| {}))).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| once.wait())).is_err());
    }

    pub(super) fn a_poisoned_once_can_be_forced() {
        let once = poisoned();
        let mut was_poisoned = false;
        once.call_once_force(|state| was_poisoned = state.is_poisoned());
        assert!(was_poisoned);
        once.call_once(|| unreachable!("it has run"));
        Once::new().call_once_force(|state| assert!(!state.is_poisoned()));
    }

    pub(super) fn who_waits_learns_of_the_panic() {
        let once = Arc::new(Once::new());
        let runs = {
            let once = Arc::clone(&once);
            go(move || {
                once.call_once(|| {
                    (0..5).for_each(|_| task::yield_now());
                    panic!("as planned");
                });
            })
        };
        let waits = {
            let once = Arc::clone(&once);
            go(move || once.call_once(|| panic!("the same, if it came first")))
        };
        assert!(runs.outcome().is_err());
        assert!(waits.outcome().is_err());
    }

    pub(super) fn wait_waits() {
        let once = Arc::new(poisoned());
        let theirs = Arc::clone(&once);
        let forces = go(move || theirs.wait_force());
        task::yield_now();
        once.call_once_force(|_| {});
        forces.join();
        once.wait();
        let fresh = Arc::new(Once::new());
        let theirs = Arc::clone(&fresh);
        let waits = go(move || theirs.wait());
        task::yield_now();
        fresh.call_once(|| {});
        waits.join();
    }

    pub(super) fn calling_it_from_within_panics() {
        let once = Once::new();
        let inside = || once.call_once(|| once.call_once(|| {}));
        assert!(catch_unwind(AssertUnwindSafe(inside)).is_err());
    }
}
