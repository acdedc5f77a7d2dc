//! Task-local and thread-local values, from tasks and from plain threads.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use fiveways::generator::{Generator, State};
use fiveways::local::{TaskLocal, ThreadLocal};
use fiveways::runtime::Runtime;
use fiveways::{task, time};

fn on_workers<T: Send + 'static>(workers: usize, f: impl FnOnce() -> T + Send + 'static) -> T {
    let runtime = Runtime::builder().workers(workers).build().expect("a runtime");
    runtime.block_on(f)
}

/// S000-01: two threads write a name and an age through one handle; a function without arguments
/// reads them back.
#[test]
fn threads_see_only_what_they_have_set() {
    static NAME: ThreadLocal<&str> = ThreadLocal::new();
    static AGE: ThreadLocal<u32> = ThreadLocal::new();
    fn show() -> String {
        format!("{} {}", NAME.get().unwrap_or("nobody"), AGE.get().unwrap_or(0))
    }
    let both_have_written = Arc::new(std::sync::Barrier::new(2));
    let person = |name, age| {
        let both_have_written = Arc::clone(&both_have_written);
        thread::spawn(move || {
            NAME.set(name);
            AGE.set(age);
            both_have_written.wait();
            show()
        })
    };
    let shown = [person("liming", 22), person("lijing", 42)].map(|it| it.join().expect("it ends"));
    assert_eq!(shown, ["liming 22", "lijing 42"]);
    assert_eq!(show(), "nobody 0");
}

/// S000-02: within one thread every function sees the same value; a plain shared cell, the control,
/// is overwritten by the other thread.
#[test]
fn one_thread_shares_its_value_and_a_global_mixes_threads_up() {
    static LOCAL: ThreadLocal<usize> = ThreadLocal::new();
    static GLOBAL: AtomicUsize = AtomicUsize::new(0);
    fn write(value: usize) {
        LOCAL.set(value);
        GLOBAL.store(value, Ordering::SeqCst);
    }
    fn read() -> (Option<usize>, usize) {
        (LOCAL.get(), GLOBAL.load(Ordering::SeqCst))
    }
    write(1);
    assert_eq!(read(), (Some(1), 1));
    thread::spawn(|| write(2)).join().expect("it ends");
    assert_eq!(read(), (Some(1), 2));
}

/// S000-03: a value that was not set is reported as absent, on threads and in tasks.
#[test]
fn what_was_never_set_is_not_set() {
    static PER_TASK: TaskLocal<String> = TaskLocal::new();
    static PER_THREAD: ThreadLocal<String> = ThreadLocal::new();
    PER_TASK.set("main".to_owned());
    PER_THREAD.set("main".to_owned());
    let look = || (PER_TASK.get(), PER_THREAD.get(), PER_TASK.is_set());
    assert_eq!(thread::spawn(look).join().expect("it ends"), (None, None, false));
    assert_eq!(task::spawn(look).join().expect("it ends"), (None, None, false));
    assert_eq!(look().0.as_deref(), Some("main"));
    assert!(PER_TASK.unset());
    assert!(!PER_TASK.unset());
    assert_eq!(PER_TASK.get(), None);
    assert_eq!(PER_TASK.try_with(String::len), None);
}

/// S000-04: tasks of one thread keep their own values; the thread's value is common to them.
#[test]
fn tasks_of_one_thread_keep_their_own_values() {
    static PER_TASK: TaskLocal<u32> = TaskLocal::new();
    static PER_THREAD: ThreadLocal<u32> = ThreadLocal::new();
    on_workers(1, || {
        let tasks = (0..100).map(|number| {
            task::spawn_local(move || {
                PER_TASK.set(number);
                PER_THREAD.set(number);
                task::yield_now();
                time::sleep(Duration::from_millis(1));
                (number, PER_TASK.get(), PER_THREAD.get())
            })
        });
        for outcome in task::join_all(tasks.collect::<Vec<_>>()) {
            let (number, own, common) = outcome.expect("it ends");
            assert_eq!(own, Some(number));
            assert_eq!(common, Some(99));
        }
        assert_eq!(PER_TASK.get(), None);
    });
}

