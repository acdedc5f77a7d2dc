//! `gevent.pool`: [`Pool`] and [`Group`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fiveways::sync::{Event, Semaphore, mpsc};
use fiveways::task::{self, Group, Pool};
use fiveways::time;

use crate::support::{LONG, SHORT, everywhere, let_others_wait, other, until};

everywhere!(
    a_pool_runs_what_it_is_given,
    the_panic_of_one_is_told_and_its_place_is_free_again,
    members_may_wait_for_each_other_if_there_is_room,
    work_inside_of_a_full_pool_is_done_in_its_place,
    places_are_taken_and_given_back,
    a_full_pool_lets_nobody_in_before_one_has_left,
    a_pool_of_no_places_is_refused,
    maps_of_every_size_give_what_map_gives,
    unordered_maps_of_every_size_give_each_value_once,
    unordered_values_come_as_they_are_done,
    maps_of_what_another_sends_end_with_it,
    maps_of_what_waits_itself_end_with_it,
    a_map_is_no_further_ahead_of_its_reader_than_its_places,
    a_panic_in_the_source_reaches_who_maps,
    a_panic_in_the_work_reaches_who_maps,
    a_panic_in_the_work_stands_for_one_item,
    a_join_of_an_empty_pool_does_not_wait,
    a_join_of_a_busy_pool_may_be_late,
    a_cancelled_pool_is_soon_empty,
    a_group_counts_those_that_run,
    a_cancelled_group_is_empty_when_joined,
    a_cancel_may_come_often,
);

const SIZES: [usize; 4] = [1, 2, 3, 10];

fn square(x: u64) -> u64 {
    x * x
}

/// As gevent's work that sleeps a little.
fn slow_square(x: u64) -> u64 {
    time::sleep(Duration::from_micros(x * 7919 % 300));
    x * x
}

fn a_pool_runs_what_it_is_given() {
    let (pool, done) = (Pool::new(2), Arc::new(Event::new()));
    let theirs = Arc::clone(&done);
    pool.spawn(move || theirs.set());
    done.wait();
    assert_eq!(pool.spawn_with_handle(|| "value").join().unwrap(), "value");
    pool.join().unwrap();
}

/// By an unwinding that no hook tells of.
fn fail() -> u64 {
    std::panic::resume_unwind(Box::new("expected"))
}

fn the_panic_of_one_is_told_and_its_place_is_free_again() {
    let pool = Pool::new(1);
    assert!(pool.spawn_with_handle(fail).join().unwrap_err().is_panic());
    until("its place is free", || pool.free_count() == 1);
    assert_eq!(pool.spawn_with_handle(|| 1).join().unwrap(), 1);
    // Without a handle the join tells.
    pool.spawn(|| _ = fail());
    assert!(pool.join().unwrap_err().is_panic());
    assert!(pool.join().is_ok());
}

fn members_may_wait_for_each_other_if_there_is_room() {
    let (pool, event) = (Pool::new(2), Arc::new(Event::new()));
    let theirs = Arc::clone(&event);
    let consuming = pool.spawn_with_handle(move || theirs.wait_timeout(LONG));
    pool.spawn(move || event.set());
    assert!(consuming.join().unwrap());
}

fn work_inside_of_a_full_pool_is_done_in_its_place() {
    let pool = Pool::new(1);
    let theirs = pool.clone();
    let outer = pool.spawn_with_handle(move || theirs.map([5], |number| number + 1));
    assert_eq!(outer.join().unwrap(), [6]);
    assert_eq!(pool.map([1], |number| number), [1]);
}

fn places_are_taken_and_given_back() {
    let (pool, go) = (Pool::new(2), Arc::new(Semaphore::new(0)));
    for taken in 1..=2 {
        let gone = Arc::clone(&go);
        pool.spawn(move || gone.acquire().forget());
        assert_eq!((pool.len(), pool.free_count()), (taken, 2 - taken));
    }
    assert!(pool.try_spawn(|| ()).is_err());
    for free in 1..=2 {
        go.release(1);
        until("a place is free", || pool.free_count() == free);
    }
    assert!(pool.is_empty() && pool.try_spawn(|| ()).is_ok());
    pool.join().unwrap();
}

