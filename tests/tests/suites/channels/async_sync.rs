//! tokio's `sync` and `JoinSet`: what they promise that no suite above does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fiveways::sync::mpsc::{self, TryRecvError, TrySendError};
use fiveways::sync::{Barrier, Event, RwLock, Semaphore};
use fiveways::task::{self, Group};
use fiveways::time;

use crate::support::{
    LONG, everywhere, heavy, joined, let_others_wait, other, others, pause, until,
};

everywhere!(
    a_bound_holds_back_who_sends_and_lets_them_on,
    a_dropped_receiver_refuses_who_sends_and_who_waits,
    what_nobody_receives_is_dropped_with_the_channel,
    all_items_are_dropped_although_one_destructor_panics,
    what_is_left_is_counted_and_received_after_the_senders,
    permits_are_merged_by_giving_back_and_forgotten_for_good,
    a_semaphore_takes_the_greatest_number_and_no_more,
    heavy_permits_are_never_more_than_there_are,
    a_barrier_for_nobody_holds_up_nobody,
    heavy_a_barrier_lets_through_in_whole_rounds,
    readers_share_and_writers_do_not,
    a_writer_that_waits_holds_up_readers_behind_it,
    each_write_is_seen_by_the_next,
    a_write_lock_may_become_a_read_lock,
    heavy_readers_and_writers_see_whole_values,
    tasks_of_a_set_end_in_their_time,
    cancelled_tasks_of_a_set_tell_so,
    a_panic_in_a_set_is_told_and_the_others_go_on,
);

fn a_bound_holds_back_who_sends_and_lets_them_on() {
    let (sender, receiver) = mpsc::sync_channel(1);
    let sending = other(move || [sender.send("one"), sender.send("two")]);
    let_others_wait();
    assert!(!sending.is_finished());
    assert_eq!([receiver.recv(), receiver.recv()], [Ok("one"), Ok("two")]);
    assert!(sending.join().iter().all(|sent| sent.is_ok()));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
}

fn a_dropped_receiver_refuses_who_sends_and_who_waits() {
    let (sender, receiver) = mpsc::sync_channel(1);
    sender.send(1).unwrap();
    assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    let theirs = sender.clone();
    let waiting = other(move || theirs.send(3));
    let_others_wait();
    drop(receiver);
    assert_eq!(waiting.join().unwrap_err().0, 3);
    assert_eq!(sender.try_send(4), Err(TrySendError::Disconnected(4)));
}

fn what_nobody_receives_is_dropped_with_the_channel() {
    let item = Arc::new(());
    for receiver_first in [true, false] {
        let (sender, receiver) = mpsc::sync_channel(100);
        (0..10).for_each(|_| sender.send(Arc::clone(&item)).unwrap());
        if receiver_first {
            drop(receiver);
            assert_eq!(Arc::strong_count(&item), 1);
        } else {
            drop(sender);
            assert_eq!(Arc::strong_count(&item), 11);
        }
    }
    assert_eq!(Arc::strong_count(&item), 1);
}

struct Touchy(bool, Arc<AtomicUsize>);

impl Drop for Touchy {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::SeqCst);
        if self.0 {
            std::panic::resume_unwind(Box::new("touchy"));
        }
    }
}

fn all_items_are_dropped_although_one_destructor_panics() {
    let drops = Arc::new(AtomicUsize::new(0));
    let (sender, receiver) = mpsc::channel();
    for touchy in [true, false, false] {
        assert!(sender.send(Touchy(touchy, Arc::clone(&drops))).is_ok());
    }
    assert!(catch_unwind(AssertUnwindSafe(|| drop(receiver))).is_err());
    assert_eq!(drops.load(Ordering::SeqCst), 3);
}

fn what_is_left_is_counted_and_received_after_the_senders() {
    let (sender, receiver) = mpsc::channel();
    assert!(receiver.is_empty());
    (0..32).for_each(|number| sender.send(number).unwrap());
    assert_eq!((receiver.len(), receiver.is_empty()), (32, false));
    drop(sender);
    assert_eq!(receiver.len(), 32);
    assert!(receiver.iter().eq(0..32) && receiver.is_empty());
}

fn permits_are_merged_by_giving_back_and_forgotten_for_good() {
    let rooms = Semaphore::new(4);
    let (one, two) = (rooms.acquire(), rooms.acquire());
    assert_eq!(rooms.available(), 2);
    one.forget();
    drop(two);
    assert_eq!(rooms.available(), 3);
    rooms.release(1);
    assert_eq!(rooms.available(), 4);
}

fn a_semaphore_takes_the_greatest_number_and_no_more() {
    let rooms = Semaphore::new(Semaphore::MAX_PERMITS);
    assert_eq!(rooms.available(), Semaphore::MAX_PERMITS);
    drop(rooms.acquire());
    assert!(catch_unwind(AssertUnwindSafe(|| rooms.release(1))).is_err());
    assert_eq!(rooms.available(), Semaphore::MAX_PERMITS);
    assert!(catch_unwind(|| Semaphore::new(Semaphore::MAX_PERMITS + 1)).is_err());
}

fn heavy_permits_are_never_more_than_there_are() {
    let rounds = heavy(4_000);
    let (rooms, inside) = (Arc::new(Semaphore::new(3)), Arc::new(AtomicUsize::new(0)));
    let theirs = Arc::clone(&rooms);
    let visiting = others(8, move |me| {
        for round in 0..rounds {
            let permit = theirs.acquire();
            assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
            if (me + round) % 7 == 0 {
                pause();
            }
            inside.fetch_sub(1, Ordering::SeqCst);
            drop(permit);
        }
    });
    joined(visiting);
    assert_eq!(rooms.available(), 3);
}