/// C64: 64 threads, 1000 random writes, pauses and reads each: no mix-up with local values, and
/// some with a global, the control. The seeds are the threads' numbers.
#[test]
fn sixty_four_threads_never_mix_up_local_values() {
    static LOCAL: ThreadLocal<u64> = ThreadLocal::new();
    static OF_TASK: TaskLocal<u64> = TaskLocal::new();
    static GLOBAL: Mutex<u64> = Mutex::new(0);
    let work = |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut local_mixed, mut global_mixed) = (0, 0);
        for _ in 0..1000 {
            let value = random.u64(..);
            LOCAL.set(value);
            OF_TASK.set(value);
            *GLOBAL.lock().expect("whole") = value;
            match random.u32(0..4) {
                0 => thread::yield_now(),
                1 => thread::sleep(Duration::from_micros(random.u64(1..50))),
                _ => {}
            }
            local_mixed += u32::from(LOCAL.get() != Some(value) || OF_TASK.get() != Some(value));
            global_mixed += u32::from(*GLOBAL.lock().expect("whole") != value);
        }
        (local_mixed, global_mixed)
    };
    let threads: Vec<_> = (0..64).map(|seed| thread::spawn(move || work(seed))).collect();
    let mixed = threads.into_iter().map(|thread| thread.join().expect("it ends"));
    let (local, global) = mixed.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert_eq!(local, 0);
    assert!(global > 0, "the control shows what isolation is good for");
}

/// The same with tasks, which are many on each thread and move between reads and writes.
#[test]
fn a_thousand_tasks_never_mix_up_local_values() {
    fiveways::local! {
        static LOCAL: Cell<u64> = Cell::new(0);
        static LOG: RefCell<Vec<u64>> = RefCell::new(Vec::new());
    }
    on_workers(2, || {
        let work = |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..50 {
                let value = random.u64(..);
                LOCAL.with(|local| local.set(value));
                LOG.with(|log| log.borrow_mut().push(value));
                task::yield_now();
                assert_eq!(LOCAL.with(Cell::get), value);
                assert_eq!(LOG.with(|log| log.borrow().last().copied()), Some(value));
            }
            LOG.with(|log| log.borrow().len())
        };
        let tasks: Vec<_> = (0..1000).map(|seed| task::spawn(move || work(seed))).collect();
        for outcome in task::join_all(tasks) {
            assert_eq!(outcome.expect("no mix-up"), 50);
        }
    });
}

/// Tells where it was dropped.
struct Tell(&'static str, Arc<Mutex<Vec<(&'static str, thread::ThreadId)>>>);

impl Drop for Tell {
    fn drop(&mut self) {
        // A destructor may wait.
        task::yield_now();
        self.1.lock().expect("whole").push((self.0, thread::current().id()));
    }
}

#[test]
fn values_are_destroyed_at_the_end_of_their_task_on_its_worker_before_the_join() {
    static FIRST: TaskLocal<Tell> = TaskLocal::new();
    static SECOND: TaskLocal<Tell> = TaskLocal::new();
    on_workers(2, || {
        for worker in 0..2 {
            let log = Arc::new(Mutex::new(Vec::new()));
            let (one, two) = (Arc::clone(&log), Arc::clone(&log));
            let spawned = task::Builder::new().worker(worker).spawn(move || {
                FIRST.set(Tell("replaced", Arc::clone(&one)));
                FIRST.set(Tell("first", one));
                SECOND.set(Tell("second", two));
                thread::current().id()
            });
            let home = spawned.expect("it starts").join().expect("it ends");
            let log = log.lock().expect("whole");
            assert_eq!(*log, [("replaced", home), ("first", home), ("second", home)]);
        }
    });
}

#[test]
fn values_of_cancelled_and_panicking_tasks_are_destroyed_too() {
    static VALUE: TaskLocal<Arc<()>> = TaskLocal::new();
    on_workers(1, || {
        let value = Arc::new(());
        let theirs = Arc::clone(&value);
        let panics = task::spawn(move || {
            VALUE.set(theirs);
            panic!("as it must");
        });
        assert!(panics.join().expect_err("it panics").is_panic());
        let theirs = Arc::clone(&value);
        let sleeps = task::spawn_local(move || {
            VALUE.set(theirs);
            time::sleep(Duration::from_secs(3600));
        });
        task::yield_now();
        sleeps.cancel();
        assert!(sleeps.join().expect_err("it is cancelled").is_cancelled());
        assert_eq!(Arc::strong_count(&value), 1);
    });
}

#[test]
fn a_panic_in_the_destructor_of_a_value_ends_there() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("as it must");
        }
    }
    static VALUE: TaskLocal<Panics> = TaskLocal::new();
    static OTHER: TaskLocal<Arc<()>> = TaskLocal::new();
    let other = Arc::new(());
    let theirs = Arc::clone(&other);
    let ends = task::spawn(move || {
        VALUE.set(Panics);
        OTHER.set(theirs);
        7
    });
    assert_eq!(ends.join().expect("its value is its own"), 7);
    assert_eq!(Arc::strong_count(&other), 1);
}

