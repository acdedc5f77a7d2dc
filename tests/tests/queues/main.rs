//! Queues: order, bounds, time limits, shutdown, and work that is done.

#[path = "../channels/support.rs"]
mod support;

support::everywhere!(
    a_queue_gives_first_what_came_first,
    a_lifo_queue_gives_first_what_came_last,
    a_priority_queue_gives_the_smallest_first,
    equal_priorities_come_in_their_order,
    priorities_come_sorted_whatever_is_put,
    comparing_priorities_must_not_wait,
    comparing_priorities_waits_for_no_task_whatever_is_looked_for,
    a_panicking_comparison_loses_no_item,
    put_waits_for_room,
    puts_that_must_not_wait_fail_when_it_is_full,
    a_get_is_late_after_its_timeout,
    get_nowait_of_an_empty_queue_fails_at_once,
    snapshots_tell_what_is_so,
    a_maxsize_of_zero_is_none,
    after_shutdown_what_is_left_can_be_got,
    an_immediate_shutdown_drops_what_is_left,
    shutdown_wakes_whoever_waits_in_vain,
    work_called_done_too_often_is_an_error,
    join_waits_for_the_last_work,
    an_immediate_shutdown_ends_joins,
    a_shutdown_ends_joins_though_an_item_panics,
    producers_and_consumers_come_to_a_clean_end,
);

mod claims {
    use std::collections::BTreeMap;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use fiveways::generator::Generator;
    use fiveways::inspect::{Detection, detect_deadlocks};
    use fiveways::queue::{
        Closed, GetError, JoinableQueue, LifoQueue, PriorityQueue, PutError, Queue,
    };
    use fiveways::runtime::Runtime;
    use fiveways::sync::{Event, Semaphore, channel};
    use fiveways::task;

    use crate::support::{Other, other, until_waiting};

    const SHORT: Duration = Duration::from_millis(5);
    const LONG: Duration = Duration::from_secs(40);

    fn let_others_wait() {
        for _ in 0..100 {
            task::yield_now();
        }
    }

    /// S004-12, S000-13.
    pub(super) fn a_queue_gives_first_what_came_first() {
        let queue = Queue::new();
        (0..5).for_each(|number| queue.put(number).expect("it is open"));
        assert_eq!([(); 5].map(|()| queue.get()), [Ok(0), Ok(1), Ok(2), Ok(3), Ok(4)]);
        // A get that waits is woken by the put.
        let theirs = queue.clone();
        let getting = other(move || theirs.get());
        let_others_wait();
        queue.put(5).expect("it is open");
        assert_eq!(getting.join(), Ok(5));
    }

    /// S004-17.
    pub(super) fn a_lifo_queue_gives_first_what_came_last() {
        let queue = LifoQueue::with_maxsize(3);
        (0..3).for_each(|number| queue.put_nowait(number).expect("there is room"));
        assert_eq!(queue.put_nowait(3), Err(PutError::Full(3)));
        assert_eq!([(); 3].map(|()| queue.get()), [Ok(2), Ok(1), Ok(0)]);
    }

    /// S004-18, C48.
    pub(super) fn a_priority_queue_gives_the_smallest_first() {
        let queue = PriorityQueue::new();
        for item in [(10, "low"), (100, "lowest"), (0, "middle"), (-5, "high"), (-10, "highest")] {
            queue.put(item).expect("it is open");
        }
        let got = [(); 5].map(|()| queue.get().map(|item| item.0));
        assert_eq!(got, [Ok(-10), Ok(-5), Ok(0), Ok(10), Ok(100)]);
    }

    /// D34: what is queued need not have an order.
    pub(super) fn equal_priorities_come_in_their_order() {
        struct Unordered(u32);
        let queue = PriorityQueue::new();
        for number in 0..100 {
            let item = (i64::from(number % 3), Unordered(number));
            queue.put(item).unwrap_or_else(|_| panic!("it is open"));
        }
        let mut last = (i64::MIN, 0);
        while let Ok((priority, Unordered(number))) = queue.get_nowait() {
            assert!((priority, number) >= last, "{number} came after {last:?}");
            last = (priority, number);
        }
        assert_eq!(last, (2, 98));
    }

