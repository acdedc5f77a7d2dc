//! `Queue`, `LifoQueue`, `PriorityQueue`, and [`JoinableQueue`], which has `Queue`'s `task_done`.
//!
//! Where CPython's failing queue raises in `_put` and `_get`, here a comparison of priorities
//! panics: the only code of the user that a queue calls.

use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{self, AtomicBool, AtomicUsize};
use std::time::Duration;

use fiveways::queue::{GetError, JoinableQueue, LifoQueue, PriorityQueue, PutError, Queue};

use crate::support::{LONG, SHORT, everywhere, joined, let_others_wait, other, others, until};

everywhere!(
    a_queue_does_all_that_queues_do,
    a_lifo_queue_does_all_that_queues_do,
    a_priority_queue_does_all_that_queues_do,
    a_joinable_queue_does_all_that_queues_do,
    work_is_joined_when_all_is_done_and_can_be_joined_again,
    work_done_that_was_never_put_is_an_error,
    a_failing_put_leaves_the_queue_as_it_was,
    a_failing_put_fails_its_caller_and_nobody_who_waits,
    a_failing_get_leaves_the_queue_as_it_was,
    a_queue_comes_to_its_end_over_many_failures,
);

const SIZE: usize = 5;

/// What all queues do, done twice to the same one. Items go in as 111, 333, 222.
macro_rules! basics {
    ($queue:expr, $order:expr, $item:expr) => {{
        let queue = $queue;
        let item = $item;
        for _ in 0..2 {
            assert!(queue.is_empty() && !queue.is_full());
            for number in [111, 333, 222] {
                queue.put(item(number)).unwrap();
            }
            assert_eq!([(); 3].map(|()| queue.get().unwrap()), $order.map(item));
            for number in 0..SIZE {
                assert!(!queue.is_full());
                queue.put_nowait(item(number)).unwrap();
                assert_eq!((queue.len(), queue.is_empty()), (number + 1, false));
            }
            assert!(queue.is_full());
            // Whose put is refused has the item again.
            let refused = queue.put_nowait(item(99)).unwrap_err();
            assert!(refused.is_full());
            assert_eq!(refused.into_inner(), item(99));
            assert!(queue.put_timeout(item(99), SHORT).unwrap_err().is_full());
            // A put waits for a get; with and without a limit.
            for limit in [None, Some(LONG)] {
                let theirs = queue.clone();
                let putting = other(move || match limit {
                    None => theirs.put(item(98)).map_err(PutError::from_shut),
                    Some(limit) => theirs.put_timeout(item(98), limit),
                });
                let_others_wait();
                assert_eq!(queue.len(), SIZE);
                queue.get().unwrap();
                putting.join().unwrap();
            }
            assert!((0..SIZE).all(|_| queue.get_nowait().is_ok()));
            assert_eq!(queue.get_nowait(), Err(GetError::Empty));
            assert_eq!(queue.get_timeout(SHORT), Err(GetError::Empty));
            assert_eq!(queue.get_timeout(Duration::ZERO), Err(GetError::Empty));
            // A get waits for a put.
            for limit in [None, Some(LONG)] {
                let theirs = queue.clone();
                let getting = other(move || match limit {
                    None => theirs.get().map_err(|_| GetError::Closed),
                    Some(limit) => theirs.get_timeout(limit),
                });
                let_others_wait();
                queue.put(item(7)).unwrap();
                assert_eq!(getting.join(), Ok(item(7)));
            }
            assert_eq!(queue.len(), 0);
        }
    }};
}

trait FromShut<T> {
    fn from_shut(error: fiveways::queue::Closed<T>) -> Self;
}

impl<T> FromShut<T> for PutError<T> {
    fn from_shut(error: fiveways::queue::Closed<T>) -> PutError<T> {
        PutError::Closed(error.0)
    }
}

fn a_queue_does_all_that_queues_do() {
    basics!(Queue::with_maxsize(SIZE), [111, 333, 222], |number: usize| number);
}

fn a_lifo_queue_does_all_that_queues_do() {
    basics!(LifoQueue::with_maxsize(SIZE), [222, 333, 111], |number: usize| number);
}

fn a_priority_queue_does_all_that_queues_do() {
    basics!(PriorityQueue::with_maxsize(SIZE), [111, 222, 333], |number: usize| (number, ()));
}

fn a_joinable_queue_does_all_that_queues_do() {
    basics!(JoinableQueue::with_maxsize(SIZE), [111, 333, 222], |number: usize| number);
}

fn work_is_joined_when_all_is_done_and_can_be_joined_again() {
    let (queue, sum) = (JoinableQueue::<Option<usize>>::new(), Arc::new(AtomicUsize::new(0)));
    for round in 1..=2 {
        let (theirs, total) = (queue.clone(), Arc::clone(&sum));
        let workers = others(2, move |_| {
            while let Some(number) = theirs.get().unwrap() {
                total.fetch_add(number, atomic::Ordering::SeqCst);
                theirs.task_done().unwrap();
            }
            theirs.task_done().unwrap();
        });
        (0..100).for_each(|number| queue.put(Some(number)).unwrap());
        queue.join();
        assert_eq!(sum.load(atomic::Ordering::SeqCst), round * 4950);
        (0..2).for_each(|_| queue.put(None).unwrap());
        queue.join();
        joined(workers);
    }
    assert!(queue.task_done().is_err());
}