fn a_barrier_for_nobody_holds_up_nobody() {
    let barrier = Barrier::new(0);
    assert!((0..3).all(|_| barrier.wait().is_leader()));
}

fn heavy_a_barrier_lets_through_in_whole_rounds() {
    const PARTIES: usize = 10;
    let rounds = heavy(400);
    let barrier = Arc::new(Barrier::new(PARTIES));
    let theirs = Arc::clone(&barrier);
    let racing =
        others(PARTIES - 1, move |_| (0..rounds).filter(|_| theirs.wait().is_leader()).count());
    let mine = (0..rounds).filter(|_| barrier.wait().is_leader()).count();
    assert_eq!(mine + joined(racing).into_iter().sum::<usize>(), rounds);
}

fn readers_share_and_writers_do_not() {
    let lock = Arc::new(RwLock::new(100));
    let readers = [lock.read().unwrap(), lock.read().unwrap()];
    let theirs = Arc::clone(&lock);
    assert!(other(move || theirs.try_read().is_ok()).join());
    assert!(lock.try_write().is_err());
    drop(readers);
    let writer = lock.write().unwrap();
    assert!(lock.try_read().is_err() && lock.try_write().is_err());
    drop(writer);
    assert!(lock.try_write().is_ok());
}

fn a_writer_that_waits_holds_up_readers_behind_it() {
    let lock = Arc::new(RwLock::new(0));
    let reader = lock.read().unwrap();
    let theirs = Arc::clone(&lock);
    let writing = other(move || *theirs.write().unwrap() += 1);
    until("the writer waits", || lock.try_read().is_err());
    let theirs = Arc::clone(&lock);
    let reading = other(move || *theirs.read().unwrap());
    let_others_wait();
    assert!(!writing.is_finished() && !reading.is_finished());
    drop(reader);
    writing.join();
    assert_eq!(reading.join(), 1);
}

fn each_write_is_seen_by_the_next() {
    let lock = Arc::new(RwLock::new(Vec::new()));
    for number in 0..5 {
        lock.write().unwrap().push(number);
    }
    let theirs = Arc::clone(&lock);
    joined(others(5, move |_| theirs.write().unwrap().push(9)));
    assert_eq!(*lock.read().unwrap(), [0, 1, 2, 3, 4, 9, 9, 9, 9, 9]);
}

fn a_write_lock_may_become_a_read_lock() {
    let lock = Arc::new(RwLock::new(0));
    let mut writer = lock.write().unwrap();
    let theirs = Arc::clone(&lock);
    let reading = other(move || *theirs.read().unwrap());
    let_others_wait();
    *writer = 7;
    let reader = fiveways::sync::RwLockWriteGuard::downgrade(writer);
    // The waiting reader goes on; there was no write in between.
    assert_eq!((reading.join(), *reader), (7, 7));
    assert!(lock.try_write().is_err());
}

fn heavy_readers_and_writers_see_whole_values() {
    let rounds = heavy(4_000);
    let lock = Arc::new(RwLock::new((0_usize, 0_usize)));
    let theirs = Arc::clone(&lock);
    let all = others(8, move |me| {
        for _ in 0..rounds {
            if me % 2 == 0 {
                let mut both = theirs.write().unwrap();
                both.0 += 1;
                both.1 += 1;
            } else {
                let both = theirs.read().unwrap();
                assert_eq!(both.0, both.1);
            }
        }
    });
    joined(all);
    assert_eq!(*lock.read().unwrap(), (4 * rounds, 4 * rounds));
}

fn tasks_of_a_set_end_in_their_time() {
    let group = Group::new();
    let begin = Instant::now();
    let tasks: Vec<_> = (0..10)
        .map(|number| {
            group.spawn_with_handle(move || {
                time::sleep(Duration::from_micros(number * 100));
                number
            })
        })
        .collect();
    group.join().unwrap();
    assert!(begin.elapsed() >= Duration::from_micros(900));
    assert!(tasks.into_iter().map(|task| task.join().unwrap()).eq(0..10));
}

fn cancelled_tasks_of_a_set_tell_so() {
    let group = Group::new();
    let tasks: Vec<_> = (0..5)
        .map(|number| {
            group.spawn_with_handle(move || {
                if number != 0 {
                    time::sleep(LONG);
                }
                number
            })
        })
        .collect();
    until("the first has ended", || tasks[0].is_finished());
    group.cancel();
    group.join().unwrap();
    let ends = task::join_all(tasks);
    assert_eq!(ends[0].as_ref().unwrap(), &0);
    assert!(ends[1..].iter().all(|end| end.as_ref().unwrap_err().is_cancelled()));
}

/// By an unwinding that no hook tells of.
fn fail() -> u32 {
    std::panic::resume_unwind(Box::new("expected"))
}

fn a_panic_in_a_set_is_told_and_the_others_go_on() {
    let (group, go) = (Group::new(), Arc::new(Event::new()));
    let gone = Arc::clone(&go);
    let waiting = group.spawn_with_handle(move || gone.wait_timeout(LONG));
    let failing = group.spawn_with_handle(fail);
    assert!(failing.join().unwrap_err().is_panic());
    go.set();
    assert!(waiting.join().unwrap());
    // The one with the handle has told it: the group has nothing to tell.
    group.join().unwrap();
}
