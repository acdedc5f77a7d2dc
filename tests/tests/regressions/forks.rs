//! What a fork makes anew, and clean-up and numbers when there is nothing left.
#![expect(unsafe_code, reason = "programs fork")]

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fiveways::executor::{Sizing, ThreadPool, unblock};
use fiveways::net::TcpListener;
use fiveways::process::Command;
use fiveways::runtime::Runtime;
use fiveways::signal::{SIGUSR1, Signals};
use fiveways::sync::{Event, ReentrantMutex};
use fiveways::{Model, inspect, task};
use fiveways_tests::patience::LONG;
use rustix::process::{Pid, Resource, Rlimit, WaitOptions, getrlimit, setrlimit, waitpid};

/// Does `step` come to its end in a fork, within ten seconds?
fn ends_in_a_fork(step: &dyn Fn()) -> bool {
    // SAFETY: required: what the child does is safe after a fork. It allocates, which glibc allows,
    // and does what this library says can be done.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: required: nothing.
        unsafe { libc::alarm(10) };
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(step));
        // SAFETY: required: nothing. It ends the process at once.
        unsafe { libc::_exit(i32::from(ended.is_err())) };
    }
    let child = Pid::from_raw(child).expect("there is room for a process");
    let ended = waitpid(Some(child), WaitOptions::empty()).expect("our child");
    ended.expect("it was waited for").1.exit_status() == Some(0)
}

/// All that has threads behind it works in a fork as it does in the program that forks.
#[test]
fn what_has_threads_behind_it_works_in_a_fork() {
    let pool = ThreadPool::new(Sizing::Fixed(2)).expect("not zero");
    let kept = Mutex::new(Some(Runtime::builder().workers(2).build().expect("a runtime")));
    let signals = Signals::new([SIGUSR1]).expect("it can be received");
    let in_global = |f: fn()| task::spawn(f).join().expect("no panic");
    let tasks = || in_global(|| task::yield_now());
    let blocking = || in_global(|| assert_eq!(unblock(|| 5), 5));
    let look_up = || in_global(|| drop(TcpListener::bind("localhost:0").expect("a port")));
    let programs = || in_global(|| drop(Command::new("true").output().expect("it runs")));
    let orphans = || in_global(|| drop(Command::new("true").spawn().expect("it runs")));
    let jobs = || {
        let job = pool.submit(|| 7).expect("it is open");
        assert_eq!(job.result().expect("no panic"), 7);
    };
    let watchdog = || inspect::watchdog(Duration::from_secs(1)).expect("a thread");
    let dump = || drop(inspect::dump());
    let dropping = || drop(kept.lock().expect("nobody panics").take());
    let signal = || {
        // SAFETY: required: nothing. The signal is watched.
        unsafe { libc::kill(std::process::id() as i32, SIGUSR1) };
        let by = Instant::now() + LONG;
        assert_eq!(signals.wait_until(by).expect("it waits"), Some(SIGUSR1));
        // The second one comes while it waits.
        // SAFETY: required: nothing. The signal is watched.
        let again =
            std::thread::spawn(|| unsafe { libc::kill(std::process::id() as i32, SIGUSR1) });
        assert_eq!(signals.wait_until(by).expect("it waits"), Some(SIGUSR1));
        again.join().expect("no panic");
    };
    let steps: [(&str, &dyn Fn()); 10] = [
        ("tasks", &tasks),
        ("blocking code", &blocking),
        ("a look-up", &look_up),
        ("programs", &programs),
        ("orphans", &orphans),
        ("jobs", &jobs),
        ("the watchdog", &watchdog),
        ("a dump", &dump),
        ("the drop of a runtime", &dropping),
        ("a signal", &signal),
    ];
    // All threads are there, and idle; some of them will hold what they share.
    for (_, step) in steps.iter().filter(|(name, _)| *name != "the drop of a runtime") {
        step();
    }
    let hang: Vec<&str> =
        steps.iter().filter(|(_, step)| !ends_in_a_fork(step)).map(|(name, _)| *name).collect();
    assert!(hang.is_empty(), "not in a fork: {hang:?}");
    // The original goes on.
    for (_, step) in &steps {
        step();
    }
}