fn work_done_that_was_never_put_is_an_error() {
    let queue = JoinableQueue::<()>::new();
    assert!(queue.task_done().is_err());
    // Nothing is left of it: no join waits, no work is lost.
    queue.join();
    queue.put(()).unwrap();
    assert!(!queue.join_timeout(SHORT));
    assert!(queue.task_done().is_ok() && queue.join_timeout(Duration::ZERO));
}

/// A priority whose comparisons fail on demand.
#[derive(Clone, Debug)]
struct Moody {
    number: usize,
    fails: Arc<AtomicBool>,
}

impl Moody {
    fn new(number: usize, fails: &Arc<AtomicBool>) -> (Moody, usize) {
        (Moody { number, fails: Arc::clone(fails) }, number)
    }
}

impl Ord for Moody {
    fn cmp(&self, other: &Moody) -> Ordering {
        if self.fails.swap(false, atomic::Ordering::SeqCst) {
            std::panic::resume_unwind(Box::new("moody"));
        }
        self.number.cmp(&other.number)
    }
}

impl PartialOrd for Moody {
    fn partial_cmp(&self, other: &Moody) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Moody {
    fn eq(&self, other: &Moody) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Moody {}

type MoodyQueue = PriorityQueue<Moody, usize>;

fn failing<T>(fails: &AtomicBool, f: impl FnOnce() -> T) -> bool {
    fails.store(true, atomic::Ordering::SeqCst);
    let failed = catch_unwind(AssertUnwindSafe(f)).is_err();
    // One that compared nothing has not failed; the next shall not.
    failed & !fails.swap(false, atomic::Ordering::SeqCst)
}

/// All that is in the queue, which comes in order if the queue is sound.
fn drained(queue: &MoodyQueue) -> Vec<usize> {
    std::iter::from_fn(|| queue.get_nowait().ok()).map(|(_, number)| number).collect()
}

fn a_failing_put_leaves_the_queue_as_it_was() {
    let (queue, fails) = (MoodyQueue::with_maxsize(SIZE), Arc::new(AtomicBool::new(false)));
    for _ in 0..2 {
        for number in (1..SIZE).rev() {
            queue.put(Moody::new(number, &fails)).unwrap();
        }
        assert!(failing(&fails, || queue.put_nowait(Moody::new(0, &fails))));
        assert!(failing(&fails, || queue.put_timeout(Moody::new(0, &fails), SHORT)));
        assert!(failing(&fails, || queue.put(Moody::new(0, &fails))));
        assert_eq!(queue.len(), SIZE - 1);
        queue.put(Moody::new(5, &fails)).unwrap();
        assert!(queue.is_full());
        assert_eq!(drained(&queue), [1, 2, 3, 4, 5]);
    }
}

/// A put that waits is not compared before there is room: then by the task that makes the room.
fn a_failing_put_fails_its_caller_and_nobody_who_waits() {
    let (queue, fails) = (MoodyQueue::with_maxsize(2), Arc::new(AtomicBool::new(false)));
    queue.put(Moody::new(1, &fails)).unwrap();
    let theirs = queue.clone();
    let getting = others(2, move |_| theirs.get().unwrap().1);
    until("one has the first", || queue.is_empty());
    // Handed over, or into an empty queue: there is nothing to compare with.
    assert!(!failing(&fails, || queue.put(Moody::new(2, &fails))));
    let mut had = joined(getting);
    had.sort_unstable();
    assert_eq!(had, [1, 2]);
    assert!(queue.is_empty());
}

fn a_failing_get_leaves_the_queue_as_it_was() {
    let (queue, fails) = (MoodyQueue::with_maxsize(SIZE), Arc::new(AtomicBool::new(false)));
    for _ in 0..2 {
        for number in [3, 1, 4, 0, 2] {
            queue.put(Moody::new(number, &fails)).unwrap();
        }
        assert!(failing(&fails, || queue.get()));
        assert!(failing(&fails, || queue.get_nowait()));
        assert!(failing(&fails, || queue.get_timeout(LONG)));
        assert!(queue.is_full());
        assert_eq!(drained(&queue), [0, 1, 2, 3, 4]);
    }
    let theirs = queue.clone();
    let getting = other(move || theirs.get().unwrap().1);
    queue.put(Moody::new(7, &fails)).unwrap();
    assert_eq!(getting.join(), 7);
}

/// As a get fails that makes room for a put that waits, both lose their items; but nobody hangs.
fn a_queue_comes_to_its_end_over_many_failures() {
    let (queue, fails) = (MoodyQueue::with_maxsize(3), Arc::new(AtomicBool::new(false)));
    let (theirs, fail) = (queue.clone(), Arc::clone(&fails));
    let putting = others(3, move |which| {
        let put = |number| {
            let item = Moody::new(which * 40 + number, &fail);
            catch_unwind(AssertUnwindSafe(|| theirs.put(item).unwrap())).is_ok()
        };
        (0..40).filter(|number| put(*number)).count()
    });
    let (theirs, fail) = (queue.clone(), Arc::clone(&fails));
    let getting = others(2, move |_| {
        let mut had = 0;
        for turn in 0_usize.. {
            fail.store(turn % 3 == 0, atomic::Ordering::SeqCst);
            match catch_unwind(AssertUnwindSafe(|| theirs.get())) {
                Ok(Ok(_)) => had += 1,
                Ok(Err(_)) => break,
                Err(_) => (),
            }
        }
        had
    });
    // Both sides come to their ends.
    let put: usize = joined(putting).into_iter().sum();
    queue.shutdown(false);
    let had: usize = joined(getting).into_iter().sum();
    assert!(had <= put && queue.is_empty(), "{put} put, {had} had");
}
