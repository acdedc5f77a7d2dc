//! What std's suite checks of `LazyLock`.

everywhere! {
    it_is_made_on_first_use, one_makes_it_for_all, a_panic_poisons, it_can_be_changed,
    it_can_be_static, what_was_never_made_is_dropped_unmade,
}

mod claims {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use fiveways::sync::{LazyLock, Mutex};
    use fiveways::task;

    use crate::support::go;

    pub(super) fn it_is_made_on_first_use() {
        let made = AtomicUsize::new(0);
        let lazy = LazyLock::new(|| {
            made.fetch_add(1, Ordering::SeqCst);
            92
        });
        assert_eq!(made.load(Ordering::SeqCst), 0);
        assert_eq!(format!("{lazy:?}"), "LazyLock(<uninit>)");
        assert_eq!((*lazy, *LazyLock::force(&lazy)), (92, 92));
        assert_eq!(LazyLock::get(&lazy), Some(&92));
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert_eq!(format!("{lazy:?}"), "LazyLock(92)");
    }

    pub(super) fn one_makes_it_for_all() {
        let made = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&made);
        let lazy = Arc::new(LazyLock::new(move || {
            (0..5).for_each(|_| task::yield_now());
            theirs.fetch_add(1, Ordering::SeqCst)
        }));
        let threads = (0..10).map(|_| {
            let lazy = Arc::clone(&lazy);
            go(move || **lazy)
        });
        let threads: Vec<_> = threads.collect();
        assert!(threads.into_iter().all(|one| one.join() == 0));
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }

    pub(super) fn a_panic_poisons() {
        let lazy: LazyLock<i32> = LazyLock::new(|| panic!("as planned"));
        assert!(catch_unwind(AssertUnwindSafe(|| *lazy)).is_err());
        let again = catch_unwind(AssertUnwindSafe(|| *lazy)).unwrap_err();
        let message = again.downcast_ref::<&str>().expect("a message");
        assert_eq!(*message, "the lazy lock is poisoned: its initialiser has panicked");
    }

    pub(super) fn it_can_be_changed() {
        let mut lazy = LazyLock::new(|| 1);
        assert_eq!(LazyLock::get_mut(&mut lazy), None);
        *lazy += 1;
        *LazyLock::force_mut(&mut lazy) += 1;
        assert_eq!(*lazy, 3);
        let default: LazyLock<Vec<i32>> = LazyLock::default();
        assert!(default.is_empty());
    }

    pub(super) fn it_can_be_static() {
        static WORDS: LazyLock<Mutex<Vec<i32>>> = LazyLock::new(|| Mutex::new(vec![1]));
        assert_eq!(WORDS.lock().unwrap()[0], 1);
    }

    pub(super) fn what_was_never_made_is_dropped_unmade() {
        let captured = Arc::new(());
        let theirs = Arc::clone(&captured);
        let lazy = LazyLock::new(move || theirs);
        drop(lazy);
        assert_eq!(Arc::strong_count(&captured), 1);
    }
}
