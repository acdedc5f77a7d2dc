//! What went wrong once when two things of the toolbox met, and must not again.

use std::cell::{Cell, RefCell};
use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fiveways::generator::{Generator, Yielder};
use fiveways::inspect::{Detection, deadlocks_found, detect_deadlocks};
use fiveways::signal::{SIGUSR1, Signals};
use fiveways::sync::{Event, Mutex, Once, Semaphore, WaitGroup};
use fiveways::{Model, task, time};
use fiveways_tests::arena::in_task;
use fiveways_tests::patience::{LONG, Watchdog};
use signal_hook::low_level::raise;

/// Set in a process that plays the part of a test.
const ROLE: &str = "FIVEWAYS_MISHAPS_TEST";

/// What is done about deadlocks is set for the whole process.
static DETECTION: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// A member that counted itself out woke who came after it, and waited for another.
#[test]
fn a_wait_group_is_left_only_when_nobody_is_in_it() {
    let group = Arc::new(WaitGroup::new());
    let over = Arc::new(AtomicBool::new(false));
    let others: Vec<_> = (0..2)
        .map(|_| {
            let (group, over) = (Arc::clone(&group), Arc::clone(&over));
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    drop(group.add());
                }
            })
        })
        .collect();
    for _ in 0..10_000 {
        let member = group.add();
        assert!(!group.wait_timeout(Duration::from_micros(20)), "we are in it");
        drop(member);
    }
    over.store(true, Ordering::Relaxed);
    others.into_iter().for_each(|other| other.join().expect("no panic"));
}

/// A thread's token was destroyed before the locals that wait for something.
#[test]
fn a_destructor_of_a_thread_local_may_wait() {
    static LOCK: Mutex<u32> = Mutex::new(0);
    struct Counts;
    impl Drop for Counts {
        fn drop(&mut self) {
            *LOCK.lock().expect("not poisoned") += 1;
        }
    }
    thread_local! {
        static COUNTS: Counts = const { Counts };
    }
    let held = LOCK.lock().expect("not poisoned");
    let ending = Arc::new(Event::new());
    let ends = Arc::clone(&ending);
    let other = thread::spawn(move || {
        COUNTS.with(|_| ());
        // The token is younger than the local, and goes first.
        Event::new().wait_timeout(Duration::from_millis(1));
        ends.set();
    });
    ending.wait();
    thread::sleep(Duration::from_millis(20));
    drop(held);
    other.join().expect("no panic");
    assert_eq!(*LOCK.lock().expect("not poisoned"), 1);
}

/// A task that joins one it has cancelled, and holds what that waits for, is not in a deadlock.
#[test]
fn a_cancelled_task_is_in_no_deadlock() {
    let _alone = DETECTION.lock().expect("no panic");
    detect_deadlocks(Detection::Panic);
    let found = deadlocks_found();
    for workers in [1, 2] {
        fiveways_tests::arena::in_task_of(Model::Epoll, workers, || {
            let lock = Arc::new(Mutex::new(()));
            let held = lock.lock();
            let theirs = Arc::clone(&lock);
            let waiter = task::spawn(move || drop(theirs.lock()));
            time::sleep(Duration::from_millis(5));
            waiter.cancel();
            assert!(waiter.join().expect_err("it was cancelled").is_cancelled());
            drop(held);
        });
    }
    assert_eq!(deadlocks_found(), found);
}

/// The limit of a generator's first resumer came back in it, when another task had resumed it.
#[test]
fn a_generator_leaves_its_callers_time_limits_behind() {
    in_task(Model::Epoll, || {
        let mut numbers = Generator::<(), u32, bool>::new(|yielder| {
            let inner = task::timeout(Duration::from_secs(60), || yielder.yield_(1));
            yielder.yield_(2);
            time::sleep(Duration::from_millis(60));
            inner.is_ok()
        });
        let first = task::timeout(Duration::from_millis(30), || numbers.next());
        assert_eq!(first, Ok(Some(1)));
        assert_eq!(numbers.next(), Some(2));
        assert_eq!(numbers.next(), None);
    });
}

/// What a generator yields out of an initialiser does not make its caller uncancellable.
#[test]
fn a_generator_takes_its_protection_from_cancels_along() {
    in_task(Model::Epoll, || {
        let task = task::spawn_local(|| {
            let mut inside = Generator::<(), (), ()>::new(|yielder| {
                Once::new().call_once(|| yielder.yield_(()));
            });
            assert_eq!(inside.next(), Some(()));
            time::sleep(Duration::from_secs(3600));
        });
        task::yield_now();
        task.cancel();
        assert!(task.join().expect_err("it was cancelled").is_cancelled());
    });
}

