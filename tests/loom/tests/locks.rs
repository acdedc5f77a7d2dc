//! The locks: what they protect is never touched by two, and nobody waits for ever.

use std::time::Duration;

use fiveways_loom::fate::Fate;
use fiveways_loom::model;
use fiveways_loom::over_loom::sync::Arc;
use fiveways_loom::sync::{LazyLock, Mutex, Once, OnceLock, ReentrantMutex, RwLock};
use fiveways_loom::witness::Witness;
use loom::thread::{self, JoinHandle};

const PANIC: &str = "it does not panic";
const POISON: &str = "nobody unwinds with it";

/// Spawns a thread of the model with a share of `what`.
fn spawn<T: Send + Sync + 'static, R: Send + 'static>(
    what: &Arc<T>,
    f: impl FnOnce(&T) -> R + Send + 'static,
) -> JoinHandle<R> {
    let what = Arc::clone(what);
    thread::spawn(move || f(&what))
}

fn add(mutex: &Mutex<Witness>) {
    mutex.lock().expect(POISON).add(1);
}

fn sum(mutex: &Mutex<Witness>) -> usize {
    mutex.lock().expect(POISON).read()
}

#[test]
fn a_mutex_admits_one_at_a_time() {
    model(|| {
        let mutex = Arc::new(Mutex::new(Witness::new(0)));
        let others = [spawn(&mutex, add), spawn(&mutex, add)];
        add(&mutex);
        for other in others {
            other.join().expect(PANIC);
        }
        assert_eq!(sum(&mutex), 3);
    });
}

#[test]
fn a_mutex_is_handed_to_who_was_overtaken() {
    model(|| {
        let mutex = Arc::new(Mutex::new(Witness::new(0)));
        let twice = |mutex: &Mutex<Witness>| {
            add(mutex);
            add(mutex);
        };
        let other = spawn(&mutex, twice);
        twice(&mutex);
        other.join().expect(PANIC);
        assert_eq!(sum(&mutex), 4);
    });
}

#[test]
fn who_is_cancelled_in_line_passes_the_mutex_on() {
    model(|| {
        let (mutex, fate) = (Arc::new(Mutex::new(Witness::new(0))), Fate::new());
        let held = mutex.lock().expect(POISON);
        let own = fate.clone();
        let victim = spawn(&mutex, move |mutex| usize::from(own.rule(|| add(mutex)).is_some()));
        let other = spawn(&mutex, add);
        drop(held);
        fate.cancel();
        other.join().expect(PANIC);
        let added = victim.join().expect(PANIC);
        // To be cancelled between the two is not to be cancelled in line.
        assert_eq!(sum(&mutex), 1 + added);
    });
}

#[test]
fn who_is_late_for_a_mutex_keeps_nobody_from_it() {
    model(|| {
        let (mutex, fate) = (Arc::new(Mutex::new(Witness::new(0))), Fate::new());
        let held = mutex.lock().expect(POISON);
        let own = fate.clone();
        let late = spawn(&mutex, move |mutex| {
            let try_add = || mutex.lock_timeout(Duration::ZERO).map(|sum| sum.add(1)).is_ok();
            usize::from(own.rule(try_add) == Some(true))
        });
        let other = spawn(&mutex, add);
        drop(held);
        fate.expire();
        other.join().expect(PANIC);
        let added = late.join().expect(PANIC);
        assert_eq!(sum(&mutex), 1 + added);
    });
}

#[test]
fn a_mutex_is_poisoned_by_who_unwinds_with_it() {
    model(|| {
        let (mutex, fate) = (Arc::new(Mutex::new(Witness::new(0))), Fate::new());
        let busy = Arc::new(Mutex::new(Witness::new(0)));
        let held = busy.lock().expect(POISON);
        let (own, other) = (fate.clone(), Arc::clone(&busy));
        let victim = spawn(&mutex, move |mutex| {
            let ended = own.rule(|| {
                let _held = mutex.lock();
                drop(other.lock());
            });
            assert!(ended.is_none(), "nobody lets go of the other");
        });
        fate.cancel();
        victim.join().expect(PANIC);
        assert!(mutex.lock().is_err());
        drop(held);
        assert!(busy.lock().is_ok());
    });
}

#[test]
fn a_rwlock_admits_readers_or_a_writer() {
    model(|| {
        let lock = Arc::new(RwLock::new(Witness::new(0)));
        let write = spawn(&lock, |lock| lock.write().expect(POISON).add(1));
        let read = spawn(&lock, |lock| lock.read().expect(POISON).read());
        assert!(lock.read().expect(POISON).read() <= 1);
        assert!(read.join().expect(PANIC) <= 1);
        assert_eq!(write.join().expect(PANIC), 1);
        assert_eq!(lock.read().expect(POISON).read(), 1);
    });
}

#[test]
fn a_reader_that_is_cancelled_keeps_no_writer_out() {
    model(|| {
        let (lock, fate) = (Arc::new(RwLock::new(Witness::new(0))), Fate::new());
        let held = lock.write().expect(POISON);
        let own = fate.clone();
        let victim =
            spawn(&lock, move |lock| own.rule(|| lock.read().expect(POISON).read()).is_some());
        let writer = spawn(&lock, |lock| lock.write().expect(POISON).add(1));
        drop(held);
        fate.cancel();
        victim.join().expect(PANIC);
        writer.join().expect(PANIC);
        assert_eq!(lock.read().expect(POISON).read(), 1);
    });
}

#[test]
fn once_runs_once_and_is_seen_by_all() {
    let fill = |(once, done): &(Once, Witness)| {
        once.call_once(|| assert_eq!(done.add(1), 1));
        done.read()
    };
    model(move || {
        let lazy = Arc::new((Once::new(), Witness::new(0)));
        let others = [spawn(&lazy, fill), spawn(&lazy, fill)];
        assert_eq!(fill(&lazy), 1);
        assert_eq!(others.map(|other| other.join().expect(PANIC)), [1, 1]);
    });
}

#[test]
fn a_value_is_made_once_whoever_asks() {
    model(|| {
        let place = Arc::new((OnceLock::new(), Witness::new(0)));
        let ask = |(place, made): &(OnceLock<usize>, Witness)| *place.get_or_init(|| made.add(1));
        let others = [spawn(&place, ask), spawn(&place, |(place, _)| *place.wait())];
        assert_eq!(ask(&place), 1);
        assert_eq!(others.map(|other| other.join().expect(PANIC)), [1, 1]);
    });
}

#[test]
fn a_lazy_value_is_made_once() {
    model(|| {
        let made = Arc::new(Witness::new(0));
        let lazy = Arc::new(LazyLock::new({
            let made = Arc::clone(&made);
            move || made.add(1)
        }));
        let other = spawn(&lazy, |lazy| **lazy);
        assert_eq!((**lazy, other.join().expect(PANIC)), (1, 1));
    });
}

#[test]
fn a_reentrant_mutex_is_free_when_the_outermost_lock_goes() {
    model(|| {
        let mutex = Arc::new(ReentrantMutex::new(Witness::new(0)));
        let add_twice = |mutex: &ReentrantMutex<Witness>| {
            let outer = mutex.lock();
            mutex.lock().add(1);
            assert_eq!(mutex.count(), 1);
            outer.add(1)
        };
        let other = spawn(&mutex, add_twice);
        assert_eq!(add_twice(&mutex) % 2, 0);
        other.join().expect(PANIC);
        assert_eq!(mutex.lock().read(), 4);
    });
}