/// Uses the state of the whole process: the graph of waits, runtimes, parkers, names of threads.
fn use_what_is_shared() {
    let lock = Arc::new(fiveways::sync::Mutex::new(0_u64));
    let (give, take) = fiveways::sync::mpsc::sync_channel(1);
    let ours = Arc::clone(&lock);
    let thread = std::thread::spawn(move || {
        for number in 0..20 {
            *ours.lock().expect("nobody panics") += 1;
            give.send(number).expect("it is received");
        }
    });
    for number in 0..20 {
        *lock.lock().expect("nobody panics") += 1;
        assert_eq!(take.recv().expect("it is sent"), number);
    }
    thread.join().expect("no panic");
    let runtime = Runtime::builder().model(Model::Epoll).build().expect("a runtime");
    runtime.block_on(move || {
        let theirs = Arc::clone(&lock);
        let task = task::spawn(move || *theirs.lock().expect("nobody panics"));
        assert_eq!(task.join().expect("no panic"), 40);
    });
    drop(inspect::dump_with(&inspect::Options::new().backtraces(false)));
}

/// Whatever other threads are in the midst of when a process forks, its copy uses the same things.
#[test]
fn locks_that_other_threads_hold_at_a_fork_do_not_hold_the_fork() {
    const FORKS: usize = 150;
    let over = AtomicBool::new(false);
    inspect::detect_deadlocks(inspect::Detection::Report);
    let hangs = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    use_what_is_shared();
                }
            });
        }
        let hangs = (0..FORKS).find(|_| !ends_in_a_fork(&use_what_is_shared));
        over.store(true, Ordering::Relaxed);
        hangs
    });
    assert_eq!(hangs, None, "of {FORKS} forks this one did not end, or failed");
}

/// A task of the process that was forked does not end in the copy: a join says so.
#[test]
fn a_join_in_a_fork_of_a_task_that_is_elsewhere_does_not_wait() {
    let runtime = Runtime::builder().build().expect("a runtime");
    for detection in [inspect::Detection::Off, inspect::Detection::Report] {
        inspect::detect_deadlocks(detection);
        let event = Arc::new(Event::new());
        let theirs = Arc::clone(&event);
        let task = runtime.block_on(move || task::spawn(move || theirs.wait()));
        let kept = Mutex::new(Some(task));
        let take = || kept.lock().expect("nobody panics").take().expect("it is there");
        assert!(ends_in_a_fork(&|| assert!(take().join().is_err())), "{detection:?}");
        event.set();
        take().join().expect("no panic");
    }
}

/// A runtime ends, in a task too, when there is no memory for another thread.
#[test]
fn a_runtime_that_is_dropped_in_a_task_needs_no_thread() {
    for model in [Model::Select, Model::Poll, Model::Epoll, Model::Signal, Model::Uring] {
        let outer = Runtime::builder().model(model).build().expect("a runtime");
        outer.block_on(move || {
            let inner = Runtime::builder().model(model).workers(2).build().expect("a runtime");
            inner.block_on(|| drop(task::spawn(|| Event::new().wait())));
            let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
            let pages: u64 = statm.split(' ').next().expect("a size").parse().expect("a number");
            let before = getrlimit(Resource::As);
            let limit = |current| Rlimit { current, ..before };
            setrlimit(Resource::As, limit(Some((pages * 4 + 1024) * 1024))).expect("lower");
            let none = std::thread::Builder::new().spawn(|| ()).is_err();
            drop(inner);
            setrlimit(Resource::As, limit(before.current)).expect("it was so before");
            assert!(none, "there was room for another thread");
        });
    }
}

/// No two workers have the same number, however many were asked for in vain.
#[test]
fn a_runtime_that_is_too_large_takes_no_numbers_from_others() {
    let first = Runtime::builder().build().expect("a runtime");
    for workers in [u32::MAX as usize, u32::MAX as usize - 1, 5_000_000, usize::MAX] {
        let error = Runtime::builder().workers(workers).build().expect_err("too many");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(&workers.to_string()), "{error}");
    }
    let second = Runtime::builder().build().expect("a runtime");
    let (mutex, held, done) = (ReentrantMutex::new(()), Event::new(), Event::new());
    let all = Arc::new((mutex, held, done));
    let theirs = Arc::clone(&all);
    let holder = std::thread::spawn(move || {
        first.block_on(move || {
            let _guard = theirs.0.lock();
            theirs.1.set();
            theirs.2.wait();
        });
    });
    let ours = Arc::clone(&all);
    let entered = second.block_on(move || {
        ours.1.wait();
        ours.0.try_lock().is_some()
    });
    all.2.set();
    holder.join().expect("no panic");
    assert!(!entered, "another task holds it");
}