/// A cancel cut the sleep of what must not be interrupted short.
#[test]
fn an_initialiser_sleeps_to_the_end_though_its_task_is_cancelled() {
    static SLEPT: AtomicUsize = AtomicUsize::new(0);
    in_task(Model::Epoll, || {
        let task = task::spawn_local(|| {
            Once::new().call_once(|| {
                let started = Instant::now();
                time::sleep(Duration::from_millis(50));
                SLEPT.store(started.elapsed().as_millis() as usize, Ordering::Relaxed);
            });
        });
        task::yield_now();
        task.cancel();
        let _ = task.join();
    });
    assert!(SLEPT.load(Ordering::Relaxed) >= 50);
}

/// A task that joins itself is told so.
#[test]
fn a_task_that_joins_itself_is_refused() {
    let _alone = DETECTION.lock().expect("no panic");
    detect_deadlocks(Detection::Off);
    thread_local! {
        static OWN: Cell<Option<task::JoinHandle<bool>>> = const { Cell::new(None) };
    }
    in_task(Model::Epoll, || {
        let task = task::spawn_local(|| {
            let own = OWN.take().expect("it was left here");
            own.join().is_err()
        });
        OWN.set(Some(task));
        time::sleep(Duration::from_millis(5));
        assert!(OWN.take().is_none(), "it has taken it, and ended");
    });
}

/// Does something in its destructor.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A task that unwinds is not suspended. So a lock that a neighbour holds would never come, and
/// its worker was blocked for ever without a word.
#[test]
fn a_destructor_is_refused_a_wait_for_a_neighbour_that_cannot_go_on() {
    in_task(Model::Epoll, || {
        let (lock, let_go) = (Rc::new(Mutex::new(())), Arc::new(Event::new()));
        let (theirs, waits) = (Rc::clone(&lock), Arc::clone(&let_go));
        let neighbour = task::spawn_local(move || {
            let _held = theirs.lock().expect("not poisoned");
            waits.wait();
        });
        task::yield_now();
        let told = Rc::new(RefCell::new(String::new()));
        let (tells, asks) = (Rc::clone(&told), Rc::clone(&lock));
        let failing = task::spawn_local(move || {
            let _asks = OnDrop(|| {
                let asking = || drop(asks.lock());
                let refused = catch_unwind(AssertUnwindSafe(asking)).expect_err("it would not end");
                *tells.borrow_mut() = *refused.downcast::<String>().expect("it has a message");
                // A deadline ends it.
                assert!(asks.lock_timeout(Duration::from_millis(1)).is_err());
            });
            panic!("as it must");
        });
        assert!(failing.join().expect_err("it panics").is_panic());
        let told = told.take();
        assert!(told.contains("waits in a destructor while it unwinds ('mutex' at "), "{told}");
        assert!(told.contains("mishaps.rs:") && told.contains("of the same worker"), "{told}");
        let_go.set();
        neighbour.join().expect("no panic");
        // The refused waiter has left the queue.
        drop(lock.lock().expect("not poisoned"));
    });
}

/// What another thread may end is waited for, and told when it takes long.
#[test]
fn a_destructor_that_blocks_its_worker_is_told() {
    const TEST: &str = "a_destructor_that_blocks_its_worker_is_told";
    if env::var_os(ROLE).is_some() {
        let permits = Arc::new(Semaphore::new(0));
        let gives = Arc::clone(&permits);
        let giving = thread::spawn(move || {
            io::stdin().read_line(&mut String::new()).expect("a word");
            gives.release(1);
        });
        let waiting = move || {
            let _waits = OnDrop(|| permits.acquire().forget());
            panic!("as it must");
        };
        let failed = in_task(Model::Epoll, move || task::spawn(waiting).join());
        assert!(failed.expect_err("it panics").is_panic());
        return giving.join().expect("no panic");
    }
    let us = env::current_exe().expect("a path");
    let mut command = Command::new(us);
    command.args(["--exact", TEST, "--nocapture"]).env(ROLE, "1");
    let piped = command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut child = piped.spawn().expect("started");
    let (mut words, lines) = (child.stdin.take().expect("piped"), child.stderr.take());
    let mut lines = BufReader::new(lines.expect("piped")).lines().map_while(Result::ok);
    let told = lines.find(|line| line.contains("blocks its worker")).expect("it is told");
    assert!(told.contains("('semaphore' at ") && told.contains("mishaps.rs:"), "{told}");
    words.write_all(b"go on\n").expect("it listens");
    lines.for_each(drop);
    assert!(child.wait().expect("it ends").success());
}

/// Plays the part of the test in a process of its own, which must exit with 7; gives what it said.
fn said_before_its_exit(test: &str, part: impl FnOnce()) -> Option<String> {
    if env::var_os(ROLE).is_some() {
        // An exit that hangs must not keep the test waiting.
        let _watchdog = Watchdog::new(test.to_owned(), LONG / 2);
        part();
        return None;
    }
    let us = env::current_exe().expect("a path");
    let output = Command::new(us).args(["--exact", test, "--nocapture"]).env(ROLE, "1").output();
    let output = output.expect("started");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(7), "{said}");
    Some(said)
}