#[test]
fn a_destructor_finds_its_own_value_gone_and_others_still_there() {
    struct Look(Arc<Mutex<Vec<Option<u32>>>>);
    impl Drop for Look {
        fn drop(&mut self) {
            let gone = FIRST.try_with(|_| 0);
            let there = SECOND.get();
            let made = THIRD.get();
            self.0.lock().expect("whole").extend([gone, there, made]);
        }
    }
    static FIRST: TaskLocal<Look> = TaskLocal::new();
    static SECOND: TaskLocal<u32> = TaskLocal::new();
    static THIRD: TaskLocal<u32> = TaskLocal::with_first(|| 3);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&seen);
    let ends = task::spawn(move || {
        // Keys are destroyed in the order of their first use.
        FIRST.set(Look(theirs));
        SECOND.set(2);
    });
    ends.join().expect("it ends");
    assert_eq!(*seen.lock().expect("whole"), [None, Some(2), Some(3)]);
}

#[test]
fn a_destructor_cannot_bring_its_value_back() {
    struct Returns(Arc<AtomicUsize>);
    impl Drop for Returns {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
            let refused = VALUE.try_set(Returns(Arc::clone(&self.0)));
            std::mem::forget(refused.expect_err("it has been destroyed"));
        }
    }
    static VALUE: TaskLocal<Returns> = TaskLocal::new();
    let drops = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&drops);
    task::spawn(move || VALUE.set(Returns(theirs))).join().expect("it ends");
    assert_eq!(drops.load(Ordering::Relaxed), 1);
}

#[test]
fn the_values_of_a_thread_are_destroyed_at_its_end() {
    static VALUE: ThreadLocal<Arc<()>> = ThreadLocal::new();
    static OF_TASK: TaskLocal<Arc<()>> = TaskLocal::new();
    let value = Arc::new(());
    let theirs = Arc::clone(&value);
    let thread = thread::spawn(move || {
        OF_TASK.set(Arc::clone(&theirs));
        VALUE.set(theirs);
    });
    thread.join().expect("it ends");
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn a_value_in_use_stays_while_it_is_replaced() {
    static VALUE: TaskLocal<String> = TaskLocal::new();
    VALUE.set("old".to_owned());
    VALUE.with(|old| {
        VALUE.set("new".to_owned());
        assert_eq!(old, "old");
        VALUE.unset();
        assert_eq!(old, "old");
    });
    assert_eq!(VALUE.get(), None);
}

/// A generator that suspends in the middle of using a task's value may be resumed by another task,
/// after the first has ended.
#[test]
fn a_value_in_use_by_a_generator_outlives_its_task() {
    static VALUE: TaskLocal<Vec<u32>> = TaskLocal::new();
    on_workers(1, || {
        let shared = Rc::new(RefCell::new(Generator::new(|me| {
            VALUE.with(|value| {
                me.yield_(value.len());
                value.iter().sum::<u32>()
            })
        })));
        let theirs = Rc::clone(&shared);
        let first = task::spawn_local(move || {
            VALUE.set(vec![1; 1000]);
            theirs.borrow_mut().start()
        });
        assert_eq!(first.join().expect("it ends"), Ok(State::Yielded(1000)));
        let second = task::spawn_local(move || shared.borrow_mut().send(()));
        assert_eq!(second.join().expect("it ends"), Ok(State::Complete(1000)));
    });
}

/// As an initialiser of std's must not: several tasks make the value at the same time, and each
/// uses what it has got for as long as it likes.
#[test]
fn a_first_value_may_wait_while_others_make_and_use_theirs() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    static GONE: AtomicUsize = AtomicUsize::new(0);
    struct Value(String);
    impl Drop for Value {
        fn drop(&mut self) {
            self.0.clear();
            GONE.fetch_add(1, Ordering::SeqCst);
        }
    }
    static SHARED: ThreadLocal<Value> = ThreadLocal::with_first(|| {
        let number = MADE.fetch_add(1, Ordering::SeqCst);
        (0..3 - number.min(2)).for_each(|_| task::yield_now());
        Value(format!("made as number {number}"))
    });
    let runtime = Runtime::builder().build().expect("a runtime");
    runtime.block_on(|| {
        let uses = || {
            SHARED.with(|value| {
                let before = value.0.clone();
                (0..10).for_each(|_| task::yield_now());
                assert_eq!(value.0, before);
                assert!(before.starts_with("made as number "), "{before}");
            });
        };
        let tasks: Vec<_> = (0..3).map(|_| task::spawn_local(uses)).collect();
        tasks.into_iter().for_each(|task| task.join().expect("it is as it was"));
        // All have made one, and one of them counts.
        assert_eq!((MADE.load(Ordering::SeqCst), GONE.load(Ordering::SeqCst)), (3, 2));
    });
}