fn a_full_pool_lets_nobody_in_before_one_has_left() {
    let (pool, go) = (Pool::new(1), Arc::new(Event::new()));
    let gone = Arc::clone(&go);
    pool.spawn(move || gone.wait());
    let theirs = pool.clone();
    let spawning = other(move || theirs.spawn(|| ()));
    let_others_wait();
    assert!(!spawning.is_finished() && pool.len() == 1);
    go.set();
    spawning.join();
    pool.join().unwrap();
    until("it is empty", || pool.is_empty());
}

fn a_pool_of_no_places_is_refused() {
    assert!(other(|| drop(Pool::new(0))).outcome().is_err());
}

fn maps_of_every_size_give_what_map_gives() {
    for size in SIZES {
        let pool = Pool::new(size);
        for count in [0, 1, 10, 100] {
            let expected: Vec<_> = (0..count).map(square).collect();
            assert_eq!(pool.map(0..count, square), expected);
            assert_eq!(pool.imap(0..count, slow_square).collect::<Vec<_>>(), expected);
        }
        let mut squares = pool.imap(0..2, square);
        assert_eq!([squares.next(), squares.next()], [Some(0), Some(1)]);
        assert_eq!([squares.next(), squares.next()], [None; 2]);
        pool.join().unwrap();
    }
}

fn unordered_maps_of_every_size_give_each_value_once() {
    for size in SIZES {
        let pool = Pool::new(size);
        for count in [0, 1, 10, 100] {
            let mut values: Vec<_> = pool.imap_unordered(0..count, slow_square).collect();
            values.sort_unstable();
            assert!(values.into_iter().eq((0..count).map(square)));
        }
    }
}

fn unordered_values_come_as_they_are_done() {
    for (size, expected) in [(1, [10, 1, 2]), (3, [1, 2, 10])] {
        let pool = Pool::new(size);
        let gates: [Arc<Event>; 3] = std::array::from_fn(|_| Arc::new(Event::new()));
        let theirs = gates.clone();
        // Each is let go by the one that is to be done before it.
        let work = move |(place, number): (usize, u64)| {
            theirs[place].wait();
            number
        };
        let items = [10, 1, 2].into_iter().enumerate().collect::<Vec<_>>();
        let mut values = pool.imap_unordered(items, work);
        let order = if size == 1 { [0, 1, 2] } else { [1, 2, 0] };
        let came = order.map(|place| {
            gates[place].set();
            values.next().unwrap()
        });
        assert_eq!(came, expected);
    }
}

/// gevent's issue 423.
fn maps_of_what_another_sends_end_with_it() {
    for size in SIZES {
        let pool = Pool::new(size);
        for ordered in [true, false] {
            let (sender, receiver) = mpsc::channel();
            sender.send(123).unwrap();
            let ending = other(move || {
                let_others_wait();
                drop(sender);
            });
            let items = receiver.into_iter();
            let values: Vec<u32> = if ordered {
                pool.imap(items, |item| item).collect()
            } else {
                pool.imap_unordered(items, |item| item).collect()
            };
            assert_eq!(values, [123]);
            ending.join();
        }
    }
}

/// gevent's issue 311.
fn maps_of_what_waits_itself_end_with_it() {
    let last = || {
        time::sleep(Duration::from_millis(2));
        None
    };
    for size in SIZES {
        let pool = Pool::new(size);
        let items = || (0..3).map(Some).chain(std::iter::once_with(last)).map_while(|item| item);
        assert_eq!(pool.imap(items(), square).collect::<Vec<_>>(), [0, 1, 4]);
        let mut values: Vec<_> = pool.imap_unordered(items(), square).collect();
        values.sort_unstable();
        assert_eq!(values, [0, 1, 4]);
    }
}

/// gevent's issue 638.
fn a_map_is_no_further_ahead_of_its_reader_than_its_places() {
    for size in SIZES {
        for ordered in [true, false] {
            let (pool, begun) = (Pool::new(size), Arc::new(AtomicUsize::new(0)));
            let count = Arc::clone(&begun);
            let work = move |number: usize| {
                count.fetch_add(1, Ordering::SeqCst);
                number
            };
            let mut values: Box<dyn Iterator<Item = usize>> = if ordered {
                Box::new(pool.imap(0..30, work))
            } else {
                Box::new(pool.imap_unordered(0..30, work))
            };
            for read in 1..=30 {
                values.next().unwrap();
                let_others_wait();
                let begun = begun.load(Ordering::SeqCst);
                assert!(begun <= read + size, "{begun} begun, {read} read, of {size} places");
            }
            assert!(values.next().is_none());
        }
    }
}

