//! How many workers there are.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use fiveways::executor::{BuildError, ProcessPool, Sizing, ThreadPool};
use fiveways_tests::stage::missing;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::support::{in_time, pool};

/// S004-23, C35.
#[test]
fn each_policy_gives_the_number_its_name_says() {
    let _watchdog = in_time();
    let on = |cpus| {
        let of = |sizing: Sizing| sizing.workers_on(cpus);
        [of(Sizing::FiveTimesCpus), of(Sizing::CpusPlusFourAtMost32), of(Sizing::Cpus)]
    };
    assert_eq!(on(1), [5, 5, 1]);
    assert_eq!(on(2), [10, 6, 2]);
    assert_eq!(on(28), [140, 32, 28]);
    assert_eq!(on(64), [320, 32, 64]);
    assert_eq!(Sizing::Fixed(7).workers_on(64), 7);
}

/// S004-23, C35: five times the processors is what CPython 3.5 to 3.7 took; later ones take
/// processors plus four, at most 32, and so do we.
#[test]
fn the_default_for_threads_is_that_of_the_cpython_that_is_here() {
    let _watchdog = in_time();
    let script = "import os, sys; from concurrent.futures import ThreadPoolExecutor as Pool\n\
        count = getattr(os, 'process_cpu_count', os.cpu_count)()\n\
        print(sys.version_info[:2] >= (3, 8), count, Pool()._max_workers)";
    let output = match Command::new("python3").args(["-c", script]).output() {
        Ok(output) => output,
        Err(error) => return missing("python3", &error.to_string()),
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |at: usize| words[at].parse::<usize>().expect("a number");
    let policy =
        if words[0] == "True" { Sizing::CpusPlusFourAtMost32 } else { Sizing::FiveTimesCpus };
    assert_eq!(policy.workers_on(number(1)), number(2));
    assert_eq!(ThreadPool::default().size(), Sizing::CpusPlusFourAtMost32.workers());
}

/// S004-24, C36: a smaller affinity counts.
#[test]
fn only_processors_that_may_be_used_are_counted() {
    let _watchdog = in_time();
    thread::spawn(|| {
        let all = sched_getaffinity(None).expect("an affinity");
        let first = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).expect("one at least");
        let mut one = CpuSet::new();
        one.set(first);
        sched_setaffinity(None, &one).expect("an allowed processor");
        assert_eq!(Sizing::Cpus.workers(), 1);
        assert_eq!(Sizing::FiveTimesCpus.workers(), 5);
    })
    .join()
    .expect("the thread's claims hold");
}

/// S004-21.
#[test]
fn a_pool_of_no_workers_is_refused() {
    let _watchdog = in_time();
    assert_eq!(ThreadPool::new(Sizing::Fixed(0)).err(), Some(BuildError::ZeroSize));
    assert_eq!(ProcessPool::new(Sizing::Fixed(0)).err(), Some(BuildError::ZeroSize));
}

/// C36: without the guard in `main` each process would run the whole program again.
#[test]
fn processes_are_refused_when_main_does_not_ask_whether_it_is_one() {
    let _watchdog = in_time();
    assert_eq!(ProcessPool::new(Sizing::Cpus).err(), Some(BuildError::NotGuarded));
}

/// S004-21: the limit holds, and is reached.
#[test]
fn as_many_work_at_a_time_as_the_pool_has_threads_and_no_more() {
    let _watchdog = in_time();
    let pool = pool(3);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let all_three = Arc::new(Barrier::new(3));
    let work = {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        move |_| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            all_three.wait();
            now.fetch_sub(1, Ordering::SeqCst);
        }
    };
    pool.map(0..60, work).expect("it is open").for_each(|done| done.expect("no panic"));
    assert_eq!((most.load(Ordering::SeqCst), pool.threads()), (3, 3));
}