    /// C48, D34: against a sorted list, with negatives and equals, bounded and not.
    pub(super) fn priorities_come_sorted_whatever_is_put() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for maxsize in [0, 7] {
            let queue = PriorityQueue::with_maxsize(maxsize);
            let mut model = BTreeMap::new();
            for number in 0..2_000 {
                let priority = random.i8(-5..5);
                if random.bool() {
                    match queue.put_nowait((priority, number)) {
                        Ok(()) => _ = model.insert((priority, number), ()),
                        Err(error) => assert!(error.is_full() && model.len() == maxsize),
                    }
                } else {
                    let next = model.pop_first().map(|(item, ())| item);
                    assert_eq!(queue.get_nowait().ok(), next);
                }
                assert_eq!(queue.len(), model.len());
            }
        }
    }

    /// A priority whose comparison may do anything.
    struct Busy(u32, Arc<dyn Fn() + Send + Sync>);

    impl Ord for Busy {
        fn cmp(&self, other: &Busy) -> std::cmp::Ordering {
            (self.1)();
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Busy {
        fn partial_cmp(&self, other: &Busy) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for Busy {
        fn eq(&self, other: &Busy) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Busy {}

    /// The message of the panic that `f` must end with.
    fn panic_of<T>(f: impl FnOnce() -> T) -> String {
        let payload = catch_unwind(AssertUnwindSafe(f)).map(|_| ()).expect_err("it must panic");
        *payload.downcast::<String>().expect("it has a message")
    }

    /// A comparison that waited would do so under the lock of the queue: the next task of its
    /// worker that uses it would block the thread for ever.
    pub(super) fn comparing_priorities_must_not_wait() {
        let queue = PriorityQueue::new();
        let (permits, (tell, told)) = (Semaphore::new(0), channel::unbounded::<()>());
        let wait = Arc::new(AtomicUsize::new(0));
        let which = Arc::clone(&wait);
        let compare: Arc<dyn Fn() + Send + Sync> =
            Arc::new(move || match which.load(Ordering::Relaxed) {
                0 => {
                    // What needs no waiting is allowed.
                    drop(permits.try_acquire());
                    tell.send(()).expect("it is open");
                    told.recv().expect("it is open");
                }
                1 => drop(permits.acquire()),
                2 => drop(told.recv()),
                3 => task::yield_now(),
                4 => fiveways::time::sleep(SHORT),
                _ => {
                    let _ = Generator::<(), ()>::new(|me| me.yield_(())).next();
                }
            });
        let busy = |number| (Busy(number, Arc::clone(&compare)), number);
        (0..4).for_each(|number| queue.put(busy(number)).expect("it is open"));
        for (kind, what) in [(1, "'semaphore'"), (2, "'receive from channel'"), (3, ""), (4, "")] {
            wait.store(kind, Ordering::Relaxed);
            let got = panic_of(|| queue.get());
            let put = panic_of(|| queue.put(busy(3 + kind as u32)));
            for message in [got, put] {
                let named = message.starts_with("the priorities of a queue are compared: ");
                assert!(named && message.contains(what), "{message}");
                assert!(what.is_empty() || message.contains("queues/main.rs:"), "{message}");
            }
        }
        // A wait that ends inside is none of the queue's.
        wait.store(5, Ordering::Relaxed);
        let first = panic_of(|| queue.get());
        assert!(first.contains("nothing may wait here"), "{first}");
        wait.store(0, Ordering::Relaxed);
        let all: Vec<_> = (0..4).map(|_| queue.get().expect("it is open").1).collect();
        assert_eq!((all, queue.len()), (vec![0, 1, 2, 3], 0));
    }

    /// A join found its own way to wait where no deadlocks are looked for, as in release builds.
    /// What must be waited for is not begun; what puts things in order is done.
    pub(super) fn comparing_priorities_waits_for_no_task_whatever_is_looked_for() {
        for detection in [Detection::Off, Detection::Report] {
            detect_deadlocks(detection);
            let queue = PriorityQueue::new();
            let (which, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(Event::new()));
            let (kind, ends) = (Arc::clone(&which), Arc::clone(&end));
            let endless = move || {
                let ends = Arc::clone(&ends);
                task::spawn(move || ends.wait())
            };
            let compare: Arc<dyn Fn() + Send + Sync> =
                Arc::new(move || match kind.load(Ordering::Relaxed) {
                    0 => {}
                    1 => drop(endless().join()),
                    2 => drop(endless().join_timeout(LONG)),
                    3 => task::scope(|scope| drop(scope.spawn(|| ()).join())),
                    _ => drop(Runtime::builder().build().expect("a runtime")),
                });
            let busy = |number| (Busy(number, Arc::clone(&compare)), number);
            (0..4).for_each(|number| queue.put(busy(number)).expect("it is open"));
            for refused in [1, 2, 3] {
                which.store(refused, Ordering::Relaxed);
                let message = panic_of(|| queue.get());
                assert!(message.contains("nothing may wait here"), "{refused}: {message}");
            }
            which.store(4, Ordering::Relaxed);
            assert_eq!(queue.get().map(|item| item.1), Ok(0));
            which.store(0, Ordering::Relaxed);
            end.set();
            let rest: Vec<_> = (0..3).map(|_| queue.get().expect("it is open").1).collect();
            assert_eq!((rest, queue.len()), (vec![1, 2, 3], 0));
        }
    }

    /// Neither the ones that could not be got, nor one whose `put` has ended well.
    pub(super) fn a_panicking_comparison_loses_no_item() {
        let queue = PriorityQueue::with_maxsize(3);
        let panics = Arc::new(AtomicUsize::new(usize::MAX));
        let left = Arc::clone(&panics);
        let compare: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
            let before = left.fetch_sub(1, Ordering::Relaxed);
            assert_ne!(before, 0, "as it must");
        });
        let busy = move |number| (Busy(number, Arc::clone(&compare)), number);
        (0..2).for_each(|number| queue.put(busy(number)).expect("it is open"));
        panics.store(0, Ordering::Relaxed);
        panic_of(|| queue.put(busy(2)));
        panics.store(usize::MAX, Ordering::Relaxed);
        assert_eq!(queue.len(), 2);
        queue.put(busy(2)).expect("it is open");
        // Its item is compared in the get that makes room for it.
        let (theirs, give) = (queue.clone(), busy.clone());
        let putting = other(move || theirs.put(give(3)).is_ok());
        until_waiting("put to queue", 1);
        panics.store(0, Ordering::Relaxed);
        panic_of(|| queue.get());
        panics.store(1, Ordering::Relaxed);
        assert_eq!(queue.get().map(|it| it.1), Ok(0));
        panics.store(usize::MAX, Ordering::Relaxed);
        assert!(putting.join());
        let mut rest = [(); 3].map(|()| queue.get().expect("it is open").1);
        rest.sort_unstable();
        assert_eq!(rest, [1, 2, 3]);
    }

    /// S004-13.
    pub(super) fn put_waits_for_room() {
        let queue = Queue::with_maxsize(1);
        queue.put(1).expect("it is open");
        let theirs = queue.clone();
        let putting = other(move || theirs.put(2));
        let_others_wait();
        assert_eq!(queue.len(), 1);
        assert_eq!((queue.get(), queue.get()), (Ok(1), Ok(2)));
        assert_eq!(putting.join(), Ok(()));
    }

    /// S004-13.
    pub(super) fn puts_that_must_not_wait_fail_when_it_is_full() {
        let queue = Queue::with_maxsize(1);
        assert_eq!(queue.put_nowait(1), Ok(()));
        assert_eq!(queue.put_nowait(2), Err(PutError::Full(2)));
        let before = Instant::now();
        assert_eq!(queue.put_timeout(3, SHORT), Err(PutError::Full(3)));
        assert!(before.elapsed() >= SHORT);
        assert_eq!(queue.get(), Ok(1));
        assert_eq!(queue.put_timeout(4, LONG), Ok(()));
    }

    /// S004-14. (The course waits for 3 s; so does its example.)
    pub(super) fn a_get_is_late_after_its_timeout() {
        let queue = Queue::new();
        let before = Instant::now();
        assert_eq!(queue.get_timeout(SHORT), Err(GetError::Empty));
        let took = before.elapsed();
        assert!((SHORT..LONG).contains(&took), "{took:?}");
        queue.put(1).expect("it is open");
        assert_eq!(queue.get_timeout(LONG), Ok(1));
    }

    /// S002-19, S004-15.
    pub(super) fn get_nowait_of_an_empty_queue_fails_at_once() {
        let queue = Queue::new();
        assert_eq!(queue.get_nowait(), Err(GetError::Empty));
        queue.put(1).expect("it is open");
        assert_eq!(queue.get_nowait(), Ok(1));
        assert_eq!(queue.get_nowait(), Err(GetError::Empty));
    }

    /// S004-16, D59: they tell of a moment; the decision is that of `put_nowait`.
    pub(super) fn snapshots_tell_what_is_so() {
        let queue = Queue::with_maxsize(2);
        assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (0, true, false));
        queue.put(1).expect("it is open");
        assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (1, false, false));
        queue.put(2).expect("it is open");
        assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (2, false, true));
        assert_eq!(queue.maxsize(), 2);
        // Many ask at once; as many get in as there is room, whatever they saw before.
        let one_free = Arc::new(Queue::with_maxsize(1));
        let putting: Vec<_> = (0..8)
            .map(|number| {
                let queue = Arc::clone(&one_free);
                other(move || !queue.is_full() && queue.put_nowait(number).is_ok())
            })
            .collect();
        assert_eq!(putting.into_iter().map(Other::join).filter(|put| *put).count(), 1);
    }

    pub(super) fn a_maxsize_of_zero_is_none() {
        let queue = Queue::with_maxsize(0);
        (0..1_000).for_each(|number| queue.put_nowait(number).expect("there is always room"));
        assert_eq!((queue.maxsize(), queue.is_full()), (0, false));
    }

    pub(super) fn after_shutdown_what_is_left_can_be_got() {
        let queue = Queue::new();
        queue.put(1).expect("it is open");
        queue.shutdown(false);
        assert_eq!(queue.put(2), Err(Closed(2)));
        assert_eq!(queue.put_nowait(2), Err(PutError::Closed(2)));
        assert_eq!(queue.put_timeout(2, LONG), Err(PutError::Closed(2)));
        assert_eq!(queue.get(), Ok(1));
        assert_eq!(queue.get(), Err(Closed(())));
        assert_eq!(queue.get_nowait(), Err(GetError::Closed));
        assert_eq!(queue.get_timeout(LONG), Err(GetError::Closed));
    }

    pub(super) fn an_immediate_shutdown_drops_what_is_left() {
        let item = Arc::new(());
        let queue = PriorityQueue::new();
        queue.put((1, Arc::clone(&item))).expect("it is open");
        queue.shutdown(true);
        assert_eq!((queue.len(), Arc::strong_count(&item)), (0, 1));
        assert_eq!(queue.get(), Err(Closed(())));
        // It stays so.
        queue.shutdown(false);
        assert_eq!(queue.get_nowait(), Err(GetError::Closed));
    }

    pub(super) fn shutdown_wakes_whoever_waits_in_vain() {
        let (empty, full) = (Queue::<u32>::new(), Queue::with_maxsize(1));
        full.put(1).expect("there is room");
        let getting = [0; 3].map(|_| empty.clone()).map(|queue| other(move || queue.get()));
        let putting = [0; 3].map(|_| full.clone()).map(|queue| other(move || queue.put(2)));
        let_others_wait();
        empty.shutdown(false);
        full.shutdown(false);
        let refused = [(); 3].map(|()| Err(Closed(())));
        assert_eq!(getting.map(Other::join), refused);
        assert_eq!(putting.map(Other::join), [2; 3].map(|item| Err(Closed(item))));
        assert_eq!((full.get(), full.get()), (Ok(1), Err(Closed(()))));
    }

    /// S004-73.
    pub(super) fn work_called_done_too_often_is_an_error() {
        let queue = JoinableQueue::new();
        assert!(queue.task_done().is_err());
        queue.put(1).expect("it is open");
        assert_eq!(queue.unfinished(), 1);
        assert_eq!((queue.get(), queue.task_done()), (Ok(1), Ok(())));
        let error = queue.task_done().err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("task_done was called more often than items were put"));
        queue.join();
    }

    /// S004-73.
    pub(super) fn join_waits_for_the_last_work() {
        let queue = JoinableQueue::with_maxsize(2);
        let (theirs, joined) = (queue.clone(), Arc::new(AtomicUsize::new(0)));
        queue.put(1).expect("there is room");
        queue.put(2).expect("there is room");
        let seen = Arc::clone(&joined);
        let joining = other(move || {
            theirs.join();
            seen.fetch_add(1, Ordering::SeqCst);
        });
        for _ in 0..2 {
            assert!(!queue.join_timeout(SHORT));
            assert!(queue.get().is_ok());
            assert_eq!(joined.load(Ordering::SeqCst), 0);
            assert_eq!(queue.task_done(), Ok(()));
        }
        joining.join();
        assert!(queue.join_timeout(Duration::ZERO));
        // Work that is handed over counts as well.
        let theirs = queue.clone();
        let getting = other(move || theirs.get());
        let_others_wait();
        queue.put(3).expect("there is room");
        assert_eq!((getting.join(), queue.unfinished()), (Ok(3), 1));
        assert_eq!(queue.task_done(), Ok(()));
    }

    pub(super) fn an_immediate_shutdown_ends_joins() {
        let queue = JoinableQueue::new();
        (0..3).for_each(|number| queue.put(number).expect("it is open"));
        let theirs = queue.clone();
        let joining = other(move || theirs.join());
        let_others_wait();
        assert!(queue.get().is_ok());
        queue.shutdown(true);
        assert_eq!(queue.unfinished(), 1);
        assert_eq!(queue.task_done(), Ok(()));
        joining.join();
    }

    pub(super) fn a_shutdown_ends_joins_though_an_item_panics() {
        struct Panics;
        impl Drop for Panics {
            fn drop(&mut self) {
                panic!("it does that when it is dropped");
            }
        }
        let queue = JoinableQueue::new();
        assert!(queue.put(Panics).is_ok(), "it is open");
        let theirs = queue.clone();
        let joining = other(move || theirs.join_timeout(LONG));
        let_others_wait();
        let shutdown = catch_unwind(AssertUnwindSafe(|| queue.shutdown(true)));
        assert!(shutdown.is_err(), "the item's panic is told");
        assert!(joining.join(), "nothing is left to be done");
    }

    /// S004-73: producers, consumers, a bounded queue, and an end that all of them see.
    pub(super) fn producers_and_consumers_come_to_a_clean_end() {
        const EACH: usize = 250;
        let queue = JoinableQueue::with_maxsize(3);
        let consumers = [0; 3].map(|_| queue.clone()).map(|queue| {
            other(move || {
                let mut eaten = 0;
                while let Ok(number) = queue.get() {
                    eaten += number;
                    queue.task_done().expect("it was put");
                }
                eaten
            })
        });
        let producers = [0; 4].map(|_| queue.clone()).map(|queue| {
            other(move || (0..EACH).for_each(|number| queue.put(number).expect("it is open")))
        });
        producers.into_iter().for_each(Other::join);
        queue.join();
        assert_eq!((queue.len(), queue.unfinished()), (0, 0));
        queue.shutdown(false);
        let eaten: usize = consumers.map(Other::join).into_iter().sum();
        assert_eq!(eaten, 4 * EACH * (EACH - 1) / 2);
    }
}