/// Tells of its end.
struct Lent(AtomicBool);

impl Drop for Lent {
    fn drop(&mut self) {
        eprintln!("what is lent is gone");
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Lets others go on in the midst of an exit.
struct WaitsAtItsEnd;

impl Drop for WaitsAtItsEnd {
    fn drop(&mut self) {
        time::sleep(Duration::from_millis(2));
    }
}

thread_local! {
    static WAITS: WaitsAtItsEnd = const { WaitsAtItsEnd };
    static LENT: Lent = const { Lent(AtomicBool::new(false)) };
}

/// An exit destroys the thread-locals of its thread. Tasks of that worker may have lent them to
/// other threads, and may use them themselves if a destructor waits.
#[test]
fn an_exit_in_a_task_leaves_its_neighbours_what_they_borrow() {
    const TEST: &str = "an_exit_in_a_task_leaves_its_neighbours_what_they_borrow";
    let part = || {
        in_task(Model::Auto, || {
            WAITS.with(|_| ());
            let is_lent = Arc::new(AtomicBool::new(false));
            let lends = Arc::clone(&is_lent);
            let _neighbour = task::spawn_local(move || {
                LENT.with(|lent| {
                    thread::scope(|scope| {
                        scope.spawn(|| {
                            lends.store(!lent.0.load(Ordering::SeqCst), Ordering::SeqCst);
                            loop {
                                thread::park();
                            }
                        });
                        while !lent.0.load(Ordering::SeqCst) {
                            task::yield_now();
                        }
                        eprintln!("what is gone is used");
                    });
                });
            });
            while !is_lent.load(Ordering::SeqCst) {
                task::yield_now();
            }
            std::process::exit(7);
        });
    };
    let Some(said) = said_before_its_exit(TEST, part) else { return };
    assert!(!said.contains("is gone"), "{said}");
}

/// As for tasks: what a suspended generator has lent stays when another one ends the process.
#[test]
fn an_exit_in_a_generator_leaves_others_what_they_borrow() {
    const TEST: &str = "an_exit_in_a_generator_leaves_others_what_they_borrow";
    let part = || {
        let thread = thread::spawn(|| {
            let mut lends = Generator::<(), ()>::new(|me| {
                LENT.with(|lent| {
                    thread::scope(|scope| {
                        scope.spawn(|| assert!(!lent.0.load(Ordering::SeqCst)));
                        me.yield_(());
                    });
                });
            });
            assert_eq!(lends.next(), Some(()));
            let mut exits = Generator::<(), ()>::new(|me| {
                me.yield_(());
                std::process::exit(7);
            });
            while exits.next().is_some() {}
        });
        let _ = thread.join();
    };
    let Some(said) = said_before_its_exit(TEST, part) else { return };
    assert!(!said.contains("is gone"), "{said}");
}

/// Goes down to where so many bytes of the stack are used, and does something there.
#[inline(never)]
fn at_depth(top: usize, depth: usize, then: &mut dyn FnMut()) {
    let here = std::hint::black_box(0_u8);
    let at = std::ptr::from_ref(&here).addr();
    if top - at < depth {
        at_depth(top, depth, then)
    } else {
        then()
    }
    std::hint::black_box(&here);
}

/// The handler ran where it interrupted, and the kernel found no room for what it keeps there. An
/// overflow of the program's own is told as such.
#[test]
fn a_watched_signal_finds_room_on_a_stack_that_is_nearly_full() {
    const TEST: &str = "a_watched_signal_finds_room_on_a_stack_that_is_nearly_full";
    const STACK: usize = 20 << 10;
    if let Ok(depth) = env::var(ROLE) {
        let depth = depth.parse().expect("a number");
        let signals = Signals::new([SIGUSR1]).expect("it can be received");
        let raising = move |me: &Yielder<(), ()>| {
            let top = std::hint::black_box(0_u8);
            let top = std::ptr::from_ref(&top).addr();
            at_depth(top, depth, &mut || raise(SIGUSR1).expect("raised"));
            me.yield_(());
        };
        let mut raising = Generator::with_stack_size(STACK, raising).expect("there is memory");
        raising.next();
        assert_eq!(signals.try_wait(), Some(SIGUSR1));
        std::process::exit(7);
    }
    let (mut received, mut overflows) = (0, 0);
    for depth in (STACK / 2..STACK + (8 << 10)).step_by(512) {
        let us = env::current_exe().expect("a path");
        let mut command = Command::new(us);
        command.args(["--exact", TEST, "--nocapture"]).env(ROLE, depth.to_string());
        let output = command.output().expect("started");
        let said = String::from_utf8_lossy(&output.stderr);
        let is_told = said.contains("has overflowed its stack");
        assert!(output.status.code() == Some(7) || is_told, "{depth}: {} {said}", output.status);
        if is_told { overflows += 1 } else { received += 1 }
    }
    assert!(received > 10 && overflows > 0, "{received} received, {overflows} overflows");
}
