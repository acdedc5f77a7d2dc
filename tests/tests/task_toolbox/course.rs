//! The course's programs of tasks: what runs when, and what it takes.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use fiveways::runtime::Runtime;
use fiveways::{task, time};

use crate::{FOREVER, Log, on_workers};

/// S001-01: ten thousand waiting tasks are one thread.
#[test]
fn many_tasks_wait_on_one_thread() {
    let threads = on_workers(1, || {
        let nap = || {
            time::sleep(Duration::from_millis(20));
            thread::current().id()
        };
        let tasks: Vec<_> = (0..10_000).map(|_| task::spawn(nap)).collect();
        let threads = task::join_all(tasks).into_iter().map(|it| it.expect("it ends"));
        threads.collect::<HashSet<_>>()
    });
    assert_eq!(threads.len(), 1);
}

/// S001-04: a switch keeps what the task has on its stack.
#[test]
fn locals_of_a_task_survive_its_waits() {
    on_workers(1, || {
        let work = |seed: u64| {
            let table: Vec<u64> = (0..100).map(|x| x * seed).collect();
            let mut sum = 0;
            for place in &table {
                sum += place;
                task::yield_now();
            }
            sum
        };
        let tasks: Vec<_> = (0..100).map(|seed| task::spawn(move || work(seed))).collect();
        for (seed, sum) in (0..).zip(task::join_all(tasks)) {
            assert_eq!(sum.expect("it ends"), 4950 * seed);
        }
    });
}

const NAP: Duration = Duration::from_millis(600);

/// The course's program: two eat and play, with a nap between; the log, and the time it took.
fn eat_and_play(nap: fn(Duration)) -> (Vec<String>, Duration) {
    on_workers(1, move || {
        let log = Log::default();
        let started = Instant::now();
        let spawn = |what: &'static str, name: &'static str| {
            let log = log.clone();
            task::spawn(move || {
                log.say(format!("{name} {what} 1"));
                nap(NAP);
                log.say(format!("{name} {what} 2"));
            })
        };
        let tasks = [spawn("eat", "egon"), spawn("play", "egon")];
        for outcome in task::join_all(tasks) {
            outcome.expect("it ends");
        }
        log.say("");
        (log.lines(), started.elapsed())
    })
}

/// S001-31, S001-22, C28: a wait switches by itself: two naps take as long as one.
#[test]
fn eating_and_playing_takes_one_nap() {
    let (log, took) = eat_and_play(time::sleep);
    assert_eq!(log, ["egon eat 1", "egon play 1", "egon eat 2", "egon play 2", ""]);
    assert!(took >= NAP, "{took:?}");
    assert!(took < 2 * NAP, "{took:?}");
}

/// S001-24: the thread's own sleep holds the worker: then it is one after the other.
#[test]
fn a_sleep_of_the_thread_switches_nothing() {
    let (log, took) = eat_and_play(thread::sleep);
    assert_eq!(log, ["egon eat 1", "egon eat 2", "egon play 1", "egon play 2", ""]);
    assert!(took >= 2 * NAP, "{took:?}");
}

/// S001-25: arguments are what the closure captures.
#[test]
fn a_task_takes_its_arguments_along() {
    fn eat(name: &str, count: u32, sauce: Option<&str>) -> String {
        format!("{name} eats {count} with {}", sauce.unwrap_or("nothing"))
    }
    let name = String::from("egon");
    let eats = task::spawn(move || eat(&name, 2, Some("salt")));
    assert_eq!(eats.join().expect("it ends"), "egon eats 2 with salt");
}

/// S001-26, S001-27, S004-36, C31: a spawn returns before the task begins; it begins when its
/// spawner waits for anything. (On a worker of its own; another worker may begin it at once.)
#[test]
fn a_task_begins_when_its_spawner_waits() {
    let waits: [fn(task::JoinHandle<()>); 3] = [
        |task| task.join().expect("it ends"),
        |task| {
            task::yield_now();
            drop(task);
        },
        |task| {
            time::sleep(Duration::from_millis(1));
            drop(task);
        },
    ];
    for wait in waits {
        let log = on_workers(1, move || {
            let log = Log::default();
            let theirs = log.clone();
            let task = task::spawn(move || theirs.say("in the task"));
            assert!(!task.is_finished());
            log.say("after the spawn");
            wait(task);
            log.lines()
        });
        assert_eq!(log, ["after the spawn", "in the task"]);
    }
}

/// S001-28, C30: a task that is not joined begins while another is, and is cut short by the
/// runtime's end: its destructors run, its tail does not.
#[test]
fn a_task_that_is_not_joined_begins_but_need_not_end() {
    let log = Log::default();
    let runtime = Runtime::builder().workers(1).build().expect("a runtime");
    let (one, two) = (log.clone(), log.clone());
    runtime.block_on(move || {
        let first = task::spawn(move || {
            one.say("first begins");
            task::yield_now();
            one.say("first ends");
        });
        let second = task::spawn(move || {
            two.say("second begins");
            time::sleep(FOREVER);
            two.say("second ends");
        });
        drop(second);
        first.join().expect("it ends");
    });
    drop(runtime);
    assert_eq!(log.lines(), ["first begins", "second begins", "first ends"]);
}
