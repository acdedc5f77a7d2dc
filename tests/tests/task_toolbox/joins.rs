//! Joining one, all, any; values before, at and after the end.

use std::cell::Cell;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use fiveways::{task, time};

use crate::{FOREVER, on_workers};

/// Runs a claim in a task of one worker, in one of two, and on a plain thread.
fn everywhere(claim: impl Fn() + Clone + Send + 'static) {
    for workers in [1, 2] {
        on_workers(workers, claim.clone());
    }
    claim();
}

const SHORT: Duration = Duration::from_millis(20);

/// S000-09: a join waits, for a limited time if so asked, from tasks and from plain threads.
#[test]
fn a_join_can_be_limited() {
    everywhere(|| {
        let sleeps = task::spawn(|| time::sleep(FOREVER));
        let started = Instant::now();
        let sleeps = sleeps.join_timeout(SHORT).expect_err("it sleeps for long");
        assert!(started.elapsed() >= SHORT);
        assert!(!sleeps.is_finished());
        sleeps.cancel();
        let ended = sleeps.join_timeout(Duration::MAX).expect("it ends");
        assert!(ended.expect_err("it was cancelled").is_cancelled());
        let ends = task::spawn(|| 7);
        let ended = ends.join_timeout(FOREVER).expect("it ends in time");
        assert_eq!(ended.expect("it does not panic"), 7);
    });
}

/// S000-09: a thread is joined as ever, and a task can join one without holding its worker.
#[test]
fn a_task_can_wait_for_a_thread() {
    on_workers(1, || {
        let ticks = Rc::new(Cell::new(0));
        let theirs = Rc::clone(&ticks);
        let neighbour = task::spawn_local(move || {
            while theirs.get() < 3 {
                theirs.set(theirs.get() + 1);
                time::sleep(Duration::from_millis(1));
            }
        });
        let (tell, told) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || told.recv().expect("it is told"));
        let waits = task::spawn_local(move || {
            fiveways_tests::patience::eventually("the thread ends", || {
                task::yield_now();
                thread.is_finished()
            });
            thread.join().expect("it ends")
        });
        neighbour.join().expect("it ends");
        tell.send(ticks.get()).expect("it listens");
        assert_eq!(waits.join().expect("it ends"), 3);
    });
}

/// D36: what is waited for is given as it is, without being wrapped: a handle from anywhere, in a
/// list of any kind, by value or by reference.
#[test]
fn d36_handles_are_waited_for_as_they_are() {
    on_workers(1, || {
        let mut two = vec![task::spawn_local(|| 1), task::spawn(|| 2)];
        assert!(task::wait_any(&two).is_some());
        two.push(task::spawn(|| 3));
        let ends = task::join_all(two).into_iter().map(|end| end.expect("no panic"));
        assert_eq!(ends.collect::<Vec<_>>(), [1, 2, 3]);
        let ends = task::join_all([task::spawn_local(|| 4)].into_iter().chain([task::spawn(|| 5)]));
        assert_eq!(ends.into_iter().map(Result::unwrap).sum::<i32>(), 9);
    });
}

/// S001-29: all are waited for, with their outcomes in the order of the handles.
#[test]
fn join_all_waits_for_all() {
    everywhere(|| {
        let work = |number: u64| {
            move || {
                time::sleep(Duration::from_millis(10 - number));
                assert!(number != 4, "four");
                number
            }
        };
        let tasks: Vec<_> = (0..10).map(|number| task::spawn(work(number))).collect();
        let cancelled = task::spawn(|| time::sleep(FOREVER));
        cancelled.cancel();
        let outcomes = task::join_all(tasks);
        for (number, outcome) in (0..).zip(outcomes) {
            match outcome {
                Ok(value) => assert_eq!(value, number),
                Err(error) => assert_eq!(error.to_string(), "the task panicked: four"),
            }
        }
        let [outcome] = &task::join_all([cancelled])[..] else { unreachable!("one for one") };
        assert!(outcome.as_ref().expect_err("it was cancelled").is_cancelled());
        assert!(task::join_all(Vec::<task::JoinHandle<()>>::new()).is_empty());
    });
}

/// S001-29: with a time limit, those that have not ended come back.
#[test]
fn join_all_timeout_gives_back_what_is_not_done() {
    everywhere(|| {
        let tasks = (0..10).map(|number| {
            task::spawn(move || if number % 2 == 0 { number } else { endless(number) })
        });
        let outcomes = task::join_all_timeout(tasks, Duration::from_millis(200));
        assert_eq!(outcomes.len(), 10);
        let mut left = Vec::new();
        for (number, outcome) in (0..).zip(outcomes) {
            match outcome {
                Ok(ended) => assert_eq!(ended.expect("it ends"), number),
                Err(task) => left.push(task),
            }
        }
        assert_eq!(left.len(), 5);
        left.iter().for_each(task::JoinHandle::cancel);
        assert!(task::join_all(left).iter().all(Result::is_err));
    });
}

