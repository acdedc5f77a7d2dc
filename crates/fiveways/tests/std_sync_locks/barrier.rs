//! What std's suite checks of `Barrier`.

everywhere! { all_wait_and_one_leads, it_can_be_used_again, size_zero_is_as_good_as_one }

mod claims {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use fiveways::sync::Barrier;

    use crate::support::go;

    const THREADS: usize = 10;

    pub(super) fn all_wait_and_one_leads() {
        let barrier = Arc::new(Barrier::new(THREADS));
        let come = Arc::new(AtomicUsize::new(0));
        let arrive = |barrier: Arc<Barrier>, come: Arc<AtomicUsize>| {
            move || {
                come.fetch_add(1, Ordering::SeqCst);
                let leads = barrier.wait().is_leader();
                assert_eq!(come.load(Ordering::SeqCst), THREADS, "it let go too early");
                leads
            }
        };
        let threads: Vec<_> =
            (0..THREADS).map(|_| go(arrive(Arc::clone(&barrier), Arc::clone(&come)))).collect();
        let leaders = threads.into_iter().map(|one| one.join()).filter(|leads| *leads).count();
        assert_eq!(leaders, 1);
    }

    pub(super) fn it_can_be_used_again() {
        const ROUNDS: usize = 50;
        let barrier = Arc::new(Barrier::new(3));
        let count = Arc::new(AtomicUsize::new(0));
        let threads = (0..3).map(|_| {
            let (barrier, count) = (Arc::clone(&barrier), Arc::clone(&count));
            go(move || {
                for round in 0..ROUNDS {
                    count.fetch_add(1, Ordering::SeqCst);
                    barrier.wait();
                    assert_eq!(count.load(Ordering::SeqCst), 3 * (round + 1));
                    barrier.wait();
                }
            })
        });
        threads.collect::<Vec<_>>().into_iter().for_each(|one| one.join());
    }

    pub(super) fn size_zero_is_as_good_as_one() {
        for barrier in [Barrier::new(0), Barrier::new(1)] {
            assert!(barrier.wait().is_leader());
            assert!(barrier.wait().is_leader());
        }
    }
}