/// It returns with the item, and is unwound where it waits next.
#[test]
fn a_cancelled_get_that_was_given_an_item_has_it() {
    use fiveways::queue::{LifoQueue, PriorityQueue};
    use fiveways::task;

    fn wait() {
        (0..10).for_each(|_| task::yield_now());
    }

    support::in_tasks(1, || {
        let (heap, stack) = (PriorityQueue::new(), LifoQueue::new());
        let theirs = (heap.clone(), stack.clone());
        let from_heap = task::spawn_local(move || theirs.0.get());
        let from_stack = task::spawn_local(move || theirs.1.get());
        let idle = task::spawn_local(|| LifoQueue::<()>::new().get());
        wait();
        for number in 0..3 {
            heap.put_nowait((0, number)).expect("it is open");
            stack.put_nowait(number).expect("it is open");
        }
        from_heap.cancel();
        from_stack.cancel();
        idle.cancel();
        assert_eq!(from_heap.join().ok(), Some(Ok((0, 0))));
        assert_eq!(from_stack.join().ok(), Some(Ok(0)));
        assert!(idle.join().is_err_and(|error| error.is_cancelled()));
        assert_eq!([(); 2].map(|()| heap.get()), [Ok((0, 1)), Ok((0, 2))]);
        assert_eq!([(); 2].map(|()| stack.get()), [Ok(2), Ok(1)]);
    });
}