fn a_panic_in_the_source_reaches_who_maps() {
    let source = || (1..4_u64).map(|number| if number == 3 { fail() } else { number });
    let pool = Pool::new(3);
    assert!(catch_unwind(AssertUnwindSafe(|| pool.map(source(), square))).is_err());
    let unordered = || pool.imap_unordered(source(), square).collect::<Vec<_>>();
    assert!(catch_unwind(AssertUnwindSafe(unordered)).is_err());
    pool.join().unwrap();
    assert_eq!(pool.map(0..3, square), [0, 1, 4]);
}

/// What gevent's tests divide by.
fn divide_by(x: u64) -> u64 {
    2_u64.checked_div(x).unwrap_or_else(fail)
}

fn a_panic_in_the_work_reaches_who_maps() {
    let pool = Pool::new(3);
    assert!(catch_unwind(AssertUnwindSafe(|| pool.map([1, 0, 2], divide_by))).is_err());
    pool.join().unwrap();
    assert_eq!(pool.free_count(), 3);
}

fn a_panic_in_the_work_stands_for_one_item() {
    let pool = Pool::new(1);
    let mut values = pool.imap([1, 0, 2], divide_by);
    assert_eq!(values.next(), Some(2));
    assert!(catch_unwind(AssertUnwindSafe(|| values.next())).is_err());
    assert_eq!([values.next(), values.next()], [Some(1), None]);
    let mut values = pool.imap_unordered([1, 0, 2], divide_by);
    assert_eq!(values.next(), Some(2));
    assert!(catch_unwind(AssertUnwindSafe(|| values.next())).is_err());
    assert_eq!([values.next(), values.next()], [Some(1), None]);
}

fn a_join_of_an_empty_pool_does_not_wait() {
    assert!(Pool::new(1).join().is_ok());
    assert!(Pool::new(1).join_timeout(Duration::ZERO).unwrap().is_ok());
    assert!(Group::new().join().is_ok());
}

fn a_join_of_a_busy_pool_may_be_late() {
    let (pool, go) = (Pool::new(1), Arc::new(Event::new()));
    let gone = Arc::clone(&go);
    pool.spawn(move || gone.wait());
    let begin = Instant::now();
    assert!(pool.join_timeout(SHORT).is_none());
    assert!(begin.elapsed() >= SHORT);
    go.set();
    assert!(pool.join_timeout(LONG).unwrap().is_ok());
}

fn a_cancelled_pool_is_soon_empty() {
    for size in SIZES {
        let pool = Pool::new(size);
        (0..size).for_each(|_| pool.spawn(|| time::sleep(LONG)));
        let theirs = pool.clone();
        let spawning = other(move || theirs.spawn(|| ()));
        let_others_wait();
        pool.cancel();
        // The task that waited for a place has one.
        spawning.join();
        pool.join().unwrap();
        until("it is empty", || pool.is_empty());
    }
}

fn a_group_counts_those_that_run() {
    let (group, gates) = (Group::new(), [(); 2].map(|()| Arc::new(Event::new())));
    for gate in &gates {
        let gate = Arc::clone(gate);
        group.spawn(move || gate.wait());
    }
    assert_eq!(group.len(), 2);
    for (left, gate) in [1, 0].into_iter().zip(gates) {
        gate.set();
        until("one has ended", || group.len() == left);
    }
    assert!(group.is_empty());
}

fn a_cancelled_group_is_empty_when_joined() {
    let group = Group::new();
    (0..2).for_each(|_| group.spawn(|| time::sleep(LONG)));
    assert_eq!(group.len(), 2);
    let begin = Instant::now();
    group.cancel();
    group.join().unwrap();
    assert!(group.is_empty() && begin.elapsed() < LONG / 2);
}

fn a_cancel_may_come_often() {
    let group = Group::new();
    let cancelled = group.spawn_with_handle(|| time::sleep(LONG));
    let_others_wait();
    for _ in 0..3 {
        group.cancel();
        cancelled.cancel();
    }
    assert!(cancelled.join().unwrap_err().is_cancelled());
    group.join().unwrap();
    assert_eq!(task::join_all([task::spawn(|| 1)]).len(), 1);
}
