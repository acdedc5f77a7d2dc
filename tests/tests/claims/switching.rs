//! What it costs to switch, and what it does not give.

use std::hint::black_box;
use std::process::Command;
use std::sync::mpsc::sync_channel;
use std::thread;

use fiveways::Model;
use fiveways::generator::Generator;
use fiveways::task;
use fiveways_tests::arena::{in_task, in_task_of};

use crate::{always, at_least, settle, thread_time, time};

/// Some work that no compiler removes.
fn compute(rounds: u64) -> u64 {
    (0..rounds).fold(1, |sum, n| black_box(sum ^ n.wrapping_mul(0x9E37_79B9)))
}

/// C24, S001-02, S004-31: switching in the program is much faster than in the system.
#[test]
fn c24_a_switch_of_tasks_is_much_faster_than_one_of_threads() {
    const SWITCHES: usize = 20_000;
    settle("threads against tasks", || {
        let tasks = in_task(Model::Epoll, || {
            time(|| {
                let turns = || (0..SWITCHES / 2).for_each(|_| task::yield_now());
                let two = [task::spawn_local(turns), task::spawn_local(turns)];
                task::join_all(two).into_iter().for_each(|task| task.expect("no panic"));
            })
        });
        let threads = time(|| {
            let (ping, pinged) = sync_channel(0);
            let (pong, ponged) = sync_channel(0);
            let other = thread::spawn(move || {
                for token in pinged {
                    if pong.send(token).is_err() {
                        break;
                    }
                }
            });
            for _ in 0..SWITCHES / 2 {
                ping.send(()).expect("it listens");
                ponged.recv().expect("it answers");
            }
            drop(ping);
            other.join().expect("no panic");
        });
        at_least(3.0, threads, tasks)
    });
}

/// C25, D31, S001-15, S001-16: the serial program is one of its own, and computes the same. For
/// plain computing, going back and forth costs more than going straight.
#[test]
fn c25_handing_each_item_to_a_generator_is_slower_than_a_call() {
    const ITEMS: u64 = 200_000;
    let trial = || {
        let switched = thread_time(|| {
            let mut sum = 0;
            let mut items = Generator::new(|yielder| {
                (0..ITEMS).for_each(|n| yielder.yield_(black_box(n)));
            });
            items.by_ref().for_each(|n: u64| sum += n);
            assert_eq!(black_box(sum), ITEMS * (ITEMS - 1) / 2);
        });
        let straight = thread_time(|| {
            let sum = (0..ITEMS).fold(0, |sum, n| black_box(sum) + black_box(n));
            assert_eq!(sum, ITEMS * (ITEMS - 1) / 2);
        });
        (switched, straight)
    };
    always("a generator against a call", 1.5, trial);
}

/// C32, S004-34: coroutines do not make computing faster: one thread computes one thing at a time,
/// so that its own clock counts for all of it.
#[test]
fn c32_tasks_do_not_make_computing_faster() {
    const ROUNDS: u64 = 400_000;
    let trial = || {
        in_task_of(Model::Epoll, 1, || {
            let in_tasks = thread_time(|| {
                let four = (0..4).map(|_| task::spawn_local(|| compute(ROUNDS)));
                task::join_all(four.collect::<Vec<_>>());
            });
            let serial = thread_time(|| (0..4).for_each(|_| _ = black_box(compute(ROUNDS))));
            (in_tasks, serial)
        })
    };
    always("in tasks against one after the other", 0.8, trial);
}

/// C34, S004-33: switching for its own sake makes a program slower.
#[test]
fn c34_switching_at_every_step_makes_a_computation_slower() {
    const STEPS: u64 = 100_000;
    settle("with a switch at each step against without", || {
        let (with, without) = in_task(Model::Epoll, || {
            let steps = |yields: bool| {
                time(|| {
                    for _ in 0..STEPS {
                        black_box(compute(1));
                        if yields {
                            task::yield_now();
                        }
                    }
                })
            };
            (steps(true), steps(false))
        });
        at_least(1.2, with, without)
    });
}

/// C38, S004-20: a process costs more to begin than a thread, and a thread more than a task.
#[test]
fn c38_beginning_costs_most_for_processes_and_least_for_tasks() {
    const COUNT: u32 = 50;
    settle("a process against a thread", || {
        let run = || Command::new("true").status().expect("it is there");
        let process = time(|| (0..COUNT).for_each(|_| assert!(run().success())));
        let thread = time(|| {
            (0..COUNT).for_each(|_| thread::spawn(|| ()).join().expect("no panic"));
        });
        at_least(2.0, process, thread)
    });
    settle("a thread against a task", || {
        let thread = time(|| {
            (0..COUNT).for_each(|_| thread::spawn(|| ()).join().expect("no panic"));
        });
        let task = in_task(Model::Epoll, || {
            let once = || task::spawn_local(|| ()).join().expect("no panic");
            once();
            time(|| (0..COUNT).for_each(|_| once()))
        });
        at_least(2.0, thread, task)
    });
}

/// C60, S001-05, S002-37: threads compute on several processors at once; nothing like a GIL.
#[test]
fn c60_two_threads_compute_faster_than_one() {
    const ROUNDS: u64 = 3_000_000;
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        return eprintln!("one processor only: nothing to be shown");
    }
    settle("one thread against two", || {
        let one = time(|| _ = black_box((compute(ROUNDS), compute(ROUNDS))));
        let two = time(|| {
            let other = thread::spawn(|| compute(ROUNDS));
            black_box(compute(ROUNDS));
            other.join().expect("no panic");
        });
        at_least(1.25, one, two)
    });
}