/// The hand-overs of a queue between many of both kinds lose nothing.
#[test]
fn heavy_hand_overs_lose_nothing() {
    use fiveways::queue::Queue;
    use fiveways::{Model, runtime::Runtime};
    use support::{heavy, spawn_in};

    let _watchdog = fiveways_tests::patience::Watchdog::new(
        "queue hand-overs".to_owned(),
        std::time::Duration::from_secs(600),
    );
    let each = heavy(1_000_000) as u64 / 8;
    for maxsize in [1, 64] {
        let runtime = Runtime::builder().model(Model::Epoll).workers(2).build();
        let runtime = runtime.expect("a runtime");
        let queue = Queue::with_maxsize(maxsize);
        let produce = |queue: Queue<u64>| {
            move || (0..each).for_each(|number| queue.put(number).expect("it is open"))
        };
        let consume = |queue: Queue<u64>| {
            move || std::iter::from_fn(|| queue.get().ok()).fold((0, 0), |(n, s), i| (n + 1, s + i))
        };
        let eaters: Vec<_> = (0..4).map(|_| spawn_in(&runtime, consume(queue.clone()))).collect();
        let also = std::thread::spawn(consume(queue.clone()));
        let makers: Vec<_> = (0..4).map(|_| spawn_in(&runtime, produce(queue.clone()))).collect();
        produce(queue.clone())();
        makers.into_iter().for_each(|maker| maker.join().expect("it does not panic"));
        queue.shutdown(false);
        let eaten = eaters.into_iter().map(|eater| eater.join().expect("it does not panic"));
        let eaten: Vec<_> = eaten.chain([also.join().expect("it does not panic")]).collect();
        let count: u64 = eaten.iter().map(|eaten| eaten.0).sum();
        let sum: u64 = eaten.iter().map(|eaten| eaten.1).sum();
        assert_eq!((count, sum), (5 * each, 5 * (each * (each - 1) / 2)));
    }
}
