//! What std's suite checks of `OnceLock`.

everywhere! {
    the_first_value_stays, one_makes_it_for_all, a_panic_leaves_it_empty, wait_waits,
    it_can_be_taken_and_changed, it_is_compared_cloned_and_shown, dropping_drops_the_value,
}

mod claims {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use fiveways::sync::OnceLock;
    use fiveways::task;

    use crate::support::go;

    pub(super) fn the_first_value_stays() {
        let cell = OnceLock::new();
        assert_eq!(cell.get(), None);
        assert_eq!(cell.get_or_init(|| 92), &92);
        assert_eq!(cell.get_or_init(|| panic!("it is there")), &92);
        assert_eq!(cell.set(1), Err(1));
        let cell = OnceLock::new();
        assert_eq!(cell.set(1), Ok(()));
        assert_eq!(cell.get(), Some(&1));
    }

    pub(super) fn one_makes_it_for_all() {
        let cell = Arc::new(OnceLock::new());
        let made = Arc::new(AtomicUsize::new(0));
        let threads = (0..10).map(|number| {
            let (cell, made) = (Arc::clone(&cell), Arc::clone(&made));
            go(move || {
                let make = || {
                    made.fetch_add(1, Ordering::SeqCst);
                    (0..5).for_each(|_| task::yield_now());
                    number
                };
                *cell.get_or_init(make)
            })
        });
        let values: Vec<_> =
            threads.collect::<Vec<_>>().into_iter().map(|one| one.join()).collect();
        assert!(values.iter().all(|value| *value == values[0]));
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }

    pub(super) fn a_panic_leaves_it_empty() {
        let cell: OnceLock<String> = OnceLock::new();
        let panics = || drop(cell.get_or_init(|| panic!("as planned")).clone());
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert_eq!(cell.get(), None);
        assert_eq!(cell.set("value".to_owned()), Ok(()));
        assert_eq!(cell.into_inner().as_deref(), Some("value"));
    }

    pub(super) fn wait_waits() {
        let cell = Arc::new(OnceLock::new());
        let theirs = Arc::clone(&cell);
        let waits = go(move || *theirs.wait());
        task::yield_now();
        cell.set(5).unwrap();
        assert_eq!(waits.join(), 5);
        assert_eq!(*cell.wait(), 5);
    }

    pub(super) fn it_can_be_taken_and_changed() {
        let mut cell = OnceLock::from(1);
        *cell.get_mut().unwrap() += 1;
        assert_eq!(cell.take(), Some(2));
        assert_eq!(cell.take(), None);
        assert_eq!(cell.get_or_init(|| 3), &3, "it can be filled again");
    }

    pub(super) fn it_is_compared_cloned_and_shown() {
        let (empty, full) = (OnceLock::new(), OnceLock::from(1));
        assert_eq!(full, full.clone());
        assert_ne!(empty, full);
        assert_eq!(empty, empty.clone());
        assert_eq!(format!("{empty:?} {full:?}"), "OnceLock(<uninit>) OnceLock(1)");
    }

    pub(super) fn dropping_drops_the_value() {
        let value = Arc::new(());
        drop(OnceLock::from(Arc::clone(&value)));
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