fn endless(number: u32) -> u32 {
    time::sleep(FOREVER);
    number
}

/// S001-29 (gevent's count): the first of several, also when it has already ended, and again.
#[test]
fn wait_any_gives_the_first_that_ends() {
    everywhere(|| {
        let mut tasks: Vec<_> = (0..10).map(|n| task::spawn(move || endless(n))).collect();
        assert_eq!(task::wait_any_timeout(&tasks, SHORT), None);
        tasks[7].cancel();
        assert_eq!(task::wait_any(&tasks), Some(7));
        assert_eq!(task::wait_any(&tasks), Some(7));
        tasks.swap_remove(7).join().expect_err("it was cancelled");
        tasks[7].cancel();
        assert_eq!(task::wait_any(&tasks), Some(7));
        assert_eq!(task::wait_any_timeout(&tasks[..7], SHORT), None);
        tasks.iter().for_each(task::JoinHandle::cancel);
        task::join_all(tasks);
        assert_eq!(task::wait_any::<()>(&[]), None);
    });
}

#[test]
fn several_may_wait_for_the_same_tasks() {
    on_workers(2, || {
        let tasks: Vec<_> = (0..10).map(|n| task::spawn(move || endless(n))).collect();
        let firsts = task::scope(|s| {
            let waiters: Vec<_> = (0..20).map(|_| s.spawn(|| task::wait_any(&tasks))).collect();
            task::yield_now();
            tasks[3].cancel();
            waiters.into_iter().map(|waiter| waiter.join().expect("it ends")).collect::<Vec<_>>()
        });
        assert_eq!(firsts, [Some(3); 20]);
        tasks.iter().for_each(task::JoinHandle::cancel);
        task::join_all(tasks);
    });
}

#[test]
fn a_cancelled_wait_for_all_leaves_the_tasks_alone() {
    on_workers(1, || {
        let gate = Rc::new(Cell::new(false));
        let theirs = Rc::clone(&gate);
        let tasks: Vec<_> = (0..3)
            .map(|number| {
                let gate = Rc::clone(&theirs);
                task::spawn_local(move || {
                    while !gate.get() {
                        task::yield_now();
                    }
                    number
                })
            })
            .collect();
        let kept = Rc::new(tasks);
        let theirs = Rc::clone(&kept);
        let waits = task::spawn_local(move || task::wait_any(&*theirs));
        task::yield_now();
        waits.cancel();
        assert!(waits.join().expect_err("it is cancelled").is_cancelled());
        gate.set(true);
        let tasks = Rc::try_unwrap(kept).expect("nobody else has them");
        let numbers: Result<Vec<_>, _> = task::join_all(tasks).into_iter().collect();
        assert_eq!(numbers.expect("they end"), [0, 1, 2]);
    });
}

/// S001-30: no value before the end, the value after it, as often as one likes; none after a panic
/// or a cancellation, and the join says which.
#[test]
fn a_value_is_there_after_the_end_and_only_if_there_is_one() {
    everywhere(|| {
        let mut task = task::spawn(|| {
            time::sleep(SHORT);
            String::from("the value")
        });
        assert_eq!(task.value(), None);
        task::wait_any([&task]);
        assert!(task.is_finished());
        assert_eq!(task.value().map(String::as_str), Some("the value"));
        assert_eq!(task.value().map(String::as_str), Some("the value"));
        assert_eq!(task.join().expect("it ends"), "the value");

        let mut panics = task::spawn(|| -> u32 { panic!("as it must") });
        task::wait_any([&panics]);
        assert!(panics.is_finished());
        assert_eq!(panics.value(), None);
        let error = panics.join().expect_err("it panics");
        assert!(error.is_panic() && !error.is_cancelled());
        assert_eq!(error.into_panic().downcast_ref(), Some(&"as it must"));

        let mut cancelled = task::spawn(|| endless(1));
        cancelled.cancel();
        task::wait_any([&cancelled]);
        assert_eq!(cancelled.value(), None);
        assert!(cancelled.join().expect_err("it was cancelled").is_cancelled());
    });
}

/// Ends and waits race: each wait sees each end. The seed is fixed.
#[test]
fn no_end_is_missed_heavy() {
    on_workers(2, || {
        let mut random = fastrand::Rng::with_seed(11);
        for round in 0..20_000 {
            let count = random.usize(1..6);
            let tasks: Vec<_> = (0..count)
                .map(|number| {
                    let yields = random.usize(0..3);
                    let spawn = task::Builder::new().worker(random.usize(0..2));
                    let task = spawn.spawn(move || {
                        (0..yields).for_each(|_| task::yield_now());
                        number
                    });
                    task.expect("it starts")
                })
                .collect();
            if round % 2 == 0 {
                let first = task::wait_any(&tasks).expect("there are some");
                assert!(tasks[first].is_finished());
            }
            let numbers = task::join_all(tasks).into_iter().map(|it| it.expect("it ends"));
            assert!(numbers.eq(0..count));
        }
    });
}
